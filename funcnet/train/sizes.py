"""How large the elements of an array are: norm, maximum, share of zeros, histogram."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

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

    norm: Float[Array, "*steps"]
    maximum: Float[Array, "*steps"]
    zeros: Float[Array, "*steps"]
    histogram: Float[Array, "*steps 14"]


def statistics(x: Any, full: Bool[Array, ""] | bool = True) -> Statistics:
    """The statistics of an array.

    >>> found = statistics(jnp.array([3.0, 0.0, -4.0, 0.0]))
    >>> float(found.norm), float(found.maximum), float(found.zeros), int(found.histogram.sum())
    (5.0, 4.0, 0.5, 2)
    """
    return unpacked(packed(x, full))


def packed(x: Any, full: Bool[Array, ""] | bool) -> Array:
    """All statistics in a row."""
    x = x.ravel().astype(jnp.promote_types(x.dtype, jnp.float32))
    norm = jnp.sqrt(jnp.vdot(x, x).real).astype(jnp.float32)

    def rest() -> Array:
        size = jnp.abs(x)
        above = jnp.sum(size[:, None] >= DECADES, axis=0, dtype=jnp.float32)
        nonzero = jnp.sum(size > 0, dtype=jnp.float32)
        counts = -jnp.diff(jnp.array([nonzero, *above, 0.0]))
        return jnp.array([jnp.max(size, initial=0), jnp.mean(size == 0), *counts], jnp.float32)

    nothing = lambda: jnp.array([jnp.nan, jnp.nan, *[0] * (len(DECADES) + 1)], jnp.float32)  # noqa: E731
    return jnp.concatenate([norm[None], lax.cond(jnp.asarray(full), rest, nothing)])


def unpacked(row: Array) -> Statistics:
    """Such rows as statistics."""
    return Statistics(row[..., 0], row[..., 1], row[..., 2], row[..., 3:])
