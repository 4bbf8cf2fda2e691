"""The logarithm of the gamma function, and its derivatives: digamma ψ, trigamma ψ′ and ψ⁽ⁿ⁾.

    ψ(x) = (x − r) Σ 1/((x + k)(r + k))                  r = 1.4616…, the root of ψ; k = 0, 1, 2, …
    ψ⁽ⁿ⁾(x) = (−1)ⁿ⁺¹ n! Σ 1/(x + k)ⁿ⁺¹                  NIST DLMF §5.15.1

For x > 0 all terms have one sign, so no digits are lost, near the root either: the first sum is that of
ψ(x) − ψ(r) (§5.7.6). A dozen terms are added up; those behind follow from the asymptotic series (§5.11.2,
§5.15.8). For x < 0 the reflection formula (§5.15.6) has the n-th derivative of π cot(πx),
which is a polynomial in the cotangent. Where n is not known beforehand, the terms of k < −x are a sum of the
same kind, Σ 1/(x + k)ⁿ⁺¹ over all whole k less that of ψ⁽ⁿ⁾(1 − x).
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.rules._integrals import family
from funcnet.rules._table import like, rule, slope, stretch
from funcnet.rules.special import in_float32

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
"""B₂, B₄, …, B₁₄."""
TERMS = 12
ROOT = (1.4616321449683622, 9.549995429965698e-17)
"""The root of ψ for x > 0, as a float64 and the rest of it."""


@rule("lgamma", formula="x̄ = ȳ · ψ(x)", source="NIST DLMF §5.2.2")
def lgamma(y_bar, y, x):
    return (y_bar * in_float32(polygamma_of_order)(0, x),)


@rule("digamma", formula="x̄ = ȳ · ψ′(x)", source="NIST DLMF §5.15")
def digamma(y_bar, y, x):
    return (y_bar * in_float32(polygamma_of_order)(1, x),)


@rule("polygamma", formula="n̄ = NaN,  x̄ = ȳ · ψ⁽ⁿ⁺¹⁾(x)", source="NIST DLMF §5.15.1")
def polygamma(y_bar, y, n, x):
    """The order is a whole number: there is no derivative in it, and whoever asks gets NaN."""
    order = stretch(n + 1.0, y_bar.shape)
    return lax.full_like(n, math.nan), like(x, y_bar * in_float32(_polygamma)(order, stretch(x, y_bar.shape)))


def _next_polygamma(s: Any, n: Any, x: Any) -> Any:
    return _polygamma(n + 1, x)


@slope(None, _next_polygamma)
def _polygamma(n: Any, x: Any) -> Any:
    """ψ⁽ⁿ⁾(x); of orders whose factorial is large JAX's, which is right for x > 0 only."""
    factorials = np.array([math.factorial(k) for k in range(34)], x.dtype)
    known = (n > 0) & (n < factorials.size)
    s, inside = lax.select(known, n + 1, lax.full_like(n, 2)), lax.select(known, x, lax.full_like(x, 1))
    factorial = jnp.asarray(factorials)[lax.convert_element_type(s - 1, np.int32)]
    odd, left = lax.rem(s, lax.full_like(s, 2)) == 1, inside < 0
    value = _hurwitz(s, lax.select(left, 1 - inside, inside), factorial)
    around = _around(s, lax.select(left, inside, lax.full_like(x, -0.5)), odd, factorial)
    value = lax.select(left, around - lax.select(odd, -value, value), value)
    return lax.select(known, lax.select(odd, -value, value), lax.polygamma(n, x))


@family(lambda f, n, x: f(n + 1, x))
def polygamma_of_order(n: int, x: Any) -> Any:
    """ψ⁽ⁿ⁾(x) for an order known beforehand."""
    mirrored = x < 0
    right = lax.select(mirrored, 1 - x, x)
    value = (
        _digamma_of_positive(right) if n == 0 else _hurwitz(n + 1, right, (-1) ** (n + 1) * math.factorial(n))
    )
    cotangent = _cotangent(lax.select(mirrored, x - lax.round(x), lax.full_like(x, 0.25)))
    value = lax.select(mirrored, (-1) ** n * value - _cotangent_slope(n, cotangent), value)
    pole = (x <= 0) & (x == lax.round(x))
    return lax.select(pole, lax.full_like(x, math.inf if n % 2 else math.nan), value)


def _digamma_of_positive(x: Any) -> Any:
    """Near 0 it is ψ(x + 1) − 1/x."""
    small = x < 0.4
    inverse = 1 / lax.select(small, x, lax.full_like(x, 1))
    value = _digamma(lax.select(small, x + 1, x))
    return lax.select(small, value - inverse, value)


