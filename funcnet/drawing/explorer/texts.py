"""How the page writes an array: in a few characters beside a wire, in lines where it is looked at."""

from typing import Any

import numpy as np

from funcnet.drawing.diagram import Gate, Wire
from funcnet.drawing.diagram.arrays import is_float, is_numeric, norm, plain
from funcnet.drawing.render.nodes import gate_tooltip, short_line
from funcnet.drawing.render.numbers import MOST_IN_LINE, array_type, in_line, number, summary


def name_of(wire: Wire) -> str:
    """The name of an argument, the numbers of a constant."""
    return wire.name or brief(wire.value)


def parameters(gate: Gate) -> str:
    """What else a primitive was told, as far as it is short, in lines."""
    return gate_tooltip(gate).partition(short_line(gate.line) + "\n")[2] if gate.line else ""


def brief(value: Any) -> str:
    """An array in a few characters: one number, or its shape and norm.

    >>> brief(np.float32(0.5)), brief(np.array([[3.0, 4.0]])), brief(np.arange(3))
    ('0.5', '1×2  ‖5‖', 'int64 3')
    """
    if isinstance(value, tuple) or not is_numeric(value) or (np.ndim(value) and not is_float(value)):
        return array_type(value)
    array = plain(value)
    if not array.ndim:
        return number(array.item())
    return f"{'×'.join(map(str, array.shape))}  ‖{number(norm(array.ravel()))}‖"


def whole(value: Any) -> str:
    """An array in lines: kind, and its few numbers or what they are like."""
    if is_listed(value) and np.size(value) <= MOST_IN_LINE:
        return f"{array_type(value)}\n{in_line(value)}"
    return "\n".join([array_type(value), *summary(value)])


def is_listed(value: Any) -> bool:
    """Whether a value is one array of up to a hundred numbers."""
    return not isinstance(value, tuple) and is_numeric(value) and np.size(value) <= 100
