"""Activations that are x times a gate made of x: silu, gelu and mish.

Where an activation has a minimum its derivative has a root, and with the usual formulas no digit there is
right; in the tails 1 + tanh cancels. Here f′ is a positive factor times a numerator n(x). With r the float32
nearest to the root of n, and n(r) ≈ 1e-8 known to all digits,

    n(x) = n(r) + (x − r) (n′(r) + (x − r) n″(r)/2 + …)       near r; farther away it is summed as it stands

What is differentiated again need not cancel in turn, so that f′ has a derivative of its own, written from its
own roots. All stay within 4 ulp of the truth at every float32 input whose true derivative is a normal number,
and the second derivatives within 8.

    silu     x σ(x)               f′(−x) = 1 − f′(x), so the left side x ≤ 0 is enough
    gelu     x Φ(x)               the same; and so is x σ(w), which is its approximation with tanh(w/2)
    mish     x tanh(log(1 + eˣ))

A derivative costs one exponential and one division; that of x Φ(x) two. XLA works out in one pass what reads
its quotient once, so that the sign of the mirrored side goes into the numerator.

The roots are those of real x: of complex numbers these functions stay composed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.polynomial import Chebyshev, Polynomial

from funcnet.rules._scaled_exp import ONE, SCALE, lowest, scaled_exp, scaled_exp2, times, times_scaled
from funcnet.rules._table import rule, slope
from funcnet.rules.special import in_float32


@dataclass(frozen=True, eq=False)
class _Numerator:
    """n(x) = Σ pₖ(x) eᵏʷ, with polynomials w, p₀, p₁, … in x, by their coefficients, the constant one first.

    Attributes:
        root: the float32 number nearest to a root of n.
        at_root: n there.
        factors: p₀, p₁, …
        exponent: w.
    """

    root: float
    at_root: float
    factors: Sequence[Sequence[int | float]]
    exponent: Sequence[int | float] = (0, 1)

    def __call__(self, x: Any, sum_: Any, scale: float = 1.0) -> Any:
        """n(x), which is the sum as it stands, or by the series where |x − r| < ¼; both times `scale`."""
        return self.beside(0, x - self.root, sum_, scale)

    def beside(self, k: int, from_root: Any, sum_: Any, scale: float) -> Any:
        """n(x) − k (x − r), likewise."""
        first, *others = self.series(float(jnp.finfo(from_root.dtype).eps))
        series = [scale * c for c in (first - k, *others)]
        near = scale * self.at_root + from_root * _horner(series, from_root)
        return jnp.where(abs(from_root) < 0.25, near, sum_)

    def series(self, eps: float) -> Sequence[float]:
        """The coefficients of (n(x) − n(r)) / (x − r) in x − r, as many as count where |x − r| < ¼.

        Those of Taylor's series, of which the last Chebyshev polynomials are left out (Lanczos 1938).
        """
        at_root = Polynomial([self.root, 1])
        e = _exponential(Polynomial(self.exponent)(at_root), degree=36)
        n = sum((Polynomial(p)(at_root) * e**k for k, p in enumerate(self.factors)), Polynomial([0]))
        quotient = Polynomial(n.coef[1:36]).convert(kind=Chebyshev, domain=[-0.25, 0.25])
        return quotient.trim(eps / 8 * abs(quotient.coef[0])).convert(kind=Polynomial).coef.tolist()


def _exponential(p: Polynomial, degree: int) -> Polynomial:
    """The Taylor series of exp(p(x)) at 0 (Knuth 1997, §4.7, exercise 4)."""
    terms = [math.exp(p.coef[0])]
    for n in range(1, degree + 1):
        terms.append(sum(k * c * terms[n - k] for k, c in enumerate(p.coef[1 : n + 1], 1)) / n)
    return Polynomial(terms)


def _horner(coefficients: Sequence[Any], x: Any) -> Any:
    """The polynomial with these coefficients, the constant one first."""
    *lower, value = coefficients
    for c in reversed(lower):
        value = c + x * value
    return value


def _minus_abs(x: Any, limit: float) -> Any:
    """−|x|, or −`limit` where x is farther out; with derivative −1 at 0, for the orders above."""
    return jnp.maximum(jnp.where(x < 0, x, -x), -limit)


# x σ(w) with an odd w has the derivative n e/(1 + e)² for x ≤ 0, where e = eʷ and n = 1 + x w′ + e. With
# S = 2²⁴ that is N E/(S + E)² of E = S e, which `scaled_exp` gives, and N = S n.
# The second derivative is even, m e/(1 + e)³ with m = 2w′ + x w″ + x w′² + (2w′ + x w″ − x w′²) e.
def _gate_slope(x: Any, n: Any, exp: tuple[Any, Any]) -> Any:
    """f′(x) from N at −|x|: on the right it is 1 − f′(−x)."""
    right, e = x >= 0, times_scaled(1, exp)
    left = times_scaled(jnp.where(right, -n, n), exp) / (SCALE**2 + e * (2 * SCALE + e))
    return jnp.where(right, 1.0, 0.0) + left


def _gate_bend(m: Any, exp: tuple[Any, Any]) -> Any:
    """f″ from m at −|x|."""
    e = times(1, exp)
    return times(m, exp, 1 + e * (3 + e * (3 + e)))


_SILU = _Numerator(-1.2784645557403564, -1.6593552635303381e-8, [(1, 1), (1,)])
_SILU_BEND = _Numerator(-2.399357318878174, -5.0200708317466996e-8, [(2, 1), (2, -1)])


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
    t = _minus_abs(x, -lowest(x.dtype))
    exp = scaled_exp(t)
    return _gate_slope(x, _SILU(t, SCALE * (1 + t) + times_scaled(1, exp), SCALE), exp)


def _silu_second_derivative(x: Any) -> Any:
    t = _minus_abs(x, -lowest(x.dtype))
    exp = scaled_exp(t)
    return _gate_bend(_SILU_BEND(t, (2 + t) + (2 - t) * times(1, exp)), exp)


# gelu′(−t) = n(t) exp(−t²/2) with n(t) = (R(t) − t)/√(2π) and R = Q/φ the Mills ratio of the normal
# distribution, for t ≥ 0. From r, the float32 nearest to the root of n, the slope
# (n(t) − n(r)) / (r − t) is a polynomial in s = (t − 3)/(t + 3) to one part in 1e9 on 0 ≤ t ≤ 13.5:
# the interpolant at eleven Chebyshev nodes, in the variable of Shepherd and Laframboise (1981).
_SQRT2 = 1.4142135381698608
_TWO_MINUS_ITS_SQUARE = 6.845708355740499e-08
_GELU_ROOT = 0.7517915368080139
_GELU_AT_ROOT = -6.934385667122436e-09  # n(r)
_GELU_SLOPE = (
    0.478297677192,
    -0.119975425521,
    0.0535961161366,
    -0.0140747952585,
    0.000203945858319,
    0.00109512022652,
    -9.32317332994e-5,
    -0.000129819783594,
    2.55779370513e-6,
    1.80536492725e-5,
    4.06169253521e-6,
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
    t = -_minus_abs(x, 14.0)
    n, right = _gelu_numerator(t), x >= 0
    return jnp.where(right, 1.0, 0.0) + times(jnp.where(right, -n, n), _exp_of_half_square(t))


def _gelu_numerator(t: Any) -> Any:
    s = (t - 3) / (t + 3)
    return _GELU_AT_ROOT + (_GELU_ROOT - t) * _horner(_GELU_SLOPE, s)


def _exp_of_half_square(t: Any) -> tuple[Any, Any]:
    """exp(−t²/2) in two factors: with h the upper half of t's digits, h² is exact and t² − h² small."""
    h = _upper(t)
    return scaled_exp(-(h * h) / 2, (h - t) * (h + t) / 2)


