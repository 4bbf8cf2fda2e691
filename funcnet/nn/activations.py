"""Activations y = f(x), elementwise, and their derivatives in a form that does not cancel.

Backward is x̄ = ȳ · f′(x): local gradient × upstream gradient (CS231n 2019, lecture 4, slides
56 to 60). What matters is how f′ is written. 1 − tanh² is exactly 0 in float32 from |x| = 9 on,
where the truth is still 6e-8, and y (1 − y) loses every digit for a confident σ. The formulas here
only add, multiply and divide quantities of one sign:

    sigmoid     1 / (eˣ + 2 + e⁻ˣ)
    tanh        4 / (e²ˣ + 2 + e⁻²ˣ)
    softplus    σ(x)
    elu         α eˣ  for x ≤ 0
    silu, gelu  f′(−x) = 1 − f′(x), so the left side x ≤ 0 is enough. f′ has a root there; with r the
                float nearest to it, f′(x) − f′(r) is written as (x − r) × something, x − r being exact

and stay within 4 ulp of the truth at every float32 input whose true derivative is a normal number.

What is differentiated again need not cancel in turn, so that f′ has a derivative of its own, within 8 ulp:

    sigmoid     σ″ = −tanh(x/2) σ′                  tanh    tanh″ = −2 tanh(x) tanh′
    silu        σ′(x) (2 − x tanh(x/2))             gelu    φ(x) (2 − x²)
                each written from its root as f′ is

Backward keeps x rather than y, which has lost what the tails need. For tanh and sigmoid that is one
more array a layer; in a net of six layers of 1024 it costs 5 to 8 % of a step on a CPU. The
derivatives of float16 and bfloat16 inputs are worked out in float32 and rounded once.

Kinks follow JAX: relu′(0) = 0, leaky_relu′(0) = 1, elu′(0) = α.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from funcnet.nn._dtypes import at_least_float32
from funcnet.nn._gate import gate
from funcnet.rules._table import slope


def _downstream(local: Array, y_bar: Array) -> tuple[Array]:
    """Local gradient × upstream gradient, in the upstream gradient's dtype."""
    return ((local * at_least_float32(y_bar)).astype(y_bar.dtype),)


def _minus_abs(x: Array) -> Array:
    """−|x| with derivative −1 at 0, so that second derivatives there come out right."""
    return jnp.where(x < 0, x, -x)


def _two_plus_two_cosh(x: Array) -> Array:
    """eˣ + 2 + e⁻ˣ; infinite where it overflows, with a derivative of 0 there rather than NaN."""
    limit = np.nextafter(x.dtype.type(math.log(jnp.finfo(x.dtype).max)), 0)
    inside = jnp.clip(x, -limit, limit)
    return jnp.where(jnp.abs(x) > limit, jnp.inf, jnp.exp(inside) + 2 + jnp.exp(-inside))


def _times_exp(a: Array | float, x: Array) -> Array:
    """a·eˣ for x ≤ 0, also where eˣ alone is too small for a normal number and a·eˣ is not."""
    far = x < -64
    return a * jnp.exp(jnp.where(far, x + 64, x)) * jnp.where(far, math.exp(-64), 1)


@slope(
    lambda s, a, x: _over_two_plus_two_cosh(jnp.ones_like(a), x),  # pyright: ignore[reportGeneralTypeIssues]
    lambda s, a, x: -jnp.tanh(x / 2) * s,
)
def _over_two_plus_two_cosh(a: Array, x: Array) -> Array:
    """a / (eˣ + 2 + e⁻ˣ), also where that is a normal number and without the a it is not."""
    return jnp.where(jnp.abs(x) > 64, _times_exp(a, _minus_abs(x)), a / _two_plus_two_cosh(x))


@slope(lambda s, x: -jnp.tanh(x / 2) * s)
def _bell(x: Array) -> Array:
    """σ(x) σ(−x)."""
    return 1 / _two_plus_two_cosh(x)


@gate(formula="x̄ = ȳ · σ(x) σ(−x)", source="CS231n 2019, lecture 4, slides 21 and 76")
def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The logistic function σ(x) = 1 / (1 + e⁻ˣ).

    >>> f"{sigmoid(1.0):.2f}"
    '0.73'
    """
    return jax.nn.sigmoid(x)


@sigmoid.forward
def sigmoid_forward(x):
    return sigmoid.primal(x), x


@sigmoid.backward
def sigmoid_backward(x, y_bar):
    return _downstream(_bell(at_least_float32(x)), y_bar)


@gate(formula="x̄ = ȳ · sech²(x)", source="NIST DLMF §4.34; CS231n 2019, lecture 4, slide 21")
def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The hyperbolic tangent.

    >>> f"{jax.grad(tanh)(12.0):.6}"  # jax.grad(jnp.tanh) is 0 here
    '1.51005e-10'
    """
    return jnp.tanh(x)


