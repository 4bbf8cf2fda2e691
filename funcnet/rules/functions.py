"""Functions of JAX that have a name, and a derivative of JAX's own: relu, relu6, logaddexp, xlogy, xlog1py.

JAX differentiates them by rules that it brings along; here each has ours. They are known by where they are
defined: a function of somebody else's with the same name is none of them.

softplus(x) is logaddexp(x, 0), and its derivative σ(x) is written as such: eˣ / (1 + eˣ) loses the digits of
its own derivative. x log y and x log(1 + y) are 0 at the edge, where x = 0, and so are their slopes there.
"""

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import like, rule

DEFINED = {
    "nn.functions.relu": "jax.nn.relu",
    "nn.functions.relu6": "jax.nn.relu6",
    "lax.other.logaddexp": "jax.numpy.logaddexp",
    "scipy.special.xlogy": "jax.scipy.special.xlogy",
    "scipy.special.xlog1py": "jax.scipy.special.xlog1py",
}
"""By the place in JAX where a function is defined: the name of its rule."""


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
    "jax.numpy.logaddexp",
    formula="x̄₁ = ȳ · σ(x₁ − x₂),  x̄₂ = ȳ · σ(x₂ − x₁)",
    source="Dugas et al. 2001, Incorporating Second-Order Functional Knowledge",
)
def logaddexp(y_bar, y, x1, x2):
    same = (x1 == x2) & jnp.isinf(x1)
    apart = jnp.where(same, 0, jnp.where(same, 0, x1) - jnp.where(same, 0, x2))
    return _summed(x1, y_bar * lax.logistic(apart)), _summed(x2, y_bar * lax.logistic(-apart))


@rule(
    "jax.scipy.special.xlogy",
    formula="x̄ = ȳ · log y,  ȳ_y = ȳ · x / y, and 0 where x = y = 0",
    source="Kullback and Leibler 1951, On Information and Sufficiency, section 2",
)
def xlogy(y_bar, z, x, y):
    return _summed(x, y_bar * lax.log(y)), _summed(y, y_bar * _ratio(x, y))


@rule(
    "jax.scipy.special.xlog1py",
    formula="x̄ = ȳ · log(1 + y),  ȳ_y = ȳ · x / (1 + y), and 0 where x = 1 + y = 0",
    source="Kullback and Leibler 1951, On Information and Sufficiency, section 2",
)
def xlog1py(y_bar, z, x, y):
    return _summed(x, y_bar * lax.log1p(y)), _summed(y, y_bar * _ratio(x, 1 + y))


def _ratio(x, y):
    """x / y, and 0 where both are 0."""
    edge = (x == 0) & (y == 0)
    return jnp.where(edge, 0, x / jnp.where(edge, 1, y))


def _summed(x, x_bar):
    """Sum `x_bar` over what the function broadcast, as NumPy does: in front, and along axes of size 1."""
    return like(x, lax.reduce_sum(x_bar, range(x_bar.ndim - x.ndim)))
