"""Many probes in few calls, each of which ends.

A probe is a point and what the rule is given there, ȳ or ẋ. A program takes a batch of them, one after the
other (`lax.map`), so that a check compiles a handful of programs however many probes it makes:

    answers      (x, ȳ)  →  f(x), y, x̄          the function under test, and once more the undecorated one
    slopes       (x, ȳ, v)  →  ⟨ȳ, f(x ± h v) − f(x)⟩ / h for all steps h, and ⟨ȳ, J v⟩ by forward mode
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from funcnet._types import Host
from funcnet.bounded.rows import FUEL, Rows, Runner
from funcnet.check.noise import cast
from funcnet.check.subject import Arrays
from funcnet.numerical.slopes import STEPS, Slope, sides, slope

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


class Asker(Runner):
    """Asks functions at the probes of one check, `batch` of them in a call, within its time."""

    def __init__(self, timeout: float, batch: int = BATCH):
        super().__init__(timeout)
        self.batch = batch

    def answers(
        self,
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
        found = self.run(answer, rest, rows, self.batch, quick, needed=needed)
        return [None if turns is None else Answer(*one, turns=turns) for one, turns in found]

    def slopes(
        self,
        flat: Callable,
        rest: Arrays,
        xs: Arrays,
        pairs: Rows,
        eps: float,
        forward: bool = False,
        turns: int = 0,
    ) -> list[Slope]:
        """The slopes of ⟨ȳ, f⟩ for pairs of ȳ and v, by `forward` mode too if there is one.

        The values of `flat(rest, *xs) -> ys` are rounded by `eps`. `turns` are those of its loops at the
        point; a slope is no number where they take many more.
        """

        def at(fixed: Any, y_bars: Any, v: Any) -> Any:
            rest, xs = fixed
            return sides(functools.partial(flat, rest), xs, y_bars, v, forward)

        fuel, slopes = FUEL + 4 * (len(STEPS) + 1) * turns, []
        found = self.run(at, (tuple(rest), tuple(xs)), pairs, DIRECTIONS, True, fuel, False)
        for (measured, tangent, size), ends in found:
            alive = np.nan if ends is None else 1.0
            steps = [alive * one for one in measured]
            slopes.append(slope(*steps, noise=eps * size / STEPS, tangent=float(alive * tangent)))
        return slopes
