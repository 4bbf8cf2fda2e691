"""What the search has found, in words: direction, gate, line, what went in, and what to do."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from funcnet import _jax
from funcnet.drawing.diagram.arrays import is_numeric, plain
from funcnet.drawing.render.numbers import array_type, not_finite, number
from funcnet.nonfinite.advice import advice, hint_of, index_of, written_advice

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, eq=False)
class Operand:
    """An operand of a gate: the name of the argument that it is, if it is one, and its value."""

    name: str
    value: Any

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, array_type(self.value), spread(self.value))))


@dataclass(frozen=True, eq=False)
class Gate:
    """A gate that made a number that is none, or, without a primitive, an argument that holds one.

    Attributes:
        direction: whether it is a value that it made or a gradient that it sends back.
        name: the function or primitive; the argument.
        primitive: the name of its primitive; empty for an argument.
        line: where the user's code wrote it: file, line, column and function.
        within: the calls and the steps of loops around it, the outermost first.
        inputs: its operands.
        made: its output, or the gradient that it sends back.
        upstream: the gradients that came to it; empty in the forward direction, and for what a backward of a
            user's computes.
        formula: its way back.
        then: the gate that made NaN of its infinity, or took an infinity because of its NaN.
        came: the argument that its infinities are from, if they are from one.
        masked: whether this is no gradient of the function, but 0 · ∞ where a select took another branch.
        written: whether it only takes what is written in the code.
        hint: what to do, where that is not to be seen from primitive and values.
        index: the index that is outside of an axis, or the label that is no class, where one made it.
    """

    direction: Direction
    name: str
    primitive: str
    line: str
    within: tuple[str, ...]
    inputs: tuple[Operand, ...]
    made: Any
    upstream: tuple[Any, ...] = ()
    formula: str = ""
    then: "Gate | None" = None
    came: Operand | None = None
    masked: bool = False
    written: bool = False
    hint: str = ""
    index: int | None = None

    @property
    def advice(self) -> str:
        """What to do."""
        if self.hint and not self.masked:
            return self.hint
        if self.written:
            return written_advice(self.name, self.what)
        direction = "backward" if self.upstream else "forward"
        values = [one.value for one in self.inputs]
        return advice(direction, self.primitive, values, self.upstream, self.made, self.masked)

    @property
    def what(self) -> str:
        """NaN or an infinity."""
        return "NaN" if np.isnan(plain(self.made)).any() else "∞"

    @property
    def place(self) -> tuple[int, ...]:
        """The indices of the first element that is none."""
        return first_place(self.made)

    def __str__(self) -> str:
        return " ".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        first = not self.primitive and "is not finite itself"
        did = first or (f"sends back {self.what}" if self.upstream else f"makes {self.what}")
        around = "".join(f", in {one}" for one in reversed(self.within))
        yield f"{self.direction}: {self.name} {did} at {self.line or 'an unknown line'}{around}."
        if self.upstream:
            came = ", ".join(f"{array_type(one)} {spread(one)}" for one in self.upstream if one is not None)
            yield f"The gradient that came to it: {came}."
        if self.inputs:
            yield f"{'Its inputs' if self.primitive else 'It holds'}: {'; '.join(map(str, self.inputs))}."
        yield from filter(None, [self._first_element()])
        if self.formula:
            yield f"Its rule: {self.formula}."
        if self.came:
            yield f"The ∞ came in with {self.came.name}{at_place(self.came.value)}."
        if self.then:
            yield f"Then {self.then.name} at {self.then.line} made {self.then.what} of it."
        yield f"{self.advice}."

    def _first_element(self) -> str:
        """The first element that is none, and what stands in its place in the inputs."""
        made = plain(self.made)
        if not made.ndim:
            return ""
        alike = [plain(one.value) for one in self.inputs if is_numeric(one.value)] if self.primitive else []
        there = [number(x[self.place].item()) for x in alike if x.shape == made.shape]
        given = f", where the inputs are {', '.join(there)}" if there else ""
        return f"The first is element {list(self.place)}{given}."


@dataclass(frozen=True)
class Where:
    """What is around a program.

    Attributes:
        within: the calls and the steps of loops, the outermost first.
        line: the line of the innermost call, for the programs of functions that have no lines of their own.
    """

    within: tuple[str, ...] = ()
    line: str = ""

    def line_of(self, eqn: _jax.Equation) -> str:
        """The user's line of an equation."""
        return _jax.line_with_library(eqn, self.line)

    def into(self, eqn: _jax.Equation) -> "Where":
        """Inside the program of an equation."""
        return Where((*self.within, name_of(eqn)), self.line_of(eqn))

    def step(self, t: int, length: int) -> "Where":
        """Inside the step of a loop."""
        *around, loop = self.within
        return replace(self, within=(*around, f"step {t} of the {length} of {loop}"))

    def gate(
        self, direction: Direction, eqn: _jax.Equation, inputs: tuple[Operand, ...], made: Any, **more: Any
    ) -> Gate:
        """A gate of the program."""
        scopes = (scope for scope in _jax.scope(eqn).split("/") if scope and "()" not in scope)
        around = (*self.within, *scopes)
        name = eqn.primitive.name
        xs = [one.value for one in inputs]
        more |= {"hint": hint_of(direction, eqn, xs)}
        if direction == "forward":
            more |= {"index": index_of(eqn, xs, made)}
        return Gate(direction, name_of(eqn), name, self.line_of(eqn), around, inputs, made, **more)


def name_of(eqn: _jax.Equation) -> str:
    """The function that an equation calls, else its primitive, without the underscore of JAX's helpers."""
    return (_jax.function_name(eqn) or eqn.primitive.name).strip("_")


def first_place(value: Any) -> tuple[int, ...]:
    """The indices of the first NaN of an array, or, without one, of its first infinity."""
    x = plain(value)
    bad = np.isnan(x) if np.isnan(x).any() else ~np.isfinite(x)
    return tuple(int(i) for i in np.argwhere(bad)[0])


def at_place(value: Any) -> str:
    """The first element of an array that is none, in words; nothing of a number."""
    place = first_place(value)
    return f", element {list(place)}" if place else ""


def spread(value: Any) -> str:
    """From where to where an array reaches, and how many of its elements are no numbers."""
    if not is_numeric(value):
        return ""
    xs = plain(value).ravel()
    if xs.dtype == bool or not xs.size:
        return ""
    if xs.size == 1:
        return f"= {number(xs[0].item())}"
    bad = not_finite(xs) if xs.dtype.kind in "fc" else ""
    finite = np.abs(xs[np.isfinite(xs)]) if xs.dtype.kind == "c" else xs[np.isfinite(xs)]
    if not finite.size:
        return f"of {bad}"
    low, high = number(finite.min().item()), number(finite.max().item())
    size = "of size " if xs.dtype.kind == "c" else ""
    reach = f"= {low}" if low == high else f"from {low} to {high}"
    return f"{size}{reach}{f', with {bad}' if bad else ''}"
