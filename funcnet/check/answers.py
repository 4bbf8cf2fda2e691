"""What the function under test and its oracles answer: asked when first read, and never twice.

rule        the function under test, at the probes of `linear`, at points elsewhere, at its own roundings
truth       autodiff of the primal there
compared    the two side by side, with the noise of each element
rulings     where they disagree, and who is right: see `disputes`
along       ⟨x̄, v⟩ beside the slope along v, for random directions and for groups of equal elements
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._types import Host
from funcnet.check import directions, domain, linear
from funcnet.check.case import Case
from funcnet.check.differences import Slope
from funcnet.check.fuel import is_endless
from funcnet.check.noise import Comparison, compare, largest, spreads, unit, wide, without_jumps
from funcnet.check.probes import Answer, Probe, Runner, ended
from funcnet.check.thresholds import AWAY, DRAWS, EXACT, KNOWN, OTHER_LOOP, ROUGHLY, SURE

Pair = tuple[directions.Direction, directions.Direction]


class Answers:
    """What is measured for a case.

    Attributes:
        case: the case.
        runner: runs the programs.
    """

    roundings = DRAWS
    """How many draws of the arguments are asked for, to know the noise."""

    def __init__(self, case: Case):
        self.case = case
        self.runner = Runner(case.options.timeout)

    def ask(
        self, probes: Sequence[Probe], dtype: Any, mapped: Callable = jax.lax.map, needed: int = 1
    ) -> list[Answer | None]:
        """The answers of the function under test."""
        case = self.case
        answer = functools.partial(case.mode.answer, case.flat, autodiff=case.mode.autodiff[0])
        with case.at(dtype):
            endless = case.traced(dtype).endless
            return self.runner.answers(
                answer, case.subject.rest, probes, mapped, endless=endless, needed=needed
            )

    def true(self, probes: Sequence[Probe], second: bool = False, needed: int = 1) -> list[Answer | None]:
        """The answers of autodiff of the primal, or of the second autodiff that there is."""
        case, others = self.case, [one for one in self.case.mode.autodiff if one is not self.case.autodiff]
        autodiff = (others or [case.mode.slow])[0] if second else case.autodiff
        answer = functools.partial(case.mode.answer, case.primal, autodiff=autodiff)
        endless = is_endless(case.primal.jaxpr)
        with case.precise():
            return self.runner.answers(
                answer, case.subject.rest, case.widened(probes), quick=True, endless=endless, needed=needed
            )

    def slopes(self, probe: Probe, pairs: Sequence[Pair]) -> tuple[list[Slope], Host]:
        """The slopes of ⟨ȳ, primal⟩ along directions, and what forward mode says they are."""
        case, (point,) = self.case, self.case.widened([probe])
        turns = self.truth[0].turns if is_endless(case.primal.jaxpr) else None
        kinds = [x.dtype for x in point.xs]
        fitting = [(ys, tuple(v.astype(k) for v, k in zip(vs, kinds, strict=True))) for ys, vs in pairs]
        with case.precise():
            return self.runner.slopes(
                case.primal,
                case.subject.rest,
                point.xs,
                fitting,
                float(jnp.finfo(case.grain).eps),
                case.forward,
                turns,
            )

    @functools.cached_property
    def probe(self) -> Probe:
        """The arguments, in the dtype of the exact comparison."""
        return self.case.probe(self.case.base)

    @functools.cached_property
    def probes(self) -> list[Probe]:
        """Those of `linear`, all at the arguments."""
        return linear.probes(self.case, self.probe)

    @functools.cached_property
    def points(self) -> dict[str, Probe]:
        """The points elsewhere."""
        case = self.case
        if case.base is None:
            return {}
        options = case.options
        return domain.points(case.subject, self.probe, options.domain, options.elsewhere, case.rng("domain"))

    @functools.cached_property
    def _draws(self) -> list[Probe]:
        return self.case.draws(self.probe, "base")[: self.roundings]

    @functools.cached_property
    def _asked(self) -> list[Answer | None]:
        """The rule at `probes`, at the draws, elsewhere."""
        draws = [one.like(self.probe) for one in self._draws]
        probes = [*self.probes, *draws, *self.points.values()]
        return self.ask(probes, self.case.base, needed=len(self.probes))

    @functools.cached_property
    def _true(self) -> list[Answer | None]:
        """Autodiff at the arguments, with the second upstream gradient, at the draws, elsewhere."""
        return self.true([self.probe, *self.probes[2:3], *self._draws, *self.points.values()], needed=1)

    @property
    def ends(self) -> bool:
        """Whether function and oracle come to an end at the arguments."""
        if None in self._asked[: len(self.probes)]:
            return False
        return not is_endless(self.case.primal.jaxpr) or self._true[0] is not None

    @property
    def rule(self) -> list[Answer]:
        """The function under test at `probes`."""
        return ended(self._asked[: len(self.probes)])

    @property
    def truth(self) -> list[Answer]:
        """Autodiff at the arguments, with two upstream gradients."""
        return ended(self._true[:2])

    @property
    def moved(self) -> list[Answer]:
        """Autodiff at the arguments rounded at random."""
        return ended(self._true[2 : 2 + DRAWS]) or self.truth[:1]

    @functools.cached_property
    def elsewhere(self) -> dict[str, tuple[Probe, Answer, Answer]]:
        """Points elsewhere where the function is one, with rule and autodiff: it is finite and ends there.

        A loop that turns much more often than at the arguments has not converged, or runs into its cap.
        """
        found = {}
        count = len(self.points)
        rules, truths = (answers[len(answers) - count :] for answers in (self._asked, self._true))
        most = [OTHER_LOOP * answers[0].turns + 2 for answers in (self.rule, self.truth)]
        for (where, probe), rule, truth in zip(self.points.items(), rules, truths, strict=True):
            if rule is None or truth is None or not truth.is_finite:
                continue
            if rule.turns <= most[0] and truth.turns <= most[1]:
                found[where] = (probe, rule, truth)
        return found

    @property
    def dropped(self) -> list[str]:
        """Why points elsewhere were not counted."""
        notes, count = [], len(self.points)
        for where, rule, truth in zip(self.points, self._asked[-count:], self._true[-count:], strict=False):
            if rule is None or truth is None:
                notes.append(f"not checked{where}: it does not end there, or takes much longer")
            elif where not in self.elsewhere and truth.is_finite:
                notes.append(f"not checked{where}: its loops turn much more often there")
        return notes

    @functools.cached_property
    def rule_noise(self) -> list[Host]:
        """For each element the spread of the rule under roundings: u times the size of the terms it sums."""
        draws = ended(self._asked[len(self.probes) :][:DRAWS])
        center = list(map(wide, self.rule[0].found))
        sigmas = spreads(center, [one.found for one in draws or self.rule[:1]])
        return [without_jumps(sigma, self._scale(i, center[i])) for i, sigma in enumerate(sigmas)]

    def _scale(self, i: int, center: Host) -> float:
        """The size of a gradient, or that of its terms if they cancel: that of y beside that of x."""
        return max(largest(center), largest(np.asarray(self.floor(self.probe, self.rule[0], i))) / self.u)

    @functools.cached_property
    def zero(self) -> list[Host]:
        """For each element that autodiff does not tell from 0, what a 0 is known to there; else 0.

        That is u times the size of the terms which cancel in it: the spread of rule and autodiff under
        roundings, or what rounding of y makes of it.
        """
        center = list(map(wide, self.truth[0].found))
        true = spreads(center, [one.found for one in self.moved])
        found = []
        for i, (x, sigma, own) in enumerate(zip(center, true, self.rule_noise, strict=True)):
            sigma = without_jumps(sigma, self._scale(i, x))
            noise = np.maximum(np.maximum(own, sigma), self.floor(self.probe, self.rule[0], i))
            found.append(np.where(np.abs(x) <= self.case.slack * sigma, noise, 0))
        return found

    @functools.cached_property
    def compared(self) -> list[Comparison]:
        """The gradient at the arguments beside autodiff's."""
        case, truth = self.case, self.truth[0]
        sigmas = spreads(truth.found, [one.found for one in self.moved])
        if case.base is not None:
            sigmas = [without_jumps(sigma, largest(x)) for sigma, x in zip(sigmas, truth.found, strict=True)]
        if unit(case.grain) > unit(self.probe.xs[0].dtype):  # sums of few short numbers often round alike
            sigmas = list(map(np.maximum, sigmas, self.rule_noise))
        dtypes = [max((case.grain, x.dtype), key=unit) for x in case.types(case.base)]
        relative = case.exact if case.base is not None or case.oracles is None else 0.0
        found = self.rule[0].found
        return compare(found, list(map(wide, truth.found)), sigmas, dtypes, case.slack, relative, self.zero)

    @property
    def u(self) -> float:
        """The rounding of the exact comparison."""
        return max(map(unit, (self.case.grain, *(x.dtype for x in self.probe.xs))))

    @functools.cached_property
    def terms(self) -> list[Host]:
        """For each element that is 0 in the exact comparison, the size of the terms which cancel in it."""
        slack = self.case.slack
        return [
            np.where(
                (np.abs(one.found) <= slack * zero) & (np.abs(one.truth) <= slack * zero), zero / self.u, 0
            )
            for one, zero in zip(self.compared, self.zero, strict=True)
        ]

    def other_result(
        self, answer: Answer, truth: Answer, around: Sequence[Answer]
    ) -> tuple[str, Comparison, str] | None:
        """What returns something else than it should: in words, beside that, and the result by name."""
        case, sigmas = self.case, spreads(truth.ys, [one.ys for one in around or [truth]])
        dtypes = [max((case.grain, y.dtype), key=unit) for y in answer.ys]
        pairs = [("forward returns another result than the function", answer.forward, answer.ys)]
        if case.options.reference is not None:
            pairs.append(("the function returns another result than its reference", answer.ys, truth.ys))
        for what, ys, others in pairs:
            relative = EXACT if all(y.dtype.itemsize >= 8 for y in ys) else 0.0
            compared = compare(ys, list(map(wide, others)), sigmas, dtypes, case.slack, relative)
            for i, one in enumerate(compared):
                if (one.bad & np.isfinite(one.truth)).any():
                    return what, one, "y" if len(ys) == 1 else f"y[{i}]"
        return None

    def roughly(
        self, rule: Answer, truth: Answer, near: Sequence[Comparison] | None = None
    ) -> list[Comparison]:
        """Farther off nothing is known of the noise: only errors beside the largest elements count.

        Args:
            rule: the rule's answer.
            truth: autodiff's.
            near: the comparisons at the arguments, whose elements count too.
        """
        sizes = [largest(x) for x in truth.found]
        if near is not None:
            sizes = [max(size, largest(one.truth)) for size, one in zip(sizes, near, strict=True)]
        allowed = max(ROUGHLY, self.case.exact if self.case.by_differences else 0)
        terms = map(largest, self.terms)
        sigmas = [
            np.full(x.shape, allowed * size + EXACT * term)
            for x, size, term in zip(truth.found, sizes, terms, strict=True)
        ]
        return compare(rule.found, list(map(wide, truth.found)), sigmas, [jnp.float32] * len(sigmas), 1.0)

    def floor(self, probe: Probe, answer: Answer, i: int) -> Host:
        """What rounding of y makes of a gradient: along a smaller one, x by its size moves y by less."""
        if not self.case.mode.is_reverse:
            return self.u * np.abs(answer.ys[i])
        total = sum(float(np.abs(g * y).sum()) for g, y in zip(probe.given, answer.ys, strict=True))
        return self.u * total / directions.sizes(probe.xs[i])

    @functools.cached_property
    def along(self) -> list["Along"]:
        """Random directions, two for each argument, then each group of equal elements in three ways."""
        case, rng = self.case, self.case.rng("directions")
        (point,) = case.widened([self.probe])
        random = directions.random(point.xs, rng)
        groups = [directions.of_group(point.xs, group, rng) for group in directions.equals(point.xs)]
        moves = [(i, "", v) for i, v in random]
        for group in groups:
            ways = ("together", "one against the other", "alone")
            moves += [(None, how, v) for how, v in zip(ways, group, strict=False)]
        return self.seen_along(moves)

    def seen_along(self, moves: Sequence[tuple[int | None, str, directions.Direction]]) -> list["Along"]:
        """The gradient along directions, each given with the argument it is of, or how it moves a group."""
        case = self.case
        (point,) = case.widened([self.probe])
        given = point.given
        if not case.mode.is_reverse:
            like = self.rule[0].ys
            given = tuple(wide(linear.another(y, case.rng(f"weights {k}"))) for k, y in enumerate(like))
        slopes, tangents = self.slopes(self.probe, [(given, v) for _, _, v in moves])
        found = [self.rule[0].found] * len(moves)
        if not case.mode.is_reverse and moves:
            kinds = [x.dtype for x in self.probe.xs]
            probes = [
                Probe(self.probe.xs, tuple(part.astype(k) for part, k in zip(v, kinds, strict=True)))
                for _, _, v in moves
            ]
            found = [one.found if one else self.rule[0].found for one in self.ask(probes, case.base)]
        weights = [v if case.mode.is_reverse else given for _, _, v in moves]
        return [
            Along(case, i, how, v, one, w, slope, float(tangent))
            for (i, how, v), one, w, slope, tangent in zip(
                moves, found, weights, slopes, tangents, strict=True
            )
        ]

    def beside(self, probe: Probe, use: str) -> Probe:
        """The point moved by a hundredth, so that no elements are equal."""
        rng = self.case.rng(use)

        def moved(x: Host) -> Host:
            step = AWAY * directions.sizes(wide(x)) * rng.uniform(-1, 1, x.shape)
            return (wide(x) + step).astype(x.dtype)

        return Probe(tuple(map(moved, probe.xs)), probe.given)

    def equal_values(self) -> str:
        """What is equal at the arguments, to half of their digits: see `Primal.equal_values`."""
        case, (point,) = self.case, self.case.widened([self.probe])
        within = max(float(jnp.finfo(dtype).eps) for dtype in case.subject.dtypes) ** 0.5
        with case.precise():
            return case.primal.equal_values(case.subject.rest, *point.xs, within=within)


