"""The densities of the gamma and the beta distribution, for orders of every size.

    f(x) = xᵃ⁻¹ e⁻ˣ / Γ(a)                  f′ = f · (a − 1 − x)/x           ∂f/∂a = f · (log x − ψ(a))
    f(x) = xᵃ⁻¹ (1−x)ᵇ⁻¹ / B(a, b)          n = a + b

For small orders they are products; 1/Γ(a) is a polynomial in the distance of a to a whole number, divided by
a − 1, a − 2, and so on. For large ones they are Loader's (2000), by deviances D and Stirling's error δ:

    x f(x) = √(a/2π) · exp(−a D(x/a) − δ(a))                                D(r) = r − 1 − log r
    δ(a)   = log Γ(a) − (a − ½) log a + a − ½ log 2π = 1/(12a) − …

A float32 has no room for the digits of a D in the tails: there they are off by about 2 a D ulp.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.polynomial import Chebyshev, Polynomial

from funcnet.rules._table import slope
from funcnet.rules.special import in_float32

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LARGE = 16.0  # from here on Stirling's series are exact to rounding


def deviance(ratio: Any, excess: Any) -> Any:
    """D(r) = r − 1 − log r of a ratio r and its excess v = r − 1, without cancellation near 1.

    Loader 2000, function bd0. With s = v/(2 + v), log r = 2 artanh(s) and v − 2s = vs.
    """
    near = (excess > -0.5) & (excess < 1.0)
    s = lax.select(near, excess / (2.0 + excess), lax.full_like(excess, 0.0))
    square = s * s
    series = lax.full_like(s, 0.0)
    for k in range(35, 1, -2):
        series = series * square + 1.0 / k
    far = excess - lax.log(lax.select(near, lax.full_like(ratio, 1.0), ratio))
    return lax.select(near, excess * s - 2.0 * s * square * series, far)


def stirling_error(a: Any) -> Any:
    """δ(a), by its asymptotic series where that is exact to rounding; DLMF §5.11.1."""
    large = a >= LARGE
    r = 1.0 / lax.select(large, a, lax.full_like(a, LARGE))
    square = r * r
    series = lax.full_like(a, 0.0)
    for coefficient in (-691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12):
        series = series * square + coefficient
    small = lax.select(large, lax.full_like(a, 1.0), a)
    direct = lax.lgamma(small) - (small - 0.5) * lax.log(small) + small - HALF_LOG_2PI
    return lax.select(large, series * r, direct)


def digamma_excess(a: Any) -> Any:
    """ψ(a + 1) − log a, whose terms cancel for large a; DLMF §5.11.2."""
    large = a >= LARGE
    r = 1.0 / lax.select(large, a, lax.full_like(a, LARGE))
    square = r * r
    series = lax.full_like(a, 0.0)
    for coefficient in (691 / 32760, -1 / 132, 1 / 240, -1 / 252, 1 / 120, -1 / 12):
        series = series * square + coefficient
    small = lax.select(large, lax.full_like(a, 1.0), a)
    return lax.select(large, 0.5 * r + series * square, lax.digamma(small + 1.0) - lax.log(small))


def _gamma_slope_in_order(f: Any, a: Any, x: Any) -> Any:
    return f * (log_over_mean(lax.log(x), a, (x / a, (x - a) / a)) + 1.0 / a)


def _gamma_slope(f: Any, a: Any, x: Any) -> Any:
    flat = a == 1.0
    return f * lax.select(
        flat, lax.full_like(x, -1.0), (a - 1.0 - x) / lax.select(flat, lax.full_like(x, 1.0), x)
    )


@in_float32
@slope(_gamma_slope_in_order, _gamma_slope)
def gamma_density(a: Any, x: Any) -> Any:
    """xᵃ⁻¹ exp(−x)/Γ(a), in Loader's form from a = 16 on."""
    large, one = a >= LARGE, lax.full_like(a, 1.0)
    small = lax.select(large, one, a)
    near = lax.min(x, lax.full_like(x, 200.0 if x.dtype == jnp.float32 else 1600.0))  # there it is 0
    half = lax.exp(-near / 2)
    few = lax.pow(near, small - 1.0) * half * _reciprocal_gamma(small, 16) * half
    big, away = lax.select(large, a, one), lax.select(large & (x > 0.0), x, one)
    many = -(big * deviance(x / big, (x - big) / big)) - stirling_error(big)
    return lax.select(large, lax.exp(many) * (lax.sqrt(big / (2 * math.pi)) / away), few)