@tanh.forward
def tanh_forward(x):
    return tanh.primal(x), x


@tanh.backward
def tanh_backward(x, y_bar):
    return _downstream(_sech2(at_least_float32(x)), y_bar)


@slope(lambda s, x: _over_two_plus_two_cosh(-8 * jnp.tanh(x), 2 * x))
def _sech2(x: Array) -> Array:
    return 4 / _two_plus_two_cosh(2 * x)


@gate(formula="x̄ = ȳ · [x > 0]", source="CS231n 2019, lecture 4, slides 21 and 113")
def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The rectified linear unit max(0, x), the default choice.

    >>> relu(jnp.array([1.0, -2.0, 3.0, -1.0]))
    Array([1., 0., 3., 0.], dtype=float32)
    """
    return jax.nn.relu(x)


@relu.forward
def relu_forward(x):
    return relu.primal(x), x > 0


@relu.backward
def relu_backward(positive, y_bar):
    return (jnp.where(positive, y_bar, 0),)


@gate(formula="x̄ = ȳ · (1 if x ≥ 0 else slope)", source="CS231n 2019, lecture 4, slide 21")
def leaky_relu(x: Float[Array, "*shape"], *, slope: float = 0.1) -> Float[Array, "*shape"]:
    """The leaky ReLU: x for x ≥ 0, slope·x below, which for slope ≤ 1 is max(slope·x, x).

    >>> leaky_relu(jnp.array([2.0, -2.0]))
    Array([ 2. , -0.2], dtype=float32)
    """
    return jax.nn.leaky_relu(x, slope)


@leaky_relu.forward
def leaky_relu_forward(x, *, slope=0.1):
    return leaky_relu.primal(x, slope=slope), x >= 0


@leaky_relu.backward
def leaky_relu_backward(positive, y_bar, *, slope=0.1):
    return (jnp.where(positive, y_bar, slope * y_bar),)


@gate(
    formula="x̄ = ȳ · (1 if x > 0 else α eˣ)",
    source="Clevert et al. 2016, eq. 15; CS231n 2019, lecture 4, slide 21",
)
def elu(x: Float[Array, "*shape"], *, alpha: float = 1.0) -> Float[Array, "*shape"]:
    """The exponential linear unit: x for x > 0, α(eˣ − 1) below.

    >>> f"{elu(2.0)} {elu(-1.0):.3f}"
    '2.0 -0.632'
    """
    return jax.nn.elu(x, alpha)


@elu.forward
def elu_forward(x, *, alpha=1.0):
    return elu.primal(x, alpha=alpha), x


@elu.backward
def elu_backward(x, y_bar, *, alpha=1.0):
    x = at_least_float32(x)
    return _downstream(jnp.where(x > 0, 1, _times_exp(alpha, jnp.where(x > 0, 0, x))), y_bar)


@gate(formula="x̄ = ȳ · σ(x)", source="Dugas et al. 2001; Glorot, Bordes and Bengio 2011")
def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The smooth ReLU log(1 + eˣ).

    >>> f"{softplus(0.0):.3f}"
    '0.693'
    """
    return jax.nn.softplus(x)


@softplus.forward
def softplus_forward(x):
    return softplus.primal(x), x


@softplus.backward
def softplus_backward(x, y_bar):
    return _downstream(_logistic(at_least_float32(x)), y_bar)


@slope(lambda s, x: _bell(x))
def _logistic(x: Array) -> Array:
    return jax.nn.sigmoid(x)


# silu′(x) = n(x) / (eˣ + 2 + e⁻ˣ) with n(x) = 1 + x + eˣ. From r, the float32 nearest to the root of n,
# n(x) − n(r) = (x − r) + eʳ (e^(x − r) − 1): two terms of one sign. In silu″(x) = m(x) / (eˣ + 2 + e⁻ˣ) with
# m(x) = 2 − x tanh(x/2), and r that nearest to its root, T = tanh(x/2) and T_r = tanh(r/2),
# m(r) − m(x) = (x − r) T + r (T − T_r) and T − T_r = tanh((x − r)/2) (1 − T T_r).
_SILU_ROOT = -1.2784645557403564
_SILU_AT_ROOT = -1.659355263530338e-08  # n(r)
_SILU_BEND = 2.399357318878174
_SILU_AT_BEND = -4.6022919162986406e-08  # m(r)
_SILU_TANH_AT_BEND = 0.83355656545479634


