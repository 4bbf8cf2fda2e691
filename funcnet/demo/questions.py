"""What one may ask of a net besides watching it: is its gradient right, and what is its loss like around it?

The check moves every weight by itself, in float64, and holds the slope of the loss against the gradient that
the rules give (CS231n 2019, lecture 4, slide 8). The landscape is the loss along the gradient g, w − t g, out
to four times the step that would be best if the loss were a parabola, gᵀg / gᵀHg (Cauchy 1847), or Polyak's
L / gᵀg where that is shorter; and on a plane through w along two random directions, each unit's part of which
is as long as its weights (Li et al. 2018, "Visualizing the loss landscape").
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcnet
from funcnet._compiled import double
from funcnet._errors import ParameterError
from funcnet._types import Params
from funcnet.check.thresholds import BANDS
from funcnet.demo.plane import Points
from funcnet.demo.program import total_loss
from funcnet.demo.session import Session
from funcnet.demo.settings import Recipe

LINE, SIDE = 61, 31
"""Places along the gradient, and along each side of the plane."""

TINY = 1e-30
"""What is divided by instead of 0, at a point where the loss is flat."""


def check(net: Session) -> dict[str, Any]:
    """For each array of the parameters how far the gradient is off, and the lecture's word for that.

    The error is the largest difference in the array, as a part of its largest gradient. At a kink the slopes
    to the two sides differ, and no gradient is both.
    """
    _must_be_finite(net)
    recipe, strength = net.settings.recipe, net.settings.strength

    def loss(params: Params) -> Any:
        return total_loss(recipe, params, net.points, strength)

    with double():
        params = jax.tree.map(lambda p: np.asarray(p, np.float64), net.state.params)
        analytic = jax.device_get(jax.jit(funcnet.grad(loss))(params))
    numerical = funcnet.numerical_gradient(loss, params).value
    return {
        "rows": [
            row(f"{layer} {name}", analytic[layer][name], numerical[layer][name])
            for layer in params
            for name in ("w", "b")
        ]
    }


def _must_be_finite(net: Session) -> None:
    """Raise ParameterError for a net that has exploded."""
    if not all(np.isfinite(p).all() for p in jax.tree.leaves(net.state.params)):
        raise ParameterError(
            "the weights are infinite or not numbers any more, so there is no slope to look at: restart with "
            "a smaller rate"
        )


def row(name: str, analytic: np.ndarray, numerical: np.ndarray) -> dict[str, Any]:
    """The line of one array: the element that is off the most.

    >>> row("w", np.array([1.0, 2.0]), np.array([1.0, 2.02]))["band"]
    'suspicious'
    """
    off = np.abs(analytic - numerical)
    largest = max(np.abs(analytic).max(), np.abs(numerical).max())
    error = off.max() / largest if largest else 0.0
    worst = np.unravel_index(np.argmax(off), off.shape)
    band = next((word for limit, word in BANDS if error <= limit), "wrong")
    numbers = {"analytic": float(analytic[worst]), "numerical": float(numerical[worst])}
    return {"name": name, **numbers, "error": float(error), "band": band}


def landscape(net: Session) -> tuple[dict[str, Any], dict[str, Any]]:
    """The loss along the gradient and on a random plane, whose sides are twice as long as the weights."""
    _must_be_finite(net)
    directions = [
        like(net.state.params, np.random.default_rng((net.settings.seed, net.step, i))) for i in (0, 1)
    ]
    found = surroundings(net.settings.recipe)(
        net.state.params, net.points, net.settings.strength, *directions
    )
    found = jax.device_get(found)
    told = {name: found.pop(name).item() for name in ("loss", "slope")}
    return {**told, "rate": net.settings.rate, "step": net.step, "side": SIDE}, found


def like(params: Params, rng: np.random.Generator) -> Params:
    """A random direction, in which each unit's part is as long as its weights and biases are."""

    def scaled(p: Any) -> np.ndarray:
        p = np.asarray(p)
        d = rng.standard_normal(p.shape).astype(p.dtype)
        length, own = (np.sqrt(np.sum(one**2, axis=0, keepdims=True)) for one in (p, d))
        return d * length / own

    return jax.tree.map(scaled, params)


def dot(a: Params, b: Params) -> Any:
    """The sum of products over all parameters."""
    return sum(jnp.sum(p * q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@lru_cache(8)
def surroundings(recipe: Recipe) -> Any:
    """The compiled losses around a net."""

    def around(params: Params, points: Points, strength: Any, first: Params, second: Params) -> dict:
        def loss(params: Params) -> Any:
            return total_loss(recipe, params, points, strength)

        def moved(a: Any, d: Params, b: Any = 0.0, e: Params = params) -> Any:
            return loss(jax.tree.map(lambda p, d, e: p + a * d + b * e, params, d, e))

        value, grads = funcnet.value_and_grad(loss)(params)
        slope = dot(grads, grads)
        curvature = dot(funcnet.grad(lambda p: dot(funcnet.grad(loss)(p), grads))(params), grads)
        best = slope / jnp.maximum(jnp.abs(curvature), slope**2 / jnp.maximum(value, TINY) + TINY)
        times = best * jnp.linspace(-2, 4, LINE)
        ticks = jnp.linspace(-1, 1, SIDE)
        along = jax.vmap(lambda t: moved(-t, grads))(times)
        plane = jax.vmap(lambda b: jax.vmap(lambda a: moved(a, first, b, second))(ticks))(-ticks)
        return {"loss": value, "slope": slope, "times": times, "line": along, "plane": plane}

    return jax.jit(around)
