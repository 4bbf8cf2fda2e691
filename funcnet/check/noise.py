"""What counts as equal: rounding noise measured, not tolerances set by hand.

How well can a gradient be known in a dtype whose numbers are rounded by u? A value that the formula
needs may be off by its rounding, so the spread of the true gradient under such roundings,

    σᵢ = max over 16 draws of |x̄ᵢ(x (1 ± u), ȳ (1 ± u)) − x̄ᵢ(x, ȳ)|        in float64,

is what no rule can avoid. A rule passes with errorᵢ ≤ slack · (σᵢ + u |x̄ᵢ| + smallest normal number).

A gradient that is 0 because terms cancel (a bias before a normalization, the bias of attention's keys) has no
size of its own to measure errors by. What it is known to is the rounding of those terms. The same draws show
that: the spread of what rule and autodiff give, in float64, is u · (size of the terms) there, and in another
dtype it is larger as its u is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet._types import Host
from funcnet.check.thresholds import TIED_JUMP


def wide(x: Any) -> Host:
    """A float array in double precision."""
    x = np.asarray(x)
    return x.astype(np.complex128 if jnp.issubdtype(x.dtype, jnp.complexfloating) else np.float64)


def cast(arrays: Iterable[Any], like: Iterable[Any]) -> tuple[Host, ...]:
    """Arrays in the dtypes of others."""
    return tuple(np.asarray(x, other.dtype) for x, other in zip(arrays, like, strict=True))


def unit(dtype: Any) -> float:
    """The relative rounding u of a dtype: half the distance from 1 to the next number."""
    return float(jnp.finfo(dtype).eps) / 2


def largest(x: Host) -> float:
    """The size of the largest element that is finite; 0 without any."""
    x = wide(x)
    return float(np.abs(x[np.isfinite(x)]).max(initial=0))


def signs(like: Any, rng: np.random.Generator) -> Host:
    """−1 or 1 at random."""
    return rng.choice([-1.0, 1.0], like.shape)


def cotangent(like: Any, rng: np.random.Generator) -> Host:
    """A random upstream gradient: of either sign, never equal numbers, which normalizing layers cancel."""
    sizes = rng.uniform(0.5, 1.5, like.shape) * signs(like, rng)
    if jnp.issubdtype(like.dtype, jnp.complexfloating):
        sizes = sizes + 1j * rng.uniform(0.5, 1.5, like.shape) * signs(like, rng)
    return sizes


def spread(center: Host, moved: Iterable[Host]) -> Host:
    """σ: the largest deviation of each element under the roundings."""
    return np.max([np.abs(wide(one) - wide(center)) for one in (center, *moved)], axis=0)


def untied(sigma: Host, size: float) -> Host:
    """A spread that no conditioning explains comes from a tie that rounding breaks: it excuses nothing.

    `size` is that of the largest gradient there could be.
    """
    return np.where((sigma > TIED_JUMP * size) | ~np.isfinite(sigma), 0, sigma)


@dataclass(frozen=True, eq=False)
class Comparison:
    """An array beside what it should be, element by element.

    Attributes:
        found: what the function under test gives.
        truth: what it should be.
        noise: σ + u |truth| + smallest normal number, the unit of the error.
        tolerance: how large the error may be.
    """

    found: Host
    truth: Host
    noise: Host
    tolerance: Host

    @property
    def error(self) -> Host:
        """|found − truth|, infinite where one of them alone is not finite."""
        error = np.abs(self.found - self.truth)
        return np.where(np.isfinite(error), error, np.inf)

    @property
    def bad(self) -> Host:
        """Which elements are too far off, or not finite."""
        return ~(self.error <= self.tolerance)

    @property
    def differs(self) -> bool:
        """Whether an element is too far off from a finite one."""
        return bool((self.bad & np.isfinite(self.truth)).any())

    @property
    def roundings(self) -> float:
        """The largest error in units of the noise."""
        return float((self.error / self.noise).max(initial=0.0))

    @property
    def worst(self) -> tuple[int, ...]:
        """The index of the largest error in units of the tolerance; what is not finite comes first."""
        worst = np.argmax(self.error / self.tolerance)
        return tuple(int(i) for i in np.unravel_index(worst, self.error.shape))

    @property
    def smallest(self) -> float:
        """The smallest scale error that would have been seen: δ in (1 + δ) x̄."""
        sizes = np.abs(self.truth)
        seen = self.tolerance[sizes > 0] / sizes[sizes > 0]
        return float(seen.min(initial=np.inf))


def compare(
    found: Host, truth: Host, sigma: Any, dtype: Any, slack: float, relative: float = 0.0, zero: Any = 0.0
) -> Comparison:
    """An array beside its truth, within the noise of its dtype, and `relative` of its own size.

    Where both are below `slack` times `zero`, both are 0, and that is the noise.
    """
    found, truth = wide(found), wide(truth)
    sizes = np.abs(np.where(np.isfinite(truth), truth, 0))
    noise = np.where(np.isfinite(sigma), sigma, 0) + unit(dtype) * sizes + float(jnp.finfo(dtype).tiny)
    vanishes = np.maximum(np.abs(found), np.abs(truth)) <= slack * zero
    noise = np.where(vanishes, np.maximum(noise, 2 * zero), noise)
    return Comparison(found, truth, noise, slack * noise + relative * sizes)
