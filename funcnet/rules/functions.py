"""Functions of JAX that have a name, and a derivative of JAX's own: relu, softplus, logaddexp, xlogy.

JAX differentiates them by rules that it brings along; here each has ours, under its public name. All act on
each element by itself: a rule gets its arguments in the shape and the dtype of the result.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import rule, slope
from funcnet.rules.exponentials import logistic_slope

DEFINED = {
    "nn.functions.relu": ["jax.nn.relu"],
    "nn.functions.relu6": ["jax.nn.relu6"],
    "nn.functions.softplus": ["jax.nn.softplus"],
    "lax.other.logaddexp": ["jax.numpy.logaddexp"],
    "scipy.special.xlogy": ["jax.scipy.special.xlogy"],
    "scipy.special.xlog1py": ["jax.scipy.special.xlog1py"],
}
"""By the place in JAX where a function is defined: the names of the rules that may be its."""


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


@rule(
    "jax.numpy.logaddexp",
    formula="x̄₁ = ȳ · σ(x₁ − x₂),  x̄₂ = ȳ · σ(x₂ − x₁)",
    source="Dugas et al. 2001, Incorporating Second-Order Functional Knowledge",
)
def logaddexp(y_bar, y, x1, x2):
    """Half to each where both are the same infinity."""
    same = (x1 == x2) & jnp.isinf(x1)
    x1, x2 = (jnp.where(same, 0, x) for x in (x1, x2))
    return y_bar * _share(x1, x2), y_bar * _share(x2, x1)


def _share(x1, x2):
    """σ(x₁ − x₂); what the difference loses in rounding (Knuth 1997, §4.2.2, theorem B) is many ulp of it."""
    apart = x1 - x2
    back = apart - x1
    lost = (x1 - (apart - back)) - (x2 + back)
    return _logistic(apart, jnp.where(jnp.isfinite(apart), lost, 0))


@slope(lambda s, x, rest: logistic_slope(x) * (1 - rest * lax.tanh(0.5 * x)), None)
def _logistic(x, rest):
    """σ(x + rest) for a small rest."""
    return lax.logistic(x) * (1 + rest * lax.logistic(-x))


@rule(
    "jax.scipy.special.xlogy",
    formula="x̄ = ȳ · log y,  ȳ_y = ȳ · x / y, and 0 where x = y = 0",
    source="Kullback and Leibler 1951, On Information and Sufficiency, section 2",
)
def xlogy(y_bar, z, x, y):
    return y_bar * lax.log(y), y_bar * _ratio(x, y)


@rule(
    "jax.scipy.special.xlog1py",
    formula="x̄ = ȳ · log(1 + y),  ȳ_y = ȳ · x / (1 + y), and 0 where x = 1 + y = 0",
    source="Kullback and Leibler 1951, On Information and Sufficiency, section 2",
)
def xlog1py(y_bar, z, x, y):
    return y_bar * lax.log1p(y), y_bar * _ratio(x, 1 + y)


def _ratio_by_y(ratio: Any, x: Any, y: Any) -> Any:
    return -_ratio(ratio, y)


@slope(lambda ratio, x, y: 1 / y, _ratio_by_y)
def _ratio(x, y):
    """x / y, and 0 where x is: at 0 / 0 its derivative in x is infinite, that in y again 0."""
    edge = x == 0
    return jnp.where(edge, 0, x / jnp.where(edge, 1, y))
