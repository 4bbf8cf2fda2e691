"""Where to look: directions through a point along which slopes are taken.

Random directions see any error that is spread out. They miss what happens on a set of measure zero: where
elements are equal, or 0, a maximum, a sort or an activation may have a kink, and only a direction that
moves that group, together or one by one, shows the mistake.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from funcnet._types import Host
from funcnet.check.probes import Probe

Direction = tuple[Host, ...]

GROUPS = 4
"""How many groups of equal elements are looked at, the largest first."""


def sizes(x: Host) -> Host:
    """How far to move each element: by its size, or by that of a typical one if it is smaller."""
    typical = np.abs(x[np.isfinite(x) & (x != 0)])
    return np.maximum(np.abs(x), np.median(typical) if typical.size else 1.0)


def along(probe: Probe, i: int, move: Host) -> Direction:
    """The direction that moves the i-th x alone."""
    return tuple(np.asarray(move) if j == i else np.zeros_like(x) for j, x in enumerate(probe.xs))


def single(probe: Probe, i: int, place: tuple[Any, ...]) -> Direction:
    """One element of the i-th x, by its size."""
    move = np.zeros_like(probe.xs[i])
    move[place] = sizes(probe.xs[i])[place]
    return along(probe, i, move)


def random(probe: Probe, rng: np.random.Generator) -> list[tuple[int, Direction]]:
    """For each x two directions of random signs: by each element's own size, and all by the same."""
    found = []
    for i, x in enumerate(probe.xs):
        if x.size:
            own = sizes(x)
            found += [
                (i, along(probe, i, size * _signs(x, rng)))
                for size in (own, np.full_like(own, np.median(own)))
            ]
    return found


def _signs(x: Host, rng: np.random.Generator) -> Host:
    signs = rng.choice([-1.0, 1.0], x.shape)
    return signs + 1j * rng.choice([-1.0, 1.0], x.shape) if np.iscomplexobj(x) else signs


def equals(probe: Probe) -> list[list[Host]]:
    """The groups of equal elements, for each x a mask; zeros are a group even if there is one alone."""
    real = [np.zeros(0) if np.iscomplexobj(x) else x.ravel() for x in probe.xs]
    values, counts = np.unique(np.concatenate(real), return_counts=True)
    wanted = (counts > 1) | (values == 0)
    order = np.argsort(-counts[wanted], kind="stable")[:GROUPS]
    return [[(x == value) & (not np.iscomplexobj(x)) for x in probe.xs] for value in values[wanted][order]]


def of_group(probe: Probe, group: Sequence[Host], rng: np.random.Generator) -> list[Direction]:
    """The group together, its members against each other, and one member alone."""
    size = max(sizes(x)[mask].max() for x, mask in zip(probe.xs, group, strict=True) if mask.any())
    together = tuple(np.where(mask, size, np.zeros_like(x)) for x, mask in zip(probe.xs, group, strict=True))
    against = tuple(move * _signs(x, rng) for move, x in zip(together, probe.xs, strict=True))
    i = next(i for i, mask in enumerate(group) if mask.any())
    members = np.argwhere(group[i])
    place = members[rng.integers(len(members))]
    return [together, against, single(probe, i, tuple(place))]
