"""Which stages of a chain to run again: the optimal schedule for a memory limit.

A chain has stages 0 … L−1 with boundaries before, between and behind them; what lies across a boundary is
all that the stages behind it need of those before. To walk back from stage t to stage s, when what lies
across the boundary before s is held, within memory m, there are two ways to begin:

    keep       run stages s … r−1 and keep what their rules read, or what makes that again cheaply: one of a
               few options o; walk back t … r; walk back r−1 … s
                 C(s, t, m) = min over o of  extra(s, o) + C(r, t, m − kept(s, o))
    run again  run s … r−1 without keeping anything and hold the boundary before r; walk back t … r;
               then walk back r−1 … s, which runs them again
                 C(s, t, m) = min over r of  forward(s … r−1) + C(r, t, m − boundary(s, r)) + C(s, r−1, m)

(the second run ends where the last rule has what it reads, so forward is without the tail of stage r−1)
where a stage may only run where what it makes on its way, forward or back, fits too. What is run again is
itself a chain, walked back in the same way: segments inside segments. C counts the operations beyond one run
forward and one back (Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova 2019, Optimal checkpointing for
heterogeneous chains, theorem 1; the options as in Zhao et al. 2023, Rockmate).
"""

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

from funcnet.backprop.budget.chain import Again, Chain, Option, Schedule
from funcnet.backprop.budget.holds import fullest

SLOTS = 400
"""In so many parts memory is counted."""


class Checkpointing:
    """The optimal schedules of a chain, for every limit up to what the plain way takes.

    Attributes:
        chain: the chain.
        slot: bytes of one part of memory.
        slots: how many parts are counted: some more than it has, as each number of bytes is rounded.
    """

    def __init__(self, chain: Chain):
        self.chain = chain
        n = len(chain.stages)
        self.slot, self.slots = max(chain.plain, 1) / SLOTS, SLOTS + n + 2
        self._forward = [0.0, *itertools.accumulate(stage.operations for stage in chain.stages)]
        self._bars = [self._rounded(size) for size in chain.cotangents]
        self._more = [[self._rounded(chain.held_more(s, r)) for r in range(n + 1)] for s in range(n)]
        self._costs = np.full((n + 1, n + 1, self.slots), np.inf)
        for t in range(n):
            self._costs[t + 1, t] = 0
            for s in range(t, -1, -1):
                self._costs[s, t] = np.min([costs for costs, _ in self._choices(s, t)], axis=0)

    def _rounded(self, size: int) -> int:
        return min(round(size / self.slot), self.slots)

    def _choices(self, s: int, t: int) -> Iterator[tuple[np.ndarray, tuple[Option | None, int]]]:
        """The ways to begin with stage s: the cost for every limit; what is kept, and how far."""
        for option in self.chain.stages[s].options:
            r = s + option.stages
            if r <= t + 1:
                least = max(self._rounded(option.ahead) + self._bars[t + 1], self._rounded(option.back))
                costs = _less(self._costs[r, t], self._rounded(option.kept) if r <= t else 0) + option.extra
                costs[:least] = np.inf
                yield costs, (option, r)
        least = 0
        for r in range(s + 1, t + 1):
            stage = self.chain.stages[r - 1]
            passed = self._more[s][r - 1] + self._rounded(stage.ahead) + self._bars[t + 1]
            least = max(least, passed)
            costs = _less(self._costs[r, t], self._more[s][r]) + self._costs[s, r - 1]
            costs += self._forward[r] - self._forward[s] - stage.tail
            costs[:least] = np.inf
            yield costs, (None, r)

    @functools.cached_property
    def least(self) -> int:
        """The smallest limit, in bytes, for which there is a schedule: what the tightest one holds."""
        return min(self.tightest, fullest(self.chain, self.schedule(self.tightest))[0])

    @functools.cached_property
    def tightest(self) -> int:
        """The smallest limit as the recurrence counts, in bytes."""
        return math.ceil(int(np.argmax(np.isfinite(self._costs[0, -2]))) * self.slot)

    def _place(self, limit: int | float) -> int:
        full = limit >= self.chain.plain
        return self.slots - 1 if full else int(limit / self.slot + 1e-6)

    def cost(self, limit: int | float) -> float:
        """The operations that the optimal schedule adds."""
        return float(self._costs[0, -2][self._place(limit)])

    def schedule(self, limit: int | float) -> Schedule:
        """The optimal schedule within so many bytes; the tightest one where the recurrence finds none."""
        return self._schedule(0, len(self.chain.stages) - 1, self._place(max(limit, self.tightest)))

    def _schedule(self, s: int, t: int, m: int) -> Schedule:
        parts: list[Option | Again] = []
        while s <= t:
            _, (option, r) = min(self._choices(s, t), key=lambda choice: choice[0][m])
            if option is not None:
                parts.append(option)
                m -= self._rounded(option.kept) if r <= t else 0
            else:
                parts.append(Again(self._schedule(s, r - 1, m)))
                m -= self._more[s][r]
            s = r
        return parts


def _less(costs: np.ndarray, slots: int) -> np.ndarray:
    """The costs where so much less is left."""
    less = np.full_like(costs, np.inf)
    less[slots:] = costs[: len(costs) - slots]
    return less
