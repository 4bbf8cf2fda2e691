"""Where rule and autodiff disagree: values of the function decide.

Autodiff of the primal can be wrong itself: it is NaN behind an unselected `where`, loses digits, or makes
its own choice at a kink. So a disagreement is put to the slopes of the primal along the very direction in
which the two gradients differ, v = sign(x̄ − x̄ of autodiff): the rule is wrong if ⟨x̄, v⟩ is not the slope;
at a kink if it does not lie between the slopes to either side, output by output.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from funcnet._types import Host
from funcnet.check import directions
from funcnet.check.criteria import Comparison
from funcnet.check.differences import Slope, slow_vjp
from funcnet.check.hints import hint
from funcnet.check.probes import Answer, Probe
from funcnet.check.trial import Trial


def settle(
    trial: Trial,
    probe: Probe,
    comparisons: Sequence[Comparison],
    near: Sequence[Answer] = (),
    where: str = "",
) -> list[Comparison]:
    """The comparisons, with the truth where autodiff is wrong, or chooses otherwise, put right.

    Args:
        trial: the trial.
        probe: the point and the upstream gradient.
        comparisons: for each x the rule's gradient beside autodiff's.
        near: autodiff's answers at points beside the probe, at which ties are broken.
        where: which point that is, if not the arguments themselves.

    Raises:
        VJPCheckError: the rule is WRONG, or outside of what a KINK allows, or not finite where it should be.
    """
    (probe,) = trial.widened([probe])
    settled = list(comparisons)
    wrong = [i for i, comparison in enumerate(comparisons) if comparison.bad.any()]
    moves = {i: _disagreement(probe, i, comparisons[i]) for i in wrong}
    asked = [(moves[i], directions.single(probe, i, comparisons[i].worst)) for i in wrong]
    slopes, _ = trial.slopes(probe, [v for pair in asked for v in pair]) if asked else ([], None)
    for i, (slope, worst) in zip(wrong, zip(slopes[::2], slopes[1::2], strict=True), strict=True):
        dispute = Dispute(trial, probe, comparisons, i, moves[i][i], slope, worst, near, where)
        trial.notes.append(dispute.decide())
        one = comparisons[i]
        seen = 1e-6 * np.abs(one.found)
        settled[i] = replace(
            one,
            truth=np.where(one.bad, one.found, one.truth),
            tolerance=np.where(one.bad, seen, one.tolerance),
        )
    return settled


def _disagreement(probe: Probe, i: int, one: Comparison) -> directions.Direction:
    """The direction in which the rule exceeds autodiff, where the two differ."""
    with np.errstate(invalid="ignore"):
        difference = one.found - one.truth
    if np.iscomplexobj(difference):
        signs = np.exp(-1j * np.angle(np.where(np.isfinite(difference), difference, 1)))
    else:
        signs = np.where(difference < 0, -1.0, 1.0)
    return directions.along(probe, i, np.where(one.bad, signs * directions.sizes(probe.xs[i]), 0))


@dataclass(frozen=True, eq=False)
class Dispute:
    """A gradient on which rule and autodiff disagree, and the slopes that decide it.

    Attributes:
        trial: the trial.
        probe: the point and the upstream gradient.
        comparisons: for each x the rule's gradient beside autodiff's.
        i: which x it is about.
        move: the direction in which they differ.
        slope: along it.
        worst: the slope along the worst element alone.
        near: autodiff's answers at points beside the probe.
        where: which point that is.
    """

    trial: Trial
    probe: Probe
    comparisons: Sequence[Comparison]
    i: int
    move: Host
    slope: Slope
    worst: Slope
    near: Sequence[Answer]
    where: str

    @property
    def one(self) -> Comparison:
        """The gradient in dispute."""
        return self.comparisons[self.i]

    def decide(self) -> str:
        """Why the rule is right.

        Raises:
            VJPCheckError: it is not.
        """
        one, slope, name = self.one, self.slope, self.trial.subject.names[self.i]
        rule, autodiff = (_pair(g, self.move, one.bad) for g in (one.found, one.truth))
        tolerance = 10 * slope.error + 1e-6 * max(map(abs, (slope.value, slope.low, slope.high)))
        if not np.isfinite(rule):
            if np.isfinite(autodiff) or self.worst.is_known:
                raise self.lost("CONTRACT", "the gradient is not finite where the function is")
            return f"{name}: not finite where the function is; the differences find no slope there either"
        sure = bool(np.isfinite(slope.error)) and not slope.error >= 0.1 * abs(rule - autodiff)
        possible = slope.admits(rule, tolerance) or (slope.kink and self._is_between_neighbours())
        alike = possible and not slope.kink and slope.admits(autodiff, tolerance)
        if self.where and (alike or not sure):
            return (
                f"{name}: autodiff and rule differ{self.where}, and the differences cannot tell who is right"
            )
        if alike or not sure or not possible:
            if self._lost_digits():
                if self._has_a_second_opinion():
                    return (
                        f"{name}: autodiff of the primal loses digits at {self.place}, and the rule does not"
                    )
                raise self.lost("UNSTABLE", "its small elements have lost their digits")
            raise self.lost(*_VERDICTS[slope.kink and np.isfinite(slope.error)])
        if slope.kink:
            return f"{name}: at a kink the rule chooses otherwise than autodiff, between the two slopes"
        return f"{name}: autodiff of the primal is off at {self.place}; the differences side with the rule"

    def _is_between_neighbours(self) -> bool:
        """Whether the gradient lies among those at the points around, as that of a sort does at a tie."""
        if not self.near or np.iscomplexobj(self.one.found):
            return False
        around = np.array([answer.x_bars[self.i] for answer in self.near])
        margin = 1e-6 * np.abs(around).max()
        low, high = around.min(axis=0) - margin, around.max(axis=0) + margin
        return bool(((low <= self.one.found) & (self.one.found <= high))[self.one.bad].all())

    def _lost_digits(self) -> bool:
        """Whether all errors are rounding errors of the largest element: a difference that cancels."""
        largest = np.abs(self.one.truth[np.isfinite(self.one.truth)]).max(initial=0)
        return bool((self.one.error <= 1e-12 * largest).all())

    def _has_a_second_opinion(self) -> bool:
        """Whether the other autodiff, by the rules of funcnet or those of JAX, sides with the rule."""
        (other,) = self.trial.truth([self.probe], second=True)
        difference = np.abs(self.one.found - other.x_bars[self.i])
        return bool((difference <= self.one.tolerance)[self.one.bad].all())

    @property
    def place(self) -> str:
        """The worst element, as one writes it."""
        return at(self.trial.subject.names[self.i], self.one.worst)

    def lost(self, verdict: str, summary: str) -> Exception:
        """The error that shows the rule wrong."""
        one, worst = self.one, self.worst
        size = float(directions.sizes(self.probe.xs[self.i])[one.worst])
        differences = (
            f"{worst.value / size:.9g} ± {worst.error / size:.0e}" if np.isfinite(worst.error) else "none"
        )
        values = f"rule {number(one.found[one.worst])}, {self._oracle} {number(one.truth[one.worst])}"
        kink = [
            (
                "kink",
                f"slopes {worst.left / size:.6g} and {worst.right / size:.6g} to either side{self._tie()}",
            )
        ]
        return self.trial.fail(
            verdict,
            summary + self.where,
            ("worst", f"{self.place}: {values}, differences {differences}"),
            ("error", f"{error_of(one)}; {int(one.bad.sum())} of {one.bad.size} elements are off"),
            ("oracles", _oracles(self._oracle, one, worst, size)),
            *(kink if worst.kink else ()),
            ("hint", self._hint(verdict)),
            ("reproduce", self.trial.again),
            argument=self.trial.describe(self.i, self.trial.base),
        )

    def _hint(self, verdict: str) -> str:
        one = self.one
        if verdict == "UNSTABLE":
            return CANCELS
        if self.trial.primal.iterates() and (one.error <= STOPPED * np.abs(one.truth).max(initial=0)).all():
            return STOPS_EARLY
        return hint(one.found, one.truth, [o.truth for j, o in enumerate(self.comparisons) if j != self.i])

    @property
    def _oracle(self) -> str:
        return "small steps" if self.trial.autodiff is slow_vjp else "autodiff"

    def _tie(self) -> str:
        x, place = self.probe.xs[self.i], self.one.worst
        equal = np.argwhere(x == x[place])
        name = self.trial.subject.names[self.i]
        if len(equal) < 2:
            return f", where {self.place} = {number(x[place])}"
        some = ", ".join(at(name, tuple(index)) for index in equal[:4])
        return f"; a tie: {some}{' …' * (len(equal) > 4)} are all {number(x[place])}"


CANCELS = "a difference of nearly equal numbers: find the form that does not cancel"

STOPPED = 1e-2
"""What an iteration that stops at a tolerance may be off by, beside the largest element."""

STOPS_EARLY = (
    "a loop that stops at a tolerance has slopes of its own, which a rule for its limit does not have: "
    "check it with a tighter tolerance"
)

_VERDICTS = {
    False: ("WRONG", "the rule is not the derivative"),
    True: ("KINK", "the rule is not between the slopes to either side of the kink"),
}


def _pair(x_bar: Host, move: Host, mask: Host) -> float:
    with np.errstate(invalid="ignore"):
        return float((x_bar[mask] * move[mask]).sum().real)


def _oracles(oracle: str, one: Comparison, worst: Slope, size: float) -> str:
    truth, gap = one.truth[one.worst], one.error[one.worst]
    if worst.kink and np.isfinite(worst.error):
        return f"{oracle} makes one choice at the kink, the extrapolated differences show what is allowed"
    if np.isfinite(truth) and not worst.error / size < 0.1 * gap:
        return f"{oracle} alone: the differences are not precise enough"
    near = abs(worst.value / size - truth) <= 10 * worst.error / size + 1e-6 * abs(truth)
    return (
        f"{oracle} of the primal and differences {'agree' if near else 'disagree, and neither is the rule'}"
    )


def error_of(one: Comparison) -> str:
    """The error of the worst element, relative and in units of the rounding noise."""
    error, truth, noise = (float(abs(part[one.worst])) for part in (one.error, one.truth, one.noise))
    relative = f"{error / truth:.2g} of the truth, " if 0 < truth < np.inf and np.isfinite(error) else ""
    if not np.isfinite(error):
        return "it is not finite"
    units = f"{error / noise:.2g}" if error < 1e300 * noise else "∞"
    return f"{error:.3g}, {relative}{units} × the rounding noise"


def at(name: str, place: Sequence[Any]) -> str:
    """An element as one writes it: `x[0, 3]`."""
    return f"{name}[{', '.join(str(int(i)) for i in place)}]" if len(place) else name


def number(x: Any) -> str:
    """A number with the digits that matter."""
    return f"{complex(x):.9g}" if np.iscomplexobj(x) else f"{float(x):.9g}"
