"""The same as the picture in words: what each gate computes, and what it sends back.

CS231n 2019, lecture 4, slides 42 to 79, walks through a graph like that: in the order of the forward pass

    q = x + y = −2 + 5 = 3

and then in the order of the backward pass, for each input of each gate,

    local gradient × upstream gradient = downstream gradient
    ∂f/∂z = 3 × 1 = 3

At a copy gate the gradients of the uses add. Where the downstream gradient is no elementwise product the
gate's formula stands in its place, which for a product of matrices is one of matrices again.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from funcnet.backprop.checks import check_callable
from funcnet.drawing.diagram import Diagram, Gate, Wire
from funcnet.drawing.diagram.arrays import is_float
from funcnet.drawing.diagram.assemble import diagram
from funcnet.drawing.diagram.record import Options
from funcnet.drawing.render.words import forward_formula, gradient_names, text, value_names, working
from funcnet.rules import RULES, Table


@dataclass(frozen=True, eq=False)
class Forward:
    """What one gate computes: one of its outputs, an argument or a constant result.

    Attributes:
        gate: the gate's name, after those of the boxes around it; empty for arguments.
        name: what the value is called.
        formula: how it comes about, `x + y`; empty for arguments.
        numbers: the formula with the numbers in it, `−2 + 5`; empty where they are many.
        value: the array; a tuple of arrays for bundled arguments.
        remark: what to look at.
    """

    gate: str
    name: str
    formula: str
    numbers: str
    value: Any
    remark: str

    def __str__(self) -> str:
        return " = ".join(filter(None, (self.name, self.formula, self.numbers, text(self.value))))


@dataclass(frozen=True, eq=False)
class Backward:
    """What one gate sends back to one of its inputs, or the upstream gradient of a result.

    Attributes:
        gate: the gate's name, after those of the boxes around it; empty for results.
        name: what the gradient is called, `∂f/∂x`; at one of several uses, `∂f/∂x, use 1 of 2`.
        working: how it comes about: `−4 × 1`, local × upstream; `4 + 2` at a copy; else the formula.
        local: the local gradient, where downstream = local × upstream elementwise, else None.
        upstream: the upstream gradients of the gate's outputs; None in it where none flows.
        downstream: the gradient that goes on; None where none does.
        remark: what to look at.
    """

    gate: str
    name: str
    working: str
    local: Any
    upstream: tuple[Any, ...]
    downstream: Any
    remark: str

    def __str__(self) -> str:
        return " = ".join(filter(None, (self.name, self.working, text(self.downstream))))


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What `explain` says; `str` and `print` give it as text, a notebook shows it as two tables.

    Attributes:
        forward: the arguments, then what each gate computes, in the order of the forward pass.
        backward: the results' upstream gradients, then what each gate sends back, the last gate first.
    """

    forward: tuple[Forward, ...]
    backward: tuple[Backward, ...]

    def tables(self) -> tuple[list[Sequence[str]], list[Sequence[str]]]:
        """Both tables as rows of text, each with its head and without columns in which nothing stands."""
        forward = [(r.gate, r.name, r.formula, r.numbers, text(r.value), r.remark) for r in self.forward]
        backward = [(r.gate, r.name, r.working, text(r.downstream), r.remark) for r in self.backward]
        return (
            _filled(("gate", "forward", "formula", "in numbers", "value", "remark"), forward),
            _filled(("gate", "backward", "local × upstream", "downstream", "remark"), backward),
        )

    def __str__(self) -> str:
        return "\n\n".join(filter(None, map(_plain, self.tables())))

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return "\n\n".join(map(_markdown, filter(None, self.tables())))


