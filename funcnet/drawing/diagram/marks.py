"""What goes wrong at a gate: values and gradients that are no numbers, vanish or explode.

Only the first gate that makes a NaN or an infinity is marked, forward and backward: what follows
inherits it. Where the gradient shrinks or grows is measured by its norm from the gate's output to its
input, and, where a gate works element by element, by the share of elements that are concerned: dead
ReLUs and saturated sigmoids (CS231n 2019, lecture 4, slide 21).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from funcnet.drawing.diagram.arrays import eps_of, is_float, is_numeric, norm, plain
from funcnet.drawing.diagram.model import Gate, Mark, Wire
from funcnet.rules import PIECEWISE_CONSTANT

FACTOR = 1e3
"""A gradient that changes by more between a gate's output and its input is marked."""

HALF = 0.5
"""At least this share of a gate's elements must be concerned for a mark on a part of them."""

CHANCE = 3
"""Of many elements it must be more than half by so many standard deviations: that half of the units of an
untrained net are off is no fault."""

FEW_ELEMENTS = 12
"""So few elements one sees one by one: half of them is worth a mark."""

SEEN = 32
"""A unit is dead for all examples if there are so many; with fewer, half of the units must be."""

NOISE = 16
"""So many roundings of the terms of a sum may be all that is left of it: then it is zero, and no mark."""


def marks(gates: Sequence[Gate]) -> list[list[Mark]]:
    """The marks of each gate."""
    found: list[list[Mark]] = [list(_changes(gate)) for gate in gates]
    wires = [wire for gate in gates for wire in (*gate.inputs, *gate.outputs)]
    arrays = {id(x): x for wire in wires for x in (wire.value, wire.gradient) if x is not None}
    if not any(_any(_is_not_finite, [x]) for x in arrays.values()):
        return found
    for name, test in (("inf", np.isinf), ("NaN", np.isnan)):
        for gate in gates:
            if _makes(test, gate.inputs, gate.outputs, "value"):
                found[gate.number].append(Mark("non-finite value", f"makes the first {name}", True))
                break
        for gate in reversed(gates):
            if _makes(test, gate.outputs, gate.inputs, "gradient"):
                found[gate.number].append(Mark("non-finite gradient", f"sends back the first {name}", True))
                break
    return found


def _is_not_finite(array: Any) -> Any:
    return ~np.isfinite(array)


def _makes(test: Callable, given: Sequence[Wire], made: Sequence[Wire], what: str) -> bool:
    """Whether a gate makes numbers that pass the test out of numbers that do not."""
    before, after = ([getattr(wire, what) for wire in wires] for wires in (given, made))
    return _any(test, after) and not _any(test, before)


def _any(test: Callable, arrays: Sequence[Any]) -> bool:
    return any(test(plain(array)).any() for array in arrays if array is not None and is_numeric(array))


def _changes(gate: Gate) -> Iterator[Mark]:
    """What the gate does to the size of the gradient, worst input first."""
    ups = [plain(wire.gradient) for wire in gate.outputs if wire.gradient is not None]
    if gate.primitive in PIECEWISE_CONSTANT and any(is_float(wire.value) for wire in gate.outputs):
        yield Mark("zero", "no gradient passes", False)
    up = norm(np.concatenate([one.ravel() for one in ups])) if ups else 0
    if gate.name == "copy" or not np.isfinite(up) or up == 0:
        return
    passes = any(plain(wire.gradient).any() for wire in gate.inputs if wire.gradient is not None)
    for wire in gate.inputs:
        if wire.gradient is None:
            continue
        to = f" to {wire.name}" if wire.name else ""
        down = plain(wire.gradient)
        size = norm(down)
        if not np.isfinite(size):
            continue
        if size == 0:
            yield Mark("zero", f"no gradient passes{to}", not passes)
        elif is_rounding(gate, size, up):
            continue
        elif size * FACTOR < up:
            yield Mark("shrinks", f"gradient{to} shrinks by {up / size:.1e}", True)
        elif size > up * FACTOR:
            yield Mark("grows", f"gradient{to} grows by {size / up:.1e}", True)
        elif len(ups) == 1 and ups[0].shape == down.shape and down.ndim:
            yield from _of_elements(np.abs(ups[0]), np.abs(down))


def is_rounding(gate: Gate, size: float, up: float) -> bool:
    """Whether a gradient is what rounding leaves of a sum whose terms cancel.

    So it may be where a gate sums, as a product of matrices or a box of many gates does: not where all that
    it takes and makes has one shape.
    """
    wires = (*gate.inputs, *gate.outputs)
    arrays = [wire.value for wire in wires if is_float(wire.value) and not isinstance(wire.value, tuple)]
    eps = max(map(eps_of, arrays), default=0.0)
    return len(set(map(np.shape, arrays))) > 1 and size <= NOISE * eps * up


def _of_elements(up: np.ndarray, down: np.ndarray) -> Iterator[Mark]:
    """How many elements of an elementwise gate let no gradient pass, or next to none."""
    reached = up > 0
    dead, weak = reached & (down == 0), reached & (down > 0) & (down * FACTOR < up)
    count = max(reached.sum(), 1)
    few = HALF * count + (CHANCE / 2 * np.sqrt(count) if count > FEW_ELEMENTS else 0)
    if dead.sum() >= few:
        yield Mark("zero", f"{dead.sum()} of {reached.sum()} pass no gradient", False)
    if weak.sum() >= few:
        yield Mark(
            "shrinks", f"{weak.sum()} of {reached.sum()} shrink the gradient by more than {FACTOR:.0f}", False
        )
    if up.ndim > 1:
        examples = tuple(range(up.ndim - 1))
        units = (~reached | dead).all(examples) & reached.any(examples)
        many = np.prod(up.shape[:-1]) >= SEEN or units.mean() >= HALF
        if units.any() and many:
            yield Mark("zero", f"{units.sum()} of {units.size} units are dead for all examples", False)
