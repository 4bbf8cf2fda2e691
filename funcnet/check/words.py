"""What is said of everything that can be wrong: the one place that puts findings into words."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from funcnet._types import Host
from funcnet.check import reproduce
from funcnet.check.answers import Along, Answers
from funcnet.check.case import Case, words
from funcnet.check.differences import Slope
from funcnet.check.hints import Seen, hint, of_nonlinear, of_ties
from funcnet.check.linear import Unequal
from funcnet.check.noise import Comparison, compare
from funcnet.check.report import Finding
from funcnet.check.reproduce import element, number
from funcnet.check.thresholds import STOPPED

NO_DERIVATIVE = ("WRONG", "the rule is not the derivative")
AT_KINK = ("KINK", "the rule is not between the slopes to either side of the kink")

CANCELS = "a difference of nearly equal numbers: find the form that does not cancel"

STOPS_EARLY = (
    "a loop that stops at a tolerance has slopes of its own, which a rule for its limit does not have: "
    "check it with a tighter tolerance"
)


def finding(case: Case, verdict: str, summary: str, *details: tuple[str, str], argument: str = "") -> Finding:
    """A finding, with the place of the rule and the line that repeats the check."""
    places = [("rule", case.subject.line)] if case.subject.line else []
    lines = (*details, *places, ("reproduce", reproduce.line(case)))
    return Finding(verdict, case.subject.name, argument, summary, lines)


def described(case: Case, i: int, dtype: Any) -> str:
    """The i-th argument, or result, by name, dtype and shape."""
    x = case.types(dtype)[i]
    return f"{case.name(i)}: {x.dtype}[{','.join(map(str, x.shape))}]"


def not_traced(case: Case, dtype: Any, refusal: Exception) -> Finding:
    """It has no gradient for arguments of this dtype."""
    kind = case.subject.at(dtype)[0].dtype
    return finding(case, "CONTRACT", f"its gradient cannot be traced in {kind}", ("error", words(refusal)))


def other_type(case: Case, i: int, dtype: Any, found: Any) -> Finding:
    """A gradient has another shape or dtype than its argument."""
    return finding(
        case,
        "CONTRACT",
        f"the gradient is {found.dtype}{list(found.shape)}, expected the type of the argument",
        ("do", f"end the rule with .astype({case.name(i)}.dtype)"),
        argument=described(case, i, dtype),
    )


def of_integers(case: Case, found: Any) -> Finding:
    """An argument without floats gets a gradient."""
    return finding(
        case,
        "CONTRACT",
        f"the rule returns {found.dtype}{list(found.shape)} for an argument without floats, "
        "which JAX drops in silence; expected None",
        ("do", "return None for integers, bools and keys"),
    )


def endless(case: Case) -> Finding:
    """It does not come to an end."""
    return finding(
        case,
        "VACUOUS",
        f"a loop in it does not end at these arguments in {case.options.timeout:g} seconds",
        ("do", "check it at others, or raise timeout= or its tolerance: float64 may never reach float32's"),
    )


def not_finite(case: Case, refusal: Exception | None) -> Finding:
    """There is nothing to differentiate; a callback may have said why."""
    lines = [] if refusal is None else [("callback", f"raised {words(refusal)}")]
    summary = "the function is not finite at these arguments"
    return finding(case, "VACUOUS", summary, *lines, ("do", "check it at others"))


def nothing_to_see(answers: Answers, i: int, one: Comparison, size: float) -> Finding:
    """A wrong rule would pass."""
    case = answers.case
    return finding(
        case,
        "VACUOUS",
        "nothing to see: the true gradient vanishes at these arguments, so a wrong rule would pass",
        ("largest", f"{size:.3g}, where the check resolves {one.tolerance.min(initial=np.inf):.1e}"),
        ("do", "check it where the function changes with this argument, or close over the argument"),
        argument=described(case, i, case.base),
    )


def does_not_run(case: Case, how: str, error: Exception, advice: str) -> Finding:
    """A transformation refuses it."""
    return finding(case, "CONTRACT", f"the rule does not run {how}", ("error", words(error)), ("do", advice))


def other_devices(case: Case, i: int, argument: Any, found: Any) -> Finding:
    """The gradient lies where its argument does not."""
    return finding(
        case,
        "CONTRACT",
        "the gradient lies on other devices than its argument",
        ("argument", str(argument)),
        ("gradient", str(found)),
        ("do", "constrain it with jax.lax.with_sharding_constraint, or compute it where the argument is"),
        argument=described(case, i, None),
    )


def other_result(case: Case, summary: str, one: Comparison, name: str, argument: str = "") -> Finding:
    """The same question has two answers."""
    found, expected = number(one.found[one.worst]), number(one.truth[one.worst])
    worst = ("worst", f"{element(name, one.worst)}: got {found}, expected {expected}")
    return finding(case, "CONTRACT", summary, worst, ("error", error_of(one)), argument=argument)


def unequal(case: Case, two: Unequal) -> Finding:
    """It is not linear, or not the same when it is repeated."""
    (one,) = compare([two.found], [two.expected], [np.zeros_like(np.abs(two.expected))], ["float64"], 1.0)
    place, got, other = element(case.name(two.i), one.worst), one.found[one.worst], one.truth[one.worst]
    values = f"{place}: got {number(got)}, {'then' if two.repeated else 'linear would be'} {number(other)}"
    return finding(
        case,
        "CONTRACT" if two.repeated else "NONLINEAR",
        two.what,
        ("worst", values),
        ("error", error_of(one)),
        ("hint", of_nonlinear(two.found, two.expected, two.repeated, case.traced(case.base).endless)),
        argument=described(case, two.i, case.base),
    )


class Disagreement(NamedTuple):
    """A rule that disagrees with autodiff, at its worst element.

    Attributes:
        case: the case.
        compared: for each x the rule's gradient beside autodiff's.
        i: which x it is about.
        x: where that is.
        worst: the slope along the worst element.
        turned: the same along i times it, of a complex one.
        size: how far they moved it.
        where: which point that is, if not the arguments.
    """

    case: Case
    compared: Sequence[Comparison]
    i: int
    x: Host
    worst: Slope
    turned: Slope
    size: float
    where: str


def lost(two: Disagreement, verdict: str, summary: str) -> Finding:
    """The rule is wrong where it disagrees with autodiff."""
    case, one, worst, size = two.case, two.compared[two.i], two.worst, two.size
    oracle = "small steps" if case.by_differences else "autodiff"
    slope = worst.value / size
    if np.iscomplexobj(one.found):
        slope = slope - 1j * two.turned.value / size
    differences = f"{slope:.9g} ± {worst.error / size:.0e}" if np.isfinite(worst.error) else "none"
    values = f"rule {number(one.found[one.worst])}, {oracle} {number(one.truth[one.worst])}"
    sides = f"slopes {worst.left / size:.6g} and {worst.right / size:.6g} to either side{_tie(two)}"
    return finding(
        case,
        verdict,
        summary + two.where,
        ("worst", f"{element(case.name(two.i), one.worst)}: {values}, differences {differences}"),
        ("error", f"{error_of(one)}; {int(one.bad.sum())} of {one.bad.size} elements are off"),
        ("oracles", _oracles(oracle, one, worst, size, slope)),
        *([("kink", sides)] if worst.kink else ()),
        ("hint", _hint(two, verdict)),
        argument=described(case, two.i, case.base),
    )


def _hint(two: Disagreement, verdict: str) -> str:
    case, one = two.case, two.compared[two.i]
    if verdict == "UNSTABLE":
        return CANCELS
    if case.primal.stops_itself() and (one.error <= STOPPED * np.abs(one.truth).max(initial=0)).all():
        return STOPS_EARLY
    others = [other.truth for j, other in enumerate(two.compared) if j != two.i]
    return hint(one.found, one.truth, Seen(others, case.counts()))


def _tie(two: Disagreement) -> str:
    if not two.case.mode.is_reverse:
        return ""
    name, place = two.case.name(two.i), two.compared[two.i].worst
    equal = np.argwhere(two.x == two.x[place])
    if len(equal) < 2:
        return f", where {element(name, place)} = {number(two.x[place])}"
    some = ", ".join(element(name, tuple(index)) for index in equal[:4])
    return f"; a tie: {some}{' …' * (len(equal) > 4)} are all {number(two.x[place])}"


def _oracles(oracle: str, one: Comparison, worst: Any, size: float, slope: Any) -> str:
    truth, gap = one.truth[one.worst], one.error[one.worst]
    if worst.kink and np.isfinite(worst.error):
        return f"{oracle} makes one choice at the kink, the extrapolated differences show what is allowed"
    if np.isfinite(truth) and not worst.error / size < 0.1 * gap:
        return f"{oracle} alone: the differences are not precise enough"
    near = abs(slope - truth) <= 10 * worst.error / size + 1e-6 * abs(truth)
    return (
        f"{oracle} of the primal and differences {'agree' if near else 'disagree, and neither is the rule'}"
    )


def off_slope(one: Along, where: str) -> Finding:
    """⟨x̄, v⟩ is not the slope along v."""
    case, slope = one.case, one.slope
    summary = "is not between the slopes to either side of the kink" if slope.kink else "is not the slope"
    seen = f"differences {number(slope.value)} ± {slope.error:.0e}, forward mode {number(one.tangent)}"
    return finding(
        case,
        "KINK" if slope.kink else "WRONG",
        f"the gradient {summary} {where}",
        ("along v", f"⟨x̄, v⟩ {number(one.rule)}, {seen}"),
        ("kink", _sides(one)) if slope.kink else ("moved", _moved(one)),
        ("oracles", "differences disagree with the rule; autodiff of the primal agrees with it"),
        ("hint", "a stop_gradient in the primal, or a tie rule that the function does not have"),
        argument=described(case, one.i, case.base) if one.i is not None and case.mode.is_reverse else "",
    )


def promise_broken(one: Along, promise: float, promised: float) -> Finding:
    """At a kink the rule goes elsewhere than it promises."""
    return finding(
        one.case,
        "KINK",
        f"the rule promises {promise:g} of the way from left to right, and does not keep it",
        ("along v", f"⟨x̄, v⟩ {number(one.rule)}, promised {number(promised)}"),
        ("kink", _sides(one)),
    )


def _sides(one: Along) -> str:
    return f"slopes {number(one.slope.left)} and {number(one.slope.right)} to either side; {_moved(one)}"


def _moved(one: Along) -> str:
    places = reproduce.at_places(one.case.subject.names, one.case.subject.xs, one.move)
    more = sum(np.count_nonzero(v) for v in one.move) > len(places)
    return f"v moves {', '.join(places)}{' …' if more else ''}"


def unstable(case: Case, i: int, one: Comparison, dtype: Any) -> Finding:
    """Off by more than rounding explains in a short dtype."""
    kind = case.types(dtype)[i].dtype
    values = f"rule {number(one.found[one.worst])}, truth {number(one.truth[one.worst])}"
    guess = CANCELS
    if not np.isfinite(one.found).all():
        guess = "an intermediate value overflows, or 0/0: scale before exp, square or divide"
    elif one.bad.all():
        guess = hint(one.found, one.truth, Seen([], case.counts()))
    known = "right in float64, but off" if case.base is not None else "off"
    return finding(
        case,
        "UNSTABLE" if case.base is not None else "WRONG",
        f"{known} by more than rounding explains in {kind}",
        ("worst", f"{element(case.name(i), one.worst)}: {values}"),
        ("error", f"{error_of(one)}; allowed are {case.slack:g}"),
        ("off", f"{int(one.bad.sum())} of {one.bad.size} elements"),
        ("hint", guess),
        argument=described(case, i, dtype),
    )


def of_equal_values(found: Finding, values: str) -> Finding:
    """A finding that comes from equal eigenvalues or singular values."""
    shown = [detail for detail in found.details if detail[0] in ("worst", "error", "along v")]
    last = [detail for detail in found.details if detail[0] in ("rule", "reproduce")]
    summary = f"it goes through the vectors of equal {values}, which have no derivative"
    details = (*shown, ("hint", of_ties(values)), *last)
    return replace(found, verdict="UNSTABLE", summary=summary, details=details)


def error_of(one: Comparison) -> str:
    """The error of the worst element, relative and in units of the rounding noise."""
    error, truth, noise = (float(abs(part[one.worst])) for part in (one.error, one.truth, one.noise))
    relative = f"{error / truth:.2g} of the truth, " if 0 < truth < np.inf and np.isfinite(error) else ""
    if not np.isfinite(error):
        return "it is not finite"
    units = f"{error / noise:.2g}" if error < 1e300 * noise else "∞"
    return f"{error:.3g}, {relative}{units} × the rounding noise"


def one_alone(case: Case, summary: str, one: Comparison, i: int) -> Finding:
    """A rule that knows which arguments are perturbed, and is wrong where not all are."""
    found, expected = number(one.found[one.worst]), number(one.truth[one.worst])
    return finding(
        case,
        "WRONG",
        summary,
        ("worst", f"{element(case.name(i), one.worst)}: got {found}, with all of them {expected}"),
        ("error", error_of(one)),
        ("hint", "what is not perturbed, or has no upstream gradient, adds 0: the rest of the rule goes on"),
        argument=described(case, i, case.base),
    )


def all_of(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes without repetition."""
    return tuple(dict.fromkeys(note for note in notes if note))