def explain(
    f: Callable, *, y_bar: Any = None, depth: int = 0, unroll: bool = False, rules: Table = RULES
) -> Callable[..., Explanation]:
    """A function of f's arguments that puts the graph of f, its values and its gradients into words.

    Intermediate values are called q, or q1, q2, …; the result f, and its derivatives ∂f/∂x. With `y_bar`, or
    where the result is no single number, they are those of a number L further on: ∂L/∂x.

    Args:
        f: a function of arrays, or of pytrees of arrays.
        y_bar: the upstream gradient, of the result's structure, shapes and dtypes; ones by default.
        depth: how many levels of boxes are opened: jitted functions, gates, named scopes.
        unroll: whether loops are told step by step.
        rules: the table of rules.

    Raises:
        GradientError: f is no function.
        ShapeError: y_bar does not have the result's structure, shapes and dtypes.
        MissingRuleError: an operation on the way back has no rule.
        ParameterError: a loop is too long to be told step by step.

    Source: CS231n 2019, lecture 4, slides 42 to 79.

    Example:
        >>> print(explain(lambda x, y, z: (x + y) * z)(-2.0, 5.0, -4.0))
        gate  forward  formula  in numbers  value
              x                             −2
              y                             5
              z                             −4
        add   q        x + y    −2 + 5      3
        mul   f        q × z    3 × −4      −12
        <BLANKLINE>
        gate  backward  local × upstream  downstream
              ∂f/∂f                       1
        mul   ∂f/∂q     −4 × 1            −4
        mul   ∂f/∂z     3 × 1             3
        add   ∂f/∂x     1 × −4            −4
        add   ∂f/∂y     1 × −4            −4
    """
    check_callable("explain", f)

    def explained(*args: Any, **kwargs: Any) -> Explanation:
        d = diagram(f, args, kwargs, y_bar, Options(rules, depth, unroll, local=True))
        names = value_names(d)
        gradients = gradient_names(d, names, own=y_bar is None)
        return Explanation(tuple(forward_rows(d, names)), tuple(backward_rows(d, gradients)))

    return explained


def forward_rows(d: Diagram, names: dict[Wire, str]) -> Iterator[Forward]:
    """The arguments, what the gates compute, and results that are constants."""
    for wire in d.inputs:
        yield Forward("", names[wire], "", "", wire.value, "")
    for gate in d:
        formula, numbers = forward_formula(gate, names)
        remark = remarks(gate, forward=True)
        for wire in gate.outputs:
            if gate.name != "copy":
                yield Forward(called(gate), names[wire], formula, numbers, wire.value, remark)
            elif wire.role == "result":
                yield Forward(called(gate), names[wire], names[gate.inputs[0]], "", wire.value, "")
    for wire in d.results:
        if wire.source is None:
            yield Forward("", names[wire], "", "", wire.value, "")


def backward_rows(d: Diagram, gradients: dict[Wire, str]) -> Iterator[Backward]:
    """The upstream gradients of the results, and what the gates send back to arguments and gates."""
    for wire in d.results:
        if wire.gradient is not None:
            yield Backward("", gradients[wire], "", None, (), wire.gradient, "")
    for gate in reversed(d.gates):
        upstream = tuple(wire.gradient for wire in gate.outputs)
        remark = remarks(gate, forward=False)
        if not remark and all(gradient is None for gradient in upstream):
            continue
        for i, wire in enumerate(gate.inputs):
            if wire.role != "constant" and is_float(wire.value):
                how = working(gate, i, gradients)
                local = gate.local[i] if gate.local else None
                yield Backward(called(gate), gradients[wire], how, local, upstream, wire.gradient, remark)
                remark = ""


def remarks(gate: Gate, *, forward: bool) -> str:
    """The marks of a gate that belong to the forward pass, or to the backward pass."""
    return "; ".join(mark.text for mark in gate.marks if forward == (mark.kind == "non-finite value"))


def called(gate: Gate) -> str:
    """The gate's name after those of the boxes around it."""
    return " / ".join([*(box.name for box in gate.path), gate.name])


def _filled(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[Sequence[str]]:
    """A table without the columns in which nothing stands."""
    columns = [column for column in zip(head, *rows, strict=True) if any(column[1:])]
    return list(zip(*columns, strict=True))


def _plain(rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are as wide as what stands in them."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    padded = ((c + " " * (w - _width(c)) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def _width(cell: str) -> int:
    """How many places a cell takes; a macron stands above its letter."""
    return sum(not unicodedata.combining(character) for character in cell)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, in which what has a meaning there is escaped."""
    head, *body = [[re.sub(r"([\\`*_|<>$~])", r"\\\1", cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))
