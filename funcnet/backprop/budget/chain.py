"""A chain of stages: what there is to know of a program to say which parts of it run again.

    ──▶ stage 0 ──▶ stage 1 ──▶ … ──▶ stage L−1 ──▶        across each boundary values go forward
    ◀── ─────── ◀── ─────── ◀── … ◀── ───────── ◀──        and cotangents come back

A stage runs some equations of the program. Of what its rules read it may keep all or less: these are its
options, each with the bytes that it keeps and holds, and the operations that it takes to make the rest again.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from funcnet import _jax
from funcnet.backprop.sweep import Plan


@dataclass(frozen=True, eq=False)
class Option:
    """What a stage, or a few in a row, may keep for the way back.

    Attributes:
        stages: how many in a row.
        kept: bytes that are kept beyond what is held before the stage.
        extra: operations that it takes to make the rest again.
        ahead: the most bytes at once as it runs forward, beyond what is held before it.
        back: the same on the way back.
        variables: what is kept of a stage whose cheap equations run again; None for all that is read.
        equation: in a stage of one equation that holds a program, that equation with the program changed.
        stash: the values that are needed for the way back.
        beside: bytes of what is kept and is no value.
    """

    stages: int
    kept: int
    extra: float
    ahead: int
    back: int
    variables: Collection[_jax.Var] | None = None
    equation: _jax.Equation | None = None
    stash: frozenset[_jax.Var] = frozenset()
    beside: int = 0


@dataclass(frozen=True)
class Again:
    """Stages that run again, and how these are walked back then."""

    parts: "Schedule"

    @property
    def stages(self) -> int:
        """How many."""
        return sum(part.stages for part in self.parts)


Schedule = Sequence[Option | Again]
"""What is kept of stages one after the other, or that they run again."""


@dataclass(frozen=True, eq=False)
class Stage:
    """The equations from `begin` up to `end`.

    Attributes:
        begin: the first one.
        end: the one behind the last.
        operations: what it takes to run them.
        tail: what of that only those behind need.
        ahead: the most bytes at once when they run and keep nothing, beyond what is held before them.
        options: what they may keep, alone or with those behind them; the first of as many stages is all that
            is read.
    """

    begin: int
    end: int
    operations: float
    tail: float
    ahead: int
    options: list[Option]


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain of stages.

    Attributes:
        plan: both sweeps over the program, without a budget.
        stages: the stages.
        across: for each boundary the values that go across, the stage that makes each, and its bytes.
        cotangents: for each boundary the bytes of the cotangents that come back across.
        readers: for each of these values the stages that read it.
    """

    plan: Plan
    stages: Sequence[Stage]
    across: Sequence[Sequence[tuple[_jax.Var, int, int]]]
    cotangents: Sequence[int]
    readers: Mapping[_jax.Var, Sequence[int]]

    @functools.cached_property
    def _more(self) -> list[list[int]]:
        n = len(self.stages)
        more = [[0] * (n + 1) for _ in range(n + 1)]
        for r, values in enumerate(self.across):
            for s in range(r + 1):
                more[s][r] = sum(size for _, made, size in values if made >= s)
        return more

    def held_more(self, s: int, r: int) -> int:
        """Bytes across boundary r that do not go across boundary s before it."""
        return self._more[s][r]

    def read_in(self, s: int, r: int) -> frozenset[_jax.Var]:
        """The values across boundary s that stages s … r−1 read."""
        return frozenset(v for v, _, _ in self.across[s] if any(s <= i < r for i in self.readers[v]))

    @functools.cached_property
    def keeping_all(self) -> list[tuple[int, Option]]:
        """What there is to keep if nothing runs again, and from which stage on."""
        options, s = [], 0
        while s < len(self.stages):
            without = [option for option in self.stages[s].options if not option.extra]
            options.append((s, max(without, key=lambda option: option.stages)))
            s += options[-1][1].stages
        return options

    def least_kept(self, option: Option, s: int) -> Option:
        """The option that keeps the fewest bytes of the same stages, from s on."""
        same = (one for one in self.stages[s].options if one.stages == option.stages)
        return min(same, key=lambda one: one.kept)

    @property
    def plain(self) -> int:
        """The most bytes at once if nothing runs again."""
        kept, most = 0, 0
        for _, option in self.keeping_all:
            most = max(most, kept + max(option.ahead, option.back))
            kept += option.kept
        return most
