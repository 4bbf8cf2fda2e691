"""Reductions by a function of the user's own: `jax.lax.reduce` and `jax.lax.reduce_window`.

Their equation holds a program a ⊕ b on scalars, of which only this much is known: it is associative. That
is enough to write the reduction out in logarithmic depth with ⊕ on whole arrays, and the way back is
then the way back through what was written out. `WRITTEN_OUT` gives that function for each primitive.

    reduce            neighbors first: (x₀ ⊕ x₁) ⊕ (x₂ ⊕ x₃) ⊕ …, axis by axis
    reduce_window     doubling: the window of 2k elements at i is that of k at i ⊕ that of k at i + k

The order of the elements is kept, so ⊕ need not commute. For a product this gives each element the
product of all others without dividing: zeros are exact.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import numpy as np
from jax import lax

from funcnet import _jax
from funcnet.rules import sparse

Arrays = Sequence[Any]
Combine = Callable[[Arrays, Arrays], Arrays]


def reduce(*operands, jaxpr, dimensions, computation):
    """`reduce` over the dimensions, written out; the initial value comes in once, at the front."""
    xs, starts = _halved(operands)
    combine = _on_arrays(*_jax.open_jaxpr(jaxpr))
    shape = [n for axis, n in enumerate(xs[0].shape) if axis not in dimensions]
    starts = [lax.broadcast(start, shape) for start in starts]
    if 0 in xs[0].shape:
        return starts
    for axis in sorted(dimensions, reverse=True):
        xs = [lax.squeeze(x, (axis,)) for x in _neighbors_first(combine, xs, axis)]
    return combine(starts, xs)


def _neighbors_first(combine: Combine, xs: Arrays, axis: int) -> Arrays:
    while (n := xs[0].shape[axis]) > 1:
        paired = n - n % 2
        pairs = combine(_every(xs, axis, 0, paired, 2), _every(xs, axis, 1, paired, 2))
        rest = _every(xs, axis, paired, n)
        xs = [lax.concatenate(ends, axis) for ends in zip(pairs, rest, strict=True)]
    return xs


def reduce_window(
    *operands,
    jaxpr,
    consts,
    window_dimensions,
    window_strides,
    padding,
    base_dilation,
    window_dilation,
):
    """`reduce_window`, written out, axis by axis; as XLA has it, padding is left out of ⊕."""
    xs, starts = _halved(operands)
    combine = _on_arrays(jaxpr, consts)
    margins = [(low, high, b - 1) for (low, high), b in zip(padding, base_dilation, strict=True)]
    reals = [_real(n, *margin) for n, margin in zip(xs[0].shape, margins, strict=True)]
    xs = [lax.pad(x, start, margins) for x, start in zip(xs, starts, strict=True)]
    for axis, (w, s, d) in enumerate(zip(window_dimensions, window_strides, window_dilation, strict=True)):
        xs, reals[axis] = _windows(combine, xs, reals[axis], axis, w, s, d)
    starts = [lax.broadcast(start, x.shape) for start, x in zip(starts, xs, strict=True)]
    ys = combine(starts, xs)
    for axis, real in enumerate(reals):
        ys = _choose(real, axis, ys, starts)
    return ys


def _windows(combine: Combine, xs: Arrays, real: Any, axis: int, w: int, stride: int, dilation: int) -> Any:
    """⊕ over windows of w elements along one axis, and which of them hold an element that is not padding.

    The window is put together from windows whose sizes are the binary digits of w.
    """
    places = max(real.size - (w - 1) * dilation, 0)
    whole, size, start = None, 1, 0
    while True:
        if w & size:
            piece = _every(xs, axis, start, start + places), real[start : start + places]
            whole = piece if whole is None else _combine_real(combine, axis, *whole, *piece)
            start += size * dilation
        if 2 * size > w:
            assert whole is not None
            ys, real = whole
            return _every(ys, axis, 0, places, stride), real[::stride]
        n, shift = max(real.size - size * dilation, 0), size * dilation
        pair = _every(xs, axis, 0, n), real[:n], _every(xs, axis, shift, shift + n), real[shift : shift + n]
        xs, real = _combine_real(combine, axis, *pair)
        size *= 2


def _combine_real(combine: Combine, axis: int, xs: Arrays, x_real: Any, ys: Arrays, y_real: Any) -> Any:
    """x ⊕ y where both are real, the one that is where the other is padding."""
    both = _choose(y_real, axis, _choose(x_real, axis, combine(xs, ys), ys), xs)
    return both, x_real | y_real


def _choose(real: Any, axis: int, xs: Arrays, ys: Arrays) -> Arrays:
    """x where its place along the axis is real, y elsewhere."""
    if real.all():
        return xs
    mask = lax.broadcast_in_dim(real, xs[0].shape, (axis,))
    return [lax.select(mask, x, y) for x, y in zip(xs, ys, strict=True)]


def _real(n: int, low: int, high: int, interior: int) -> Any:
    """Which places of a padded axis hold one of its n elements."""
    real = np.zeros(max((n - 1) * (interior + 1) + 1, 0), bool)
    real[:: interior + 1] = True
    real = np.pad(real, (max(low, 0), max(high, 0)))
    return real[max(-low, 0) : real.size - max(-high, 0)]


def _every(xs: Arrays, axis: int, start: int, stop: int, stride: int = 1) -> Arrays:
    return [lax.slice_in_dim(x, start, stop, stride, axis) for x in xs]


def _halved(operands: Arrays) -> tuple[Arrays, Arrays]:
    n = len(operands) // 2
    return operands[:n], operands[n:]


def _on_arrays(jaxpr: Any, consts: Sequence[Any]) -> Combine:
    """A program on scalars as a function of arrays of one shape."""

    def on_scalars(*scalars: Any) -> Arrays:
        return jax.core.eval_jaxpr(jaxpr, consts, *scalars)

    def combine(xs: Arrays, ys: Arrays) -> Arrays:
        shape = xs[0].shape
        zs = jax.vmap(on_scalars)(*(lax.reshape(v, (v.size,)) for v in (*xs, *ys)))
        return [lax.reshape(z, shape) for z in zs]

    return combine


WRITTEN_OUT = {"reduce": reduce, "reduce_window": reduce_window, **sparse.WRITTEN_OUT}
"""For each primitive a function of its inputs and parameters that computes the same from others."""
