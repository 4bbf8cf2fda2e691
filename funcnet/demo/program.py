"""How a net learns: first weights, loss, and so many steps in one program, compiled once for a recipe.

total loss = mean data loss + λ Σ R(w)         (CS231n 2019, lecture 4, slide 6)
"""

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

import funcnet
from funcnet import nn
from funcnet._types import Params
from funcnet.demo.plane import Points, inputs
from funcnet.demo.settings import Recipe
from funcnet.train.models.objective import OPTIMIZERS


class State(NamedTuple):
    """A net in training."""

    params: Params
    update: Any
    key: Array
    step: Array


class Knobs(NamedTuple):
    """Numbers that a program takes as they are turned."""

    rate: float
    strength: float


def optimizer(recipe: Recipe, rate: Any) -> optax.GradientTransformation:
    """The update rule."""
    return OPTIMIZERS[recipe.optimizer](rate, 0.0)


def initial(recipe: Recipe, seed: int) -> State:
    """The net before the first step; drawn without JAX, which would compile each shape."""
    rng = np.random.default_rng((seed, 3))
    spread = nn.INITS["he" if recipe.activation in ("relu", "leaky_relu", "elu") else "lecun"]
    params: dict[str, Any] = {}
    for n, (fan_in, fan_out) in enumerate(pairwise(recipe.sizes), start=1):
        pieces = (2,) if recipe.activation == "maxout" and n < len(recipe.sizes) - 1 else ()
        w = spread(fan_in, fan_out) * rng.standard_normal((fan_in, *pieces, fan_out))
        params[f"layer{n}"] = {"w": np.float32(w), "b": np.zeros((*pieces, fan_out), np.float32)}
    return State(params, optimizer(recipe, 1.0).init(params), jax.random.key(seed), jnp.int32(0))


def losses(recipe: Recipe, params: Params, x: Any, y: Any) -> Array:
    """The data loss of each of some points."""
    scores = nn.mlp(params, inputs(recipe.inputs, x), activation=nn.ACTIVATIONS[recipe.activation])
    return nn.LOSSES[recipe.loss](scores, y)


def penalty(recipe: Recipe, params: Params) -> Array:
    """Σ R(w) over the layers."""
    return jnp.stack([nn.REGULARIZERS[recipe.penalty](w) for w in nn.weights(params)]).sum()


def total_loss(recipe: Recipe, params: Params, points: Points, strength: Any) -> Array:
    """The loss of all that is trained on."""
    data = nn.weighted_mean(losses(recipe, params, points.x, points.y), points.train)
    return data + strength * penalty(recipe, params)


def advance(recipe: Recipe, state: State, points: Points, knobs: Knobs, count: Any) -> State:
    """So many steps, each on a batch that the key and the number of the step decide."""
    transform = optimizer(recipe, knobs.rate)
    trained_on = jnp.argsort(~points.train)
    examples = points.x[trained_on], points.y[trained_on]
    many = jnp.sum(points.train)

    def batch_loss(params: Params, x: Array, y: Array) -> Array:
        return jnp.mean(losses(recipe, params, x, y)) + knobs.strength * penalty(recipe, params)

    def step(_: Any, state: State) -> State:
        key = jax.random.fold_in(state.key, state.step)
        drawn = jax.random.randint(key, (recipe.batch,), 0, many)
        x, y = (one[drawn] for one in examples)
        grads = funcnet.grad(batch_loss)(state.params, x, y)
        updates, update = transform.update(grads, state.update, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        return State(params, update, state.key, state.step + 1)

    return jax.lax.fori_loop(0, count, step, state)


@lru_cache(24)
def advancing(recipe: Recipe) -> Callable:
    """`(state, points, knobs, count) -> State`, compiled; of the last 24 recipes it is kept."""
    return jax.jit(partial(advance, recipe))