@slope(lambda s, x: _times_density(lambda x: x * (x * x - 4), x))
def _gelu_second_derivative(x: Any) -> Any:
    """φ(x) (2 − x²)."""
    return _times_density(lambda x: (_SQRT2 - x) * (_SQRT2 + x) + _TWO_MINUS_ITS_SQUARE, x)


def _times_density(polynomial: Callable[[Any], Any], x: Any) -> Any:
    """p(x) φ(x), with φ the density of the normal distribution."""
    limit = math.sqrt(-2 * lowest(x.dtype))
    x = jnp.clip(x, -limit, limit)
    return times(polynomial(x) / math.sqrt(2 * math.pi), _exp_of_half_square(x))


# gelu with tanh is x σ(w), w = k x + κ x³.
_K, _KAPPA = 1.5957691216057307, 0.071354816272600249
# c = −k log₂e and γ = −κ log₂e, the first digits and the rest
_C1, _C2 = -2.30224609375, 3.7895605675110866e-5
_GAMMA1, _GAMMA2 = -0.103515625, 0.00057238541997651258
_TANH_GELU = _Numerator(
    -0.7524614334106445, -2.7902933030611586e-8, [(1, _K, 0, 3 * _KAPPA), (1,)], (0, _K, 0, _KAPPA)
)
_TANH_GELU_BEND = _Numerator(
    -1.418503999710083,
    5.5977953770981037e-8,
    [(2 * _K, s * _K**2, 12 * _KAPPA, s * 6 * _K * _KAPPA, 0, s * 9 * _KAPPA**2) for s in (1, -1)],
    (0, _K, 0, _KAPPA),
)


