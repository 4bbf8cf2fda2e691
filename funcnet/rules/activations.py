"""JAX's activations that rise everywhere; those with a minimum are in `funcnet.rules.selfgated`.

JAX composes most of them, and in their tails 1 − |x|/(1 + |x|) or 1 + x/√(x² + b) cancels. The forms here do
not; nor does that of celu in α, whose terms cancel near 0. Kinks follow JAX: celu″(0) and the like are
those from the left. Complex soft_sign, squareplus and celu stay composed.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import rule, slope
from funcnet.rules.exponentials import logistic_slope


@rule("jax.nn.relu", formula="x̄ = ȳ · [x > 0]", source="CS231n 2019, lecture 4, slides 21 and 113")
def relu(y_bar, y, x):
    return (lax.select(x > 0, y_bar, lax.full_like(y_bar, 0)),)


@rule(
    "jax.nn.relu6",
    formula="x̄ = ȳ · [0 < x < 6]",
    source="Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10",
)
def relu6(y_bar, y, x):
    return (lax.select((x > 0) & (x < 6), y_bar, lax.full_like(y_bar, 0)),)


@rule(
    "jax.nn.hard_silu",
    formula="x̄ = ȳ · (x/3 + ½ if −3 < x < 3 else [x ≥ 3])",
    source="Howard et al. 2019, Searching for MobileNetV3, section 5.2",
)
def hard_silu(y_bar, y, x):
    """At −1.5, the root, x + 1.5 is exact."""
    outside = lax.abs(x) >= 3
    return (y_bar * jnp.where(outside, x > 0, (jnp.where(outside, 0, x) + 1.5) / 3),)


@rule(
    "jax.nn.selu",
    formula="x̄ = ȳ · λ if x > 0 else ȳ · λ α eˣ",
    source="Klambauer et al. 2017, Self-Normalizing Neural Networks, eq. 2",
)
def selu(y_bar, y, x):
    return (y_bar * selu_slope(x),)


@slope(lambda s, x: jnp.where(x > 0, 0, s))
def selu_slope(x):
    return jnp.where(x > 0, _SELU_SCALE, times_exp(_SELU_SCALE * _SELU_ALPHA, jnp.where(x > 0, 0, x)))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


@rule("jax.nn.softplus", formula="x̄ = ȳ · σ(x)", source="Dugas et al. 2001; Glorot, Bordes and Bengio 2011")
def softplus(y_bar, y, x):
    return (y_bar * logistic(x),)


@slope(lambda s, x: logistic_slope(x))
def logistic(x: Any) -> Any:
    """σ(x), for which JAX's own derivative is σ (1 − σ)."""
    return lax.logistic(x)


@rule("jax.nn.soft_sign", formula="x̄ = ȳ / (1 + |x|)²", source="Bergstra et al. 2009; Turian et al. 2009")
def soft_sign(y_bar, y, x):
    return (y_bar * soft_sign_slope(x),)


@slope(lambda s, x: -2 * lax.sign(x) * s / (1 + lax.abs(x)))
def soft_sign_slope(x):
    q = 1 / (1 + lax.abs(x))
    return q * q


@rule(
    "jax.nn.squareplus",
    formula="x̄ = ȳ (1 + x/r)/2,  b̄ = ȳ / (4r),  r = √(x² + b)",
    source="Barron 2021, Squareplus: A Softplus-Like Algebraic Rectifier, eq. 1 and 2",
)
def squareplus(y_bar, y, x, b=4):
    b = jnp.asarray(b, x.dtype)
    root = _root(x, b)
    return y_bar * _squareplus_slope(x, b), y_bar * (0.25 / root)


@slope(lambda root, x, b: x / root, lambda root, x, b: 0.5 / root)
def _root(x, b):
    """√(x² + b), which is |x| where x² may overflow."""
    far = lax.abs(x) > math.sqrt(float(jnp.finfo(x.dtype).max)) / 8
    return jnp.where(far, lax.abs(x), lax.sqrt(jnp.where(far, 0, x) ** 2 + b))


@slope(
    lambda s, x, b: 0.5 * b / _root(x, b) / _root(x, b) / _root(x, b),
    lambda s, x, b: -0.25 * x / _root(x, b) / _root(x, b) / _root(x, b),
)
def _squareplus_slope(x, b):
    """(1 + x/r)/2, which is b / (2r (r − x)) for x < 0."""
    root = _root(x, b)
    size = lax.abs(x)
    return jnp.where(x < 0, 0.5 * (b / root / (root + size)), 0.5 * ((root + size) / root))


@rule(
    "jax.nn.celu",
    formula="x̄ = ȳ (1 if x > 0 else eᵗ),  ᾱ = ȳ (eᵗ − 1 − t eᵗ),  t = min(x, 0)/α",
    source="Barron 2017, Continuously Differentiable Exponential Linear Units, eq. 2 and 3",
)
def celu(y_bar, y, x, alpha=1):
    left, alpha = jnp.where(x > 0, 0, x), jnp.asarray(alpha, x.dtype)
    return (
        y_bar * jnp.where(x > 0, 1, _exp_of_quotient(left, alpha)),
        y_bar * _celu_alpha_slope(left, alpha),
    )


def times_exp(a: Any, x: Any) -> Any:
    """a·eˣ for x ≤ 0, also where eˣ alone is too small for a normal number and a·eˣ is not."""
    far = x < -64
    return a * jnp.exp(jnp.where(far, x + 64, x)) * jnp.where(far, math.exp(-64), 1)


@slope(lambda s, x, alpha: s / alpha, lambda s, x, alpha: -(x / alpha) * (s / alpha))
def _exp_of_quotient(x, alpha):
    """exp(x/α) for x/α ≤ 0, with what the quotient t has lost in rounding, (x − t α)/α."""
    t = x / alpha
    (t1, t2), (a1, a2) = _halves(t), _halves(alpha)
    lost = (((x - t1 * a1) - t1 * a2) - t2 * a1 - t2 * a2) / alpha
    return times_exp(1 + jnp.where(t > -200, lost, 0), t)


def _halves(x: Any) -> tuple[Any, Any]:
    """The upper half of the digits of x and the rest, whose products are exact."""
    info = jnp.finfo(x.dtype)
    upper = lax.reduce_precision(x, exponent_bits=info.nexp, mantissa_bits=(info.nmant - 1) // 2)
    return upper, x - upper


@slope(
    lambda s, x, alpha: -(x / alpha) * (_exp_of_quotient(x, alpha) / alpha),
    lambda s, x, alpha: (x / alpha) * ((x / alpha) * (_exp_of_quotient(x, alpha) / alpha)),
)
def _celu_alpha_slope(x, alpha):
    """eᵗ − 1 − t eᵗ = −eᵗ (e⁻ᵗ − 1 + t); the bracket near 0 is t²/2 − t³/6 + …, all of one sign for t < 0."""
    t = x / alpha
    near = t > -2
    size = jnp.where(near, -t, 0)
    total = lax.full_like(t, 1)
    for n in range(18 if jnp.finfo(t.dtype).bits <= 32 else 30, 2, -1):
        total = 1 + size * total / n
    series = -lax.exp(-size) * (size * (size * total) / 2)
    far = lax.max(t, lax.full_like(t, -1000))
    return jnp.where(near, series, (1 - far) * lax.exp(far) - 1)
