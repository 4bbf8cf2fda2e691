"""Divided differences of functions, in forms that do not cancel where their arguments are nearly equal.

    g[x, y] = (g(x) − g(y)) / (x − y),  g[x, x] = g′(x)
    g[x, y, z] = (g[x, y] − g[y, z]) / (x − z),  in the limit g″(x) / 2

Both are symmetric in all arguments. Roots have closed forms. For exp and log the definition is good where x
and z are far apart; where they are near, the second difference is an integral over the differences of g′
(Hermite and Genocchi; de Boor 2005, Divided Differences), by twelve points of Gauss, to the last digit:

    g[x, y, z] = ∫₀¹ t g′[x + t(y − x), x + t(z − x)] dt
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from funcnet.rules._ties import small


class Scalar(NamedTuple):
    """A function of each eigenvalue by itself, and its differences."""

    of: Callable[[Array], Array]
    of_two: Callable[[Array, Array], Array]
    of_three: Callable[[Array, Array, Array], Array]

    def value(self, w: Array) -> Array:
        """g(wᵢ)."""
        return self.of(w)

    def first(self, w: Array) -> Array:
        """g[wᵢ, wⱼ]."""
        return self.of_two(w[..., :, None], w[..., None, :])

    def second(self, w: Array) -> Array:
        """g[wᵢ, wₖ, wⱼ] at [i, k, j]."""
        return self.of_three(w[..., :, None, None], w[..., None, :, None], w[..., None, None, :])


@dataclass(frozen=True)
class Leading:
    """1 for the largest eigenvalues, as many as the rank, and 0 for the others.

    A difference is 1 / gap between one of these and one of the others, where the gap is one, and 0 among
    their own. Of three arguments two are on one side: the second difference is the product of the two that
    cross, negative for two of the largest.
    """

    rank: int

    def value(self, w: Array) -> Array:
        """g(wᵢ)."""
        n = w.shape[-1]
        return jnp.broadcast_to(jnp.arange(n) >= n - self.rank, w.shape).astype(w.dtype)

    def first(self, w: Array) -> Array:
        """g[wᵢ, wⱼ]."""
        g, gap = self.value(w), jnp.abs(w[..., :, None] - w[..., None, :])
        crosses = g[..., :, None] != g[..., None, :]
        isolated = jnp.where(small(gap, w), jnp.nan, gap)
        return jnp.where(crosses, 1 / jnp.where(crosses, isolated, 1), 0)

    def second(self, w: Array) -> Array:
        """g[wᵢ, wₖ, wⱼ] at [i, k, j]."""
        g, d = self.value(w), self.first(w)
        ik, kj, ij = d[..., :, :, None], d[..., None, :, :], d[..., :, None, :]
        of_the_largest = g[..., :, None, None] + g[..., None, :, None] + g[..., None, None, :]
        return jnp.where(of_the_largest > 1, -1, 1) * (ik * kj + kj * ij + ij * ik)


Spectral = Scalar | Leading
"""A function of all eigenvalues w [*batch, n] in ascending order."""


def _ordered(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    low, high = jnp.minimum(x, y), jnp.maximum(x, y)
    return jnp.minimum(low, z), jnp.maximum(low, jnp.minimum(high, z)), jnp.maximum(high, z)


def _of_definition(of_two: Callable, a: Array, b: Array, c: Array, far: Array) -> Array:
    return (of_two(b, c) - of_two(a, b)) / jnp.where(far, c - a, 1)


def _of_integral(of_two_of_slope: Callable, a: Array, b: Array, c: Array) -> Array:
    x, weight = np.polynomial.legendre.leggauss(12)
    points = zip(((1 + x) / 2).tolist(), (weight / 2).tolist(), strict=True)
    terms = (weight * t * of_two_of_slope(a + t * (b - a), a + t * (c - a)) for t, weight in points)
    return sum(terms, jnp.zeros_like(a))


def _exp_of_two(x: Array, y: Array) -> Array:
    """e^max (1 − e^−d) / d, d = |x − y|."""
    d = jnp.abs(x - y)
    return jnp.exp(jnp.maximum(x, y)) * jnp.where(d == 0, 1, -jnp.expm1(-d) / jnp.where(d == 0, 1, d))


def _exp_of_three(x: Array, y: Array, z: Array) -> Array:
    a, b, c = _ordered(x, y, z)
    far = c - a > 1
    return jnp.where(far, _of_definition(_exp_of_two, a, b, c, far), _of_integral(_exp_of_two, a, b, c))


def _log_of_two(x: Array, y: Array) -> Array:
    """log(1 + d / min) / d, d = |x − y|."""
    a, d = jnp.minimum(x, y), jnp.abs(x - y)
    return jnp.where(d == 0, 1 / a, jnp.log1p(d / a) / jnp.where(d == 0, 1, d))


def _log_of_three(x: Array, y: Array, z: Array) -> Array:
    a, b, c = _ordered(x, y, z)
    far = c > 2 * a
    near = _of_integral(lambda x, y: -1 / (x * y), a, b, c)
    return jnp.where(far, _of_definition(_log_of_two, a, b, c, far), near)


def _sqrt_of_two(x: Array, y: Array) -> Array:
    return 1 / (jnp.sqrt(x) + jnp.sqrt(y))


def _sqrt_of_three(x: Array, y: Array, z: Array) -> Array:
    return -_sqrt_of_two(x, y) * _sqrt_of_two(y, z) * _sqrt_of_two(z, x)


def _rsqrt_of_two(x: Array, y: Array) -> Array:
    return -_sqrt_of_two(x, y) / (jnp.sqrt(x) * jnp.sqrt(y))


def _rsqrt_of_three(x: Array, y: Array, z: Array) -> Array:
    roots = [jnp.sqrt(w) for w in (x, y, z)]
    return -_sqrt_of_three(x, y, z) * (roots[0] + roots[1] + roots[2]) / (roots[0] * roots[1] * roots[2])


FUNCTIONS = {
    "exp": Scalar(jnp.exp, _exp_of_two, _exp_of_three),
    "log": Scalar(jnp.log, _log_of_two, _log_of_three),
    "sqrt": Scalar(jnp.sqrt, _sqrt_of_two, _sqrt_of_three),
    "rsqrt": Scalar(lambda w: 1 / jnp.sqrt(w), _rsqrt_of_two, _rsqrt_of_three),
}
"""By name."""
