"""Derivatives from values alone: central and one-sided differences, extrapolated to step 0.

CS231n 2019, lecture 4, slide 8, checks an analytic gradient by a numerical one. The slope along v,

    D(h) = (f(x + h v) − f(x − h v)) / 2h = D + c₂ h² + c₄ h⁴ + …,

is taken at steps h₀ > h₁ = h₀/4 > h₂ > …, and combinations of neighbours remove one power of h after the
other (Richardson 1911; Ridders 1982):

    T(k, 0) = D(h_k),     T(k, j) = T(k, j−1) + (T(k, j−1) − T(k−1, j−1)) / (16ʲ − 1)

The entry whose neighbours differ least, its rounding noise ε |f| / h included, is the estimate, and that
difference is its error. Steps that leave the domain, or that cross a kink, disagree with their neighbours
and so are passed over. With one-sided differences (4ʲ in place of 16ʲ) the slopes D⁺ and D⁻ to either side
come out the same way: at a kink they differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._types import Host

STEPS = np.ldexp(1.0, -5 - 2 * np.arange(8))
"""The steps h of every slope, relative to the size of x, down to 2e-6, where float64 has lost ten digits to
rounding: the extrapolation picks the best."""

SURE = 10.0
"""How many times their own error estimate the differences may be off: tests hold the estimate to that."""

BY_DIFFERENCES = 1e-6
"""The relative error that differences are good to, whatever they say."""

KNOWN = 1e-3
"""Differences whose error is above this part of the slope have found none."""

NEGLIGIBLE = 1e-8
"""Slopes whose error is below this are known in any case, as those of functions around 1."""

STAYS = 0.5
"""The slopes to either side of a smooth point approach each other by 4 from step to step; at a kink more than
this part of the gap between them stays, over two steps."""

APART = 1e-7
"""And they end up apart by more than this, beside their sizes."""


@dataclass(frozen=True)
class Slope:
    """The derivative of ⟨ȳ, f⟩ along a direction, from values of f.

    Attributes:
        value: the central estimate.
        error: how far it may be off; infinite where no two steps agree.
        left: the slope from the negative side, D⁻.
        right: the slope from the positive side, D⁺.
        low: Σ of the smaller of the two sides over the outputs.
        high: Σ of the larger one. A function with a kink has derivatives between the two.
        kink: whether low and high differ, and do not approach each other with h.
        floor: what rounding of the values alone makes of a slope, at the largest step.
        tangent: the slope by forward mode; NaN where there is none.
    """

    value: float
    error: float
    left: float
    right: float
    low: float
    high: float
    kink: bool
    floor: float
    tangent: float = np.nan

    @property
    def size(self) -> float:
        """The largest of its values."""
        return max(map(abs, (self.value, self.low, self.high)))

    @property
    def tolerance(self) -> float:
        """How far a derivative may be from it."""
        return SURE * self.error + BY_DIFFERENCES * self.size

    @property
    def is_zero(self) -> bool:
        """Whether rounding of the values is all there is: the steps agree on 0 as well as they can.

        The sides, from one-sided differences, are known to less than the value: they count at kinks alone.
        """
        size = max(abs(self.low), abs(self.high)) if self.kink else abs(self.value)
        return bool(size <= SURE * self.error and self.error <= 1 / KNOWN * self.floor)

    @property
    def is_known(self) -> bool:
        """Whether the steps agree: beside a vertical slope they do not."""
        return bool(self.error <= max(NEGLIGIBLE, KNOWN * self.size) or self.is_zero)

    def admits(self, derivative: float, tolerance: float) -> bool:
        """Whether this can be the derivative: the value, or, at a kink, what lies between the sides."""
        low, high = (self.low, self.high) if self.kink else (self.value, self.value)
        return bool(low - tolerance <= derivative <= high + tolerance)


def slope(rises: Host, falls: Host, low: Host, high: Host, noise: Host, tangent: float = np.nan) -> Slope:
    """The slope along a direction from what was measured at the steps.

    All have shape [steps]: rises ⟨ȳ, f(x + h v) − f(x)⟩ / h, falls ⟨ȳ, f(x) − f(x − h v)⟩ / h; the sums
    over the outputs of the lower and of the higher of the two; the rounding error of each.
    """
    value, error = _extrapolate((rises + falls) / 2, noise, 16)
    right, _ = _extrapolate(rises, noise, 4)
    left, _ = _extrapolate(falls, noise, 4)
    bottom, bottom_error = _extrapolate(low, noise, 4)
    top, top_error = _extrapolate(high, noise, 4)
    gaps = high - low
    stays = all(gaps[-1] > one for one in (STAYS * gaps[-2], STAYS * gaps[-3], 2 * SURE * noise[-1]))
    apart = top - bottom > SURE * (top_error + bottom_error) + APART * (abs(top) + abs(bottom))
    return Slope(value, error, left, right, bottom, top, bool(stays and apart), float(noise[0]), tangent)


def _extrapolate(estimates: Host, rounding: Host, factor: int) -> tuple[float, float]:
    """Neville's table over steps that shrink by 4: the entry that agrees best with its neighbours."""
    column, noise = estimates, rounding
    best, error = float(estimates[-1]), float("inf")
    power = factor
    with np.errstate(invalid="ignore", over="ignore"):
        while len(column) > 1:
            better = column[1:] + (column[1:] - column[:-1]) / (power - 1)
            changes = np.maximum(np.abs(better - column[1:]), np.abs(better - column[:-1])) + noise[1:]
            known = np.where(np.isfinite(changes), changes, np.inf)
            place = int(np.argmin(known))
            if known[place] < error:
                best, error = float(better[place]), float(known[place])
            column, noise, power = better, noise[1:], power * factor
    return best, error


def sides(flat: Callable, xs: Any, y_bars: Any, v: Any, forward: bool = False) -> Any:
    """What `slope` needs, at all steps: rises, falls, low, high; then ⟨ȳ, J v⟩, and Σ |ȳ y|.

    The former is by forward mode, and NaN where there is none.
    """
    ys = flat(*xs)

    def total(parts: Any) -> Any:
        return sum(map(jnp.sum, parts), jnp.zeros(()))

    def paired(others: Any) -> list[Any]:
        return [(y_bar * y).real for y_bar, y in zip(y_bars, others, strict=True)]

    def side(h: Any) -> list[Any]:
        return paired([(one - y) / h for one, y in zip(flat(*moved(xs, h, v)), ys, strict=True)])

    def step(h: Any) -> Any:
        rises, falls = side(h), side(-h)
        low, high = map(jnp.minimum, rises, falls), map(jnp.maximum, rises, falls)
        return total(rises), total(falls), total(low), total(high)

    tangent = total(paired(jax.jvp(flat, tuple(xs), tuple(v))[1])) if forward else jnp.nan
    size = total([abs(y_bar * y) for y_bar, y in zip(y_bars, ys, strict=True)])
    return jax.lax.map(step, jnp.asarray(STEPS, jnp.result_type(float))), tangent, size


def moved(xs: Any, h: Any, v: Any) -> list[Any]:
    """x + h v."""
    return [(x + h * part).astype(x.dtype) for x, part in zip(xs, v, strict=True)]


def sizes(x: Host) -> Host:
    """How far to move each element: by its size, or if it is smaller by a typical one's, at most 1000."""
    typical = np.abs(x[np.isfinite(x) & (x != 0)])
    return np.maximum(np.abs(x), min(np.median(typical), 1e3) if typical.size else 1.0)
