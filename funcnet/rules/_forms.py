"""Functions as JAX writes them out where it makes no call; softmax and logsumexp of any d = x − max x."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


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


@jax.jit
def ndtr(x: Any, central: Any, right: Any) -> Any:
    """Φ(x), by three expressions: in the centre, and on the right and the left of it."""
    root = x.dtype.type(0.5) * np.sqrt(2.0, dtype=x.dtype)
    w = x * root
    z = lax.abs(w)
    tails = lax.select(right, x.dtype.type(2) - lax.erfc(z), lax.erfc(z))
    return x.dtype.type(0.5) * lax.select(central, x.dtype.type(1) + lax.erf(w), tails)


_NAMED = {"softmax": softmax, "logsumexp": logsumexp, "i0": i0, "i1": i1, "ndtr": ndtr}
FORMS = {f"funcnet.rules._forms.{name}": form for name, form in _NAMED.items()}
"""By where they are defined."""
