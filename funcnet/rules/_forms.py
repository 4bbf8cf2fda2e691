"""Functions as JAX writes them out where it makes no call; softmax and logsumexp of any d = x − max x."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
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


_NAMED = {"softmax": softmax, "logsumexp": logsumexp, "i0": i0, "i1": i1}
FORMS = {f"funcnet.rules._forms.{name}": form for name, form in _NAMED.items()}
"""By where they are defined."""
