"""Where to look: directions through a point along which slopes are taken.

Random directions see any error that is spread out. They miss what happens on a set of measure zero: where
elements are equal, or 0, a maximum, a sort or an activation may have a kink, and only a direction that
moves that group, together or one by one, shows the mistake.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from funcnet._types import Host
from funcnet.check.noise import signs
from funcnet.check.thresholds import GROUPS
from funcnet.numerical.slopes import sizes

Direction = tuple[Host, ...]

Move = tuple[int | None, str, Direction]
"""A direction, with the argument that it moves, if it is one, or how it moves a group."""


def along(xs: Sequence[Any], i: int, move: Host) -> Direction:
    """The direction that moves the i-th x alone."""
    return tuple(np.asarray(move) if j == i else np.zeros(x.shape, x.dtype) for j, x in enumerate(xs))


def single(xs: Sequence[Host], i: int, place: tuple[Any, ...]) -> Direction:
    """One element of the i-th x, by its size."""
    move = np.zeros_like(xs[i])
    move[place] = sizes(xs[i])[place]
    return along(xs, i, move)


def random(xs: Sequence[Host], rng: np.random.Generator) -> list[Move]:
    """For each x two directions of random signs: by each element's own size, and all by the same."""
    found: list[Move] = []
    for i, x in enumerate(xs):
        if x.size:
            own = sizes(x)
            for size in (own, np.full_like(own, np.median(own))):
                turned = signs(x, rng) + 1j * signs(x, rng) if np.iscomplexobj(x) else signs(x, rng)
                found.append((i, "", along(xs, i, size * turned)))
    return found


def equals(xs: Sequence[Host]) -> list[list[Host]]:
    """The groups of equal elements, for each x a mask; zeros are a group even if there is one alone."""
    real = [np.zeros(0) if np.iscomplexobj(x) else x.ravel() for x in xs]
    values, counts = np.unique(np.concatenate(real), return_counts=True)
    wanted = (counts > 1) | (values == 0)
    order = np.argsort(-counts[wanted], kind="stable")[:GROUPS]
    return [[(x == value) & (not np.iscomplexobj(x)) for x in xs] for value in values[wanted][order]]


def of_group(xs: Sequence[Host], group: Sequence[Host], rng: np.random.Generator) -> list[Move]:
    """The group together, its members against each other, and one member alone."""
    size = max(sizes(x)[mask].max() for x, mask in zip(xs, group, strict=True) if mask.any())
    together = tuple(np.where(mask, size, np.zeros_like(x)) for x, mask in zip(xs, group, strict=True))
    against = tuple(move * signs(x, rng) for move, x in zip(together, xs, strict=True))
    i = next(i for i, mask in enumerate(group) if mask.any())
    members = np.argwhere(group[i])
    alone = single(xs, i, tuple(members[rng.integers(len(members))]))
    return [(None, "together", together), (None, "one against the other", against), (None, "alone", alone)]
