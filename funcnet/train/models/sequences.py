"""Training a Neural Turing Machine on sequences: its loss and its update rule are those of its paper.

    draw = data.procedural.copy
    params = nn.init_ntm(key, 9, 8)
    fit(sequence_loss, params, procedural(draw), optimizer=rmsprop(3e-4, steps), steps=steps)
    sequence_errors(params, functools.partial(draw, lengths=(40, 40)), key, 100)

The loss is what a sequence costs in bits, −Σ log₂ p over all that is to come out (Graves, Wayne and Danihelka
2014, figure 3). A step takes one sequence, as in the paper; on an accelerator, many by
`jax.vmap(draw)(jax.random.split(key, n))`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, UInt32

from funcnet import nn
from funcnet._types import Params
from funcnet.data.procedural import Episode

LARGEST = 10.0
"""Beyond which each element of a gradient is cut off, as in the paper (§4.6)."""


def sequence_loss(params: Params, episode: Episode) -> tuple[Float[Array, ""], dict[str, Array]]:
    """What a sequence costs in bits, and as a metric its `wrong_bits`: those that are not the likelier ones.

    Args:
        params: as `funcnet.nn.init_ntm` makes them.
        episode: one, or many stacked, of which both are means.

    >>> from funcnet.data.procedural import copy
    >>> params = nn.init_ntm(jax.random.key(0), 4, 3, units=8, places=6, width=4)
    >>> bits, metrics = sequence_loss(params, copy(jax.random.key(1), (4, 4), bits=3))
    >>> 6 < bits < 24, list(metrics)  # 12 are to come out
    (Array(True, dtype=bool), ['wrong_bits'])
    """
    if episode.length.ndim:
        return jax.tree.map(jnp.mean, jax.vmap(functools.partial(sequence_loss, params))(episode))
    scores = nn.ntm(params, episode.inputs, length=episode.length)
    counts = jnp.broadcast_to(episode.counts[:, None], scores.shape)
    bits = jnp.sum(nn.logistic_loss(scores, episode.targets), where=counts) / jnp.log(2)
    wrong = jnp.sum((scores > 0) != (episode.targets > 0.5), where=counts)
    return bits, {"wrong_bits": wrong.astype(bits.dtype)}


@functools.partial(jax.jit, static_argnums=(1, 3))
def sequence_errors(
    params: Params,
    draw: Callable[[Array], Episode],
    key: Key[Array, ""] | UInt32[Array, "2"],
    number: int,
) -> dict[str, Array]:
    """Means of the loss and of the metrics of `sequence_loss` over so many sequences.

    Args:
        params: as `funcnet.nn.init_ntm` makes them.
        draw: makes a sequence of a key.
        key: decides the sequences.
        number: how many.

    >>> from funcnet.data.procedural import copy
    >>> params = nn.init_ntm(jax.random.key(0), 9, 8, units=8, places=6, width=4)
    >>> errors = sequence_errors(params, copy, jax.random.key(1), 5)
    >>> sorted(errors)
    ['loss', 'wrong_bits']
    """
    losses, metrics = jax.lax.map(lambda key: sequence_loss(params, draw(key)), jax.random.split(key, number))
    return jax.tree.map(jnp.mean, {"loss": losses, **metrics})


def rmsprop(rate: float, steps: int) -> optax.GradientTransformation:
    """The paper's update rule: RMSProp in the form of Graves 2013, eq. 38 to 41, on gradients cut off at ±10.

        n ← .95 n + .05 g²,   ḡ ← .95 ḡ + .05 g,   Δ ← .9 Δ − rate · g / √(n − ḡ² + 10⁻⁴)

    The rate falls to 0 over the steps, along a cosine. The 10⁻⁴, in units of bits², lets a net rest that has
    no more errors: with far less in its place, next to no gradient moves it as far as a large one.

    >>> len(rmsprop(3e-4, 40_000).init(jnp.ones(3)))
    2
    """
    schedule = optax.cosine_decay_schedule(rate, steps)
    rule = optax.rmsprop(schedule, decay=0.95, eps=1e-4, centered=True, momentum=0.9)
    return optax.chain(optax.clip(LARGEST), rule)
