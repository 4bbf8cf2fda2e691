"""What a rule answers, in the two modes, and how differences see it.

A derivative J of y = f(x) is one number for each upstream gradient and direction, ⟨ȳ, J v⟩. A rule of reverse
mode is given ȳ and finds x̄ = Jᵀ ȳ; one of forward mode is given ẋ and finds ẏ = J ẋ:

    ⟨x̄, v⟩ = ⟨ȳ, J v⟩ for every v                 ⟨ȳ, ẏ⟩ = ⟨ȳ, J ẋ⟩ for every ȳ

Either is linear in what it is given, and differences of ⟨ȳ, f⟩ along v know what both must be.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import backprop
from funcnet._types import Host
from funcnet.check import directions
from funcnet.check.differences import moved
from funcnet.check.directions import Direction
from funcnet.check.probes import Probe


def slow_jvp(fun: Callable, xs: Any, x_dots: Any) -> tuple[Any, Any]:
    """`jax.jvp` by differences of three steps to either side, for what cannot be differentiated otherwise.

    They are good to 1e-10 where the function is smooth.
    """

    def central(h: Any) -> Any:
        ends = fun(*moved(xs, h, x_dots)), fun(*moved(xs, -h, x_dots))
        return jax.tree.map(lambda up, down: (up - down) / (2 * h), *ends)

    found = jax.lax.map(central, jnp.array([2.0**-7, 2.0**-8, 2.0**-9]))
    return fun(*xs), jax.tree.map(lambda y_dots: (y_dots[0] - 20 * y_dots[1] + 64 * y_dots[2]) / 45, found)


def slow_vjp(fun: Callable, *xs: Any) -> tuple[Any, Callable]:
    """`jax.vjp` by the same differences, one element after the other."""

    def back(y_bars: Any) -> tuple[Any, ...]:
        def along(i: int, unit: complex, place: Any) -> Any:
            """The real part of ⟨ȳ, J e⟩ for one element e, moved by its size."""
            size = jnp.maximum(abs(xs[i].ravel()[place]), 1e-3)
            moves = [jnp.zeros_like(x) for x in xs]
            moves[i] = moves[i].ravel().at[place].set(size * unit).reshape(xs[i].shape)
            _, y_dots = slow_jvp(fun, xs, moves)
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


@dataclass(frozen=True)
class Mode:
    """Reverse or forward: how what a rule is given is written, and what it finds.

    `autodiff` is what JAX and funcnet differentiate with, `slow` differences of every element.
    """

    given: str
    found: str
    autodiff: tuple[Callable, ...]
    slow: Callable
    is_reverse: bool

    def answer(self, flat: Callable, autodiff: Callable | None = None) -> Callable:
        """`(rest, xs, given) -> (f(x), the y of the rule's own forward pass, what it finds)`."""
        differentiate = autodiff or self.autodiff[0]

        def at(rest: Any, xs: Any, given: Any) -> tuple[Any, Any, Any]:
            closed = functools.partial(flat, rest)
            if self.is_reverse:
                ys, back = differentiate(closed, *xs)
                y_bars = tuple(one.astype(y.dtype) for one, y in zip(given, ys, strict=True))
                return flat(rest, *xs), ys, back(y_bars)
            return flat(rest, *xs), *differentiate(closed, tuple(xs), tuple(given))

        return at

    def pair(self, probe: Probe, ys: Sequence[Any], i: int, weights: Host) -> tuple[Direction, Direction]:
        """The ȳ and v whose ⟨ȳ, J v⟩ is what is found for the i-th array, summed with weights."""
        if self.is_reverse:
            return probe.given, directions.along(probe.xs, i, weights)
        return directions.along(ys, i, weights), probe.given

    def sizes(self, probe: Probe, i: int) -> Host:
        """How far differences move each element that is found for the i-th array: x by its size."""
        return directions.sizes(probe.xs[i]) if self.is_reverse else np.ones(())


REVERSE = Mode("ȳ", "x̄", (jax.vjp, backprop.vjp), slow_vjp, True)
FORWARD = Mode("ẋ", "ẏ", (jax.jvp,), slow_jvp, False)
