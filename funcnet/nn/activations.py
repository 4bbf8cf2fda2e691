"""Activations y = f(x), elementwise, and their derivatives in a form that does not cancel.

Backward is x̄ = ȳ · f′(x): local gradient × upstream gradient (CS231n 2019, lecture 4, slides
56 to 60). What matters is how f′ is written. 1 − tanh² is exactly 0 in float32 from |x| = 9 on,
where the truth is still 6e-8, and y (1 − y) loses every digit for a confident σ. The formulas here
only add, multiply and divide quantities of one sign:

    sigmoid     q (1 − q),   q = σ(−|x|)
    tanh        q (1 − q/4), q = 4 / (1 + e^2|x|)
    softplus    σ(x)
    elu         α eˣ  for x ≤ 0
    silu, gelu  from the root of f′, see `funcnet.rules.selfgated`

They are those of the rules of JAX's functions, within 4 ulp of the truth at every float32 input whose true
derivative is a normal number. What is differentiated again need not cancel in turn, so that f′ has a
derivative of its own, within 8 ulp.

Backward keeps x rather than y, which has lost what the tails need. For tanh and sigmoid that is one
more array a layer; in a net of six layers of 1024 it costs 5 to 8 % of a step on a CPU. The
derivatives of float16 and bfloat16 inputs are worked out in float32 and rounded once.

Kinks follow JAX: relu′(0) = 0, leaky_relu′(0) = 1, elu′(0) = α.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from funcnet.nn._dtypes import at_least_float32
from funcnet.nn._gate import gate
from funcnet.rules.activations import logistic, times_exp
from funcnet.rules.exponentials import logistic_slope, sech2
from funcnet.rules.selfgated import gelu_slope, silu_slope


def _downstream(local: Array, y_bar: Array) -> tuple[Array]:
    """Local gradient × upstream gradient, in the upstream gradient's dtype."""
    return ((local * at_least_float32(y_bar)).astype(y_bar.dtype),)


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
    return _downstream(logistic_slope(at_least_float32(x)), y_bar)


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
    return _downstream(sech2(at_least_float32(x)), y_bar)


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
    return _downstream(jnp.where(x > 0, 1, times_exp(alpha, jnp.where(x > 0, 0, x))), y_bar)


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
    return _downstream(logistic(at_least_float32(x)), y_bar)


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
    return _downstream(silu_slope(at_least_float32(x)), y_bar)


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
    return _downstream(gelu_slope(at_least_float32(x)), y_bar)