def _beta_slope_in_order(mirrored: bool) -> Callable[..., Any]:
    def in_order(f: Any, a: Any, b: Any, x: Any) -> Any:
        n, shift = a + b, x * b - (1.0 - x) * a
        order, log, part, excess = (
            (b, lax.log1p(-x), 1.0 - x, -shift) if mirrored else (a, lax.log(x), x, shift)
        )
        return f * (
            log_over_mean(log, order, (part * (n / order), excess / order), n) + 1.0 / order - 1.0 / n
        )

    return in_order


def _beta_slope(f: Any, a: Any, b: Any, x: Any) -> Any:
    return f * ((a - 1.0) / x - (b - 1.0) / (1.0 - x))


@in_float32
@slope(_beta_slope_in_order(False), _beta_slope_in_order(True), _beta_slope)
def beta_density(a: Any, b: Any, x: Any) -> Any:
    """xᵃ⁻¹ (1−x)ᵇ⁻¹/B(a, b); in Loader's form from a = 16 or b = 16 on."""
    one, rest = lax.full_like(x, 1.0), 1.0 - x
    large = (a >= LARGE) | (b >= LARGE)
    p, q = (lax.select(large, one, order) for order in (a, b))
    lost = (1.0 - rest - x) / lax.select(rest > 0.0, rest, one)  # of 1 − x in rounding
    few = _reciprocal_gamma(p, 16) * _reciprocal_gamma(q, 16) / _reciprocal_gamma(p + q, 32)
    half = lax.floor((p - 1.0) / 2)
    few = (
        few
        * lax.pow(x, half)
        * lax.pow(rest, q - 1.0)
        * (1.0 + (q - 1.0) * lost)
        * lax.pow(x, p - 1.0 - half)
    )
    n = a + b
    # x n/a − 1 and (1−x) n/b − 1 share their numerator.
    shift = x * b - rest * a
    many = -(a * deviance(x * (n / a), shift / a)) - b * deviance(rest * (n / b), -shift / b)
    many = many + (stirling_error(n) - stirling_error(a) - stirling_error(b))
    inside = (x > 0.0) & (x < 1.0)
    scale = lax.sqrt(a / n * b / (2 * math.pi)) / lax.select(inside, x * rest, one)
    ends = lax.select(x > 0.0, _at_the_end(b, a), _at_the_end(a, b))
    return lax.select(large, lax.select(inside, lax.exp(many) * scale, ends), few)


def _at_the_end(a: Any, b: Any) -> Any:
    """f(0) of the beta distribution."""
    infinite = lax.full_like(a, math.inf)
    return lax.select(a == 1.0, b, lax.select(a < 1.0, infinite, lax.full_like(a, 0.0)))


def _reciprocal_gamma(a: Any, most: int) -> Any:
    """1/Γ(a) for 0 < a < `most`: with a = n + t it is 1/Γ(1 + t) over (a − 1) … (a − n + 1)."""
    whole, one = lax.round(a), lax.full_like(a, 1.0)
    value, t = lax.full_like(a, 0.0), a - whole
    for coefficient in reversed(_RECIPROCAL_GAMMA):
        value = value * t + coefficient
    factors = [lax.select(whole > j, a - j, one) for j in range(1, most)]
    while len(factors) > 1:  # in pairs, which rounds less often than one after the other
        pairs = [one * other for one, other in zip(factors[::2], factors[1::2], strict=False)]
        factors = pairs + factors[2 * len(pairs) :]
    return lax.select(whole == 0, a, one) * value / factors[0]


_RECIPROCAL_GAMMA = (
    Chebyshev.interpolate(np.vectorize(lambda t: 1 / math.gamma(1 + t)), 18, domain=[-0.55, 0.55])
    .convert(kind=Polynomial)
    .coef.tolist()
)
"""Of 1/Γ(1 + t)."""


def log_over_mean(log_x: Any, a: Any, ratio: tuple[Any, Any], n: Any = None) -> Any:
    """log x − ψ(a+1), or log x − ψ(a+1) + ψ(n+1).

    For large a from x over the mean, given as the pair x/mean and x/mean − 1: the terms themselves cancel.
    """
    quotient, excess = ratio
    near = lax.abs(excess) < 0.5
    log1p = lax.log1p(lax.select(near, excess, lax.full_like(a, 0.0)))
    far = lax.log(lax.select(near, lax.full_like(a, 1.0), quotient))
    many = lax.select(near, log1p, far) - digamma_excess(a)
    few = log_x - lax.digamma(a + 1.0)
    if n is not None:
        many = many + digamma_excess(n)
        few = few + lax.digamma(n + 1.0)
    return lax.select(a >= LARGE, many, few)
