"""What a rule is asked and what it answers, in the two modes; many probes in few calls.

A derivative J of y = f(x) is one number for each upstream gradient and direction, ⟨ȳ, J v⟩. A rule of reverse
mode is given ȳ and finds x̄ = Jᵀ ȳ; one of forward mode is given ẋ and finds ẏ = J ẋ:

    ⟨x̄, v⟩ = ⟨ȳ, J v⟩ for every v                 ⟨ȳ, ẏ⟩ = ⟨ȳ, J ẋ⟩ for every ȳ

Either is linear in what it is given, and differences of ⟨ȳ, f⟩ along v know what both must be. A program
takes a batch of probes, one after the other, so that a check compiles a handful of programs.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from funcnet import backprop
from funcnet._types import Host
from funcnet.bounded.rows import FUEL, Rows, Runner
from funcnet.check import directions
from funcnet.check.directions import Direction
from funcnet.check.noise import cast
from funcnet.check.subject import Arrays
from funcnet.numerical import transforms
from funcnet.numerical.slopes import STEPS, Slope, sides, sizes, slope

BATCH, DIRECTIONS = 4, 8
"""How many probes, and how many directions, a program takes at once."""


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

    `turns` counts those of its loops.
    """

    ys: tuple[Host, ...]
    forward: tuple[Host, ...]
    found: tuple[Host, ...]
    turns: int = 0

    @property
    def is_finite(self) -> bool:
        """Whether the function is."""
        return all(np.isfinite(y).all() for y in self.ys)


def ended(answers: Iterable[Answer | None]) -> list[Answer]:
    """Those that came to an end."""
    return [one for one in answers if one is not None]


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
        return sizes(probe.xs[i]) if self.is_reverse else np.ones(())


REVERSE = Mode("ȳ", "x̄", (jax.vjp, backprop.vjp), transforms.vjp, True)
FORWARD = Mode("ẋ", "ẏ", (jax.jvp,), transforms.jvp, False)


def answers(
    runner: Runner,
    answer: Callable,
    rest: Arrays,
    probes: Sequence[Probe],
    quick: bool = False,
    needed: bool = True,
) -> list[Answer | None]:
    """The answers `(rest, xs, given) -> (ys, forward, found)` to probes of one type.

    There is none where a loop goes on; those that are `needed` are worth all of the time.
    """
    rows = [(probe.xs, probe.given) for probe in probes]
    found = runner.run(answer, rest, rows, quick=quick, needed=needed)
    return [None if turns is None else Answer(*one, turns=turns) for one, turns in found]


def slopes(
    runner: Runner,
    flat: Callable,
    rest: Arrays,
    xs: Arrays,
    pairs: Rows,
    eps: float,
    forward: bool = False,
    turns: int = 0,
) -> list[Slope]:
    """The slopes of ⟨ȳ, f⟩ for pairs of ȳ and v, by `forward` mode too if there is one.

    The values of `flat(rest, *xs) -> ys` are rounded by `eps`. `turns` are those of its loops at the point; a
    slope is no number where they take many more.
    """

    def at(fixed: Any, y_bars: Any, v: Any) -> Any:
        rest, xs = fixed
        return sides(functools.partial(flat, rest), xs, y_bars, v, forward)

    fuel, slopes = FUEL + 4 * (len(STEPS) + 1) * turns, []
    found = runner.run(at, (tuple(rest), tuple(xs)), pairs, DIRECTIONS, True, fuel, False)
    for (measured, tangent, size), ends in found:
        alive = np.nan if ends is None else 1.0
        steps = [alive * one for one in measured]
        slopes.append(slope(*steps, noise=eps * size / STEPS, tangent=float(alive * tangent)))
    return slopes
