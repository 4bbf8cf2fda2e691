"""Where rule and autodiff disagree: values of the function decide.

Autodiff of the primal can be wrong itself: it is NaN behind an unselected `where`, loses digits, or makes
its own choice at a kink. So a disagreement is put to the slopes of the primal along the very direction in
which the two gradients differ, v = sign(x̄ − x̄ of autodiff): the rule is wrong if ⟨x̄, v⟩ is not the slope;
at a kink if it does not lie between the slopes to either side, output by output.

A point elsewhere counts only where the function behaves as one: its differences converge there. What iterates
may not have come to its limit there, and a rule for that limit is no mistake then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from funcnet._types import Host
from funcnet.check import words
from funcnet.check.answers import Answers
from funcnet.check.differences import Slope
from funcnet.check.noise import Comparison, largest, wide
from funcnet.check.probes import Answer, Probe
from funcnet.check.report import Finding
from funcnet.check.thresholds import BY_DIFFERENCES, COARSE, ELSEWHERE, LOST_DIGITS


@dataclass(frozen=True)
class Ruling:
    """Who is right.

    Attributes:
        compared: the comparison, with the truth put right where autodiff is wrong, or chooses otherwise.
        finding: what is wrong with the rule, if it is.
        note: why it is right all the same, if the two disagree.
    """

    compared: Comparison
    finding: Finding | None = None
    note: str = ""


def settle(
    answers: Answers,
    probe: Probe,
    compared: Sequence[Comparison],
    truth: Answer,
    near: Sequence[Answer] = (),
    where: str = "",
    elsewhere: bool = False,
) -> list[Ruling]:
    """A ruling on each gradient.

    Args:
        answers: those of the case.
        probe: the point and the upstream gradient.
        compared: for each x the rule's gradient beside autodiff's.
        truth: autodiff's answer.
        near: autodiff's answers at points beside the probe, at which ties are broken.
        where: which point that is, if not the arguments themselves.
        elsewhere: whether it counts only where the function behaves as one.
    """
    case = answers.case
    (probe,) = case.widened([probe])
    wrong = [i for i, one in enumerate(compared) if one.bad.any()]
    weights: list[Host] = []
    for i in wrong:
        sizes, alone = case.mode.sizes(probe, i), np.zeros_like(compared[i].truth)
        alone[compared[i].worst] = np.broadcast_to(sizes, alone.shape)[compared[i].worst]
        weights += [_disagreement(compared[i], sizes), alone, 1j * alone if np.iscomplexobj(alone) else alone]
    pairs = [case.mode.pair(probe, truth.ys, wrong[k // 3], one) for k, one in enumerate(weights)]
    slopes = answers.slopes(probe, pairs)[0] if pairs else []
    rulings = list(map(Ruling, compared))
    for n, i in enumerate(wrong):
        along, worst, turned = slopes[3 * n : 3 * n + 3]
        dispute = Dispute(
            answers, probe, compared, i, weights[3 * n], along, worst, turned, truth, near, where, elsewhere
        )
        rulings[i] = dispute.ruling()
    return rulings


def _disagreement(one: Comparison, sizes: Host) -> Host:
    """The weights under which the rule exceeds autodiff, where the two differ."""
    with np.errstate(invalid="ignore"):
        difference = one.found - one.truth
    if np.iscomplexobj(difference):
        signs = np.exp(-1j * np.angle(np.where(np.isfinite(difference), difference, 1)))
    else:
        signs = np.where(difference < 0, -1.0, 1.0)
    return np.where(one.bad, signs * sizes, 0)


@dataclass(frozen=True, eq=False)
class Dispute:
    """A gradient on which rule and autodiff disagree, and the slopes that decide it.

    Attributes:
        answers: those of the case.
        probe: the point and the upstream gradient.
        compared: for each x the rule's gradient beside autodiff's.
        i: which x it is about.
        weights: the direction in which they differ.
        slope: along it.
        worst: the slope along the worst element alone.
        turned: the same along i times it, of a complex one.
        truth: autodiff's answer.
        near: autodiff's answers at points beside the probe.
        where: which point that is.
        elsewhere: whether it counts only where the function behaves as one.
    """

    answers: Answers
    probe: Probe
    compared: Sequence[Comparison]
    i: int
    weights: Host
    slope: Slope
    worst: Slope
    turned: Slope
    truth: Answer
    near: Sequence[Answer]
    where: str
    elsewhere: bool

    @property
    def one(self) -> Comparison:
        """The gradient in dispute."""
        return self.compared[self.i]

    @property
    def name(self) -> str:
        """What it is the gradient of."""
        return self.answers.case.name(self.i)

    @property
    def place(self) -> str:
        """The worst element, as one writes it."""
        return words.element(self.name, self.one.worst)

    @property
    def size(self) -> float:
        """How far differences moved the worst element."""
        sizes = self.answers.case.mode.sizes(self.probe, self.i)
        return float(np.broadcast_to(sizes, self.one.truth.shape)[self.one.worst])

    def ruling(self) -> Ruling:
        """The ruling: a note and the truth put right, or a finding."""
        said = self._decide()
        if isinstance(said, Finding):
            return Ruling(self.one, said)
        one = self.one
        seen = BY_DIFFERENCES * np.abs(one.found)
        settled = replace(
            one,
            truth=np.where(one.bad, one.found, one.truth),
            tolerance=np.where(one.bad, seen, one.tolerance),
        )
        return Ruling(settled, note=f"{self.name}: {said}")

    def _decide(self) -> Finding | str:
        one, slope, case = self.one, self.slope, self.answers.case
        rule, autodiff = (_pair(g, self.weights, one.bad) for g in (one.found, one.truth))
        known = slope.is_known or slope.kink
        if self.elsewhere and case.own_rules and case.primal.iterates() and self._is_unasked():
            return f"autodiff and rule differ{self.where}, where the loop in it may not have converged"
        if not np.isfinite(rule):
            if (np.isfinite(autodiff) and (known or not self.elsewhere)) or self.worst.is_known:
                return self._lost("CONTRACT", "the gradient is not finite where the function is")
            return "not finite where the function is; the differences find no slope there either"
        possible = slope.admits(rule, slope.tolerance) or (slope.kink and self._is_between_neighbours())
        if possible and slope.is_zero and self._is_below_rounding():
            return f"0{self.where}, to the rounding of the function's values"
        sure = bool(np.isfinite(slope.error)) and not slope.error >= 0.1 * abs(rule - autodiff)
        alike = possible and not slope.kink and slope.admits(autodiff, slope.tolerance)
        if self.where and (alike or not sure or (self.elsewhere and not known)):
            return f"autodiff and rule differ{self.where}, and the differences cannot tell who is right"
        if alike or not sure or not possible:
            if self._lost_digits():
                if self._has_a_second_opinion():
                    return f"autodiff of the primal loses digits at {self.place}, and the rule does not"
                return self._lost("UNSTABLE", "its small elements have lost their digits")
            at_kink = slope.kink and np.isfinite(slope.error)
            return self._lost(*(words.AT_KINK if at_kink else words.NO_DERIVATIVE))
        if slope.kink:
            return "at a kink the rule chooses otherwise than autodiff, between the two slopes"
        return f"autodiff of the primal is off at {self.place}; the differences side with the rule"

    def _lost(self, verdict: str, summary: str) -> Finding:
        x = self.probe.xs[min(self.i, len(self.probe.xs) - 1)]
        case = self.answers.case
        two = words.Disagreement(
            case, self.compared, self.i, x, self.worst, self.turned, self.size, self.where
        )
        return words.lost(two, verdict, summary)

    def _is_unasked(self) -> bool:
        options = self.answers.case.options
        return options.domain is None and options.elsewhere == ELSEWHERE

    def _is_below_rounding(self) -> bool:
        """Whether all of this gradient, by either, moves the function by less than its rounding."""
        if self.answers.u > COARSE:
            return False
        floor = self.answers.case.slack * self.answers.floor(self.probe, self.truth, self.i)
        return bool((np.abs(self.one.found) <= floor).all() and (np.abs(self.one.truth) <= floor).all())

    def _is_between_neighbours(self) -> bool:
        """Whether the gradient lies among those at the points around, as that of a sort does at a tie."""
        if not self.near or np.iscomplexobj(self.one.found):
            return False
        around = np.array([wide(answer.found[self.i]) for answer in self.near])
        margin = 1e-6 * np.abs(around).max()
        low, high = around.min(axis=0) - margin, around.max(axis=0) + margin
        return bool(((low <= self.one.found) & (self.one.found <= high))[self.one.bad].all())

    def _lost_digits(self) -> bool:
        """Whether all errors are rounding errors of the largest element: a difference that cancels."""
        return bool((self.one.error <= LOST_DIGITS * largest(self.one.truth)).all())

    def _has_a_second_opinion(self) -> bool:
        """Whether the other autodiff, by the rules of funcnet or those of JAX, sides with the rule."""
        (other,) = self.answers.true([self.probe], second=True)
        if other is None:
            return False
        difference = np.abs(self.one.found - wide(other.found[self.i]))
        return bool((difference <= self.one.tolerance)[self.one.bad].all())


def _pair(found: Host, weights: Host, mask: Host) -> float:
    with np.errstate(invalid="ignore"):
        return float((found[mask] * weights[mask]).sum().real)
