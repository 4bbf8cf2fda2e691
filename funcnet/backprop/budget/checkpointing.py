"""Which stages of a chain to run again: the optimal schedule for a memory limit.

A chain has stages 0 … L−1 with boundaries before, between and behind them; what lies across a boundary is
all that the stages behind it need of those before. To walk back from stage t to stage s, when what lies
across the boundary before s is held, within memory m, there are two ways to begin:

    keep       run stage s and keep what its rules read, one of a few options o; walk back t … s+1; walk back s
                 C(s, t, m) = min over o of  extra(s, o) + C(s+1, t, m − kept(s, o))
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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from funcnet.backprop.budget.chain import Chain

SLOTS = 400
"""In so many parts memory is counted."""


@dataclass(frozen=True)
class Keep:
    """A stage that keeps one of its options."""

    stage: int
    option: int


@dataclass(frozen=True)
class Again:
    """Stages that run again, and how these are walked back then."""

    parts: "Sequence[Keep | Again]"


Schedule = Sequence[Keep | Again]


class Checkpointing:
    """The optimal schedules of a chain, for every limit up to one.

    Attributes:
        chain: the chain.
        most: the largest limit in bytes.
        slot: bytes of one part of it.
    """

    def __init__(self, chain: Chain, most: int):
        self.chain, self.most = chain, most
        self.slot = max(most, 1) / SLOTS
        n = len(chain.stages)
        self._forward = np.concatenate([[0], np.cumsum([stage.operations for stage in chain.stages])])
        self._bars = [self._slots(size) for size in chain.cotangents]
        self._costs = np.full((n, n, SLOTS + 1), np.inf)
        for t in range(n):
            for s in range(t, -1, -1):
                self._costs[s, t] = np.min([costs for costs, _ in self._choices(s, t)], axis=0)

    def _slots(self, size: float) -> int:
        return min(round(size / self.slot), SLOTS + 1)

    def _choices(self, s: int, t: int):
        """The ways to begin with stage s, each with its cost for every limit."""
        stage = self.chain.stages[s]
        for o, option in enumerate(stage.options):
            needed = max(self._slots(option.ahead) + self._bars[t + 1], self._slots(option.back))
            if s == t:
                yield _from(needed, option.extra), (o, None)
            else:
                rest = _less(self._costs[s + 1, t], self._slots(option.kept))
                yield _from(needed, option.extra) + rest, (o, None)
        ahead = 0
        for r in range(s + 1, t + 1):
            passed = self.chain.held_more(s, r - 1) + self.chain.stages[r - 1].ahead
            ahead = max(ahead, self._slots(passed) + self._bars[t + 1])
            later = _less(self._costs[r, t], self._slots(self.chain.held_more(s, r)))
            again = float(self._forward[r] - self._forward[s]) - self.chain.stages[r - 1].tail
            yield _from(ahead, again) + later + self._costs[s, r - 1], (None, r)

    def least(self) -> int:
        """The smallest limit, in bytes, for which there is a schedule."""
        feasible = np.isfinite(self._costs[0, -1])
        return round(int(np.argmax(feasible)) * self.slot) if feasible.any() else self.most + 1

    def cost(self, limit: float) -> float:
        """The operations that the optimal schedule adds."""
        return float(self._costs[0, -1][min(int(limit / self.slot), SLOTS)])

    def schedule(self, limit: float) -> Schedule:
        """The optimal schedule within so many bytes."""
        return self._schedule(0, len(self.chain.stages) - 1, min(int(limit / self.slot), SLOTS))

    def _schedule(self, s: int, t: int, m: int) -> Schedule:
        parts: list[Keep | Again] = []
        while s <= t:
            _, (o, r) = min(self._choices(s, t), key=lambda choice: choice[0][m])  # noqa: B023
            if r is None:
                parts.append(Keep(s, o))
                m -= self._slots(self.chain.stages[s].options[o].kept) if s < t else 0
                s += 1
            else:
                parts.append(Again(self._schedule(s, r - 1, m)))
                m -= self._slots(self.chain.held_more(s, r))
                s = r
        return parts


@functools.lru_cache(maxsize=4096)
def _from(needed: int, cost: float) -> np.ndarray:
    """This cost for all limits of so many slots or more."""
    return np.where(np.arange(SLOTS + 1) >= needed, cost, np.inf)


def _less(costs: np.ndarray, slots: int) -> np.ndarray:
    """The costs where so much less is left."""
    return np.concatenate([np.full(min(slots, SLOTS + 1), np.inf), costs])[: SLOTS + 1]
