"""All that is seen of a net, in one program that is compiled once for a recipe.

Values and gradients of one example stand at every gate of the net. They are those of `funcnet.grad` of its
data loss: a zero is added to what each gate returns, and the gradient of that zero is the gradient there.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

import funcnet
from funcnet import nn
from funcnet._types import Params
from funcnet.demo.plane import EXTENT, Points, inputs
from funcnet.demo.program import Knobs, State, penalty, total_loss
from funcnet.demo.settings import Recipe

FIELD, GRID, SMALL = 81, 41, 27
"""Sides of the decision field, of the grid that a layer warps, and of the field of one unit, in points."""

EXPLODING = 1e3
"""A value or gradient of a unit above this has got out of hand: inputs are at most 9."""

FLAT, MOSTLY = 0.05, 0.95
"""A unit is saturated where its slope is below this part of the largest one, at so many of the examples."""

SATURATING = {"sigmoid": 0.25, "tanh": 1.0, "elu": 1.0}
"""Activations with a flat part whose slope is not quite 0, and their largest slope."""


class View(NamedTuple):
    """What is looked at: an example, and the layer and the two units of it that warp the grid."""

    example: int
    layer: int
    units: tuple[int, int]


def picture(recipe: Recipe, state: State, points: Points, knobs: Knobs, view: View) -> dict[str, Any]:
    """All that is seen: metrics, fields, warped grid, values and gradients of an example, norms, marks."""
    params = state.params
    _, grids = layers(recipe, params, plane(FIELD))
    before, after = layers(recipe, params, points.x)
    grads = funcnet.grad(partial(total_loss, recipe))(params, points, knobs.strength)
    seen = example(recipe, params, points.x[view.example], points.y[view.example])
    return {
        "metrics": metrics(recipe, params, points, after[-1]),
        "norms": jnp.stack([optax.tree.norm(grads[name]) for name in params]),
        "parameters": flat(params),
        "gradients": flat(grads),
        "marks": marks(recipe, before[:-1], after[:-1], points.train, seen["ends"][1]),
        **decision(grids[-1]),
        "units": unit_fields(grids[:-1]),
        "warped": warped(grids, view)[::2, ::2],
        "moved": warped(after, view),
        **{name: value for name, value in seen.items() if name != "ends"},
    }


@lru_cache(24)
def seeing(recipe: Recipe) -> Callable:
    """`(state, points, knobs, view) -> dict`, compiled; of the last 24 recipes it is kept."""
    return jax.jit(partial(picture, recipe))


def layers(recipe: Recipe, params: Params, x: Array) -> tuple[list[Array], list[Array]]:
    """What goes into each activation and what comes out, for points [*batch, 2]; the last are the scores."""
    return forward(recipe, params, inputs(recipe.inputs, x), None)


def forward(recipe: Recipe, params: Params, values: Array, zeros: Any) -> tuple[list[Array], list[Array]]:
    """The same from what the net is given, with a zero added to what each gate returns."""
    activation = nn.ACTIVATIONS[recipe.activation]
    before, after = [], []
    for n, layer in enumerate(params.values()):
        last = n == len(params) - 1
        gate = nn.maxout if recipe.activation == "maxout" and not last else nn.affine
        z = gate(values, layer["w"], layer["b"])
        z = z if zeros is None else z + zeros[0][n]
        values = z if last or gate is nn.maxout or activation is None else activation(z)
        values = values if zeros is None else values + zeros[1][n]
        before.append(z)
        after.append(values)
    return before, after


def slopes(recipe: Recipe, before: Array) -> Array:
    """The local gradient of the activation."""
    activation = nn.ACTIVATIONS[recipe.activation]
    if activation in (None, nn.maxout):
        return jnp.ones_like(before)
    return funcnet.grad(lambda z: jnp.sum(activation(z)))(before)


def plane(side: int) -> Array:
    """The points of a square grid over the plane, row by row from the top."""
    ticks = jnp.linspace(-EXTENT, EXTENT, side)
    x, y = jnp.meshgrid(ticks, -ticks)
    return jnp.stack([x, y], axis=-1)


def metrics(recipe: Recipe, params: Params, points: Points, scores: Array) -> Array:
    """Loss and accuracy on what is trained on, and on the rest, NaN without points; then the penalty."""
    each = nn.LOSSES[recipe.loss](scores, points.y)
    right = (jnp.argmax(scores, axis=-1) == points.y).astype(jnp.float32)
    used = jnp.arange(len(points.y)) < points.filled
    parts = points.train & used, ~points.train & used
    found = [
        jnp.where(jnp.any(part), nn.weighted_mean(value, part), jnp.nan)
        for part in parts
        for value in (each, right)
    ]
    return jnp.stack([*found, penalty(recipe, params)])


def decision(scores: Array) -> dict[str, Array]:
    """For each point of the field the class and how sure the net is of it, from 0 to 255."""
    sure = jnp.nan_to_num(jnp.max(jax.nn.softmax(scores), axis=-1))
    return {
        "field": jnp.argmax(scores, axis=-1).astype(jnp.uint8),
        "sure": jnp.round(255 * sure).astype(jnp.uint8),
    }


def unit_fields(grids: list[Array]) -> Array:
    """The value of each hidden unit over the plane, from −127 to 127 by its own largest one."""
    if not grids:
        return jnp.zeros((0, SMALL, SMALL), jnp.int8)
    values = jnp.nan_to_num(jnp.concatenate(grids, axis=-1)[::3, ::3], posinf=1e30, neginf=-1e30)
    largest = jnp.max(jnp.abs(values), axis=(0, 1))
    scaled = values / jnp.where(largest == 0, 1, largest)
    return jnp.moveaxis(jnp.round(127 * scaled).astype(jnp.int8), -1, 0)


def warped(values: list[Array], view: View) -> Array:
    """Two units of a layer as coordinates."""
    pairs = [jnp.take(one, jnp.asarray(view.units) % one.shape[-1], axis=-1) for one in values]
    return jnp.stack(pairs)[view.layer % len(values)]


def example(recipe: Recipe, params: Params, x: Array, y: Array) -> dict[str, Any]:
    """Values and gradients at every gate for one point, and those of its parameters."""
    given = inputs(recipe.inputs, x)
    shapes = jax.eval_shape(partial(forward, recipe, zeros=None), params, given)
    zeros = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), shapes)

    def loss(params: Params, given: Array, zeros: Any) -> tuple[Array, Any]:
        before, after = forward(recipe, params, given, zeros)
        return nn.LOSSES[recipe.loss](after[-1], y), (before, after)

    both = funcnet.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    (value, (before, after)), (grads, x_bar, (before_bar, after_bar)) = both(params, given, zeros)
    return {
        "loss": value[None],
        "x": given,
        "x_bar": x_bar,
        "before": jnp.concatenate(before),
        "before_bar": jnp.concatenate(before_bar),
        "after": jnp.concatenate(after),
        "after_bar": jnp.concatenate(after_bar),
        "slopes": jnp.concatenate([*(slopes(recipe, z) for z in before[:-1]), jnp.ones_like(before[-1])]),
        "probabilities": jax.nn.softmax(after[-1]),
        "example_gradients": flat(grads),
        "ends": (before_bar, after_bar),
    }


def flat(params: Params) -> Array:
    """Weights and biases of all layers in a row: of each layer the weights, then the biases."""
    return jnp.concatenate([layer[name].ravel() for layer in params.values() for name in ("w", "b")])


def marks(recipe: Recipe, before: list, after: list, train: Array, after_bar: list) -> Array:
    """What is wrong with each hidden unit: 0 nothing, 1 dead, 2 saturated, 3 exploding."""
    if not before:
        return jnp.zeros(0, jnp.uint8)
    z, a = (jnp.concatenate(values, axis=-1) for values in (before, after))
    trained_on = train[:, None]
    slope = jnp.abs(slopes(recipe, z))
    dead = jnp.all((slope == 0) | ~trained_on, axis=0) & jnp.any(train)
    largest = SATURATING.get(recipe.activation, 0.0)
    flat_at = jnp.sum((slope < FLAT * largest) & trained_on, axis=0)
    saturated = flat_at >= MOSTLY * jnp.maximum(jnp.sum(train), 1)
    upstream = jnp.concatenate(after_bar[:-1])
    size = jnp.maximum(jnp.max(jnp.where(trained_on, jnp.abs(a), 0), axis=0), jnp.abs(upstream))
    exploding = ~(size < EXPLODING)
    return jnp.select([exploding, dead, saturated], [jnp.uint8(3), jnp.uint8(1), jnp.uint8(2)], jnp.uint8(0))
