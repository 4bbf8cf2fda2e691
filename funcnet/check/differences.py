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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import ParameterError, ShapeError
from funcnet._types import Host

STEPS = np.ldexp(1.0, -5 - 2 * np.arange(8))
"""The steps h of every slope, relative to the size of x, down to 2e-6."""


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
    """

    value: float
    error: float
    left: float
    right: float
    low: float
    high: float
    kink: bool

    @property
    def is_known(self) -> bool:
        """Whether the steps agree: beside a vertical slope they do not."""
        return bool(self.error <= max(1e-8, 1e-3 * max(abs(self.value), abs(self.low), abs(self.high))))

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
    return Slope(value, error, left, right, bottom, top, bool(stays and apart))


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


class Estimate(NamedTuple):
    """A numerical derivative and how far it may be off, both of the argument's structure and shapes."""

    value: Any
    error: Any


def numerical_gradient(f: Callable, x: Any) -> Estimate:
    """The gradient of a scalar function from its values alone, in float64, with an estimate of its own error.

    Every element is moved by eight steps to either side, sixteen values of f for each; the steps suit the
    element's size.

    Args:
        f: a function of a pytree of floats to a real scalar, traced once as by `jax.jit`.
        x: where to differentiate.

    Returns:
        `(value, error)`: float64 arrays of x's structure. Where the two sides differ (a kink) the value is
        their mean. An infinite error means that no two steps agreed.

    Raises:
        ShapeError: f does not return a real scalar.
        ParameterError: x has no floats.

    Source:
        CS231n 2019, lecture 4, slide 8; Ridders 1982, Accurate computation of F′(x) and F′(x)F″(x).

    Example:
        >>> import numpy as np
        >>> value, error = numerical_gradient(lambda x: (x**3).sum(), np.array([1.0, 2.0]))
        >>> value.round(9), bool((error < 1e-8).all())
        (array([ 3., 12.]), True)
    """
    from funcnet.check.probes import compiled, double

    leaves, tree = jax.tree.flatten(x)
    if not leaves or not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves):
        raise ParameterError(
            "numerical_gradient: expected real floats to move; close over integers and keys, and give "
            "complex numbers as their two parts"
        )
    with double():
        arrays = [np.asarray(leaf, np.float64) for leaf in leaves]
        sizes = [np.maximum(np.abs(a), _typical(a)) for a in arrays]
        shifts = np.concatenate([[0.0], STEPS, -STEPS])

        def values(arrays: Any, sizes: Any) -> list[Any]:
            def moved(i: int, place: Any, shift: Any) -> Any:
                flat = arrays[i].ravel().at[place].add(shift * sizes[i].ravel()[place])
                y = jnp.asarray(
                    f(
                        jax.tree.unflatten(
                            tree, [*arrays[:i], flat.reshape(arrays[i].shape), *arrays[i + 1 :]]
                        )
                    )
                )
                if y.shape != () or not jnp.issubdtype(y.dtype, jnp.floating):
                    raise ShapeError(
                        f"numerical_gradient: f returned {y.dtype}{list(y.shape)}, expected a real scalar; "
                        f"sum it, or use numerical_vjp"
                    )
                return y

            def along(i: int) -> Any:
                def row(place: Any) -> Any:
                    return jax.lax.map(lambda shift: moved(i, place, shift), jnp.asarray(shifts))

                return jax.lax.map(row, jnp.arange(arrays[i].size))

            return [along(i) for i in range(len(arrays)) if arrays[i].size]

        tables = iter(compiled(values, arrays, sizes, quick=True))
    found = [_of_rows(next(tables), size) if size.size else (size, size) for size in sizes]
    value, error = zip(*found, strict=True)
    return Estimate(jax.tree.unflatten(tree, value), jax.tree.unflatten(tree, error))


def _of_rows(table: Host, sizes: Host) -> tuple[Host, Host]:
    h = STEPS * sizes.reshape(-1, 1)
    middle, up, down = np.split(table, [1, 1 + len(STEPS)], axis=1)
    rises, falls = (up - middle) / h, (middle - down) / h
    noise = np.finfo(float).eps * np.nanmax(np.abs(table), axis=1, keepdims=True) / h
    sides = np.minimum(rises, falls), np.maximum(rises, falls)
    slopes = [slope(*row) for row in zip(rises, falls, *sides, noise, strict=True)]
    value = np.array([one.value for one in slopes]).reshape(sizes.shape)
    return value, np.array([one.error for one in slopes]).reshape(sizes.shape)


def _typical(x: Host) -> float:
    """The size of a typical element: the median of those that are not 0, or 1."""
    sizes = np.abs(x[np.isfinite(x) & (x != 0)])
    return float(np.median(sizes)) if sizes.size else 1.0


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


def numerical_vjp(f: Callable, *xs: Any, y_bar: Any) -> Estimate:
    """The pullback of an upstream gradient from values of f alone, in float64, with an estimate of its error.

    Args:
        f: a function of pytrees of floats to a pytree of real floats.
        *xs: where to differentiate.
        y_bar: the upstream gradient, of the structure and shapes of `f(*xs)`.

    Returns:
        `(value, error)`: tuples with one entry for each argument.

    Raises:
        ShapeError: y_bar does not have the structure and shapes of the result.

    Source:
        CS231n 2019, lecture 4, slide 8; Ridders 1982.

    Example:
        >>> import numpy as np
        >>> (x_bar,), _ = numerical_vjp(lambda x: x**2, np.array([1.0, 3.0]), y_bar=np.array([1.0, 10.0]))
        >>> x_bar.round(9)
        array([ 2., 60.])
    """

    def paired(xs: tuple[Any, ...]) -> Any:
        y = f(*xs)
        same = jax.tree.structure(y) == jax.tree.structure(y_bar)
        if not same or any(map(_differ, jax.tree.leaves(y), jax.tree.leaves(y_bar))):
            came, expected = (jax.tree.map(jnp.shape, tree) for tree in (y_bar, y))
            raise ShapeError(
                f"numerical_vjp: y_bar has shapes {came}, expected those of the result, {expected}"
            )
        products = jax.tree.map(lambda y, y_bar: jnp.sum(y * np.asarray(y_bar, np.float64)), y, y_bar)
        return sum(jax.tree.leaves(products), jnp.zeros(()))

    return numerical_gradient(paired, xs)


def _differ(y: Any, y_bar: Any) -> bool:
    return jnp.shape(y) != jnp.shape(y_bar)
