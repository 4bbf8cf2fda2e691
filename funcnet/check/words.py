"""How a wrong gradient is told: what it is beside what it should be, who says so, and what it looks like."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from funcnet._types import Host
from funcnet.check.case import Case
from funcnet.check.comparisons import Along, compared
from funcnet.check.disputes import Dispute, Ruling
from funcnet.check.finding import Finding, element, finding, number
from funcnet.check.hints import hint
from funcnet.check.noise import Comparison, largest, unit, wide
from funcnet.check.thresholds import DECIDES, EXACT, LEAVES, SIGNAL, STOPPED
from funcnet.numerical.slopes import BY_DIFFERENCES, SURE

CANCELS = "a difference of nearly equal numbers: find the form that does not cancel"

OF_A_LIMIT = (
    "a loop that stops at a tolerance has its own slopes: check a limit's rule at a tighter tolerance"
)


def does_not_end(case: Case, where: str) -> Finding:
    """A loop goes on, so that there is nothing to check."""
    summary = f"a loop in it does not end {where} in {case.options.timeout:g} seconds"
    advice = "check it at others, or raise timeout= or its tolerance: float64 may never reach float32's"
    return finding(case, "VACUOUS", summary, ("do", advice))


def vacuous(case: Case, i: int, size: float, resolved: float) -> Finding:
    """There is no gradient to see."""
    how = "vanishes" if np.isfinite(resolved) else "is not finite"
    why = f"the true gradient {how} at these arguments, so a wrong rule would pass"
    advice = "check it where the function changes with it, in a property test by assume(), or close over it"
    if SIGNAL * case.slack * unit(case.grain) > 1:
        why = f"it computes in {case.grain}, whose rounding hides a gradient of any size"
        advice = "check it with a wider dtype inside: to the check, as to autodiff, a cast is rounding"
    seen = f"{size:.3g}, where the check resolves {resolved:.1e}"
    lines = ("largest", seen), ("do", advice)
    return finding(case, "VACUOUS", f"nothing to see: {why}", *lines, about=(i, case.base))


def differs(
    case: Case, verdict: str, summary: str, i: int, one: Comparison, other: str = "expected", guess: str = ""
) -> Finding:
    """The i-th gradient is not what it is expected to be."""
    lines = *worst_element(one, case.name(i), other), *[("hint", guess)] * bool(guess)
    return finding(case, verdict, summary, *lines, about=(i, case.base))


def worst_element(
    one: Comparison, name: str, expected: str = "expected", got: str = "got", told: str = ""
) -> list[tuple[str, str]]:
    """The worst element, its error, and how many are off."""
    place, found, truth = element(name, one.worst), one.found[one.worst], one.truth[one.worst]
    values = f"{place}: {got} {number(found)}, {expected} {number(truth)}{told}"
    off = f"{int(one.bad.sum())} of {one.bad.size} elements are off"
    return [("worst", values), ("error", f"{_error(one)}; {off}")]


def _error(one: Comparison) -> str:
    """The error of the worst element, relative and in units of the rounding noise."""
    error, truth, noise = (float(abs(part[one.worst])) for part in (one.error, one.truth, one.noise))
    if not np.isfinite(error):
        return "it is not finite"
    relative = f"{error / truth:.2g} of the truth, " if 0 < truth < np.inf else ""
    units = f"{error / noise:.2g}" if error < 1e300 * noise else "∞"
    return f"{error:.3g}, {relative}{units} × the rounding noise"


def lost(rulings: Sequence[Ruling]) -> Finding | None:
    """The first of some rulings in which the rule is wrong."""
    return next((_lost(*ruling.lost) for ruling in rulings if ruling.lost), None)


def _lost(dispute: Dispute, verdict: str, summary: str) -> Finding:
    """The rule is wrong where it disagrees with autodiff."""
    case, one, worst, size = dispute.seen.case, dispute.one, dispute.worst, dispute.size
    oracle = "small steps" if case.by_differences else "autodiff"
    slope = worst.value / size
    if np.iscomplexobj(one.found):
        slope = slope - 1j * dispute.turned.value / size
    differences = f"{slope:.9g} ± {worst.error / size:.0e}" if np.isfinite(worst.error) else "none"
    advice = "if it is not meant to be asked there, say where it lives with domain=, or elsewhere=()"
    is_our_choice = dispute.is_elsewhere and case.options.domain is None
    sides = f"slopes {worst.left / size:.6g} and {worst.right / size:.6g} to either side{_tie(dispute)}"
    return finding(
        case,
        verdict,
        summary + dispute.seen.where,
        *worst_element(one, case.name(dispute.i), oracle, "rule", f", differences {differences}"),
        ("oracles", _oracles(dispute, oracle, slope)),
        *([("kink", sides)] if worst.kink else ()),
        ("hint", CANCELS if verdict == "UNSTABLE" else _hint(dispute)),
        *([("do", advice)] if is_our_choice else ()),
        about=(dispute.i, case.base),
    )


def _hint(dispute: Dispute) -> str:
    case, one, i = dispute.seen.case, dispute.one, dispute.i
    others = [other.truth for j, other in enumerate(compared(dispute.seen)) if j != i]
    stopped = max([STOPPED * largest(one.truth), *(EXACT * largest(other) for other in others)])
    stops = case.primal.stops_itself() and bool((one.error <= stopped).all())
    dtype, unknown = case.types(case.base)[i].dtype, OF_A_LIMIT if stops else ""
    swapped = "the gradient of another argument: the two are swapped"
    alike = [*((other, swapped) for other in others), *_of_results(dispute)]
    guess = hint(one, alike, case.counts(), dtype, unknown)
    return f"{guess}; or {OF_A_LIMIT}" if stops and guess != unknown else guess


def _of_results(dispute: Dispute) -> Iterator[tuple[Host, str]]:
    """The gradient if the upstream gradient of one result is left out, or those of all others."""
    seen, ys = dispute.seen, dispute.seen.probe.given
    n = len(ys) if seen.case.mode.is_reverse and 1 < len(ys) <= LEAVES else 0
    alone = [tuple(y * (j == k) for j, y in enumerate(ys)) for k in range(n)]
    for k, answer in enumerate(seen.true([replace(seen.probe, given=given) for given in alone])):
        one = wide(answer.found[dispute.i])
        yield dispute.one.truth - one, f"the upstream gradient of result {k} is left out"
        yield one, f"the upstream gradients of all results but result {k} are left out"


def _tie(dispute: Dispute) -> str:
    """The value at the worst element, and who shares it."""
    case, place = dispute.seen.case, dispute.one.worst
    if not case.mode.is_reverse:
        return ""
    name, x = case.name(dispute.i), dispute.seen.probe.xs[dispute.i]
    equal = np.argwhere(x == x[place])
    if len(equal) < 2:
        return f", where {element(name, place)} = {number(x[place])}"
    some = ", ".join(element(name, tuple(index)) for index in equal[:4])
    return f"; a tie: {some}{' …' * (len(equal) > 4)} are all {number(x[place])}"


def _oracles(dispute: Dispute, oracle: str, slope: Any) -> str:
    """Which of them agree."""
    one, worst, error = dispute.one, dispute.worst, dispute.worst.error / dispute.size
    truth, gap = one.truth[one.worst], one.error[one.worst]
    if worst.kink and np.isfinite(worst.error):
        return f"{oracle} makes one choice at the kink, the extrapolated differences show what is allowed"
    if not error < DECIDES * gap:
        return f"{oracle} alone: the differences are not precise enough"
    agree = abs(slope - truth) <= SURE * error + BY_DIFFERENCES * abs(truth)
    return (
        f"{oracle} of the primal and differences {'agree' if agree else 'disagree, and neither is the rule'}"
    )


def off_slope(one: Along, where: str) -> Finding:
    """⟨x̄, v⟩ is not the slope along v."""
    case, slope = one.case, one.slope
    summary = "is not between the slopes to either side of the kink" if slope.kink else "is not the slope"
    seen = f"differences {number(slope.value)} ± {slope.error:.0e}, forward mode {number(slope.tangent)}"
    guess = "a stop_gradient in the primal, or a tie rule that the function does not have"
    if "random_gamma" in case.primal.primitives:  # Figurnov et al. 2018, Implicit reparameterization
        guess = "the gradient of a gamma variate is one of its distribution, and not of what this key draws"
    elif not case.own_rules and not slope.kink and abs(slope.tangent - slope.value) <= one.tolerance:
        guess = "forward mode is right: a transpose that is none, of a linear_call or custom_linear_solve"
    return finding(
        case,
        "KINK" if slope.kink else "WRONG",
        f"the gradient {summary} {where}",
        ("along v", f"⟨x̄, v⟩ {number(one.rule)}, {seen}"),
        ("kink", _sides(one)) if slope.kink else ("moved", _moved(one)),
        ("oracles", "differences disagree with the rule; autodiff of the primal agrees with it"),
        ("hint", guess),
        about=(one.i, case.base) if one.i is not None and case.mode.is_reverse else None,
    )


def promise_broken(one: Along, promise: float, promised: float) -> Finding:
    """At a kink the rule goes elsewhere than it promises."""
    what = f"the rule promises {promise:g} of the way from left to right, and does not keep it"
    seen = f"⟨x̄, v⟩ {number(one.rule)}, promised {number(promised)}"
    return finding(one.case, "KINK", what, ("along v", seen), ("kink", _sides(one)))


def _sides(one: Along) -> str:
    return f"slopes {number(one.slope.left)} and {number(one.slope.right)} to either side; {_moved(one)}"


def _moved(one: Along) -> str:
    """The first elements that a direction moves, with their values: `x[3] = 0`."""
    arrays = zip(one.case.subject.names, one.case.subject.xs, one.move, strict=True)
    places = [(name, x, tuple(place)) for name, x, v in arrays for place in np.argwhere(v)[:3]]
    shown = ", ".join(f"{element(name, place)} = {number(x[place])}" for name, x, place in places)
    more = sum(map(np.count_nonzero, one.move)) > len(places)
    return f"v moves {shown}{' …' if more else ''}"


def unstable(case: Case, i: int, one: Comparison, dtype: Any) -> Finding:
    """Off by more than rounding explains in a short dtype."""
    is_near = one.roundings < 4 * case.slack_in(dtype)
    guess = CANCELS + "; or a long sum or series, for which slack= allows more" * is_near
    if not np.isfinite(one.found).all():
        guess = "an intermediate value overflows, or 0/0: scale before exp, square or divide"
    elif one.bad.all():
        guess = hint(one, (), case.counts(), case.types(dtype)[i].dtype, CANCELS)
    known = "right in float64, but off" if case.base is not None else "off"
    return finding(
        case,
        "UNSTABLE" if case.base is not None else "WRONG",
        f"{known} by more than rounding explains in {case.types(dtype)[i].dtype}",
        *worst_element(
            one, case.name(i), "truth", "rule", f"; allowed are {case.slack_in(dtype):.3g} × the noise"
        ),
        ("hint", guess),
        about=(i, dtype),
    )
