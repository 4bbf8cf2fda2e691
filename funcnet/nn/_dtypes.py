"""Floating-point dtypes: what gates promote their inputs to, and what they calculate in."""

import jax.numpy as jnp
from jaxtyping import Array


def is_floating(x: object) -> bool:
    """Whether x is a floating-point array or Python float."""
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)


def to_one_float_dtype(xs: tuple) -> list[Array]:
    """The arrays with the floating-point ones in the widest dtype among them."""
    floating = [x for x in xs if is_floating(x)]
    dtype = jnp.result_type(*floating) if floating else None
    return [jnp.asarray(x, dtype if is_floating(x) else None) for x in xs]


def at_least_float32(x: Array) -> Array:
    """x in the dtype in which its gate calculates: float32 for half precision, the default for integers."""
    if not is_floating(x):
        return x.astype(float)
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x
