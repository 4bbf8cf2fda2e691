"""The error function and its kin: scaled, inverted, Dawson's, Faddeeva's, and the normal distribution's.

    erf(x)   = 2/√π ∫₀ˣ exp(−t²) dt       erf′ = 2/√π · exp(−x²)
    erfcx(x) = exp(x²) · erfc(x)          erfcx′ = 2x erfcx − 2/√π = −4/√π · M(1, x)
    F(x)     = exp(−x²) ∫₀ˣ exp(t²) dt    F′ = 1 − 2x F = exp(−x²) − 2 G(1, x)
    Φ(x)     = ½ erfc(−x/√2)              (log Φ)′ = φ/Φ = 1 / (√2 M(0, −x/√2))

The forms with M and G, integrals of positive functions (`funcnet.rules._integrals`), do not cancel where the
others do. Inverse functions have theirs too: with y = erf⁻¹(x), √π/2 · exp(y²) hangs on every bit of y², and
exp(y²) = erfcx(y)/erfc(y) = erfcx(y)/(1 − x) does not.

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

from funcnet.rules._integrals import growth, moment
from funcnet.rules._table import rule, slope


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
def exp_of_square(scale: float, sign: int | float, x: Any) -> Any:
    """scale · exp(sign · x²) to about two ulp, for a sign of ±1 or ±½.

    With c a number near x that has half its digits, x² = c² + (x − c)(x + c), and c² is exact. The value does
    not depend on c, so neither do its derivatives. The bounds of c keep exp(−c²) a normal number where the
    product still is one. XLA may merge a product of exponentials into the exponential of a sum, which would
    undo the split, so the second factor is 1 + expm1.
    """
    derivative = lambda s, x: _times_x_exp_of_square(2 * sign * scale, sign, x)  # noqa: E731
    return slope(derivative)(functools.partial(_exp_of_square, scale, sign))(x)


def _exp_of_square(scale: float, sign: int | float, x: Any) -> Any:
    squared, rest = _split_square(sign, x)
    return scale * (1.0 + lax.expm1(sign * rest)) * lax.exp(sign * squared)


def _times_x_exp_of_square(scale: float, sign: int | float, x: Any) -> Any:
    """scale · x exp(±x²), which is a normal number a little farther out: there c stays and the rest grows."""
    squared, rest = _split_square(sign, x)
    factor = lax.select(lax.abs(rest) < 0.25, 1.0 + lax.expm1(sign * rest), lax.exp(sign * rest))
    return scale * x * factor * lax.exp(sign * squared)


def _split_square(sign: int | float, x: Any) -> tuple[Any, Any]:
    """c² and (x − c)(x + c)."""
    steps, bound = (2.0**21, 26.5) if x.dtype == jnp.float64 else (2.0**7, 9.328125)
    bound = math.floor(bound / math.sqrt(abs(sign)) * steps) / steps
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


@rule("jax.scipy.special.erfcinv", formula="x̄ = −ȳ · M(0, |y|) / min(x, 2 − x)", source="NIST DLMF §7.17")
def erfcinv(y_bar, y, x):
    return (-y_bar * inverse_slope(y, lax.min(x, 2 - x)),)


@rule("jax.scipy.special.ndtri", formula="x̄ = ȳ · √2 M(0, |y|/√2) / min(x, 1 − x)", source="NIST DLMF §7.17")
def ndtri(y_bar, y, x):
    return (y_bar * math.sqrt(2) * inverse_slope(y * math.sqrt(0.5), lax.min(x, 1 - x)),)


@in_float32
@slope(lambda s, y, tail: 2 * y * s, None)
def inverse_slope(y: Any, tail: Any) -> Any:
    """√π/2 · exp(y²) where `tail` is erfc|y|, or any multiple of that; ∞ where it is 0."""
    ends = tail == 0
    value = moment(0, lax.select(ends, lax.full_like(y, 0), lax.abs(y))) / tail
    return lax.select(ends, lax.full_like(y, math.inf), value)


@rule(
    "jax.scipy.special.erfcx",
    formula="x̄ = −ȳ · 4/√π · M(1, x);  x < 0: ȳ · (4x exp(x²) − 4/√π · M(1, −x))",
    source="NIST DLMF §7.7.1",
)
def erfcx(y_bar, y, x):
    return (y_bar * erfcx_slope(x),)


@in_float32
def erfcx_slope(x: Any) -> Any:
    left = x < 0
    right = -4 / math.sqrt(math.pi) * moment(1, lax.select(left, -x, x))
    mirror = lax.select(left, x, lax.full_like(x, 0))
    return right + mirror * exp_of_square(4.0, 1, mirror)


@rule(
    "jax.scipy.special.owens_t",
    formula="h̄ = −ȳ · φ(h) (Φ(ah) − ½),  ā = ȳ · exp(−h² (1 + a²)/2) / (2π (1 + a²))",
    source="Owen 1956, Tables for Computing Bivariate Normal Probabilities, eqs. 2.2 and 3.1",
)
def owens_t(y_bar, y, h, a):
    return y_bar * in_float32(owens_slope_in_h)(h, a), y_bar * in_float32(owens_slope)(h, a)


@slope(
    lambda s, h, a: -h * s - _times_owens_slope(a * (1 + a * a), h, a),
    lambda s, h, a: _times_owens_slope(-h * (1 + a * a), h, a),
)
def owens_slope_in_h(h: Any, a: Any) -> Any:
    return exp_of_square(-math.sqrt(0.125 / math.pi), -0.5, h) * lax.erf(math.sqrt(0.5) * (a * h))


@slope(
    lambda s, h, a: _times_owens_slope(-h * (1 + a * a), h, a),
    lambda s, h, a: _times_owens_slope(-a * (h * h + 2 / (1 + a * a)), h, a),
)
def owens_slope(h: Any, a: Any) -> Any:
    return _times_owens_slope(lax.full_like(h, 1), h, a)


def _times_owens_slope(factor: Any, h: Any, a: Any) -> Any:
    """The factor · exp(−h² (1 + a²)/2) / (2π (1 + a²)); p² + 2pe is (ah)², with p the product rounded."""
    p, e = _product(a, h)
    (h2, of_h), (p2, of_p) = _split_square(-0.5, h), _split_square(-0.5, p)
    rest = 1.0 + lax.expm1(-0.5 * (of_h + of_p) - p * e)
    return factor / (2 * math.pi * (1 + a * a)) * lax.exp(-0.5 * h2) * rest * lax.exp(-0.5 * p2)


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """a b rounded, and what rounding has lost (Dekker 1971): of halves of the digits products are exact."""
    p = a * b
    (a1, a2), (b1, b2) = map(_halves, (a, b))
    return p, lax.stop_gradient(((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2)


def _halves(x: Any) -> tuple[Any, Any]:
    """The first half of the digits of x, and the second."""
    exponent, mantissa = (11, 26) if x.dtype == jnp.float64 else (8, 11)
    first = lax.reduce_precision(x, exponent, mantissa)
    return first, x - first


@rule("jax.scipy.special.dawsn", formula="x̄ = ȳ · (exp(−x²) − 2 G(1, x))", source="NIST DLMF §7.2.5, §7.10")
def dawsn(y_bar, y, x):
    return (y_bar * dawsn_slope(x),)


@in_float32
def dawsn_slope(x: Any) -> Any:
    return lax.exp(-x * x) - 2.0 * growth(1, x)


@rule(
    "jax.scipy.special.wofz",
    formula="z̄ = ȳ · (2i/√π − 2zy) = ȳ · 4i/√π · M(1, −iz)",
    source="NIST DLMF §7.10.3",
)
def wofz(y_bar, y, z):
    """The second form where the first cancels, for Im z ≥ 0; below, w(z) = 2 exp(−z²) − w(−z)."""
    lower = lax.imag(z) < 0
    u = lax.select(lower, -z, z)
    near = lax.abs(z) < 1.5
    zeta = lax.select(near, lax.full_like(z, 1), lax.complex(lax.imag(u), -lax.real(u)))
    upper = 4j / math.sqrt(math.pi) * moment(1, zeta)
    mirror = lax.select(lower, z, lax.full_like(z, 0))
    far = upper - 4 * mirror * lax.exp(-mirror * mirror)
    return (y_bar * lax.select(near, 2j / math.sqrt(math.pi) - 2 * z * y, far),)


@rule(
    "jax.scipy.special.log_ndtr",
    formula="x̄ = ȳ · φ(x)/Φ(x);  x ≤ 0: ȳ / (√2 M(0, −x/√2))",
    source="NIST DLMF §7.8",
)
def log_ndtr(y_bar, y, x):
    return (y_bar * log_ndtr_slope(x),)


@in_float32
def log_ndtr_slope(x: Any) -> Any:
    """Far to the left it is −x − 1/x + 2/x³."""
    far, right = x < -1e4, x > 0
    above = lax.select(right, x, lax.full_like(x, 0))
    below = lax.select(right | far, lax.full_like(x, 0), x)
    mills = math.sqrt(2) * moment(0, -below * math.sqrt(0.5))
    series = lax.select(far, x, lax.full_like(x, -1e4))
    series = (2 / (series * series) - 1) / series - series
    ratio = lax.select(right, normal_density(above) / (0.5 * lax.erfc(-above * math.sqrt(0.5))), 1 / mills)
    return lax.select(far, series, ratio)


@rule("jax.scipy.special.ndtr", formula="x̄ = ȳ · φ(x)", source="NIST DLMF §7.2.1")
def ndtr(y_bar, y, x, central, right):
    """Each of JAX's expressions has this slope where it takes it; those of the tails are of |x|."""
    tails = lax.select(right == 0, -lax.sign(x), lax.sign(x))
    sign = lax.select(central == 0, tails, lax.full_like(x, 1))
    return y_bar * (sign * in_float32(normal_density)(x)), None, None


def normal_density(x: Any) -> Any:
    return exp_of_square(1 / math.sqrt(2 * math.pi), -0.5, x)