@gate(formula="x̄ = ȳ · σ(x) (1 + x σ(−x))", source="Hendrycks and Gimpel 2016; Elfwing et al. 2018, eq. 8")
def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The sigmoid linear unit x σ(x), also called swish.

    >>> f"{silu(1.0):.3f}"
    '0.731'
    """
    return jax.nn.silu(x)


@silu.forward
def silu_forward(x):
    return silu.primal(x), x


@silu.backward
def silu_backward(x, y_bar):
    return _downstream(_silu_derivative(at_least_float32(x)), y_bar)


@slope(lambda s, x: _silu_second_derivative(x))
def _silu_derivative(x: Array) -> Array:
    left = _silu_derivative_on_the_left(_minus_abs(x))
    return jnp.where(x < 0, left, 1 - left)


def _silu_derivative_on_the_left(x: Array) -> Array:
    """silu′(x) for x ≤ 0."""
    from_root = x - _SILU_ROOT
    n = from_root + (math.exp(_SILU_ROOT) * jnp.expm1(from_root) + _SILU_AT_ROOT)
    return jnp.where(x < -64, _times_exp(n, x), n / _two_plus_two_cosh(x))


@slope(lambda s, x: _silu_third_derivative(x))
def _silu_second_derivative(x: Array) -> Array:
    t = jnp.abs(jnp.clip(x, -1000, 1000))
    tanh, from_bend = jnp.tanh(t / 2), t - _SILU_BEND
    change = jnp.tanh(from_bend / 2) * (1 - tanh * _SILU_TANH_AT_BEND)
    m = _SILU_AT_BEND - (from_bend * tanh + _SILU_BEND * change)
    return _over_two_plus_two_cosh(m, t)


def _silu_third_derivative(x: Array) -> Array:
    """Odd, and written so: exactly 0 at 0."""
    x = jnp.clip(x, -1000, 1000)
    bell, tanh = _bell(x), jnp.tanh(x / 2)
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


@gate(formula="x̄ = ȳ · (Φ(x) + x φ(x))", source="Hendrycks and Gimpel 2016, Gaussian Error Linear Units")
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The Gaussian error linear unit x Φ(x), exact (not its tanh approximation).

    >>> f"{gelu(1.0):.3f}"
    '0.841'
    """
    return jax.nn.gelu(x, approximate=False)


@gelu.forward
def gelu_forward(x):
    return gelu.primal(x), x


@gelu.backward
def gelu_backward(x, y_bar):
    return _downstream(_gelu_derivative(at_least_float32(x)), y_bar)


@slope(lambda s, x: _gelu_second_derivative(x))
def _gelu_derivative(x: Array) -> Array:
    if x.dtype == jnp.float64:
        return jax.scipy.stats.norm.cdf(x) + x * jax.scipy.stats.norm.pdf(x)
    left = _gelu_derivative_on_the_left(jnp.minimum(-_minus_abs(x), 20))
    return jnp.where(x < 0, left, 1 - left)


def _gelu_derivative_on_the_left(t: Array) -> Array:
    """gelu′(−t) for 0 ≤ t ≤ 20 in float32.

    The products with 1 + w are arranged to round once.
    """
    minus_half_square, w = _halves_of_square(t)
    s = (t - 3) / (t + 3)
    *higher, constant = _GELU_SLOPE
    rest = s * jnp.polyval(jnp.asarray(higher, t.dtype), s)
    slope_times_1_plus_w = constant + (rest + (constant + rest) * w)
    n_times_1_plus_w = (_GELU_ROOT - t) * slope_times_1_plus_w + (_GELU_AT_ROOT + _GELU_AT_ROOT * w)
    return _times_exp(n_times_1_plus_w, minus_half_square)


def _halves_of_square(t: Array) -> tuple[Array, Array]:
    """−h²/2 and w with exp(−t²/2) = exp(−h²/2) (1 + w).

    With h the upper half of t's digits h² is exact and w small.
    """
    h = lax.stop_gradient(lax.reduce_precision(t, exponent_bits=8, mantissa_bits=11))
    return -(h * h) / 2, jnp.expm1((h - t) * (h + t) / 2)


@slope(lambda s, x: _times_density(lambda x: x * (x * x - 4), x))
def _gelu_second_derivative(x: Array) -> Array:
    """φ(x) (2 − x²)."""
    return _times_density(lambda x: (_SQRT2 - x) * (_SQRT2 + x) + _TWO_MINUS_ITS_SQUARE, x)


def _times_density(polynomial: Callable[[Array], Array], x: Array) -> Array:
    """p(x) φ(x), with φ the density of the normal distribution."""
    x = jnp.clip(x, -40, 40)
    minus_half_square, w = _halves_of_square(x)
    p = polynomial(x)
    return _times_exp((p + p * w) / math.sqrt(2 * math.pi), minus_half_square)