def tanh_gelu_forward(x):
    return tanh_gelu_value(x), x


@rule(
    "jax.nn.gelu",
    formula="x̄ = ȳ · σ(w) (1 + x w′ σ(−w)),  w = √(8/π) (x + 0.044715 x³)",
    source="Hendrycks and Gimpel 2016, section 2",
    forward=tanh_gelu_forward,
)
def tanh_gelu(x, y_bar):
    return (y_bar * tanh_gelu_slope(x),)


@in_float32
@slope(lambda y, x: tanh_gelu_slope(x))
def tanh_gelu_value(x: Any) -> Any:
    """x σ(w), where JAX's ½ x (1 + tanh(w/2)) cancels for x < 0 and takes half as many operations again."""
    return x / (1 + lax.exp(x * (-_K - _KAPPA * (x * x))))


@in_float32
@slope(lambda s, x: _tanh_gelu_second_derivative(x))
def tanh_gelu_slope(x: Any) -> Any:
    """n(−t) = 2 (−t − r) + (e + 1 + 2r) + t (2 − k − 3κt²) for t ≥ 0; near r the first term is exact."""
    t = lax.min(lax.abs(x), lax.full_like(x, _gelu_limit(x.dtype)))
    exp, from_root = _exp_of_w(t), -_TANH_GELU.root - t
    odd = SCALE * (2 - _K) - 3 * SCALE * _KAPPA * (t * t)
    even = times_scaled(1, exp) + SCALE * (1 + 2 * _TANH_GELU.root)
    n = 2 * SCALE * from_root + _TANH_GELU.beside(2, from_root, even + t * odd, SCALE)
    return _gate_slope(x, n, exp)


def _tanh_gelu_second_derivative(x: Any) -> Any:
    t = _minus_abs(x, _gelu_limit(x.dtype))
    exp = _exp_of_w(-t)
    plus, minus = (_horner(p, t) for p in _TANH_GELU_BEND.factors)
    return _gate_bend(_TANH_GELU_BEND(t, plus + minus * times(1, exp)), exp)


def _gelu_limit(dtype: Any) -> float:
    """The largest |x| with w above `lowest`."""
    return 10.5 if dtype == jnp.float32 else 21.25


