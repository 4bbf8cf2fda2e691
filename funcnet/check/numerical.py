"""Gradients from values alone: what `numerical_gradient` and `numerical_vjp` answer.

Every element is moved by itself, by its own size times the steps of `differences`, which takes the slope
from the values. The whole is one compiled program in float64, however many elements there are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import ParameterError, ShapeError
from funcnet._types import Host
from funcnet.check import directions
from funcnet.check.differences import slope
from funcnet.check.probes import compiled, double
from funcnet.check.thresholds import STEPS


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
    leaves, tree = jax.tree.flatten(x)
    if not leaves or not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves):
        raise ParameterError(
            "numerical_gradient: expected real floats to move; close over integers and keys, and give "
            "complex numbers as their two parts"
        )
    with double():
        arrays = [np.asarray(leaf, np.float64) for leaf in leaves]
        sizes = [directions.sizes(a) for a in arrays]
        shifts = np.concatenate([[0.0], STEPS, -STEPS])

        def values(arrays: Any, sizes: Any) -> list[Any]:
            def moved(i: int, place: Any, shift: Any) -> Any:
                flat = arrays[i].ravel().at[place].add(shift * sizes[i].ravel()[place])
                leaves = [*arrays[:i], flat.reshape(arrays[i].shape), *arrays[i + 1 :]]
                y = jnp.asarray(f(jax.tree.unflatten(tree, leaves)))
                if y.shape != () or not jnp.issubdtype(y.dtype, jnp.floating):
                    raise ShapeError(
                        f"numerical_gradient: f returned {y.dtype}{list(y.shape)}, expected a real scalar; "
                        f"sum it, or use numerical_vjp"
                    )
                return y

            def along(i: int) -> Any:
                def row(place: Any) -> Any:
                    return jax.lax.map(lambda shift: moved(i, place, shift), jnp.asarray(shifts))

                return jax.lax.map(row, jnp.arange(arrays[i].size))

            return [along(i) for i in range(len(arrays)) if arrays[i].size]

        tables = iter(compiled(values, arrays, sizes, quick=True))
    found = [_of_rows(next(tables), size) if size.size else (size, size) for size in sizes]
    value, error = zip(*found, strict=True)
    return Estimate(jax.tree.unflatten(tree, value), jax.tree.unflatten(tree, error))


def _of_rows(table: Host, sizes: Host) -> tuple[Host, Host]:
    h = STEPS * sizes.reshape(-1, 1)
    middle, up, down = np.split(table, [1, 1 + len(STEPS)], axis=1)
    rises, falls = (up - middle) / h, (middle - down) / h
    noise = np.finfo(float).eps * np.nanmax(np.abs(table), axis=1, keepdims=True) / h
    sides = np.minimum(rises, falls), np.maximum(rises, falls)
    slopes = [slope(*row) for row in zip(rises, falls, *sides, noise, strict=True)]
    value = np.array([one.value for one in slopes]).reshape(sizes.shape)
    return value, np.array([one.error for one in slopes]).reshape(sizes.shape)


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
        if not same or any(map(_differ, jax.tree.leaves(y), jax.tree.leaves(y_bar))):
            came, expected = (jax.tree.map(jnp.shape, tree) for tree in (y_bar, y))
            raise ShapeError(
                f"numerical_vjp: y_bar has shapes {came}, expected those of the result, {expected}"
            )
        products = jax.tree.map(lambda y, y_bar: jnp.sum(y * np.asarray(y_bar, np.float64)), y, y_bar)
        return sum(jax.tree.leaves(products), jnp.zeros(()))

    return numerical_gradient(paired, xs)


def _differ(y: Any, y_bar: Any) -> bool:
    return jnp.shape(y) != jnp.shape(y_bar)
