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
from funcnet.check.thresholds import BY_DIFFERENCES, KNOWN, SURE


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
    """

    value: float
    error: float
    left: float
    right: float
    low: float
    high: float
    kink: bool
    floor: float

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
        """Whether rounding of the values is all there is: the steps agree on 0 as well as they can."""
        return bool(self.size <= SURE * self.error and self.error <= 1 / KNOWN * self.floor)

    @property
    def is_known(self) -> bool:
        """Whether the steps agree: beside a vertical slope they do not."""
        return bool(self.error <= max(1e-8, KNOWN * self.size) or self.is_zero)

    def admits(self, derivative: float, tolerance: float) -> bool:
        """Whether this can be the derivative: the value, or, at a kink, what lies between the sides."""
        low, high = (self.low, self.high) if self.kink else (self.value, self.value)
        return bool(low - tolerance <= derivative <= high + tolerance)


def slope(rises: Host, falls: Host, low: Host, high: Host, noise: Host) -> Slope:
    """The slope along a direction from what was measured at the steps.

    Args:
        rises: ⟨ȳ, f(x + h v) − f(x)⟩ / h, shape [steps].
        falls: ⟨ȳ, f(x) − f(x − h v)⟩ / h, shape [steps].
        low: the sum of the smaller of the two over the outputs, shape [steps].
        high: the sum of the larger, shape [steps].
        noise: the rounding error of each.
    """
    value, error = _extrapolate((rises + falls) / 2, noise, 16)
    right, _ = _extrapolate(rises, noise, 4)
    left, _ = _extrapolate(falls, noise, 4)
    bottom, bottom_error = _extrapolate(low, noise, 4)
    top, top_error = _extrapolate(high, noise, 4)
    gaps = high - low
    stays = gaps[-1] > 0.5 * gaps[-2] and gaps[-1] > 0.5 * gaps[-3] and gaps[-1] > 20 * noise[-1]
    apart = top - bottom > 10 * (top_error + bottom_error) + 1e-7 * (abs(top) + abs(bottom))
    return Slope(value, error, left, right, bottom, top, bool(stays and apart), float(noise[0]))


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


def slow_vjp(fun: Callable, *xs: Any) -> tuple[Any, Callable]:
    """`jax.vjp` by differences, for a function that cannot be differentiated otherwise.

    Every element is moved by three steps to either side, good to 1e-10 where the function is smooth.
    """
    ys = fun(*xs)

    def along(i: int, place: Any, unit: Any, y_bars: Any) -> Any:
        size = jnp.maximum(abs(xs[i].ravel()[place]), 1e-3)

        def central(h: Any) -> Any:
            ends = []
            for shift in (h, -h):
                moved = xs[i].ravel().at[place].add(shift * unit).reshape(xs[i].shape)
                ends.append(fun(*xs[:i], moved, *xs[i + 1 :]))
            pairs = zip(y_bars, *ends, strict=True)
            return sum((jnp.sum(y_bar * (up - down)).real for y_bar, up, down in pairs), jnp.zeros(())) / (
                2 * h
            )

        coarse, middle, fine = jax.lax.map(central, size * jnp.array([2.0**-7, 2.0**-8, 2.0**-9]))
        return (64 * fine - 20 * middle + coarse) / 45

    def back(y_bars: Any) -> tuple[Any, ...]:
        x_bars = []
        for i, x in enumerate(xs):
            units = (1.0, 1.0j) if jnp.iscomplexobj(x) else (1.0,)
            parts = [
                jax.lax.map(lambda k, i=i, u=u: along(i, k, u, y_bars), jnp.arange(x.size)) for u in units
            ]
            flat = parts[0] if len(parts) == 1 else parts[0] - 1j * parts[1]
            x_bars.append(flat.reshape(x.shape).astype(x.dtype))
        return tuple(x_bars)

    return ys, back


def slow_jvp(fun: Callable, xs: Any, x_dots: Any) -> tuple[Any, Any]:
    """`jax.jvp` by differences, for a function that cannot be differentiated otherwise."""

    def central(h: Any) -> Any:
        up, down = (fun(*(x + s * h * v for x, v in zip(xs, x_dots, strict=True))) for s in (1, -1))
        return jax.tree.map(lambda a, b: (a - b) / (2 * h), up, down)

    coarse, middle, fine = (central(2.0**-k) for k in (7, 8, 9))
    y_dots = jax.tree.map(lambda a, b, c: (64 * c - 20 * b + a) / 45, coarse, middle, fine)
    return fun(*xs), y_dots
