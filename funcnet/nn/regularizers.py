"""Regularizers R(w): one number for an array of weights, which training adds as λ·R.

CS231n 2019, lecture 4, slides 6 and 27. The L2 penalty is Σ w² without the factor ½ that other
texts put in front, so that a λ from the course means the same here. Biases are not regularized;
`funcnet.nn.weights` lists what is.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from funcnet.nn._dtypes import at_least_float32
from funcnet.nn._gate import gate


@gate(formula="w̄ = ȳ sign(w)", source="Tibshirani 1996; CS231n 2019, lecture 4, slide 6")
def l1(w: Float[Array, "*shape"]) -> Float[Array, ""]:
    """The L1 penalty Σ |w|. Its derivative at 0 is 0, so that a weight of exactly 0 stays there.

    >>> l1(jnp.array([1.0, -2.0]))
    Array(3., dtype=float32)
    """
    w = at_least_float32(w)
    return jnp.sum(w * jnp.sign(w))


@l1.forward
def l1_forward(w):
    return l1.primal(w), jnp.sign(w)


@l1.backward
def l1_backward(sign, y_bar):
    return ((at_least_float32(sign) * y_bar).astype(sign.dtype),)


@gate(formula="w̄ = ȳ · 2w", source="Hoerl and Kennard 1970; CS231n 2019, lecture 4, slides 6 and 36")
def l2(w: Float[Array, "*shape"]) -> Float[Array, ""]:
    """The L2 penalty Σ w², without a factor ½.

    >>> l2(jnp.array([1.0, -2.0]))
    Array(5., dtype=float32)
    """
    return jnp.sum(at_least_float32(w) ** 2)


@l2.forward
def l2_forward(w):
    return l2.primal(w), w


@l2.backward
def l2_backward(w, y_bar):
    return ((2 * at_least_float32(w) * y_bar).astype(w.dtype),)


@gate(formula="w̄ = ȳ (2β w + sign(w))", source="Zou and Hastie 2005; CS231n 2019, lecture 4, slide 6")
def elastic_net(w: Float[Array, "*shape"], *, beta: float = 1.0) -> Float[Array, ""]:
    """The elastic net Σ (β w² + |w|).

    >>> elastic_net(jnp.array([1.0, -2.0]), beta=0.5)
    Array(5.5, dtype=float32)
    """
    return beta * l2.primal(w) + l1.primal(w)


@elastic_net.forward
def elastic_net_forward(w, *, beta=1.0):
    return elastic_net.primal(w, beta=beta), w


@elastic_net.backward
def elastic_net_backward(w, y_bar, *, beta=1.0):
    local = 2 * beta * at_least_float32(w) + at_least_float32(jnp.sign(w))
    return ((local * y_bar).astype(w.dtype),)
