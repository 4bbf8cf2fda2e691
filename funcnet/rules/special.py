"""Special functions of one argument: the error function, the gamma function and its kin, Bessel functions.

    erf(x)  = 2/√π ∫₀ˣ exp(−t²) dt        d erf/dx = 2/√π · exp(−x²)
    ψ(x)    = d log Γ(x)/dx               ψ⁽ⁿ⁾ its n-th derivative
    iₙₑ(x)  = exp(−|x|) · Iₙ(x)           d I₀/dx = I₁,  d I₁/dx = I₀ − I₁/x

Far out, exp(−x²) hangs on every bit of x²: an error of one ulp in x² is one of x² ulp in the result. Formulas
that go through it therefore split x² into a part that is a float exactly and a small rest (`exp_of_square`).
Short floats are computed in float32 and rounded once (`in_float32`).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import like, rule, slope


def in_float32(function: Callable) -> Callable:
    """A function of arrays of one dtype that computes float16 and bfloat16 in float32."""

    @functools.wraps(function)
    def wide(*xs: Any) -> Any:
        dtype = xs[-1].dtype
        if dtype.itemsize > 2:
            return function(*xs)
        longer = (x if isinstance(x, (int, float)) else lax.convert_element_type(x, jnp.float32) for x in xs)
        return lax.convert_element_type(function(*longer), dtype)

    return wide


@in_float32
def exp_of_square(scale: float, sign: int, x: Any) -> Any:
    """scale · exp(±x²) to about two ulp.

    With c a number near x that has half its digits, x² = c² + (x − c)(x + c), and c² is exact. The value does
    not depend on c, so neither do its derivatives. The bounds of c keep exp(−c²) a normal number where the
    product still is one. XLA may merge a product of exponentials into the exponential of a sum, which would
    undo the split, so the second factor is 1 + expm1.
    """
    derivative = lambda s, x: _times_x_exp_of_square(2 * sign * scale, sign, x)  # noqa: E731
    return slope(derivative)(functools.partial(_exp_of_square, scale, sign))(x)


def _exp_of_square(scale: float, sign: int, x: Any) -> Any:
    squared, rest = _split_square(x)
    return scale * (1.0 + lax.expm1(sign * rest)) * lax.exp(sign * squared)


def _times_x_exp_of_square(scale: float, sign: int, x: Any) -> Any:
    """scale · x exp(±x²), which is a normal number a little farther out: there c stays and the rest grows."""
    squared, rest = _split_square(x)
    factor = lax.select(lax.abs(rest) < 0.25, 1.0 + lax.expm1(sign * rest), lax.exp(sign * rest))
    return scale * x * factor * lax.exp(sign * squared)


def _split_square(x: Any) -> tuple[Any, Any]:
    """c² and (x − c)(x + c)."""
    steps, bound = (2.0**21, 26.5) if x.dtype == jnp.float64 else (2.0**7, 9.328125)
    c = lax.clamp(lax.full_like(x, -bound), lax.round(x * steps) / steps, lax.full_like(x, bound))
    return c * c, (x - c) * (x + c)


@rule("erf", formula="x̄ = ȳ · 2/√π · exp(−x²)", source="NIST DLMF §7.2.1")
def erf(y_bar, y, x):
    return (y_bar * exp_of_square(2 / math.sqrt(math.pi), -1, x),)


@rule("erfc", formula="x̄ = −ȳ · 2/√π · exp(−x²)", source="NIST DLMF §7.2.2")
def erfc(y_bar, y, x):
    return (y_bar * exp_of_square(-2 / math.sqrt(math.pi), -1, x),)


@rule("erf_inv", formula="x̄ = ȳ · √π/2 · exp(y²)", source="NIST DLMF §7.17")
def erf_inv(y_bar, y, x):
    return (y_bar * erf_inv_slope(y, x),)


@in_float32
@slope(None, lambda s, y, x: 2.0 * s * _exact_erf_inv(y, x) * s)
def erf_inv_slope(y: Any, x: Any) -> Any:
    """√π/2 · exp(y²) for the exact y = erf⁻¹(x), of which the one at hand is a rounding.

    An error δ in |y| is one of 2|y|δ in exp(y²), 1000 ulp in the tails. At |x| = 1 the slope is ∞.
    """
    return _erf_inv_slope(y) * (1.0 + 2.0 * _tail(y) * _newton_step(y, x))


def _exact_erf_inv(y: Any, x: Any) -> Any:
    """y to rounding; as it comes it is off by 64 ulp where |y| is 2.6."""
    step = lax.sign(y) * lax.stop_gradient(_newton_step(y, x))
    return y + lax.select(lax.abs(y) > 1.0, step, lax.full_like(step, 0.0))


def _erf_inv_slope(y: Any) -> Any:
    return _exp_of_square(math.sqrt(math.pi) / 2, 1, y)


def _tail(y: Any) -> Any:
    return lax.min(lax.abs(y), lax.full_like(y, 6.0))


def _newton_step(y: Any, x: Any) -> Any:
    """From |y| to the exact one: the residual erfc|y| − (1 − |x|), times the slope."""
    s = lax.min(_erf_inv_slope(y), lax.full_like(y, float(jnp.finfo(y.dtype).max)))
    return _scaled_erfc(_tail(y), s) - (1.0 - lax.abs(x)) * s


# To one part in 10⁸ on 0 ≤ t ≤ 4, as far as float32 goes: the interpolant at ten Chebyshev nodes in
# s = (t − 2)/(t + 2), the variable of Shepherd and Laframboise (1981).
_SCALED_ERFC = (
    2.49794107541e-5,
    -0.000111388058622,
    -0.0009241246128,
    -0.000733506219628,
    0.006216124589,
    0.00330882592739,
    -0.069993946712,
    0.214163918145,
    -0.378583581762,
    0.226338525601,
)


def _scaled_erfc(t: Any, s: Any) -> Any:
    """√π/2 · exp(t²) erfc(t) for t ≥ 0, where s is √π/2 · exp(t²)."""
    if t.dtype == jnp.float64:
        return s * lax.erfc(t)
    ratio, value = (t - 2.0) / (t + 2.0), lax.full_like(t, 0.0)
    for coefficient in _SCALED_ERFC:
        value = value * ratio + coefficient
    return value


@rule("lgamma", formula="x̄ = ȳ · ψ(x)", source="NIST DLMF §5.2.2")
def lgamma(y_bar, y, x):
    return (y_bar * lax.digamma(x),)


@rule("digamma", formula="x̄ = ȳ · ψ′(x)", source="NIST DLMF §5.15")
def digamma(y_bar, y, x):
    return (y_bar * trigamma(x),)


@in_float32
def trigamma(x: Any) -> Any:
    """ψ′(x), by the primitive polygamma where that is right.

    It is wrong left of −10: ψ′(x) + ψ′(1 − x) = π²/sin²(πx) (DLMF §5.15.6) mirrors x < 0. It overflows inside
    for large x: there ψ′(x) = 1/x + 1/(2x²) + 1/(6x³) − O(x⁻⁵).
    """
    mirrored = x < 0.0
    right = lax.select(mirrored, 1.0 - x, x)
    far = right > 1e5
    near = lax.polygamma(lax.full_like(x, 1.0), lax.select(far, lax.full_like(x, 1.0), right))
    tail = (1.0 + (0.5 + 1.0 / (6.0 * right)) / right) / right
    value = lax.select(far, tail, near)
    sine = lax.select(mirrored, lax.sin(math.pi * (x - lax.round(x))), lax.full_like(x, 1.0))
    return lax.select(mirrored, (math.pi / sine) ** 2 - value, value)


@rule("polygamma", formula="n̄ = NaN,  x̄ = ȳ · ψ⁽ⁿ⁺¹⁾(x)", source="NIST DLMF §5.15.1")
def polygamma(y_bar, y, n, x):
    """The order is a whole number: there is no derivative in it, and whoever asks gets NaN."""
    return lax.full_like(n, math.nan), like(x, y_bar * lax.polygamma(n + 1.0, x))


def asymptotic(terms: int) -> list[float]:
    """Coefficients of (I₀(x) − I₁(x)) · exp(−x) · √(2πx) in powers of 1/x; NIST DLMF §10.40.1."""

    def series(mu: int) -> list[float]:
        coefficients = [1.0]
        for k in range(1, terms):
            coefficients.append(coefficients[-1] * ((2 * k - 1) ** 2 - mu) / (8 * k))
        return coefficients

    return [a - b for a, b in zip(series(0), series(4), strict=True)]


def bessel_difference(i0e: Any, i1e: Any, x: Any) -> Any:
    """i₀ₑ(x) − |i₁ₑ(x)|, far out from its asymptotic series, as the two cancel."""
    far = lax.abs(x) > (30.0 if x.dtype == jnp.float64 else 12.0)
    r = 1.0 / lax.select(far, lax.abs(x), lax.full_like(x, 12.0))
    series = lax.full_like(x, 0.0)
    for coefficient in reversed(asymptotic(20)):
        series = series * r + coefficient
    return lax.select(far, series * lax.sqrt(r / (2 * math.pi)), i0e - lax.abs(i1e))


@rule("bessel_i0e", formula="x̄ = ȳ · (i₁ₑ(x) − sign(x) · y)", source="NIST DLMF §10.29.3")
def bessel_i0e(y_bar, y, x):
    return (y_bar * bessel_i0e_slope(y, x),)


@in_float32
def bessel_i0e_slope(y: Any, x: Any) -> Any:
    return -lax.sign(x) * bessel_difference(y, lax.bessel_i1e(x), x)


@rule("bessel_i1e", formula="x̄ = ȳ · (i₀ₑ(x) − |y| − y/x)", source="NIST DLMF §10.29.2")
def bessel_i1e(y_bar, y, x):
    return (y_bar * bessel_i1e_slope(y, x),)


@in_float32
def bessel_i1e_slope(y: Any, x: Any) -> Any:
    """y/x tends to 1/2 at 0."""
    at_zero = x == 0.0
    quotient = y / lax.select(at_zero, lax.full_like(x, 1.0), x)
    quotient = lax.select(at_zero, lax.full_like(x, 0.5), quotient)
    return bessel_difference(lax.bessel_i0e(x), y, x) - quotient
