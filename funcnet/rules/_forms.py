"""Functions as JAX writes them out where it makes no call; softmax and logsumexp of any d = x − max x."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import xlog1py, xlogy


@functools.partial(jax.jit, static_argnames="axis")
def softmax(d: Any, axis: Any) -> Any:
    e = jnp.exp(d)
    return e / jnp.sum(e, axis, keepdims=True)


@functools.partial(jax.jit, static_argnames=("axis", "keepdims"))
def logsumexp(d: Any, axis: Any, keepdims: bool = False) -> Any:
    return jnp.log(jnp.sum(jnp.exp(d), axis, keepdims=keepdims))


@jax.jit
def i0(x: Any) -> Any:
    return jnp.exp(jnp.abs(x)) * lax.bessel_i0e(x)


@jax.jit
def i1(x: Any) -> Any:
    return jnp.exp(jnp.abs(x)) * lax.bessel_i1e(x)


def _ndtr(x: Any, central: Any, right: Any) -> Any:
    """Φ(x), by three expressions: in the centre, and on the right and the left of it."""
    root = x.dtype.type(0.5) * np.sqrt(2.0, dtype=x.dtype)
    w = x * root
    z = lax.abs(w)
    tails = lax.select(right, x.dtype.type(2) - lax.erfc(z), lax.erfc(z))
    return x.dtype.type(0.5) * lax.select(central, x.dtype.type(1) + lax.erf(w), tails)


@jax.jit
def ndtr(x: Any, central: Any, right: Any) -> Any:
    return _ndtr(x, central, right)


@jax.jit
def log_ndtr(x: Any, central: Any, right: Any) -> Any:
    return jnp.log(_ndtr(x, central, right))


@jax.jit
def boxcox(log: Any, lmbda: Any, one: Any, is_zero: Any) -> Any:
    """(x^λ − 1)/λ of log x and λ, where that is not 0."""
    divisor = jnp.where(is_zero, one, lmbda)
    return jnp.where(is_zero, log, jnp.expm1(divisor * log) / divisor)


_NAMED = {
    "softmax": softmax,
    "logsumexp": logsumexp,
    "i0": i0,
    "i1": i1,
    "ndtr": ndtr,
    "log_ndtr": log_ndtr,
    "boxcox": boxcox,
}
FORMS = {f"funcnet.rules._forms.{name}": form for name, form in _NAMED.items()}
"""By where they are defined."""


LOGARITHMS = {
    "jax.numpy.log(sigmoid)": lambda x: jnp.log(lax.logistic(x)),
    "jax.numpy.log(1-sigmoid)": lambda x: jnp.log(1 - lax.logistic(x)),
    "jax.numpy.log(1-sigmoid+eps)": lambda x, eps: jnp.log(1 - lax.logistic(x) + eps),
    "jax.numpy.log(1-clip(sigmoid))": lambda x, low, high: jnp.log(1 - jnp.clip(lax.logistic(x), low, high)),
    "jax.numpy.log(sigmoid*(1-sigmoid))": lambda x: jnp.log(lax.logistic(x) * (1 - lax.logistic(x))),
    "jax.numpy.log((1-sigmoid)*sigmoid)": lambda x: jnp.log((1 - lax.logistic(x)) * lax.logistic(x)),
    "jax.numpy.log(sigmoid-sigmoid)": lambda x1, x2: jnp.log(lax.logistic(x1) - lax.logistic(x2)),
    "jax.scipy.special.xlogy(sigmoid)": lambda k, x: xlogy(k, lax.logistic(x)),
    "jax.scipy.special.xlogy(1-sigmoid)": lambda k, x: xlogy(k, 1 - lax.logistic(x)),
    "jax.scipy.special.xlog1py(-sigmoid)": lambda k, x: xlog1py(k, -lax.logistic(x)),
    "jax.numpy.log1p(-sigmoid)": lambda x: jnp.log1p(-lax.logistic(x)),
    "jax.numpy.log(1-exp)": lambda x: jnp.log(1 - jnp.exp(x)),
    "jax.numpy.log1p(-exp)": lambda x: jnp.log1p(-jnp.exp(x)),
    "jax.numpy.log(1-tanh)": lambda x: jnp.log(1 - lax.tanh(x)),
    "jax.numpy.log(1+tanh)": lambda x: jnp.log(1 + lax.tanh(x)),
    "jax.numpy.log(tanh+1)": lambda x: jnp.log(lax.tanh(x) + 1),
    "jax.numpy.log1p(-tanh)": lambda x: jnp.log1p(-lax.tanh(x)),
    "jax.numpy.log1p(tanh)": lambda x: jnp.log1p(lax.tanh(x)),
}
for name, square in {
    "tanh**2": lambda t: t**2,
    "square(tanh)": jnp.square,
    "tanh*tanh": lambda t: t * t,
}.items():
    LOGARITHMS |= {
        f"jax.numpy.log(1-{name})": lambda x, square=square: jnp.log(1 - square(lax.tanh(x))),
        f"jax.numpy.log(1-{name}+eps)": lambda x, eps, square=square: jnp.log(1 - square(lax.tanh(x)) + eps),
        f"jax.numpy.log1p(-{name})": lambda x, square=square: jnp.log1p(-square(lax.tanh(x))),
    }
for logarithm in LOGARITHMS.values():
    logarithm.__name__ = "logarithm"
LOGARITHMS = {name: jax.jit(logarithm) for name, logarithm in LOGARITHMS.items()}
"""By the names of their rules."""