def _exp_of_w(x: Any) -> tuple[Any, Any]:
    """eʷ at −x in two factors for x ≥ 0, from w log₂e = x p(x), p = c + γ x².

    With the first digits of x in a, of c and γ in c₁ and γ₁, and of p₁ = c₁ + γ₁ a² in q, γ₁ a² and a q are
    exact, and what is left is small:

        x p(x) = a q + a (p₁ − q + c₂ + γ₂ a²) + (x − a) (c + γ (x² + x a + a²))
    """
    digits = jnp.finfo(x.dtype).nmant + 1
    a = _truncated(x, (digits - 6) // 2)
    square = a * a
    p1 = _C1 + _GAMMA1 * square
    q = _truncated(p1, digits - (digits - 6) // 2)
    left = ((_C1 - q) + _GAMMA1 * square) + (_C2 + _GAMMA2 * square)
    mean = (_C1 + _C2) + (_GAMMA1 + _GAMMA2) * (x * (x + a) + square)
    return scaled_exp2(a * q, a * left + (x - a) * mean)


def _truncated(x: Any, digits: int) -> Any:
    """x with its first binary digits only."""
    info = jnp.finfo(x.dtype)
    integer = np.dtype(f"int{info.bits}").type
    bits = lax.bitcast_convert_type(lax.stop_gradient(x), integer)
    return lax.bitcast_convert_type(bits & integer(-1 << (info.nmant + 1 - digits)), x.dtype)


def _upper(x: Any) -> Any:
    """x rounded to half its digits."""
    info = jnp.finfo(x.dtype)
    integer, rest = np.dtype(f"int{info.bits}").type, info.nmant // 2 + 1
    digits = lax.bitcast_convert_type(lax.stop_gradient(x), integer) + integer(1 << (rest - 1))
    return lax.bitcast_convert_type(digits & integer(-1 << rest), x.dtype)


# mish′(x) = eˣ n(x) / (e²ˣ + 2 eˣ + 2)² with n(x) = 4(x + 1) + (4x + 6) eˣ + 4 e²ˣ + e³ˣ, and
# mish″(x) = 4 eˣ m(x) / (e²ˣ + 2 eˣ + 2)³ with
# m(x) = 2 (e³ˣ + 3 e²ˣ + 4 eˣ + 2) + x (2 + 2 eˣ − 3 e²ˣ − 2 e³ˣ), which has a root on either side of 0.
# On the right all is in powers of e⁻ˣ: n times e⁻⁴ˣ, m times e⁻³ˣ.
_MISH = _Numerator(-1.1924312114715576, 1.9505442791445752e-8, [(4, 4), (6, 4), (4,), (1,)])
_MISH_LEFT = _Numerator(-2.2563765048980713, -3.0846579505990225e-7, [(4, 2), (8, 2), (6, -3), (2, -2)])
_MISH_RIGHT = _Numerator(
    1.490571141242981, 1.625010617954856e-7, [(2, -2), (6, -3), (8, 2), (4, 2)], exponent=(0, -1)
)


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
    x, right, exp = _mish_parts(x)
    e = times(1, exp)
    left = _MISH(x, _horner([4 + 4 * x, 6 + 4 * x, 4, 1], e))
    n = jnp.where(right, _horner([1, 4, 6 + 4 * x, 4 + 4 * x], e), left)
    d = jnp.where(right, _horner([1, 4, 8, 8, 4], e), _horner([4, 8, 8, 4, 1], e))
    power, m = (jnp.where(right, one, part) for part, one in zip(exp, ONE, strict=True))
    return times(n, (power, m), d)


def _mish_second_derivative(x: Any) -> Any:
    x, right, exp = _mish_parts(x)
    e = times(1, exp)
    left = _MISH_LEFT(x, _horner([4 + 2 * x, 8 + 2 * x, 6 - 3 * x, 2 - 2 * x], e))
    m = jnp.where(right, e * _MISH_RIGHT(x, _horner([2 - 2 * x, 6 - 3 * x, 8 + 2 * x, 4 + 2 * x], e)), left)
    d = jnp.where(right, 1 + e * (2 + 2 * e), 2 + e * (2 + e))
    return times(4 * m, exp, d * d * d)


def _mish_parts(x: Any) -> tuple[Any, Any, tuple[Any, Any]]:
    """x, whether it is on the right, and e⁻|x| in two factors."""
    limit = lowest(x.dtype)
    x = jnp.clip(x, limit, -limit)
    right = x >= 0
    return x, right, scaled_exp(jnp.where(right, -x, x))
