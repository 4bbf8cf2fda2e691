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

from funcnet._types import Host
from funcnet.check.differences import Slope, sides, slope
from funcnet.check.fuel import Patience, metered
from funcnet.check.programs import executable
from funcnet.check.thresholds import FUEL, GROWTH, STEPS

BATCH, DIRECTIONS = 4, 8
"""How many probes, and how many directions, a program takes at once."""

_ENDLESS = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Probe:
    """A point, and what the rule is given there: an upstream gradient, or a tangent."""

    xs: tuple[Host, ...]
    given: tuple[Host, ...]

    def like(self, other: "Probe") -> "Probe":
        """The same numbers in the dtypes of another probe."""
        pairs = (self.xs, other.xs), (self.given, other.given)
        return Probe(*jax.tree.map(lambda a, b: np.asarray(a, b.dtype), *zip(*pairs, strict=True)))


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


class Runner:
    """Runs the programs of one check, `batch` probes in a call, within its time, and counts both."""

    def __init__(self, timeout: float, batch: int = BATCH):
        self.patience = Patience(timeout)
        self.batch = batch
        self.calls = self.probes = 0

    def answers(
        self,
        answer: Callable,
        rest: Sequence[Any],
        probes: Sequence[Probe],
        mapped: Callable = jax.lax.map,
        quick: bool = False,
        endless: bool = False,
        needed: int = 1,
    ) -> list[Answer | None]:
        """The answers `(rest, xs, given) -> (ys, forward, found)` to probes of one type.

        Of what is `endless` there may be none. The first ones that are `needed` are worth all of the time.
        """
        rows = [(probe.xs, probe.given) for probe in probes]
        fuel, batch = FUEL if endless else 0, self.batch if mapped is jax.lax.map else len(rows)
        found, turns = self._run(answer, rest, rows, batch, mapped, quick, fuel, needed)
        pairs = zip(found, turns, strict=True)
        return [None if used is None else Answer(*one, turns=used) for one, used in pairs]

    def slopes(
        self,
        flat: Callable,
        rest: Sequence[Any],
        xs: Sequence[Any],
        pairs: Sequence[tuple[Any, Any]],
        eps: float,
        forward: bool,
        turns: int | None = None,
    ) -> tuple[list[Slope], Host]:
        """The slopes of ⟨ȳ, f⟩ for pairs of ȳ and v, and what forward mode says they are, if there is one.

        The values of `flat(rest, *xs) -> ys` are rounded by `eps`. `turns` are those of its loops at the
        point, None without any that need not end; a slope is no number where they take many more.
        """

        def at(fixed: Any, y_bars: Any, v: Any) -> Any:
            rest, xs = fixed
            return sides(functools.partial(flat, rest), xs, y_bars, v, forward)

        fuel = 0 if turns is None else FUEL + 4 * (len(STEPS) + 1) * turns
        found, used = self._run(at, (tuple(rest), tuple(xs)), pairs, DIRECTIONS, quick=True, fuel=fuel)
        slopes, tangents = [], []
        for (measured, tangent, size), ends in zip(found, used, strict=True):
            alive = 1.0 if ends is not None else np.nan
            slopes.append(slope(*(alive * one for one in measured), noise=eps * size / STEPS))
            tangents.append(alive * tangent)
        return slopes, np.array(tangents)

    def _run(
        self,
        function: Callable,
        rest: Sequence[Any],
        rows: Sequence[Any],
        batch: int,
        mapped: Callable = jax.lax.map,
        quick: bool = False,
        fuel: int = 0,
        needed: int = 0,
    ) -> tuple[list[Any], list[int | None]]:
        """`function(rest, *columns)` for each row, and the turns of its loops: None for too many.

        Batches of one size run as one program, however many rows there are.
        """
        at = metered(function, self.patience) if fuel else lambda left, *args: (function(*args), left)

        def on_rows(left: Any, rest: Any, stacks: Any) -> Any:
            return mapped(lambda row: at(left, rest, *row), stacks)

        self.probes, self.calls = self.probes + len(rows), self.calls + bool(rows)
        given, began, found, turns = fuel or 1, time.process_time(), [], []
        self.patience.lost = 0
        run: Callable | None = None
        for first in range(0, len(rows), batch):
            part = rows[first : first + batch]
            stacks = _stacked([*part, *[part[-1]] * (batch - len(part))])
            run = run or executable(on_rows, np.int32(given), tuple(rest), stacks, quick=quick)
            given, results, left = self._refuelled(
                lambda given, run=run, stacks=stacks: run(np.int32(given), tuple(rest), stacks),
                given,
                began,
                max(0, min(needed - first, len(part))),
            )
            found += [jax.tree.map(operator.itemgetter(i), results) for i in range(len(part))]
            turns += [int(given - own) if own > 0 else None for own in left[: len(part)]]
        return found, turns

    def _refuelled(self, run: Callable, given: int, began: float, needed: int) -> tuple[int, Any, Host]:
        """The turns given, more while the first rows need them; the result; what each row has left."""
        timeout = self.patience.seconds
        while True:
            begin = time.process_time()
            results, left = run(given)
            now = time.process_time()
            used = given - left[:needed].min(initial=given)
            enough = given >= min(GROWTH * used, _ENDLESS) if used < given else False
            late = 2 * (now - begin) > timeout or now - began > timeout
            if (left > 0).all() or enough or late or given == _ENDLESS:
                return given, results, left
            self.patience.lost = 0
            more = int(np.clip(timeout / max(now - begin, 1e-3), 2, GROWTH))
            given = min(given * more if used == given else GROWTH * int(used), _ENDLESS)


def _stacked(rows: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *parts: np.stack(parts), *rows)
