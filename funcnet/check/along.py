"""The gradient beside the slopes of the function: ⟨x̄, v⟩ and D⟨ȳ, f⟩ along directions v.

At a kink the slopes to either side differ, and a gradient is one if ⟨x̄, v⟩ lies between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from funcnet._types import Host
from funcnet.check import directions
from funcnet.check.answers import Answers, once
from funcnet.check.case import Case
from funcnet.check.differences import Slope
from funcnet.check.directions import Direction
from funcnet.check.noise import cotangent, unit, wide
from funcnet.check.probes import Probe
from funcnet.check.thresholds import KNOWN, SURE


@dataclass(frozen=True, eq=False)
class Along:
    """A gradient seen along one direction, `move`, and the slope of the function there.

    Attributes:
        i: the argument that is moved alone, if it is one.
        how: how a group of equal elements is moved, if it is one.
        terms: those of ⟨x̄, v⟩: x̄ v, or ȳ ẏ in forward mode.
        tangent: what forward mode says the slope is.
    """

    case: Case
    i: int | None
    how: str
    move: Direction
    terms: Sequence[Host]
    slope: Slope
    tangent: float

    @property
    def rule(self) -> float:
        """⟨x̄, v⟩."""
        return float(sum(term.sum().real for term in self.terms))

    @property
    def rounding(self) -> float:
        """How far ⟨x̄, v⟩ may be off by the rounding of its terms."""
        u = max(unit(kind) for kind in (self.case.grain, *(x.dtype for x in self.case.types(self.case.base))))
        return max(self.case.exact, 100 * u) * self._size

    @property
    def _size(self) -> float:
        """What errors along this direction are small beside: Σ |x̄ v|, or the slope."""
        return max(float(sum(np.abs(term).sum() for term in self.terms)), self.slope.size)

    @property
    def tolerance(self) -> float:
        """How far ⟨x̄, v⟩ may be from the slope: by the slope's error, and by rounding."""
        return self.slope.tolerance + self.rounding

    def agrees(self) -> bool:
        """Whether the gradient can be that slope; if that is not known, what forward mode makes of it.

        The latter is the dot product test: ⟨ȳ, J v⟩ = ⟨x̄, v⟩. It decides at kinks too: the middle one of
        several equal elements in a sort may go where neither side goes.
        """
        if not np.isfinite(self.rule):
            return True
        if self.slope.is_zero and abs(self.rule) <= SURE * self.slope.error:
            return True
        noise = self.rounding + (self.slope.error if self.case.grain.itemsize < 8 else 0.0)
        as_forward_mode = not np.isfinite(self.tangent) or bool(abs(self.tangent - self.rule) <= noise)
        admitted = self.slope.admits(self.rule, self.tolerance)
        if self.slope.error > KNOWN * self._size:
            return as_forward_mode or (self.case.oracles is None and admitted)
        return admitted or (self.slope.kink and as_forward_mode)

    def moves(self, i: int) -> bool:
        """Whether the function changes along this direction, which moves the i-th x."""
        size = max(abs(self.slope.low), abs(self.slope.high))
        return bool(np.any(self.move[i])) and np.isfinite(self.slope.error) and size > 100 * self.slope.error


@once
def along(seen: Answers) -> list[Along]:
    """Random directions, two for each argument, then each group of equal elements in three ways."""
    rng, (point,) = seen.case.rng("directions"), seen.case.widened([seen.probe])
    random = directions.random(point.xs, rng)
    groups = [directions.of_group(point.xs, group, rng) for group in directions.equals(point.xs)]
    moves: list[tuple[int | None, str, Direction]] = [(i, "", v) for i, v in random]
    for group in groups:
        moves += zip([None] * 3, ("together", "one against the other", "alone"), group, strict=True)
    return slopes_along(seen, moves)


def slopes_along(seen: Answers, moves: Sequence[tuple[int | None, str, Direction]]) -> list[Along]:
    """The gradient along directions, each with the argument that it moves, or how it moves a group."""
    case, rule = seen.case, seen.rule[0]
    given, founds = case.widened([seen.probe])[0].given, [rule.found] * len(moves)
    if not case.mode.is_reverse:
        given = tuple(cotangent(y, case.rng(f"weights {k}")) for k, y in enumerate(rule.ys))
        answers = seen.ask([_tangent(seen.probe, v) for *_, v in moves], case.base) if moves else []
        founds = [one.found if one else rule.found for one in answers]
    slopes, tangents = seen.slopes(seen.probe, [(given, v) for *_, v in moves])
    found = []
    for (i, how, v), one, slope, tangent in zip(moves, founds, slopes, tangents, strict=True):
        weights = v if case.mode.is_reverse else given
        terms = [wide(x) * w for x, w in zip(one, weights, strict=True)]
        found.append(Along(case, i, how, v, terms, slope, float(tangent)))
    return found


def _tangent(probe: Probe, v: Direction) -> Probe:
    return Probe(probe.xs, tuple(part.astype(x.dtype) for part, x in zip(v, probe.xs, strict=True)))
