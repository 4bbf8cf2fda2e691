"""Names for the values of a diagram, and what its gates compute with them, on one line.

Intermediate values are q, or q1, q2, …; the result is f, and a gradient ∂f/∂q1. A formula of a gate's way
back is in the gate's own letters: x (or x₁ and x₂, or x and w) is its input, y its output, and ȳ the
upstream gradient.
"""

import re
import string
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from funcnet.drawing.diagram import Diagram, Gate, Wire
from funcnet.drawing.diagram.arrays import is_numeric
from funcnet.drawing.render.labels import BETWEEN, SUPERSCRIPTS, detail, shape
from funcnet.drawing.render.numbers import MOST_IN_LINE, array_type, in_line, summary
from funcnet.rules import parse_formula

WIDEST_NUMBERS = 96
"""Numbers that stand for a formula's names have at most so many characters."""

AROUND = {
    "abs": "|{}|",
    "dot_general": "{} @ {}",
    "neg": "−{}",
    "reduce_sum": "Σ {}",
    "square": "{}²",
    "transpose": "{}ᵀ",
}
"""How operations are written that have no sign between two operands and no name before brackets."""


def value_names(d: Diagram) -> dict[Wire, str]:
    """What the value on each wire is called; behind a copy gate as before it, unless it is a result."""
    names = {wire: wire.name for wire in d.inputs}
    names |= {wire: operand(wire.value) for wire in d.wires if wire.role == "constant"}
    made = [wire for gate in d if gate.name != "copy" for wire in gate.outputs if wire.role != "result"]
    for wires, choices in ((made, "qhuvs"), (d.results, "fyF")):
        names |= zip(wires, _letters(choices, d, len(wires)), strict=True)
    for copy in d.named("copy"):
        for wire in copy.outputs:
            names.setdefault(wire, names[copy.inputs[0]])
    return names


def gradient_names(d: Diagram, names: dict[Wire, str], *, own: bool) -> dict[Wire, str]:
    """What the gradient on each wire is called.

    Args:
        d: the diagram.
        names: what the values are called.
        own: whether a single number that is the result is what is differentiated.
    """
    scalar = own and len(d.results) == 1 and jnp.shape(d.results[0].value) == ()
    (loss,) = [names[d.results[0]]] if scalar else _letters("LEJ", d, 1)
    gradients = {wire: f"∂{loss}/∂{name}" for wire, name in names.items()}
    for copy in d.named("copy"):
        for i, wire in enumerate(copy.outputs, 1):
            if wire.role != "result":
                gradients[wire] += f", use {i} of {len(copy.outputs)}"
    return gradients


def forward_formula(gate: Gate, names: dict[Wire, str]) -> tuple[str, str]:
    """What a gate computes, in names and, where it is short, in numbers."""
    formula = expression(gate, [names[wire] for wire in gate.inputs])
    if not all(fits_a_line(wire.value) for wire in gate.inputs):
        return formula, ""
    numbers = expression(gate, [operand(wire.value) for wire in gate.inputs])
    return formula, numbers if len(numbers) <= WIDEST_NUMBERS else ""


def expression(gate: Gate, operands: Sequence[str]) -> str:
    """What a gate computes, of operands as they are written."""
    more, between = detail(gate), BETWEEN.get(gate.primitive, "max")
    if len(operands) == 2 and not between.isalpha():  # max and min stand before brackets
        return f" {between} ".join(operands)
    if gate.primitive == "integer_pow":
        return _bracketed(operands[0]) + str(gate.parameters["y"]).translate(SUPERSCRIPTS)
    if gate.primitive in AROUND and not more and not is_tensor_product(gate):
        return AROUND[gate.primitive].format(*map(_bracketed, operands))
    if gate.primitive == "slice" or gate.name.startswith("["):  # a loop's step reads x[0]
        return operands[0] + (more or gate.name)
    space = " " if " " in gate.name else ""
    return f"{gate.name}{space}({', '.join(operands)}{'; ' * bool(more)}{more})"


