"""What a rule is asked and what it answers, in the two modes, and along which directions slopes are taken.

A derivative J of y = f(x) is one number for each upstream gradient and direction, ⟨ȳ, J v⟩. A rule of reverse
mode is given ȳ and finds x̄ = Jᵀ ȳ; one of forward mode is given ẋ and finds ẏ = J ẋ:

    ⟨x̄, v⟩ = ⟨ȳ, J v⟩ for every v                 ⟨ȳ, ẏ⟩ = ⟨ȳ, J ẋ⟩ for every ȳ

Either is linear in what it is given, and differences of ⟨ȳ, f⟩ along v know what both must be.

Random directions v see any error that is spread out. They miss what happens on a set of measure zero: where
elements are equal, or 0, a maximum, a sort or an activation may have a kink, and only a direction that
moves that group, together or one by one, shows the mistake.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from funcnet import backprop
from funcnet._types import Host
from funcnet.check.noise import cast, signs
from funcnet.check.thresholds import GROUPS
from funcnet.numerical import transforms
from funcnet.numerical.slopes import sizes

Direction = tuple[Host, ...]

Move = tuple[int | None, str, Direction]
"""A direction, with the argument that it moves, if it is one, or how it moves a group."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A point, and what the rule is given there: an upstream gradient, or a tangent."""

    xs: tuple[Host, ...]
    given: tuple[Host, ...]

    def like(self, other: "Probe") -> "Probe":
        """The same numbers in the dtypes of another probe."""
        return Probe(cast(self.xs, other.xs), cast(self.given, other.given))


@dataclass(frozen=True, eq=False)
class Answer:
    """What a function says at a probe: f(x), the y of its forward pass, and its gradient or tangent.

    `turns` counts those of its loops, if it `ends`; if not, the rest means nothing.
    """

    ys: tuple[Host, ...]
    forward: tuple[Host, ...]
    found: tuple[Host, ...]
    turns: int = 0
    ends: bool = True

    @property
    def is_finite(self) -> bool:
        """Whether the function is."""
        return all(np.isfinite(y).all() for y in self.ys)


def ended(answers: Iterable[Answer]) -> list[Answer]:
    """Those that came to an end."""
    return [one for one in answers if one.ends]


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

        def derivative(rest: Any, xs: Any, given: Any) -> tuple[Any, Any, Any]:
            closed = functools.partial(flat, rest)
            if self.is_reverse:
                ys, back = differentiate(closed, *xs)
                y_bars = tuple(one.astype(y.dtype) for one, y in zip(given, ys, strict=True))
                return flat(rest, *xs), ys, back(y_bars)
            return flat(rest, *xs), *differentiate(closed, tuple(xs), tuple(given))

        return derivative

    def pair(self, probe: Probe, ys: Sequence[Any], i: int, weights: Host) -> tuple[Direction, Direction]:
        """The ȳ and v whose ⟨ȳ, J v⟩ is what is found for the i-th array, summed with weights."""
        if self.is_reverse:
            return probe.given, alone(probe.xs, i, weights)
        return alone(ys, i, weights), probe.given

    def sizes(self, probe: Probe, i: int) -> Host:
        """How far differences move each element that is found for the i-th array: x by its size."""
        return sizes(probe.xs[i]) if self.is_reverse else np.ones(())


REVERSE = Mode("ȳ", "x̄", (jax.vjp, backprop.vjp), transforms.vjp, True)
FORWARD = Mode("ẋ", "ẏ", (jax.jvp,), transforms.jvp, False)


def alone(xs: Sequence[Any], i: int, move: Host) -> Direction:
    """The direction that moves the i-th x alone."""
    return tuple(np.asarray(move) if j == i else np.zeros(x.shape, x.dtype) for j, x in enumerate(xs))


def one_element(xs: Sequence[Host], i: int, place: tuple[Any, ...]) -> Direction:
    """One element of the i-th x, by its size."""
    move = np.zeros_like(xs[i])
    move[place] = sizes(xs[i])[place]
    return alone(xs, i, move)


def at_random(xs: Sequence[Host], rng: np.random.Generator) -> list[Move]:
    """For each x two directions of random signs: by each element's own size, and all by the same."""
    found: list[Move] = []
    for i, x in enumerate(xs):
        if x.size:
            own = sizes(x)
            for size in (own, np.full_like(own, np.median(own))):
                turned = signs(x, rng) + 1j * signs(x, rng) if np.iscomplexobj(x) else signs(x, rng)
                found.append((i, "", alone(xs, i, size * turned)))
    return found


def equal_groups(xs: Sequence[Host]) -> list[list[Host]]:
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
    alone = one_element(xs, i, tuple(members[rng.integers(len(members))]))
    return [(None, "together", together), (None, "one against the other", against), (None, "alone", alone)]
