"""Functions of JAX that have a name, and a derivative of JAX's own: relu, relu6, softplus.

JAX differentiates them by rules that it brings along; here each has ours. They are known by where they are
defined: a function of somebody else's with the same name is none of them. All have one argument and act on
each element by itself: so does what vmap makes of them, whichever axis it maps, under the same name. Of two
arguments vmap may map different axes, and the name would not tell.
"""

from jax import lax

from funcnet.rules._table import rule

DEFINED = {
    "nn.functions.relu": "jax.nn.relu",
    "nn.functions.relu6": "jax.nn.relu6",
    "nn.functions.softplus": "jax.nn.softplus",
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


@rule("jax.nn.softplus", formula="x̄ = ȳ · σ(x)", source="Dugas et al. 2001; Glorot, Bordes and Bengio 2011")
def softplus(y_bar, y, x):
    return (y_bar * lax.logistic(x),)