def _digamma(x: Any) -> Any:
    """ψ(x) − ψ(r)."""
    root, rest = (x.dtype.type(ROOT[0]), ROOT[1])
    rest = ROOT[0] - float(root) if root.itemsize < 8 else rest
    far, far_root = x + TERMS, ROOT[0] + TERMS
    u, v = 1 / far, 1 / far_root
    behind = v / 2 + v * (u + v) * _divided(u * u, v * v)

    def times_sum(d: Any) -> Any:
        return sum(d / (x + k) / (ROOT[0] + k) for k in range(TERMS)) + d / far * behind

    d = x - root  # and less the rest, which XLA would add to the root if it stood beside it
    return lax.log1p(d / far_root - rest / far_root) + (times_sum(d) - times_sum(rest))


def _divided(u: Any, v: float) -> Any:
    """(q(u) − q(v))/(u − v) of q(u) = Σ B₂ⱼ uʲ/(2j), by Horner's rule twice."""
    quotient, value = lax.full_like(u, 0), 0.0
    for coefficient in [b / (2 * j) for j, b in reversed(list(enumerate(BERNOULLI, 1)))]:
        quotient, value = quotient * u + value, value * v + coefficient
    return quotient * u + value


def _hurwitz(s: Any, x: Any, c: Any) -> Any:
    """c ζ(s, x) = c Σ 1/(x + k)ˢ for x > 0 (NIST DLMF §25.11.28), which may be normal where ζ is not.

    With p the power of 2 next to x it is c/pˢ Σ (p/(x + k))ˢ, of which no term that matters is flushed to 0.
    """
    info = jnp.finfo(x.dtype)
    p = lax.reduce_precision(lax.clamp(lax.full_like(x, 1), x, lax.full_like(x, info.max / 4)), info.nexp, 0)
    u, scaled = 1 / (x + TERMS), p / (x + TERMS)
    series = lax.full_like(x, 0)
    for factor in reversed(_tail_factors(s)):
        series = series * (u * u) + factor
    tail = p * (1 / (s - 1) + u * (0.5 + u * series)) * _power(scaled, s - 1)
    half = s // 2 if isinstance(s, int) else lax.floor(s / 2)
    total = tail + sum(_power(p / (x + k), s) for k in reversed(range(TERMS)))
    return c * (total * _power(1 / p, half)) * _power(1 / p, s - half)


def _tail_factors(s: Any) -> list[Any]:
    """Those of 1/xˢ⁺¹, 1/xˢ⁺³, … in the asymptotic series of ζ(s, x)."""
    rising = [math.prod(s + i for i in range(2 * j - 1)) for j in range(1, len(BERNOULLI) + 1)]
    return [
        r * (b / math.factorial(2 * j)) for j, (r, b) in enumerate(zip(rising, BERNOULLI, strict=True), 1)
    ]


def hurwitz_drop(s: Any, x: Any, h: Any, c: Any) -> Any:
    """c (ζ(s, x) − ζ(s, x + h)) for x > 0 and h ≥ 0: each 1/yˢ − 1/(y + h)ˢ is a product."""

    def drop(u: Any, m: Any) -> Any:
        """uᵐ − vᵐ with 1/v = 1/u + h."""
        return _power(u, m) * -lax.expm1(-m * lax.log1p(h * u))

    u = 1 / (x + TERMS)
    tail = [factor * drop(u, s + 2 * j + 1) for j, factor in enumerate(_tail_factors(s))]
    behind = sum(reversed(tail), drop(u, s) / 2) + drop(u, s - 1) / (s - 1)
    return c * (behind + sum(drop(1 / (x + k), s) for k in reversed(range(TERMS))))


def _around(s: Any, x: Any, odd: Any, c: Any) -> Any:
    """c Σ 1/(x + k)ˢ over all whole k, also negative ones; for odd s two cancel where x + ½ is whole."""
    r = x - lax.round(x)
    size = lax.abs(r)
    even = _hurwitz(s, size, c) + _hurwitz(s, 1 - size, c)
    return lax.select(odd, lax.sign(r) * hurwitz_drop(s, size, 1 - 2 * size, c), even)


def _power(x: Any, s: Any) -> Any:
    return x**s if isinstance(s, int) else lax.pow(x, s)


def _cotangent(x: Any) -> Any:
    """cot(πx) for |x| ≤ ½: near ½ it is tan(π(½ − x)), whose difference is exact."""
    near_0 = lax.abs(x) < 0.25
    tangent = lax.tan(math.pi * lax.select(near_0, x, lax.sign(x) * (0.5 - lax.abs(x))))
    return lax.select(near_0, 1 / tangent, tangent)


def _cotangent_slope(n: int, cotangent: Any) -> Any:
    """The n-th derivative of π cot(πx) from cot(πx), whose slope is −π (1 + cot²)."""
    polynomial = np.polynomial.Polynomial([0.0, math.pi])
    for _ in range(n):
        polynomial = -math.pi * polynomial.deriv() * np.polynomial.Polynomial([1.0, 0.0, 1.0])
    value = lax.full_like(cotangent, 0)
    for coefficient in reversed(polynomial.coef.tolist()):
        value = value * cotangent + coefficient
    return value
