"""A function run for many inputs, a batch of rows in one compiled call, which ends.

Its loops get few turns at first, and more where the first rows need them, as long as that fits into a time.
"""

import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from funcnet._compiled import executable, traced
from funcnet._types import Host
from funcnet.bounded.callbacks import Patience
from funcnet.bounded.loops import is_endless, metered

FUEL = 256
"""How many turns the loops of a function may take at first."""

GROWTH = 16
"""How much more they get each time; so many times the turns that the first rows need the others may take."""

_MOST = np.iinfo(np.int32).max

Rows = Sequence[tuple[Any, ...]]


@dataclass(eq=False)
class Program:
    """A compiled program, and how many turns its loops may take."""

    run: Callable
    fuel: int


class Runner:
    """Runs functions within a time, in seconds of the processor for all rows of a question.

    Attributes:
        batch: how many rows a program usually takes at once.
        patience: the time, and what callbacks have made of it.
        asked: how many rows were run.
        programs: those that were compiled for them.
    """

    def __init__(self, timeout: float, batch: int):
        self.batch = batch
        self.patience = Patience(timeout)
        self.asked = 0
        self.programs: dict[Any, Program] = {}

    def run(
        self,
        function: Callable,
        rest: Sequence[Any],
        rows: Rows,
        batch: int | None = None,
        quick: bool = False,
        fuel: int = FUEL,
        needed: bool = True,
    ) -> list[tuple[Any, int | None]]:
        """`function(rest, *columns)` for each row, and the turns of its loops: None for too many.

        Rows that are `needed` are worth all of the time. With `quick` a program is compiled with few
        optimizations.
        """
        found: list[tuple[Any, int | None]] = []
        batch = batch or self.batch
        began, self.patience.lost = time.process_time(), 0
        self.asked += len(rows)
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
            enough = given >= min(GROWTH * used, _MOST) if used < given else False
            late = 2 * (now - begin) > timeout or now - began > timeout
            if (left > 0).all() or enough or late or given == _MOST:
                return results, left
            self.patience.lost = 0
            more = int(np.clip(timeout / max(now - begin, 1e-3), 2, GROWTH))
            program.fuel = min(given * more if used == given else GROWTH * int(used), _MOST)


def stacked(rows: Rows) -> Any:
    """Rows as columns."""
    return jax.tree.map(lambda *parts: np.stack(parts), *rows)
