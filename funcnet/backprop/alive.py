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
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet import _jax
from funcnet.rules._table import like
from funcnet.rules.collectives import COLLECTIVE


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False)
class Alive:
    """Where a cotangent is alive; a pytree of the mask.

    Attributes:
        compute: what gives the mask: an array of bools of its shape, or one bool where all of it is alive or
            nothing.
        shape: its shape.
        whole: whether the mask is one bool.
        strict: whether products ask for the mask too. Those of max, relu and their kin they do not ask for:
            it would cost every net with relus, and there an infinite factor is rare.
        depth: how many masks must be computed first.
    """

    compute: Callable[[], Any]
    shape: tuple[int, ...]
    whole: bool
    strict: bool
    depth: int = 0

    @functools.cached_property
    def mask(self) -> Any:
        """The mask."""
        return self.compute()

    @property
    def array(self) -> Any:
        """The mask, an entry for each element."""
        return lax.broadcast_in_dim(self.mask, self.shape, range(self.mask.ndim))

    def __or__(self, other: "Alive") -> "Alive":
        whole = self.whole and other.whole
        either = (lambda: self.mask | other.mask) if whole else (lambda: self.array | other.array)
        return Alive(either, self.shape, whole, self.strict and other.strict, depth_after(self, other))

    def tree_flatten(self) -> tuple[tuple[Any], tuple[Any, ...]]:
        """For JAX: the mask, and the rest."""
        return (self.mask,), (self.shape, self.whole, self.strict)

    @classmethod
    def tree_unflatten(cls, rest: tuple[Any, ...], masks: tuple[Any]) -> "Alive":
        """For JAX: with this mask."""
        return cls(lambda: masks[0], *rest)

    def part(self, x_bar: Any) -> Any:
        """What is alive of a gradient of this shape, and 0 elsewhere."""
        mask = _jax.lying_as(self.array, jax.typeof(x_bar))
        return lax.select(mask, x_bar, lax.full_like(x_bar, 0))

    def of_whole(self, x: Any) -> "Alive | None":
        """The same bool for all of x, if there is an x."""
        return None if x is None else Alive(lambda: self.mask, x.shape, True, self.strict, depth_after(self))

    def along(self, x: Any) -> "Alive | None":
        """Where the cotangent of an operand is alive, which may have been stretched."""
        if self.whole:
            return self.of_whole(x)
        if x.shape == self.shape:
            return self
        if not self.strict:
            return None
        summed = lambda: like(x, self.mask.astype(jnp.float32)) > 0  # noqa: E731
        return Alive(summed, x.shape, False, True, depth_after(self))


DEEPEST = 100
"""So many masks may wait for each other: each takes three of Python's calls, of which there may be 1000."""


def depth_after(*lives: Alive | None) -> int:
    """The depth of a mask that is made of these, which are computed now if they have waited for too many."""
    depth = max((live.depth for live in lives if live), default=0)
    if depth < DEEPEST:
        return depth + 1
    for live in lives:
        _ = live and live.mask
    return 0


Lives = Sequence[Alive | None]
"""For each cotangent where it is alive; None if everywhere."""


def of_all(y_bars: Sequence[Any], lives: Lives) -> Alive | None:
    """Where any of the cotangents of one shape is alive."""
    some = [live for bar, live in zip(y_bars, lives, strict=True) if bar is not None]
    return None if not some or None in some else functools.reduce(operator.or_, some)


def mask_of(live: Alive | None) -> Any:
    """The mask of a cotangent of which products ask, to be handed through a branch or a step of a loop."""
    return live.array if live is not None and live.strict else None


def of_mask(mask: Any) -> Alive | None:
    """Where a cotangent with this mask is alive."""
    return None if mask is None else Alive(lambda: mask, mask.shape, False, True)


def parted(
    eqn: _jax.Equation, y_bars: Sequence[Any], lives: Lives, x_bars: Sequence[Any], sent: Lives
) -> tuple[list[Any], Lives]:
    """What an equation has sent back, and where that is alive; 0, where one bool says that nothing came.

    Between devices, or the examples of a `vmap`, that is said for each: what comes from the others is alive.
    """
    live = of_all(y_bars, lives)
    if live is None or not live.whole or _between_devices(eqn):
        return list(x_bars), sent
    sent = list(map(live.of_whole, x_bars))
    return [alive and alive.part(x_bar) for alive, x_bar in zip(sent, x_bars, strict=True)], sent


def _between_devices(eqn: _jax.Equation) -> bool:
    """Whether an equation is a collective, or holds one; a `shard_map` is among devices of its own."""
    name = eqn.primitive.name
    within = name != "shard_map" and any(_holds_collectives(jaxpr) for jaxpr, _ in _jax.programs(eqn))
    return within or name in COLLECTIVE


@functools.lru_cache(maxsize=512)
def _holds_collectives(jaxpr: _jax.Jaxpr) -> bool:
    return any(map(_between_devices, jaxpr.eqns))


def routed(
    backward: Callable,
    stash: Any,
    y_bars: Sequence[Any],
    lives: Lives,
    x_bars: Sequence[Any],
    strict: bool,
    sums: bool,
) -> Lives:
    """Where what a rule sends back is alive, if it only routes.

    It sends back ones where ȳ is 1, or sums of them, and 0 where it sends nothing.

    Args:
        backward: the rule.
        stash: what it reads.
        y_bars: the cotangents that came.
        lives: where they are alive.
        x_bars: what it has sent back.
        strict: whether products shall ask for the masks.
        sums: whether a smaller operand gets a sum. Its mask is worth it where it is strict.
    """
    came = of_all(y_bars, lives)
    depth = depth_after(*lives, came)

    @functools.cache
    def ones() -> Sequence[Any]:
        return backward(stash, list(map(_as_numbers, y_bars, lives)))

    def compute(i: int) -> Any:
        sent = lax.ne(ones()[i], lax.full_like(ones()[i], 0))  # or NaN, where a maximum is
        return sent & came.mask if came and came.whole else sent

    def sent_to(i: int, x: Any) -> Alive | None:
        summed = sums and any(bar is not None and x is not None and x.size < bar.size for bar in y_bars)
        if x is None or (summed and not strict):
            return None
        return Alive(functools.partial(compute, i), x.shape, not x.shape, strict, depth)

    return list(map(sent_to, range(len(x_bars)), x_bars))


def _as_numbers(y_bar: Any, live: Alive | None) -> Any:
    """1 where it is alive, and 1 + i of complex numbers: both parts are."""
    if y_bar is None:
        return None
    one = lax.full_like(y_bar, 1 + 1j if jnp.iscomplexobj(y_bar) else 1)
    return one if live is None else live.part(one)


def chosen(which: Any, live: Alive | None, x_bars: Sequence[Any]) -> Lives:
    """Where what a select sends back is alive that chooses by one number: one case gets ȳ, the others 0."""
    index, last, depth = jnp.asarray(which, jnp.int32), len(x_bars) - 2, depth_after(live)

    def case(k: int, x: Any) -> Alive | None:
        relation = lax.le if k == 0 else lax.ge if k == last else lax.eq

        def compute() -> Any:
            taken = relation(index, jnp.int32(k))
            return taken if live is None else live.mask & taken

        return None if x is None else Alive(compute, x.shape, live is None or live.whole, True, depth)

    return [None, *map(case, range(last + 1), x_bars[1:])]
