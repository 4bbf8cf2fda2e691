"""Many probes in few calls, each of which ends.

A probe is a point and what the rule is given there, ȳ or ẋ. A program takes a batch of them, one after the
other (`lax.map`), so that a check compiles a handful of programs however many probes it makes:

    answers      (x, ȳ)  →  f(x), y, x̄          the function under test, and once more the undecorated one
    slopes       (x, ȳ, v)  →  ⟨ȳ, f(x ± h v) − f(x)⟩ / h for all steps h, and ⟨ȳ, J v⟩ by forward mode
"""

import functools
import operator
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from funcnet._compiled import executable, traced
from funcnet._types import Host
from funcnet.backprop.metered import is_endless, metered
from funcnet.backprop.patience import Patience
from funcnet.check.noise import cast
from funcnet.check.subject import Arrays
from funcnet.check.thresholds import FUEL, GROWTH
from funcnet.numerical.slopes import STEPS, Slope, sides, slope

BATCH, DIRECTIONS = 4, 8
"""How many probes, and how many directions, a program takes at once."""

Rows = Sequence[tuple[Any, Any]]

_ENDLESS = np.iinfo(np.int32).max


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


@dataclass(eq=False)
class Program:
    """A compiled program, and how many turns its loops may take."""

    run: Callable
    fuel: int


class Runner:
    """Runs the programs of one check, `batch` probes in a call, within its time, and counts both."""

    def __init__(self, timeout: float, batch: int = BATCH):
        self.patience = Patience(timeout)
        self.batch = batch
        self.probes = 0
        self.programs: dict[Any, Program] = {}

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
        found = self._run(answer, rest, rows, self.batch, quick, FUEL, needed)
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
        found = self._run(at, (tuple(rest), tuple(xs)), pairs, DIRECTIONS, True, fuel, False)
        for (measured, tangent, size), ends in found:
            alive = np.nan if ends is None else 1.0
            steps = [alive * one for one in measured]
            slopes.append(slope(*steps, noise=eps * size / STEPS, tangent=float(alive * tangent)))
        return slopes

    def _run(
        self, function: Callable, rest: Arrays, rows: Rows, batch: int, quick: bool, fuel: int, needed: bool
    ) -> list[tuple[Any, int | None]]:
        """`function(rest, *columns)` for each row, and the turns of its loops: None for too many."""
        found: list[tuple[Any, int | None]] = []
        began, self.patience.lost = time.process_time(), 0
        self.probes += len(rows)
        for first in range(0, len(rows), batch):
            part = rows[first : first + batch]
            inputs = tuple(rest), stacked([*part, *[part[-1]] * (batch - len(part))])
            key = function, str(jax.tree.map(jax.typeof, inputs))
            if key not in self.programs:
                self.programs[key] = Program(self._compiled(function, inputs, quick), fuel)
            program = self.programs[key]
            results, left = self._refuelled(program, inputs, began, len(part) * needed)
            turns = [int(program.fuel - own) if own > 0 else None for own in left]
            found += [(jax.tree.map(operator.itemgetter(i), results), turns[i]) for i in range(len(part))]
        return found

    def _compiled(self, function: Callable, inputs: Any, quick: bool) -> Callable:
        """The function of the turns that are left and of rows; it counts them only if it has such loops."""

        def on_rows(at: Callable) -> Any:
            def run(left: Any, rest: Any, stacks: Any) -> Any:
                return jax.lax.map(lambda row: at(left, rest, *row), stacks)

            return traced(run, np.int32(1), *inputs)

        whole = on_rows(lambda left, *args: (function(*args), left))
        if is_endless(whole.jaxpr.jaxpr):
            whole = on_rows(metered(function, self.patience))
        return executable(whole, quick)

    def _refuelled(self, program: Program, inputs: Any, began: float, needed: int) -> tuple[Any, Host]:
        """The results, with more turns while the first rows need them; and what each row has left of them."""
        timeout = self.patience.seconds
        while True:
            begin, given = time.process_time(), program.fuel
            results, left = program.run(np.int32(given), *inputs)
            now = time.process_time()
            used = given - left[:needed].min(initial=given)
            enough = given >= min(GROWTH * used, _ENDLESS) if used < given else False
            late = 2 * (now - begin) > timeout or now - began > timeout
            if (left > 0).all() or enough or late or given == _ENDLESS:
                return results, left
            self.patience.lost = 0
            more = int(np.clip(timeout / max(now - begin, 1e-3), 2, GROWTH))
            program.fuel = min(given * more if used == given else GROWTH * int(used), _ENDLESS)


def stacked(rows: Rows) -> Any:
    """Rows as columns."""
    return jax.tree.map(lambda *parts: np.stack(parts), *rows)
