"""Differences in the place of `jax.jvp` and `jax.vjp`, for what cannot be differentiated otherwise.

They are central ones, extrapolated from three steps, and good to 1e-10 where the function is smooth.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.numerical.slopes import moved


def jvp(fun: Callable, xs: Any, x_dots: Any) -> tuple[Any, Any]:
    """`jax.jvp` by differences."""

    def central(h: Any) -> Any:
        ends = fun(*moved(xs, h, x_dots)), fun(*moved(xs, -h, x_dots))
        return jax.tree.map(lambda up, down: (up - down) / (2 * h), *ends)

    found = jax.lax.map(central, jnp.array([2.0**-7, 2.0**-8, 2.0**-9]))
    return fun(*xs), jax.tree.map(lambda y_dots: (y_dots[0] - 20 * y_dots[1] + 64 * y_dots[2]) / 45, found)


def vjp(fun: Callable, *xs: Any) -> tuple[Any, Callable]:
    """`jax.vjp` by differences, one element after the other."""

    def back(y_bars: Any) -> tuple[Any, ...]:
        def along(i: int, unit: complex, place: Any) -> Any:
            """The real part of ⟨ȳ, J e⟩ for one element e, moved by its size."""
            size = jnp.maximum(abs(xs[i].ravel()[place]), 1e-3)
            moves = [jnp.zeros_like(x) for x in xs]
            moves[i] = moves[i].ravel().at[place].set(size * unit).reshape(xs[i].shape)
            _, y_dots = jvp(fun, xs, moves)
            terms = (jnp.sum(y_bar * y_dot).real for y_bar, y_dot in zip(y_bars, y_dots, strict=True))
            return sum(terms, jnp.zeros(())) / size

        def gradient(i: int, x: Any) -> Any:
            places = jnp.arange(x.size)
            flat = jax.lax.map(functools.partial(along, i, 1.0), places)
            if jnp.iscomplexobj(x):
                flat = flat - 1j * jax.lax.map(functools.partial(along, i, 1.0j), places)
            return flat.reshape(x.shape).astype(x.dtype)

        return tuple(gradient(i, x) for i, x in enumerate(xs))

    return fun(*xs), back
