"""Activations that are x times a gate made of x: silu, gelu and mish.

Where an activation has a minimum its derivative has a root, and with the usual formulas no digit there is
right; in the tails 1 + tanh cancels. Here f′ is a positive factor times n(x), a sum of functions that change
one way. With r the float32 nearest to the root of n,

    n(x) = n(r) + (n(x) − n(r)),        the difference being (x − r) × something, or expm1 of that

and n(r) ≈ 1e-8 known to all digits. What is differentiated again need not cancel in turn, so that f′ has a
derivative of its own, written from its own roots. All stay within 4 ulp of the truth at every float32 input
whose true derivative is a normal number, and the second derivatives within 8.

    silu     x σ(x)               f′(−x) = 1 − f′(x), so the left side x ≤ 0 is enough
    gelu     x Φ(x)               the same; and so is x σ(2u), which is its approximation with tanh(u)
    mish     x tanh(log(1 + eˣ))

The roots and the polynomials are those of real x: of complex numbers these functions stay composed. JAX has
no call for gelu, so that its rules hold where one is made, `jax.jit(jax.nn.gelu)`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.rules._table import rule, slope
from funcnet.rules.activations import times_exp
from funcnet.rules.exponentials import logistic_slope
from funcnet.rules.special import in_float32


def _minus_abs(x: Any) -> Any:
    """−|x| with derivative −1 at 0, so that second derivatives there come out right."""
    return jnp.where(x < 0, x, -x)


def _two_plus_two_cosh(x: Any) -> Any:
    """eˣ + 2 + e⁻ˣ; infinite where it overflows, with a derivative of 0 there rather than NaN."""
    limit = np.nextafter(x.dtype.type(math.log(jnp.finfo(x.dtype).max)), 0)
    inside = jnp.clip(x, -limit, limit)
    return jnp.where(jnp.abs(x) > limit, jnp.inf, jnp.exp(inside) + 2 + jnp.exp(-inside))


@slope(
    lambda s, a, x: _over_two_plus_two_cosh(jnp.ones_like(a), x),  # pyright: ignore[reportGeneralTypeIssues]
    lambda s, a, x: -jnp.tanh(x / 2) * s,
)
def _over_two_plus_two_cosh(a: Any, x: Any) -> Any:
    """a / (eˣ + 2 + e⁻ˣ), also where that is a normal number and without the a it is not."""
    return jnp.where(jnp.abs(x) > 64, times_exp(a, _minus_abs(x)), a / _two_plus_two_cosh(x))


# silu′(x) = n(x) / (eˣ + 2 + e⁻ˣ) with n(x) = 1 + x + eˣ. From r, the float32 nearest to the root of n,
# n(x) − n(r) = (x − r) + eʳ (e^(x − r) − 1): two terms of one sign. In silu″(x) = m(x) / (eˣ + 2 + e⁻ˣ) with
# m(x) = 2 − x tanh(x/2), and r that nearest to its root, T = tanh(x/2) and T_r = tanh(r/2),
# m(r) − m(x) = (x − r) T + r (T − T_r) and T − T_r = tanh((x − r)/2) (1 − T T_r).
_SILU_ROOT = -1.2784645557403564
_SILU_AT_ROOT = -1.659355263530338e-08  # n(r)
_SILU_BEND = 2.399357318878174
_SILU_AT_BEND = -4.6022919162986406e-08  # m(r)
_SILU_TANH_AT_BEND = 0.83355656545479634


@rule(
    "jax.nn.silu",
    formula="x̄ = ȳ · σ(x) (1 + x σ(−x))",
    source="Hendrycks and Gimpel 2016; Elfwing et al. 2018, eq. 8",
)
def silu(y_bar, y, x):
    return (y_bar * silu_slope(x),)


@in_float32
@slope(lambda s, x: _silu_second_derivative(x))
def silu_slope(x: Any) -> Any:
    left = _silu_slope_on_the_left(_minus_abs(x))
    return jnp.where(x < 0, left, 1 - left)


def _silu_slope_on_the_left(x: Any) -> Any:
    """silu′(x) for x ≤ 0."""
    from_root = x - _SILU_ROOT
    n = from_root + (math.exp(_SILU_ROOT) * jnp.expm1(from_root) + _SILU_AT_ROOT)
    return jnp.where(x < -64, times_exp(n, x), n / _two_plus_two_cosh(x))


@slope(lambda s, x: _silu_third_derivative(x))
def _silu_second_derivative(x: Any) -> Any:
    t = jnp.abs(jnp.clip(x, -1000, 1000))
    tanh, from_bend = jnp.tanh(t / 2), t - _SILU_BEND
    change = jnp.tanh(from_bend / 2) * (1 - tanh * _SILU_TANH_AT_BEND)
    m = _SILU_AT_BEND - (from_bend * tanh + _SILU_BEND * change)
    return _over_two_plus_two_cosh(m, t)


def _silu_third_derivative(x: Any) -> Any:
    """Odd, and written so: exactly 0 at 0."""
    x = jnp.clip(x, -1000, 1000)
    bell, tanh = logistic_slope(x), jnp.tanh(x / 2)
    return -bell * (tanh * (3 - x * tanh) + 2 * x * bell)


# gelu′(−t) = n(t) exp(−t²/2) with n(t) = (R(t) − t)/√(2π) and R = Q/φ the Mills ratio of the normal
# distribution, for t ≥ 0. From r, the float32 nearest to the root of n, the slope
# (n(t) − n(r)) / (r − t) is a polynomial in s = (t − 3)/(t + 3) to one part in 1e9 on 0 ≤ t ≤ 13.5:
# the interpolant at eleven Chebyshev nodes, in the variable of Shepherd and Laframboise (1981).
_SQRT2 = 1.4142135381698608
_TWO_MINUS_ITS_SQUARE = 6.845708355740499e-08
_GELU_ROOT = 0.7517915368080139
_GELU_AT_ROOT = -6.934385667122436e-09  # n(r)
_GELU_SLOPE = (
    4.06169253521e-6,
    1.80536492725e-5,
    2.55779370513e-6,
    -0.000129819783594,
    -9.32317332994e-5,
    0.00109512022652,
    0.000203945858319,
    -0.0140747952585,
    0.0535961161366,
    -0.119975425521,
    0.478297677192,
)


@rule(
    "jax.nn.gelu(approximate=False)",
    formula="x̄ = ȳ · (Φ(x) + x φ(x))",
    source="Hendrycks and Gimpel 2016, Gaussian Error Linear Units",
)
def gelu(y_bar, y, x):
    return (y_bar * gelu_slope(x),)


@in_float32
@slope(lambda s, x: _gelu_second_derivative(x))
def gelu_slope(x: Any) -> Any:
    if x.dtype == jnp.float64:
        density = jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        return 0.5 * lax.erfc(-x / math.sqrt(2)) + jnp.clip(x, -40, 40) * density
    left = _gelu_slope_on_the_left(jnp.minimum(-_minus_abs(x), 20))
    return jnp.where(x < 0, left, 1 - left)


def _gelu_slope_on_the_left(t: Any) -> Any:
    """gelu′(−t) for 0 ≤ t ≤ 20 in float32.

    The products with 1 + w are arranged to round once.
    """
    minus_half_square, w = _halves_of_square(t)
    s = (t - 3) / (t + 3)
    *higher, constant = _GELU_SLOPE
    rest = s * jnp.polyval(jnp.asarray(higher, t.dtype), s)
    slope_times_1_plus_w = constant + (rest + (constant + rest) * w)
    n_times_1_plus_w = (_GELU_ROOT - t) * slope_times_1_plus_w + (_GELU_AT_ROOT + _GELU_AT_ROOT * w)
    return times_exp(n_times_1_plus_w, minus_half_square)


def _halves_of_square(t: Any) -> tuple[Any, Any]:
    """−h²/2 and w with exp(−t²/2) = exp(−h²/2) (1 + w).

    With h the upper half of t's digits h² is exact and w small.
    """
    h = lax.stop_gradient(lax.reduce_precision(t, exponent_bits=8, mantissa_bits=11))
    return -(h * h) / 2, jnp.expm1((h - t) * (h + t) / 2)


@slope(lambda s, x: _times_density(lambda x: x * (x * x - 4), x))
def _gelu_second_derivative(x: Any) -> Any:
    """φ(x) (2 − x²)."""
    return _times_density(lambda x: (_SQRT2 - x) * (_SQRT2 + x) + _TWO_MINUS_ITS_SQUARE, x)


def _times_density(polynomial: Callable[[Any], Any], x: Any) -> Any:
    """p(x) φ(x), with φ the density of the normal distribution."""
    x = jnp.clip(x, -40, 40)
    minus_half_square, w = _halves_of_square(x)
    p = polynomial(x)
    return times_exp((p + p * w) / math.sqrt(2 * math.pi), minus_half_square)


# gelu with tanh is x σ(w), w = k x + κ x³. Its derivative at −t is n(t) σ(w) σ(−w) with
# n(t) = 1 + exp(−w) − (k t + 3κ t³); from the root r of n, with q = t² + t r + r²,
# n(r) − n(t) = k (t − r) + 3κ (t − r) q − exp(−w(r)) expm1(w(r) − w(t)), all of one sign.
# Its second derivative is m(t) σ(w) σ(−w) with m(t) = 2k + 12κ t² − t w′² tanh(w/2), even.
_K, _KAPPA = 1.5957691216057307, 0.071354816272600249
_TANH_GELU_ROOT = 0.75246143341064453
_TANH_GELU_AT_ROOT = -2.7902933030611586e-8  # n(r)
_TANH_GELU_EXP_AT_ROOT = 0.29195520623045044  # exp(−w(r))
_TANH_GELU_BEND = 1.418503999710083
_TANH_GELU_AT_BEND = 5.1601327455066588e-8  # m(r)
_TANH_GELU_TANH_AT_BEND = 0.84363035727171249  # tanh(w(r)/2)


@rule(
    "jax.nn.gelu",
    formula="x̄ = ȳ · σ(w) (1 + x w′ σ(−w)),  w = √(8/π) (x + 0.044715 x³)",
    source="Hendrycks and Gimpel 2016, section 2",
)
def tanh_gelu(y_bar, y, x):
    return (y_bar * tanh_gelu_slope(x),)


@in_float32
@slope(lambda s, x: _tanh_gelu_second_derivative(x))
def tanh_gelu_slope(x: Any) -> Any:
    left = _tanh_gelu_slope_on_the_left(jnp.minimum(-_minus_abs(x), 20))
    return jnp.where(x < 0, left, 1 - left)


def _tanh_gelu_slope_on_the_left(t: Any) -> Any:
    from_root, q = _from(t, _TANH_GELU_ROOT)
    change = _TANH_GELU_EXP_AT_ROOT * jnp.expm1(-from_root * (_K + _KAPPA * q))
    n = _TANH_GELU_AT_ROOT + (change - from_root * (_K + 3 * _KAPPA * q))
    return _times_bell(n, t)


def _tanh_gelu_second_derivative(x: Any) -> Any:
    t = jnp.minimum(jnp.abs(x), 20)
    from_bend, q = _from(t, _TANH_GELU_BEND)
    r, tanh_r = _TANH_GELU_BEND, _TANH_GELU_TANH_AT_BEND
    w_slope, w_slope_r = _K + 3 * _KAPPA * t * t, _K + 3 * _KAPPA * r * r
    tanh = jnp.tanh(t * (_K + _KAPPA * t * t) / 2)
    change = jnp.tanh(from_bend * (_K + _KAPPA * q) / 2) * (1 - tanh * tanh_r)
    growth = from_bend * w_slope**2 + r * 3 * _KAPPA * from_bend * (t + r) * (w_slope + w_slope_r)
    m = from_bend * (12 * _KAPPA) * (t + r) - (growth * tanh + r * w_slope_r**2 * change)
    return _times_bell(_TANH_GELU_AT_BEND + m, t)


def _from(t: Any, r: float) -> tuple[Any, Any]:
    """t − r and t² + t r + r², the factors of t³ − r³."""
    return t - r, t * t + (t * r + r * r)


def _times_bell(n: Any, t: Any) -> Any:
    """n σ(w) σ(−w) for t ≥ 0."""
    minus_w, rest = _exponent(t)
    e = times_exp(1 + rest, minus_w)
    return times_exp((n + n * rest) / ((1 + e) * (1 + e)), minus_w)


# The upper digits of k and κ: times h, and times those of h³, they are exact.
_K_UPPER, _KAPPA_UPPER = (float(np.round(c * 2**n) / 2**n) for c, n in ((_K, 11), (_KAPPA, 15)))


def _exponent(t: Any) -> tuple[Any, Any]:
    """−v and s with exp(−w) = exp(−v) (1 + s).

    With h the first 8 digits of t and c the first 12 of h³, v = k h + κ c, with the upper digits of k and κ,
    is a sum of two exact products, and what it rounds off is known (Knuth 1997, §4.2.2, theorem B).
    """
    h = lax.stop_gradient(lax.reduce_precision(t, exponent_bits=8, mantissa_bits=7))
    cube = h * h * h
    c = lax.reduce_precision(cube, exponent_bits=8, mantissa_bits=11)
    linear, cubic = _K_UPPER * h, _KAPPA_UPPER * c
    v = linear + cubic
    back = v - linear
    lost = (linear - (v - back)) + (cubic - back)
    small = (_K - _K_UPPER) * h + (_KAPPA_UPPER * (cube - c) + (_KAPPA - _KAPPA_UPPER) * cube)
    rest = (t - h) * (_K + _KAPPA * (t * t + (t * h + h * h)))
    return -v, jnp.expm1(-(rest + (small + lost)))


# mish′(x) = eˣ n(x) / (e²ˣ + 2 eˣ + 2)² with n(x) = 4(x + 1) + (4x + 6) eˣ + 4 e²ˣ + e³ˣ, and
# mish″(x) = 4 eˣ m(x) / (e²ˣ + 2 eˣ + 2)³ with
# m(x) = 2 (e³ˣ + 3 e²ˣ + 4 eˣ + 2) + x (2 + 2 eˣ − 3 e²ˣ − 2 e³ˣ), which has a root on either side of 0.
# From a root r, with d = x − r, e^kx − e^kr = e^kr (e^kd − 1).
_MISH_ROOT = -1.1924312114715576
_MISH_AT_ROOT = 1.9505442791445752e-8  # n(r)
_MISH_LEFT = -2.2563765048980713
_MISH_AT_LEFT = -3.0846579505990225e-7  # m(r)
_MISH_RIGHT = 1.490571141242981
_MISH_AT_RIGHT = 1.625010617954856e-7  # e^−3r m(r)


@rule(
    "jax.nn.mish",
    formula="x̄ = ȳ · eˣ (4(x + 1) + (4x + 6) eˣ + 4 e²ˣ + e³ˣ) / (e²ˣ + 2 eˣ + 2)²",
    source="Misra 2020, Mish: A Self Regularized Non-Monotonic Activation Function, section 3",
)
def mish(y_bar, y, x):
    return (y_bar * mish_slope(x),)


@in_float32
@slope(lambda s, x: _mish_second_derivative(x))
def mish_slope(x: Any) -> Any:
    left, right = jnp.minimum(x, 0), jnp.clip(x, 0, 1000)
    return jnp.where(x < 0, _mish_slope_on_the_left(left), _mish_slope_on_the_right(right))


def _mish_slope_on_the_left(x: Any) -> Any:
    e, at_r = jnp.exp(x), math.exp(_MISH_ROOT)
    d, m1, m2, m3 = _powers_less_1(x - _MISH_ROOT)
    linear = (4 * _MISH_ROOT + 6) * at_r * m1 + 4 * d * (1 + e)
    n = _MISH_AT_ROOT + (linear + (4 * at_r**2 * m2 + at_r**3 * m3))
    denominator = 2 + e * (2 + e)
    return times_exp(n / (denominator * denominator), x)


def _mish_slope_on_the_right(x: Any) -> Any:
    v = jnp.exp(-x)
    n = 1 + v * (4 + v * ((4 * x + 6) + v * (4 * (x + 1))))
    denominator = 1 + v * (2 + 2 * v)
    return n / (denominator * denominator)


def _powers_less_1(d: Any) -> tuple[Any, Any, Any, Any]:
    """d, eᵈ − 1, e²ᵈ − 1, e³ᵈ − 1."""
    return d, jnp.expm1(d), jnp.expm1(2 * d), jnp.expm1(3 * d)


def _mish_second_derivative(x: Any) -> Any:
    left, right = jnp.minimum(x, 0), jnp.clip(x, 0, 1000)
    return jnp.where(x < 0, _mish_bend_on_the_left(left), _mish_bend_on_the_right(right))


def _mish_bend_on_the_left(x: Any) -> Any:
    r, e, at_r = _MISH_LEFT, jnp.exp(x), math.exp(_MISH_LEFT)
    d, m1, m2, m3 = _powers_less_1(x - r)
    powers = (8 + 2 * r) * at_r * m1 + ((6 - 3 * r) * at_r**2 * m2 + (2 - 2 * r) * at_r**3 * m3)
    linear = 2 + e * (2 - e * (3 + 2 * e))
    near_0 = 2 * (2 + e * (4 + e * (3 + e))) + x * linear
    m = jnp.where(x > -0.5, near_0, _MISH_AT_LEFT + (powers + d * linear))
    denominator = 2 + e * (2 + e)
    return times_exp(4 * m / (denominator * denominator * denominator), x)


def _mish_bend_on_the_right(x: Any) -> Any:
    """In v = e⁻ˣ: times v³, and the denominator times v⁶."""
    r, v, at_r = _MISH_RIGHT, jnp.exp(-x), math.exp(-_MISH_RIGHT)
    d, m1, m2, m3 = _powers_less_1(r - x)
    powers = (6 - 3 * r) * at_r * m1 + ((8 + 2 * r) * at_r**2 * m2 + (4 + 2 * r) * at_r**3 * m3)
    m = _MISH_AT_RIGHT + (powers + d * (2 + v * (3 - v * (2 + 2 * v))))
    denominator = 1 + v * (2 + 2 * v)
    return 4 * m / (denominator * denominator * denominator) * v * v
