"""How a head of a Neural Turing Machine finds its places (Graves, Wayne and Danihelka 2014, §3.3).

A weighting w says how much each of the N places of a memory M counts; it is ≥ 0 and sums to 1. A head's
layer gives a key k and numbers β, g, s, γ, which turn its last weighting into the next one (eq. 5 to 9):

    content        c = softmax(β cos(k, M(i)))            what is like the key, β ≥ 0
    interpolate    w ← g c + (1 − g) w                    0 < g < 1
    shift          w ← w ∗ s, around a circle             s ≥ 0, Σ s = 1
    sharpen        w ← w^γ / Σ w^γ                        γ ≥ 1, against what each shift blurs

The layer's outputs can be any numbers: tanh k, softplus β, σ(g), softmax s and 1 + softplus γ are taken.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from funcnet.nn.activations import sigmoid, softplus, tanh
from funcnet.nn.memory import circular_convolution, cosine_similarity


def weighting(
    z: Float[Array, " numbers"], w: Float[Array, " places"], memory: Float[Array, "places width"]
) -> Float[Array, " places"]:
    """A head's next weighting.

    Args:
        z: what its layer says: width numbers of k, then β, g, all of s, γ.
        w: its last weighting.
        memory: the memory.

    >>> w = weighting(jnp.zeros(8), jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.ones((4, 2)))
    >>> f"{w.sum():.1f}"
    '1.0'
    """
    width = memory.shape[1]
    k, beta, g, s, gamma = jnp.split(z, [width, width + 1, width + 2, z.size - 1])
    return sharpen(shift(interpolate(w, content(memory, k, beta), g), s), gamma)


@jax.named_scope("content")
def content(memory: Array, k: Array, beta: Array) -> Array:
    """Eq. 5 and 6."""
    return jax.nn.softmax(softplus(beta) * cosine_similarity(tanh(k), memory))


@jax.named_scope("interpolate")
def interpolate(w: Array, found: Array, g: Array) -> Array:
    """Eq. 7."""
    g = sigmoid(g)
    return g * found + (1 - g) * w


@jax.named_scope("shift")
def shift(w: Array, s: Array) -> Array:
    """Eq. 8."""
    return circular_convolution(w, jax.nn.softmax(s))


@jax.named_scope("sharpen")
def sharpen(w: Array, gamma: Array) -> Array:
    """Eq. 9. The largest weight, a factor that cancels, is taken out: the sum of powers cannot vanish."""
    powers = (w / lax.stop_gradient(jnp.max(w))) ** (1 + softplus(gamma))
    return powers / jnp.sum(powers)
