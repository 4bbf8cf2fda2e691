"""Pooling: the largest element of each window, or their mean, for each channel by itself.

    max     y[o] = max over the taps t of x[s·o + t − p]     x̄[i] = Σ ȳ[o] over the o whose first winner is i
    mean    y[o] = Σ x[s·o + t − p] / n, of n taps             x̄[i] = Σ ȳ[o] / n over the o that read i

What the maximum keeps for the way back is which tap has won in each window (the switches of Zeiler and Fergus
2014, §2.1): a byte a window, not x.
"""

import functools
import operator

import jax.numpy as jnp
from jaxtyping import Array, Float

from funcnet._errors import ShapeError
from funcnet.nn._dtypes import at_least_float32
from funcnet.nn._gate import gate
from funcnet.nn._windows import Lengths, Padding, Windows, windows


@gate(
    formula="x̄ᵢ = Σ ȳₒ over the windows o whose first maximum is xᵢ",
    source="Zeiler and Fergus 2014, §2.1 (switches); CS231n 2019, lecture 4, slide 39",
)
def max_pool(
    x: Float[Array, "*batch_and_space channels"],
    *,
    size: tuple[int, ...] = (2, 2),
    stride: Lengths | None = None,
    padding: Padding = "valid",
) -> Float[Array, "*batch_and_windows channels"]:
    """The largest element of each window; of equal ones the first takes the gradient.

    Args:
        x: [*batch, *space, channels].
        size: taps along each spatial axis.
        stride: places from one window to the next; the size by default.
        padding: "valid", "same", or how many places to put around, which never win.

    Returns:
        [*batch, *windows, channels]; NaN where a window has one.

    Raises:
        ParameterError: a size, stride or padding that is none.
        ShapeError: no window fits.

    >>> max_pool(jnp.array([1.0, 4.0, 2.0, 3.0])[:, None], size=(2,))[:, 0]
    Array([4., 3.], dtype=float32)
    """
    return _maxima(x, _windows("max_pool", x, size, stride, padding))[0]


@max_pool.forward
def max_pool_forward(x, *, size=(2, 2), stride=None, padding="valid"):
    window = _windows("max_pool", x, size, stride, padding)
    y, winner = _maxima(x, window)
    return y, (winner, window)


@max_pool.backward
def max_pool_backward(stash, y_bar, **_):
    winner, window = stash
    sent = (window.spread(jnp.where(winner == i, y_bar, 0), tap) for i, tap in enumerate(window.taps))
    return (functools.reduce(operator.add, sent),)


def _maxima(x: Array, window: Windows) -> tuple[Array, Array]:
    """The largest element of each window, and the number of its tap."""
    padded = window.padded(x, -jnp.inf)
    reads = (window.read(padded, tap) for tap in window.taps)
    y = next(reads)
    winner = jnp.zeros(y.shape, jnp.uint8 if window.area <= 256 else jnp.int32)
    for i, x_of_tap in enumerate(reads, start=1):
        wins = ~(x_of_tap <= y) & (y == y)  # or it is the first NaN
        y, winner = jnp.where(wins, x_of_tap, y), jnp.where(wins, jnp.asarray(i, winner.dtype), winner)
    return y, winner


@gate(formula="x̄ᵢ = Σ ȳₒ / n over the windows o of n taps that read xᵢ", source="LeCun et al. 1998, §II.B")
def avg_pool(
    x: Float[Array, "*batch_and_space channels"],
    *,
    size: tuple[int, ...] = (2, 2),
    stride: Lengths | None = None,
    padding: Padding = "valid",
) -> Float[Array, "*batch_and_windows channels"]:
    """The mean of each window, in which what is put around counts as 0.

    Args:
        x: [*batch, *space, channels].
        size: taps along each spatial axis.
        stride: places from one window to the next; the size by default.
        padding: "valid", "same", or how many zeros to put around.

    Returns:
        [*batch, *windows, channels], summed in float32 at least and rounded once.

    Raises:
        ParameterError: a size, stride or padding that is none.
        ShapeError: no window fits.

    >>> avg_pool(jnp.array([1.0, 4.0, 2.0, 3.0])[:, None], size=(2,))[:, 0]
    Array([2.5, 2.5], dtype=float32)
    """
    window = _windows("avg_pool", x, size, stride, padding)
    padded = at_least_float32(window.padded(x))
    reads = (window.read(padded, tap) for tap in window.taps)
    return (functools.reduce(operator.add, reads) / window.area).astype(x.dtype)


@avg_pool.forward
def avg_pool_forward(x, *, size=(2, 2), stride=None, padding="valid"):
    window = _windows("avg_pool", x, size, stride, padding)
    return avg_pool.primal(x, size=size, stride=stride, padding=padding), window


@avg_pool.backward
def avg_pool_backward(window, y_bar, **_):
    share = at_least_float32(y_bar) / window.area
    sent = (window.spread(share, tap) for tap in window.taps)
    return (functools.reduce(operator.add, sent).astype(y_bar.dtype),)


def _windows(name: str, x: Array, size: tuple[int, ...], stride: Lengths | None, padding: Padding) -> Windows:
    if not isinstance(size, tuple) or not 0 < len(size) < x.ndim:
        raise ShapeError(
            f"{name}: x has shape {list(x.shape)} and size is {size}; expected x [*batch, *space, channels] "
            f"and a tuple with a size for each spatial axis"
        )
    return windows(name, x.shape[-1 - len(size) : -1], size, stride, padding)
