"""The gradient beside its oracles.

Beside autodiff's, element by element, each with the noise that it is known to (noise). And beside the slopes
of the function: ⟨x̄, v⟩ and D⟨ȳ, f⟩ along directions v. At a kink the slopes to either side differ, and a
gradient is one if ⟨x̄, v⟩ lies between them.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from funcnet._types import Host
from funcnet.check.answers import Answers, once
from funcnet.check.case import Case
from funcnet.check.noise import Comparison, cast, compare, cotangent, largest, spread, unit, untied, wide
from funcnet.check.options import AT_ZERO
from funcnet.check.probes import Answer, Direction, Move, Probe, at_random, equal_groups, of_group
from funcnet.check.thresholds import AWAY, EXACT, OF_LARGEST, PRODUCT, ROUGHLY, SIGNAL
from funcnet.numerical.slopes import KNOWN, SURE, Slope, sizes


def floor(seen: Answers, answer: Answer, i: int) -> Host:
    """What rounding of y makes of a gradient: along a smaller one, x by its size moves y by less."""
    if not seen.case.mode.is_reverse:
        return seen.case.u * np.abs(answer.ys[i])
    total = sum(float(np.abs(g * y).sum()) for g, y in zip(seen.probe.given, answer.ys, strict=True))
    return seen.case.u * total / sizes(seen.probe.xs[i])


@once
def rule_noise(seen: Answers, i: int) -> Host:
    """For each element the spread of the rule under roundings."""
    return _spread(seen, seen.rule, seen.rounded, i)


def _spread(seen: Answers, center: Answer, around: Sequence[Answer], i: int) -> Host:
    """A spread, without what only a tie explains: beside the gradient, or the terms of it."""
    terms = largest(np.asarray(floor(seen, seen.rule, i))) / seen.case.u
    sigma = spread(center.found[i], [one.found[i] for one in around])
    return untied(sigma, max(largest(center.found[i]), terms))


@once
def zero(seen: Answers, i: int) -> Host:
    """For each element that autodiff does not tell from 0, what a 0 is known to there; else 0."""
    own, true = rule_noise(seen, i), _spread(seen, seen.truth, seen.moved, i)
    noise = np.maximum(np.maximum(own, true), floor(seen, seen.rule, i))
    return np.where(np.abs(wide(seen.truth.found[i])) <= seen.case.slack * true, noise, 0)


@once
def compared(seen: Answers) -> list[Comparison]:
    """The gradient beside autodiff's, array by array."""
    compare_one = _at_the_arguments if seen.here is None else _elsewhere
    return [compare_one(seen, i) for i in range(len(seen.truth.found))]


def _at_the_arguments(seen: Answers, i: int) -> Comparison:
    case, found, truth = seen.case, seen.rule.found[i], seen.truth.found[i]
    sigma = spread(truth, [one.found[i] for one in seen.moved])
    if case.base is not None:  # and what is float32 and of no argument differs from program to program
        pairs = zip(seen.rule.ys, seen.truth.ys, strict=True)
        apart = max((largest(y - other) / (largest(other) or 1.0) for y, other in pairs), default=0.0)
        sigma = np.maximum(untied(sigma, largest(truth)), apart * largest(truth) * (apart > OF_LARGEST))
    if unit(case.grain) > unit(seen.probe.xs[0].dtype):  # sums of few short numbers often round alike
        sigma = np.maximum(sigma, rule_noise(seen, i))
    relative = case.exact if case.base is not None or case.oracles is None else 0.0
    dtype = case.coarser(case.types(case.base)[i].dtype)
    return compare(found, truth, sigma, dtype, case.slack, relative, zero(seen, i))


def _elsewhere(seen: Answers, i: int) -> Comparison:
    """Of the noise nothing is known: errors beside the largest elements count, and the terms of a 0."""
    case, here, found, truth = seen.case, seen.here or seen, seen.rule.found[i], seen.truth.found[i]
    size = max(map(largest, (truth, here.truth.found[i], here.rule.found[i])))
    allowed = max(ROUGHLY, case.exact if case.by_differences else 0)
    sigma = allowed * size + EXACT * largest(zero(here, i)) / case.u
    if seen.where == AT_ZERO:
        truth = np.where(np.isfinite(found), found, truth)
    return compare(found, truth, sigma, "float32", 1.0)


