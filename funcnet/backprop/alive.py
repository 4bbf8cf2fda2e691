"""Where a cotangent is alive: at the elements that a select has taken.

To what it did not take a select sends 0 back. If the way from there on has an infinite slope, 0 · ∞ is NaN,
though the result does not depend on it:

    where(x > 0, sqrt(x), 0)           at x = 0: select sends 0 to sqrt, whose slope is ∞ there

So beside a cotangent goes where it is alive, and a product with a slope is taken there only. It is an array
of bools that is computed when a product asks for it, and in a program without a select there is none. A zero
that was computed, as 2y is in sqrt(x)² at 0, is alive: its product with ∞ is NaN and stays so.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import like


class Alive:
    """Where a cotangent is alive: an array of bools of its shape.

    Attributes:
        compute: what gives the array.
        whole: where it is known that all of it is alive or nothing, what says which.
    """

    def __init__(self, compute: Callable[[], Any], whole: Callable[[], Any] | None = None):
        self.compute, self.whole = compute, whole

    @functools.cached_property
    def array(self) -> Any:
        """The array."""
        return self.compute()

    @property
    def mask(self) -> Any:
        """The array, or one bool for all of it."""
        return self.whole() if self.whole else self.array

    def __or__(self, other: "Alive") -> "Alive":
        one, two = self.whole, other.whole
        whole = one and two and functools.partial(lambda one, two: one() | two(), one, two)
        return Alive(lambda: self.array | other.array, whole)

    def along(self, x: Any) -> "Alive":
        """Where the cotangent is alive of an operand of this type, which may have been stretched."""

        def compute() -> Any:
            if self.array.shape == x.shape:
                return self.array
            return like(x, lax.convert_element_type(self.array, jnp.float32)) > 0

        return Alive(compute, self.whole)


def known(mask: Any, x: Any) -> Alive | None:
    """Where a cotangent of x's shape is alive that has this mask, if it has one."""
    if mask is None:
        return None
    (whole,) = everywhere_or_nowhere(lambda: mask, [x])
    return Alive(lambda: mask) if mask.ndim else whole


def everywhere_or_nowhere(whole: Callable[[], Any], xs: Sequence[Any]) -> "Lives":
    """Where cotangents of these shapes are alive, all of them or nothing."""

    def filled(x: Any) -> Alive:
        return Alive(lambda: lax.broadcast_in_dim(whole(), x.shape, ()), whole)

    return [None if x is None else filled(x) for x in xs]


Lives = Sequence[Alive | None]
"""For each cotangent where it is alive; None if everywhere."""


def of_all(y_bars: Sequence[Any], lives: Lives) -> Alive | None:
    """Where any of the cotangents of one shape is alive."""
    some = [live for bar, live in zip(y_bars, lives, strict=True) if bar is not None]
    return None if not some or None in some else functools.reduce(operator.or_, some)


def routed(
    backward: Callable, stash: Any, y_bars: Sequence[Any], lives: Lives, x_bars: Sequence[Any], whole: bool
) -> Lives:
    """Where what a rule sends back is alive, if it only routes.

    It sends back ones where ȳ is 1, or sums of them, and 0 where it sends nothing.

    Args:
        backward: the rule.
        stash: what it reads.
        y_bars: the cotangents that came.
        lives: where they are alive.
        x_bars: what it has sent back.
        whole: whether to each operand it sends ȳ or nothing.
    """

    @functools.cache
    def ones() -> Sequence[Any]:
        return backward(stash, [_as_numbers(bar, live) for bar, live in zip(y_bars, lives, strict=True)])

    came = of_all(y_bars, lives)

    def compute(i: int) -> Any:
        sent = lax.ne(ones()[i], lax.full_like(ones()[i], 0))  # or NaN, where a maximum is
        return sent & came.whole() if came and came.whole else sent

    def some(i: int) -> Any:
        return lax.reduce_or(compute(i), range(x_bars[i].ndim))

    parts = functools.partial
    return [
        None if x is None else Alive(parts(compute, i), parts(some, i) if whole or not x.ndim else None)
        for i, x in enumerate(x_bars)
    ]


def _as_numbers(y_bar: Any, live: Alive | None) -> Any:
    if y_bar is None:
        return None
    return lax.full_like(y_bar, 1) if live is None else lax.convert_element_type(live.array, y_bar.dtype)


def all_or_nothing(whole: Callable[[], Any], x_bars: Sequence[Any]) -> tuple[Sequence[Any], Lives]:
    """What an operation sends back of whose results all is alive or nothing: as much of what it makes."""
    lives = everywhere_or_nowhere(whole, x_bars)
    return list(map(alive_part, lives, x_bars)), lives


def alive_part(live: Alive | None, x_bar: Any) -> Any:
    """What is alive of a gradient, and 0 elsewhere."""
    return live and lax.select(live.array, x_bar, lax.full_like(x_bar, 0))
