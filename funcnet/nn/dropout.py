"""Dropout: features are set to 0 at random while a net learns (Srivastava et al. 2014)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

from funcnet._errors import ParameterError
from funcnet.nn._gate import gate


@gate(
    formula="x̄ = ȳ · kept / (1 − rate)",
    source="Srivastava et al. 2014, section 10 (scaling while training: 'inverted')",
)
def dropout(
    x: Float[Array, "*shape"], key: Key[Array, ""] | UInt32[Array, "2"], *, rate: float = 0.5
) -> Float[Array, "*shape"]:
    """Inverted dropout: each element is 0 with probability `rate`, else x / (1 − rate).

    The mean over keys is x, so that nothing needs scaling when the trained net is used.

    Args:
        x: features.
        key: which elements fall is a function of this key and of x's shape alone.
        rate: probability of an element to fall, 0 ≤ rate < 1.

    Raises:
        ParameterError: the rate is not in [0, 1).

    >>> dropout(jnp.ones(6), jax.random.key(0), rate=0.5)
    Array([0., 0., 2., 2., 0., 2.], dtype=float32)
    """
    return dropout_forward(x, key, rate=rate)[0]


@dropout.forward
def dropout_forward(x, key, *, rate=0.5):
    if not 0 <= rate < 1:
        raise ParameterError(f"dropout: rate is {rate}; expected 0 ≤ rate < 1")
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0), kept


@dropout.backward
def dropout_backward(kept, y_bar, *, rate=0.5):
    return jnp.where(kept, y_bar / (1 - rate), 0), None
