"""Local response normalization: each channel is divided by what its neighbours say.

With the neighbours N(c) of a channel (Krizhevsky, Sutskever and Hinton 2012, §3.3),

    d_c = k + α Σ x²_c' over N(c),   y_c = x_c d_c^−β
    x̄_c = ȳ_c d_c^−β − 2 α β x_c Σ ȳ_c' x_c' d_c'^(−β−1) over the c' with c in N(c')

Half precision is worked out in float32 and rounded once.
"""

import functools
import operator

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from funcnet._errors import ParameterError
from funcnet.nn._dtypes import at_least_float32
from funcnet.nn._gate import gate


@gate(
    formula="x̄_c = ȳ_c d_c^−β − 2αβ x_c Σ ȳ_c' x_c' d_c'^(−β−1) over the neighbours c' of c",
    source="Krizhevsky, Sutskever and Hinton 2012, §3.3",
)
def local_response_norm(
    x: Float[Array, "*batch_and_space channels"],
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
) -> Float[Array, "*batch_and_space channels"]:
    """Local response normalization, with the numbers of the paper.

    Caffe and PyTorch divide α by the size, and start from k = 1: theirs is `alpha=1e-4 / 5, k=1.0`.

    Args:
        x: [*batch, *space, channels].
        size: how many neighbouring channels a channel is divided by, itself in their middle.
        alpha: α, the weight of each square.
        beta: β, the exponent.
        k: what the sum starts from.

    Raises:
        ParameterError: the size is even or below 1, or k ≤ 0.

    >>> local_response_norm(jnp.array([[3.0, 4.0]]), size=3, alpha=1.0, beta=0.5, k=11.0)
    Array([[0.5      , 0.6666667]], dtype=float32)
    """
    wide = at_least_float32(x)
    return (wide * _responses(wide, size, alpha, k) ** -beta).astype(x.dtype)


@local_response_norm.forward
def local_response_norm_forward(x, **params):
    return local_response_norm.primal(x, **params), x


@local_response_norm.backward
def local_response_norm_backward(x, y_bar, *, size=5, alpha=1e-4, beta=0.75, k=2.0):
    wide, y_bar = at_least_float32(x), at_least_float32(y_bar)
    d = _responses(wide, size, alpha, k)
    # A product of ȳ alone, once: used in two, XLA would keep apart all that a pooling has summed up in ȳ.
    direct = y_bar * d**-beta
    of_neighbours = _sum_of_neighbours(direct * wide / d, size)
    return ((direct - 2 * alpha * beta * wide * of_neighbours).astype(x.dtype),)


def _responses(x: Array, size: int, alpha: float, k: float) -> Array:
    """d: what a channel is divided by, before the exponent."""
    if size < 1 or size % 2 == 0 or k <= 0:
        raise ParameterError(
            f"local_response_norm: size is {size} and k {k}; expected an odd number of channels, so that one "
            f"is in the middle, and k > 0"
        )
    return k + alpha * _sum_of_neighbours(x * x, size)


def _sum_of_neighbours(x: Array, size: int) -> Array:
    """The sum over the channels around each, as many on both sides."""
    channels, reach = x.shape[-1], size // 2
    around = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(reach, reach)])
    shifted = (lax.slice_in_dim(around, i, i + channels, axis=-1) for i in range(size))
    return functools.reduce(operator.add, shifted)