def beside(seen: Answers, probe: Probe, use: str) -> Probe:
    """The point moved by a hundredth, so that no elements are equal."""
    rng, xs = seen.case.rng(use), list(map(wide, probe.xs))
    moved = [x + AWAY * sizes(x) * rng.uniform(-1, 1, x.shape) for x in xs]
    return Probe(cast(moved, probe.xs), probe.given)


@dataclass(frozen=True, eq=False)
class Along:
    """A gradient seen along one direction, `move`, and the slope of the function there.

    Attributes:
        found: what the rule finds, and `weights` what that is summed with: v, or ȳ in forward mode.
        i: the argument that is moved alone, if it is one.
        how: how a group of equal elements is moved, if it is one.
    """

    case: Case
    move: Direction
    found: Sequence[Host]
    weights: Sequence[Host]
    slope: Slope
    i: int | None = None
    how: str = ""

    @functools.cached_property
    def terms(self) -> list[Host]:
        """Those of ⟨x̄, v⟩."""
        return [wide(x) * wide(weight) for x, weight in zip(self.found, self.weights, strict=True)]

    @property
    def rule(self) -> float:
        """⟨x̄, v⟩."""
        return float(sum(term.sum().real for term in self.terms))

    @functools.cached_property
    def size(self) -> float:
        """What errors along this direction are small beside: Σ |x̄ v|, or the slope."""
        return max(float(sum(np.abs(term).sum() for term in self.terms)), self.slope.size)

    @property
    def rounding(self) -> float:
        """How far ⟨x̄, v⟩ may be off by the rounding of its terms."""
        return max(self.case.exact, PRODUCT * self.case.u) * self.size

    @property
    def tolerance(self) -> float:
        """How far ⟨x̄, v⟩ may be from the slope: by the slope's error, and by rounding."""
        return self.slope.tolerance + self.rounding

    def agrees(self) -> bool:
        """Whether the gradient can be that slope; if that is not known, what forward mode makes of it.

        The latter is the dot product test: ⟨ȳ, J v⟩ = ⟨x̄, v⟩. It decides at kinks too: the middle one of
        several equal elements in a sort may go where neither side goes.
        """
        rule, slope = self.rule, self.slope
        if not np.isfinite(rule) or (slope.is_zero and abs(rule) <= SURE * slope.error):
            return True
        noise = self.rounding + (slope.error if self.case.grain.itemsize < 8 else 0.0)
        as_forward_mode = not (np.isfinite(slope.tangent) and abs(slope.tangent - rule) > noise)
        admitted = slope.admits(rule, self.tolerance)
        if slope.error > KNOWN * self.size:
            return as_forward_mode or (self.case.oracles is None and admitted)
        return admitted or (slope.kink and as_forward_mode)

    def moves(self, i: int) -> bool:
        """Whether the function changes along this direction, which moves the i-th x."""
        size, error = max(abs(self.slope.low), abs(self.slope.high)), self.slope.error
        return bool(np.any(self.move[i])) and np.isfinite(error) and size > SIGNAL * SURE * error


@once
def along(seen: Answers) -> list[Along]:
    """Random directions, two for each argument, then each group of equal elements in three ways."""
    rng, xs = seen.case.rng("directions"), seen.case.widened(seen.probe).xs
    moves = at_random(xs, rng)
    for group in equal_groups(xs):
        moves += of_group(xs, group, rng)
    return slopes_along(seen, moves)


def slopes_along(seen: Answers, moves: Sequence[Move]) -> list[Along]:
    """The gradient along directions."""
    case, rule, vs = seen.case, seen.rule, [v for *_, v in moves]
    given, found = case.widened(seen.probe).given, [rule.found] * len(moves)
    if not case.mode.is_reverse:
        given = tuple(cotangent(y, case.rng(f"weights {k}")) for k, y in enumerate(rule.ys))
        answers = seen.ask([Probe(seen.probe.xs, cast(v, seen.probe.xs)) for v in vs], case.base)
        found = [one.found if one.ends else rule.found for one in answers]
    slopes = seen.slopes([(given, v) for v in vs])
    return [
        Along(case, v, one, v if case.mode.is_reverse else given, slope, i, how)
        for (i, how, v), one, slope in zip(moves, found, slopes, strict=True)
    ]
