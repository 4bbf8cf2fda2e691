"""Gradients from values alone: what `numerical_gradient` and `numerical_vjp` answer.

Every element is moved by itself, by its own size times the steps of `slopes`. The whole is one compiled
program in float64, however many elements there are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from funcnet._compiled import compiled, double
from funcnet._errors import ParameterError, ShapeError
from funcnet._types import Host
from funcnet.numerical.slopes import STEPS, Slope, sides, sizes, slope


class Estimate(NamedTuple):
    """A numerical derivative and how far it may be off, both of the argument's structure and shapes."""

    value: Any
    error: Any


def numerical_gradient(f: Callable, x: Any) -> Estimate:
    """The gradient of a scalar function from its values alone, in float64, with an estimate of its own error.

    Every element is moved by eight steps to either side, sixteen values of f for each; the steps suit the
    element's size.

    Args:
        f: a function of a pytree of floats to a real scalar, traced once as by `jax.jit`.
        x: where to differentiate.

    Returns:
        `(value, error)`: float64 arrays of x's structure. Where the two sides differ (a kink) the value is
        their mean. An infinite error means that no two steps agreed.

    Raises:
        ShapeError: f does not return a real scalar.
        ParameterError: x has no floats.

    Source:
        CS231n 2019, lecture 4, slide 8; Ridders 1982, Accurate computation of F′(x) and F′(x)F″(x).

    Example:
        >>> import numpy as np
        >>> value, error = numerical_gradient(lambda x: (x**3).sum(), np.array([1.0, 2.0]))
        >>> value.round(9), bool((error < 1e-8).all())
        (array([ 3., 12.]), True)
    """
    leaves = jax.tree.leaves(x)
    if not leaves or not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves):
        raise ParameterError(
            "numerical_gradient: expected real floats to move; close over integers and keys, and give "
            "complex numbers as their two parts"
        )

    def value(flat: Any) -> tuple[Any]:
        y = jnp.asarray(f(whole(flat)))
        if y.shape != () or not jnp.issubdtype(y.dtype, jnp.floating):
            raise ShapeError(
                f"numerical_gradient: f returned {y.dtype}{list(y.shape)}, expected a real scalar; "
                f"sum it, or use numerical_vjp"
            )
        return (y,)

    def all_sides(flat: Any, moves: Any) -> Any:
        def along(i: Any) -> Any:
            return sides(value, (flat,), (1.0,), (jnp.zeros_like(flat).at[i].set(moves[i]),))

        return jax.lax.map(along, jnp.arange(flat.size))

    with double():
        flat, whole = ravel_pytree(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), x))
        moves = np.concatenate([sizes(np.asarray(leaf, np.float64)).ravel() for leaf in leaves])
        measured, _, at_x = compiled(all_sides, flat, moves, quick=True)
        found = [_slope(*row) for row in zip(*measured, at_x, strict=True)]
        slopes = np.array([(one.value, one.error) for one in found]).reshape(-1, 2).T / moves
        return Estimate(*(jax.tree.map(np.asarray, whole(part)) for part in slopes))


def _slope(rises: Host, falls: Host, low: Host, high: Host, at_x: Any) -> Slope:
    """The slope along one element, whose noise is that of the largest value on the way."""
    changes = np.abs(STEPS * np.array([rises, falls]))
    size = at_x + changes[np.isfinite(changes)].max(initial=0)
    return slope(rises, falls, low, high, np.finfo(float).eps * size / STEPS)


def numerical_vjp(f: Callable, *xs: Any, y_bar: Any) -> Estimate:
    """The pullback of an upstream gradient from values of f alone, in float64, with an estimate of its error.

    Args:
        f: a function of pytrees of floats to a pytree of real floats.
        *xs: where to differentiate.
        y_bar: the upstream gradient, of the structure and shapes of `f(*xs)`.

    Returns:
        `(value, error)`: tuples with one entry for each argument.

    Raises:
        ShapeError: y_bar does not have the structure and shapes of the result.

    Source:
        CS231n 2019, lecture 4, slide 8; Ridders 1982.

    Example:
        >>> import numpy as np
        >>> (x_bar,), _ = numerical_vjp(lambda x: x**2, np.array([1.0, 3.0]), y_bar=np.array([1.0, 10.0]))
        >>> x_bar.round(9)
        array([ 2., 60.])
    """

    def paired(xs: tuple[Any, ...]) -> Any:
        y = f(*xs)
        same = jax.tree.structure(y) == jax.tree.structure(y_bar)
        came, expected = (jax.tree.map(jnp.shape, tree) for tree in (y_bar, y))
        if not same or came != expected:
            raise ShapeError(
                f"numerical_vjp: y_bar has shapes {came}, expected those of the result, {expected}"
            )
        products = jax.tree.map(lambda y, y_bar: jnp.sum(y * np.asarray(y_bar, np.float64)), y, y_bar)
        return sum(jax.tree.leaves(products), jnp.zeros(()))

    return numerical_gradient(paired, xs)
