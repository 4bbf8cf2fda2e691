"""Where rule and autodiff disagree: values of the function decide.

Autodiff of the primal can be wrong itself: it is NaN behind an unselected `where`, loses digits, or makes
its own choice at a kink. So a disagreement is put to the slopes of the primal along the very direction in
which the two gradients differ, v = sign(x̄ − x̄ of autodiff): the rule is wrong if ⟨x̄, v⟩ is not the slope;
at a kink if it does not lie between the slopes to either side, output by output.

A point elsewhere counts only where the function behaves as one: its differences converge there. What iterates
may not have come to its limit there, and a rule for that limit is no mistake then; nor is it at the arguments
if the loop stops at a tolerance, and differences that know a slope cannot tell the rule from autodiff.
"""

from dataclasses import dataclass, replace

import numpy as np

from funcnet._types import Host
from funcnet.check.answers import Answers, elsewhere, once
from funcnet.check.comparisons import compared, floor
from funcnet.check.finding import element
from funcnet.check.noise import Comparison, largest, wide
from funcnet.check.probes import ended
from funcnet.check.thresholds import COARSE, DECIDES, ELSEWHERE, OF_LARGEST, ROUGHLY
from funcnet.numerical.slopes import BY_DIFFERENCES, Slope


@dataclass(frozen=True, eq=False)
class Dispute:
    """A gradient on which rule and autodiff disagree, and the slopes that decide it.

    Attributes:
        seen: the answers at the point where they do; `i` says which of the gradients it is.
        weights: the direction in which the two differ, `slope` the slope along it.
        worst: the slope along the worst element alone, `turned` along i times it, of a complex one.
    """

    seen: Answers
    i: int
    weights: Host
    slope: Slope
    worst: Slope
    turned: Slope

    @property
    def one(self) -> Comparison:
        """The gradient in dispute."""
        return compared(self.seen)[self.i]

    @property
    def is_elsewhere(self) -> bool:
        """Whether the point is one which the check has chosen."""
        return self.seen.here is not None and self.seen in elsewhere(self.seen.here)

    @property
    def size(self) -> float:
        """How far differences moved the worst element."""
        case = self.seen.case
        sizes = case.mode.sizes(case.widened(self.seen.probe), self.i)
        return float(np.broadcast_to(sizes, self.one.truth.shape)[self.one.worst])


@dataclass(frozen=True, eq=False)
class Ruling:
    """Who is right: the comparison, with the truth put right where autodiff is wrong, or chooses otherwise.

    The note says why the rule is right although autodiff disagrees; if it lost, the verdict and a summary.
    """

    compared: Comparison
    note: str = ""
    lost: tuple[Dispute, str, str] | None = None


@once
def rulings(seen: Answers) -> list[Ruling]:
    """Who is right at a point about each of the gradients, see `Dispute`."""
    probe, mode, ones = seen.case.widened(seen.probe), seen.case.mode, compared(seen)
    wrong = {i: _weights(one, mode.sizes(probe, i)) for i, one in enumerate(ones) if one.bad.any()}
    pairs = [mode.pair(probe, seen.truth.ys, i, weights) for i, three in wrong.items() for weights in three]
    slopes = iter(seen.slopes(pairs))
    rulings = list(map(Ruling, ones))
    for i, (weights, *_) in wrong.items():
        rulings[i] = _ruling(Dispute(seen, i, weights, next(slopes), next(slopes), next(slopes)))
    return rulings


def _weights(one: Comparison, sizes: Host) -> tuple[Host, Host, Host]:
    """Those under which the rule exceeds autodiff, the worst element alone, and i times it."""
    difference = one.found - one.truth
    alone = np.zeros_like(one.truth)
    alone[one.worst] = np.broadcast_to(sizes, alone.shape)[one.worst]
    if np.iscomplexobj(difference):
        signs = np.exp(-1j * np.angle(np.where(np.isfinite(difference), difference, 1)))
    else:
        signs = np.where(difference < 0, -1.0, 1.0)
    return np.where(one.bad, signs * sizes, 0), alone, 1j * alone if np.iscomplexobj(alone) else alone