@dataclass(frozen=True, eq=False)
class Along:
    """A gradient seen along one direction.

    Attributes:
        case: the case.
        i: the argument that is moved alone, if it is one.
        how: how a group of equal elements is moved, if it is one.
        move: the direction v.
        found: what the rule finds.
        weights: what that is multiplied with and summed: v, or ȳ in forward mode.
        slope: the slope along v.
        tangent: the same by forward mode.
    """

    case: Case
    i: int | None
    how: str
    move: directions.Direction
    found: Sequence[Host]
    weights: directions.Direction
    slope: Slope
    tangent: float

    @property
    def rule(self) -> float:
        """⟨x̄, v⟩."""
        return float(
            sum((x * w).sum().real for x, w in zip(map(wide, self.found), self.weights, strict=True))
        )

    @property
    def size(self) -> float:
        """What errors along this direction are small beside: Σ |x̄ v|, or the slope."""
        total = sum(np.abs(wide(x) * w).sum() for x, w in zip(self.found, self.weights, strict=True))
        return max(float(total), self.slope.size)

    @property
    def rounding(self) -> float:
        """How far ⟨x̄, v⟩ may be off by the rounding of its terms."""
        u = max(unit(kind) for kind in (self.case.grain, *(x.dtype for x in self.case.types(self.case.base))))
        return max(self.case.exact, 100 * u) * self.size

    @property
    def tolerance(self) -> float:
        """How far ⟨x̄, v⟩ may be from the slope: by the slope's error, and by rounding."""
        return self.slope.tolerance + self.rounding

    @property
    def is_zero(self) -> bool:
        """Whether rule and slope are both 0, as well as the values of the function can tell."""
        return self.slope.is_zero and abs(self.rule) <= SURE * self.slope.error

    def agrees(self) -> bool:
        """Whether the gradient can be that slope; if that is not known, what forward mode makes of it.

        The latter is the dot product test: ⟨ȳ, J v⟩ = ⟨x̄, v⟩. It decides at kinks too: the middle one of
        several equal elements in a sort may go where neither side goes.
        """
        if not np.isfinite(self.rule) or self.is_zero:
            return True
        noise = self.rounding + (self.slope.error if self.case.grain.itemsize < 8 else 0.0)
        as_forward_mode = not np.isfinite(self.tangent) or bool(abs(self.tangent - self.rule) <= noise)
        if self.slope.error > KNOWN * self.size:
            return as_forward_mode or (
                self.case.oracles is None and self.slope.admits(self.rule, self.tolerance)
            )
        return self.slope.admits(self.rule, self.tolerance) or (self.slope.kink and as_forward_mode)

    def moves(self, i: int) -> bool:
        """Whether the function changes along this direction, which moves the i-th x."""
        size = max(abs(self.slope.low), abs(self.slope.high))
        return bool(np.any(self.move[i])) and np.isfinite(self.slope.error) and size > 100 * self.slope.error