def working(gate: Gate, i: int, gradients: dict[Wire, str]) -> str:
    """How the gradient of a gate's input i comes about from those of its outputs; empty if none does.

    Numbers as far as they are few: local × upstream, a sum at a copy, a product; else the formula.
    """
    if gate.inputs[i].gradient is None:
        return ""
    flowing = [wire for wire in gate.outputs if wire.gradient is not None]
    if all(fits_a_line(wire.gradient) for wire in flowing):
        numbers = in_numbers(gate, i, [operand(wire.gradient) for wire in flowing])
        if 0 < len(numbers) <= WIDEST_NUMBERS:
            return numbers
    if gate.name == "copy":
        return f"the sum over {len(flowing)} uses"
    single = [wire for wire in flowing if not isinstance(wire.gradient, tuple)]
    scalars = {wire: text(wire.gradient) for wire in single if jnp.size(wire.gradient) == 1}
    formula = formula_of_input(gate, i)
    y_bar = f"ȳ = {', '.join(scalars.get(wire, gradients[wire]) for wire in flowing)}"
    return f"{formula} ({y_bar})" if formula else y_bar


def in_numbers(gate: Gate, i: int, upstream: Sequence[str]) -> str:
    """How the gradient of a gate's input i comes about, in numbers; empty where it is no product or sum."""
    if gate.name == "copy":
        return " + ".join(upstream)
    if gate.local and fits_a_line(gate.local[i]):
        return f"{operand(gate.local[i])} × {upstream[0]}"
    if is_tensor_product(gate) or not all(fits_a_line(wire.value) for wire in gate.inputs):
        return ""
    symbols = parse_formula(gate.formula).symbols
    numbers = {"Σ": "Σ", "ȳ": upstream[0]}
    numbers |= zip(symbols, (operand(wire.value) for wire in gate.inputs), strict=False)
    factors = re.split(" · | ", formula_of_input(gate, i))
    if not all(factor.removesuffix("ᵀ") in numbers for factor in factors):
        return ""
    transposes = ["ᵀ" * factor.endswith("ᵀ") for factor in factors]
    written = (numbers[factor.removesuffix("ᵀ")] for factor in factors)
    return " · ".join(map("".join, zip(written, transposes, strict=True))).replace("Σ · ", "Σ ")


def formula_of_input(gate: Gate, i: int) -> str:
    """Of the gate's formula x̄ = …,  w̄ = … what stands for input i; all of it where there is not one each."""
    formula = parse_formula(gate.formula)
    one_each = len(set(formula.symbols)) == len(gate.inputs)
    return formula.gradients[i] if one_each else formula.text.partition(";  ")[0]


def is_tensor_product(gate: Gate) -> bool:
    """Whether a gate is a product of arrays other than that of two vectors or matrices, x @ w."""
    if gate.primitive != "dot_general":
        return False
    (x_axes, w_axes), (batch, _) = gate.parameters["dimension_numbers"]
    ranks = [len(shape(wire.value)) for wire in gate.inputs]
    return bool(batch) or max(ranks) > 2 or tuple(x_axes) != (ranks[0] - 1,) or tuple(w_axes) != (0,)


def text(value: Any) -> str:
    """An array in a line: few numbers written out, many summarized.

    >>> text(jnp.array([[1.0, -0.25]])), text(None)
    ('[[1.00, −0.25]]', 'none')
    """
    if value is None:
        return "none"
    return in_line(value) if fits_a_line(value) else ", ".join([array_type(value), *summary(value)])


def operand(value: Any) -> str:
    """A value as part of a formula: a complex number, which is a sum, in brackets.

    >>> operand(jnp.complex64(1 + 2j))
    '(1 + 2j)'
    """
    return f"({text(value)})" if jnp.ndim(value) == 0 and jnp.iscomplexobj(value) else text(value)


def fits_a_line(value: Any) -> bool:
    """Whether a value is an array that is written out."""
    return (
        value is not None
        and not isinstance(value, tuple)
        and is_numeric(value)
        and jnp.size(value) <= MOST_IN_LINE
    )


def _letters(choices: str, d: Diagram, count: int) -> list[str]:
    """Names for so many values: q, or q1, q2, …, with the first letter that no argument is called by."""
    taken = {wire.name.rstrip(string.digits) for wire in d.inputs}
    letter = next((letter for letter in choices if letter not in taken), choices[0] * 2)
    return [letter] if count == 1 else [f"{letter}{i}" for i in range(1, count + 1)]


def _bracketed(operand: str) -> str:
    return f"({operand})" if operand.startswith("−") else operand
