"""How large the elements of an array are: norm, maximum, share of zeros, histogram."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

DECADES = np.float32(10.0) ** np.arange(-9, 4, dtype=np.float32)
"""The bounds of the histogram's bins: |x| below 10⁻⁹, between two of them, from 10³ on; zeros are in none."""

ROW = len(DECADES) + 4
"""How many numbers the statistics are."""


class Statistics(NamedTuple):
    """How large the elements of an array are; all but the norm are NaN or 0 where they are not asked for.

    Attributes:
        norm: √Σx², in float32 at least: 0 below 10⁻²³ and ∞ above 10¹⁹ there.
        maximum: the largest |x|.
        zeros: the share of zeros.
        histogram: how many |x| are between the `DECADES`.
    """

    norm: Float[Array | np.ndarray, "*steps"]
    maximum: Float[Array | np.ndarray, "*steps"]
    zeros: Float[Array | np.ndarray, "*steps"]
    histogram: Float[Array | np.ndarray, "*steps 14"]


def statistics(x: Any, full: bool = True) -> Statistics:
    """The statistics of an array; the norm alone if not full.

    >>> found = statistics(jnp.array([3.0, 0.0, -4.0, 0.0]))
    >>> float(found.norm), float(found.maximum), float(found.zeros), int(found.histogram.sum())
    (5.0, 4.0, 0.5, 2)
    """
    return unpacked(whole(packed(x, full)))


def sum_of_squares(x: Array) -> Float[Array, ""]:
    """Σ|x|², in float32 at least; a transformer's step takes less for sums than for products of x with x."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return jnp.sum((x * x.conj()).real)


def packed(x: Array, full: bool) -> Float[Array, "numbers"]:
    """All statistics in a row, that of the norm squared, or this number alone."""
    squares = sum_of_squares(x).astype(jnp.float32)[None]
    if not full:
        return squares
    size = jnp.abs(x.astype(jnp.promote_types(x.dtype, jnp.float32))).ravel()
    above = jnp.sum(size >= DECADES[:, None], axis=1, dtype=jnp.float32)
    nonzero = jnp.sum(size > 0, dtype=jnp.float32)
    counts = -jnp.diff(jnp.array([nonzero, *above, 0.0]))
    rest = jnp.array([jnp.max(size, initial=0), jnp.mean(size == 0), *counts], jnp.float32)
    return jnp.concatenate([squares, rest])


def whole(rows: Float[Array, "*steps numbers"]) -> Float[Array, "*steps 17"]:
    """Such rows with the norm itself, and NaN and 0 for what was not asked for."""
    norm, rest = jnp.sqrt(rows[..., :1]), rows[..., 1:]
    if not rest.size:
        absent = jnp.array([jnp.nan, jnp.nan, *[0] * (len(DECADES) + 1)], jnp.float32)
        rest = jnp.broadcast_to(absent, (*rows.shape[:-1], ROW - 1))
    return jnp.concatenate([norm, rest], -1)


def unpacked(rows: Float[Array | np.ndarray, "*steps 17"]) -> Statistics:
    """Whole rows as statistics."""
    return Statistics(rows[..., 0], rows[..., 1], rows[..., 2], rows[..., 3:])