def _ruling(dispute: Dispute) -> Ruling:
    one, said = dispute.one, _decide(dispute)
    if not isinstance(said, str):
        return Ruling(one, lost=(dispute, *said))
    truth = np.where(one.bad, one.found, one.truth)
    known = dispute.worst.tolerance / dispute.size if np.isfinite(dispute.worst.error) else 0.0
    ruled = np.maximum(BY_DIFFERENCES * np.abs(one.found), known)
    note = f"{dispute.seen.case.name(dispute.i)}: {said}"
    return Ruling(replace(one, truth=truth, tolerance=np.where(one.bad, ruled, one.tolerance)), note)


def _decide(dispute: Dispute) -> str | tuple[str, str]:
    """Why the rule is right after all, or the verdict on it and a summary."""
    one, slope, case, where = dispute.one, dispute.slope, dispute.seen.case, dispute.seen.where
    place = element(case.name(dispute.i), one.worst)
    rule, autodiff = ((g * dispute.weights)[one.bad].sum().real for g in (one.found, one.truth))
    known, chosen = slope.is_known or slope.kink, dispute.is_elsewhere
    asked_here = case.options.domain is not None or tuple(case.options.elsewhere) != ELSEWHERE
    if chosen and not asked_here and case.own_rules and case.primal.iterates():
        return f"autodiff and rule differ{where}, where the loop in it may not have converged"
    if not np.isfinite(rule):
        if (np.isfinite(autodiff) and (known or not chosen)) or dispute.worst.is_known:
            return "CONTRACT", "the gradient is not finite where the function is"
        return "not finite where the function is; the differences find no slope there either"
    if not (known or np.isfinite(one.truth[one.bad]).any()):
        return f"autodiff is not finite at {place}{where}, and the differences find no slope there"
    possible = slope.admits(rule, slope.tolerance) or (slope.kink and _is_between_neighbours(dispute))
    if possible and slope.is_zero and _is_below_rounding(dispute):
        return f"0{where}, to the rounding of the function's values"
    sure = bool(np.isfinite(slope.error)) and not slope.error >= DECIDES * abs(rule - autodiff)
    alike = possible and not slope.kink and slope.admits(autodiff, slope.tolerance)
    is_of_a_limit = case.own_rules > 0 and case.primal.stops_itself() and known and alike and not sure
    if is_of_a_limit or (where and (alike or not sure or (chosen and not known))):
        return f"autodiff and rule differ{where}, and the differences cannot tell who is right"
    if possible and sure and not alike:
        if slope.kink:
            return "at a kink the rule chooses otherwise than autodiff, between the two slopes"
        return f"autodiff of the primal is off at {place}; the differences side with the rule"
    if (one.error <= OF_LARGEST * largest(one.truth)).all():  # a difference that cancels
        if _has_a_second_opinion(dispute):
            return f"autodiff of the primal loses digits at {place}, and the rule does not"
        return "UNSTABLE", "its small elements have lost their digits"
    if slope.kink and np.isfinite(slope.error):
        return "KINK", "the rule is not between the slopes to either side of the kink"
    return "WRONG", "the rule is not the derivative"


def _is_below_rounding(dispute: Dispute) -> bool:
    """Whether all of this gradient, by either, moves the function by less than its rounding."""
    seen, one = dispute.seen, dispute.one
    allowed = seen.case.slack * floor(seen, seen.truth, dispute.i)
    return seen.case.u <= COARSE and bool((np.maximum(np.abs(one.found), np.abs(one.truth)) <= allowed).all())


def _is_between_neighbours(dispute: Dispute) -> bool:
    """Whether the gradient lies among those at the points around, as that of a sort does at a tie."""
    one = dispute.one
    near = [] if np.iscomplexobj(one.found) else dispute.seen.moved
    if not near:
        return False
    around = np.array([wide(answer.found[dispute.i]) for answer in near])
    margin = ROUGHLY * np.abs(around).max()
    low, high = around.min(axis=0) - margin, around.max(axis=0) + margin
    return bool(((low <= one.found) & (one.found <= high))[one.bad].all())


def _has_a_second_opinion(dispute: Dispute) -> bool:
    """Whether the other autodiff, by the rules of funcnet or those of JAX, sides with the rule."""
    one, case = dispute.one, dispute.seen.case
    autodiff = next((one for one in case.mode.autodiff if one is not case.autodiff), case.mode.slow)
    others = ended(dispute.seen.true([dispute.seen.probe], case.mode.answer(case.primal, autodiff)))
    differences = [np.abs(one.found - wide(other.found[dispute.i])) for other in others]
    return any((difference <= one.tolerance)[one.bad].all() for difference in differences)
