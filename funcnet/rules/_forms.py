"""Functions as JAX writes them out where it makes no call: of d = x − max x, or of any other differences."""

import functools
from typing import Any

import jax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnames="axis")
def softmax(d: Any, axis: Any) -> Any:
    e = jnp.exp(d)
    return e / jnp.sum(e, axis, keepdims=True)


@functools.partial(jax.jit, static_argnames=("axis", "keepdims"))
def logsumexp(d: Any, axis: Any, keepdims: bool = False) -> Any:
    return jnp.log(jnp.sum(jnp.exp(d), axis, keepdims=keepdims))


FORMS = {"funcnet.rules._forms.softmax": softmax, "funcnet.rules._forms.logsumexp": logsumexp}
"""By where they are defined."""
