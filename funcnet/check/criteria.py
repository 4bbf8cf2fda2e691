"""The method: what a gradient is asked, in this order.

Each criterion is a function from a case and its answers to what is wrong, or to None; a check is the first of
them that finds something.

    CONTRACT     it can be traced, each x̄ has the type of its x, and integers have none
    VACUOUS      the function ends and is finite at the arguments
    CONTRACT     forward's output is the function's, and the reference's
    NONLINEAR    x̄(α ȳ₁ + β ȳ₂) = α x̄(ȳ₁) + β x̄(ȳ₂), from upstream gradients of 2⁻⁴⁰ to 2⁴⁰; x̄(0) = 0
    WRONG        x̄ is the derivative: at the arguments, and elsewhere in the domain; along random directions,
    KINK         and along equal elements: where the slopes to either side differ, x̄ lies between them
    VACUOUS      there is a gradient to see at all
    UNSTABLE     in float32, bfloat16 or float16 the error is no larger than rounding explains
    CONTRACT     the same without jit, under vmap, on the devices of the arguments
    WRONG        the same where one argument alone is perturbed, and one result alone has an upstream gradient
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._compiled import undisturbed
from funcnet.check import words
from funcnet.check.answers import Answers, elsewhere
from funcnet.check.case import Case
from funcnet.check.comparisons import along, beside, compared, floor, zero
from funcnet.check.disputes import rulings
from funcnet.check.finding import Finding, finding, sentence
from funcnet.check.laws import eager, one_alone, outputs, sharded, vmapped
from funcnet.check.linearity import linear
from funcnet.check.precision import dtypes, shorts
from funcnet.check.probes import Probe
from funcnet.check.thresholds import COARSE, SIGNAL

Criterion = Callable[[Case, Answers], Finding | None]

_GATES = {
    "eigenvalues": "matrix_function (exp, log, √, 1/√) or projector",
    "singular values": "polar, low_rank or nuclear_norm",
}
"""What has a gradient all the same where such values are equal."""


def typed(case: Case, seen: Answers) -> Finding | None:
    """It can be traced, and shape and dtype of every x̄ are those of x, in float64 and in the other dtypes."""
    for dtype in dict.fromkeys((case.base, None, *dtypes(seen))):
        traced, xs = case.traced(dtype), case.types(dtype)
        if traced.refusal is not None:
            what = f"its gradient cannot be traced in {case.subject.at(dtype)[0].dtype}"
            return finding(case, "CONTRACT", what, ("error", sentence(traced.refusal)))
        for i, (x, found) in enumerate(zip(xs, traced.found, strict=True)):
            if (x.shape, x.dtype) != (found.shape, found.dtype):
                what = f"the gradient is {found.dtype}{list(found.shape)}, expected the type of the argument"
                advice = f"end the rule with .astype({case.name(i)}.dtype)"
                return finding(case, "CONTRACT", what, ("do", advice), about=(i, dtype))
    return None


def integers_have_none(case: Case, seen: Answers) -> Finding | None:
    """The rule returns None for integers; JAX drops what else it returns in silence."""
    fun, rest, xs = case.subject.fun, case.subject.rest, case.subject.at(None)
    if not isinstance(fun, jax.custom_vjp) or fun.symbolic_zeros or fun.nondiff_argnums or not rest:
        return None
    rule: Any = fun  # it has been traced, so forward and backward are there

    def raw(rest: Any, *xs: Any) -> Any:
        y, stash = case.subject.call(rule.fwd, rest, xs)
        return rule.bwd(stash, jax.tree.map(jnp.ones_like, y))

    x_bars = jax.eval_shape(raw, rest, *xs)
    for arg, x_bar in zip(case.subject.call(lambda *args: args, rest, xs), x_bars, strict=False):
        kinds = list(map(jnp.result_type, jax.tree.leaves(arg)))
        given = [g for g in jax.tree.leaves(x_bar) if g.dtype != jax.dtypes.float0]
        if kinds and given and not any(jnp.issubdtype(kind, jnp.inexact) for kind in kinds):
            what = f"{given[0].dtype}{list(given[0].shape)} for an argument without floats"
            summary = f"the rule returns {what}, which JAX drops in silence; expected None"
            return finding(case, "CONTRACT", summary, ("do", "return None for integers, bools and keys"))
    return None


def ends(case: Case, seen: Answers) -> Finding | None:
    """Every loop ends at the arguments."""
    return None if seen.ends else words.does_not_end(case, "at these arguments")


def finite(case: Case, seen: Answers) -> Finding | None:
    """The function is finite at the arguments."""
    summary, advice = "the function is not finite at these arguments", ("do", "check it at others")
    return None if seen.truth.is_finite else finding(case, "VACUOUS", summary, advice)


def derivative(case: Case, seen: Answers) -> Finding | None:
    """At the arguments, and elsewhere in its domain, it is what autodiff and differences say."""
    here = words.lost(rulings(seen))
    return here or next(filter(None, (words.lost(rulings(there)) for there in elsewhere(seen))), None)


def slopes(case: Case, seen: Answers) -> Finding | None:
    """⟨x̄, v⟩ is the slope along random directions, of which one in two may cross a kink."""
    for i in range(len(case.subject.xs)):
        own = [one for one in along(seen) if one.i == i]
        if own and not any(one.agrees() for one in own):
            return words.off_slope(own[0], f"along a random direction of {case.subject.names[i]}")
    return None


def ties(case: Case, seen: Answers) -> Finding | None:
    """And along groups of equal elements, where it lies between the slopes to either side."""
    for one in along(seen):
        if one.how and not one.agrees():
            return words.off_slope(one, f"where equal elements move {one.how}")
    return None


def promise(case: Case, seen: Answers) -> Finding | None:
    """At a kink it keeps what it promises, from 0, the slope to the left, to 1, that to the right."""
    kinks = case.options.kinks
    if kinks is None or case.order > 1:
        return None
    for one in along(seen):
        promised = one.slope.left + kinks * (one.slope.right - one.slope.left)
        if one.how == "alone" and one.slope.kink and abs(one.rule - promised) > one.tolerance:
            return words.promise_broken(one, kinks, promised)
    return None


def signal(case: Case, seen: Answers) -> Finding | None:
    """No gradient vanishes here that does not vanish everywhere: a wrong rule would pass."""
    if not case.mode.is_reverse:
        return None
    answers = [one.truth for one in (seen, *elsewhere(seen))]
    for i, (ruling, depends) in enumerate(zip(rulings(seen), case.primal.depends(), strict=True)):
        one = ruling.compared
        if not depends or one.truth.size == 0 or any(line.moves(i) for line in along(seen)):
            continue
        sizes = np.abs([np.where(np.isfinite(answer.found[i]), answer.found[i], 0) for answer in answers])
        if not (sizes > SIGNAL * one.tolerance).any() and not _vanishes_everywhere(seen, i):
            return words.vacuous(case, i, sizes.max(), one.tolerance.min())
    return None


def _vanishes_everywhere(seen: Answers, i: int) -> bool:
    """Whether the i-th gradient is 0 at random arguments too, to the rounding of the values."""
    if seen.case.u > COARSE or not any(y.size for y in seen.truth.ys):
        return False
    point, rng = seen.case.widened(seen.probe), seen.case.rng("anywhere")
    there = seen.at(
        Probe(tuple((x + rng.normal(size=x.shape)).astype(x.dtype) for x in point.xs), point.given)
    )
    if not (there.truth.ends and there.truth.is_finite):
        return False
    allowed = seen.case.slack * np.maximum(floor(there, there.truth, i), zero(seen, i))
    return bool((np.abs(there.truth.found[i]) <= allowed).all())


def short(case: Case, seen: Answers) -> Finding | None:
    """In short dtypes the error is no larger than rounding explains."""
    return next((one.finding for one in shorts(seen) if one.finding), None)


CRITERIA: tuple[Criterion, ...] = (
    typed,
    integers_have_none,
    ends,
    finite,
    outputs,
    linear,
    derivative,
    slopes,
    ties,
    promise,
    signal,
    short,
    eager,
    vmapped,
    sharded,
    one_alone,
)
"""The whole check."""


@undisturbed()
def first(seen: Answers, criteria: Sequence[Criterion]) -> Finding | None:
    """The first finding of some criteria."""
    found = next(filter(None, (criterion(seen.case, seen) for criterion in criteria)), None)
    return None if found is None else _explained(seen, found)


def _explained(seen: Answers, finding: Finding) -> Finding:
    """The finding with what a callback raised, or what equal eigenvalues and singular values make of it.

    Their vectors are open, and so is every gradient through them, whatever the rules of JAX make of 0/0. A
    rule of one's own is no better off, if it is right where the values are apart. Equal are those that share
    half of their digits.
    """
    if refusal := seen.runner.patience.refusal:
        raised = "callback", f"raised {sentence(refusal)}"
        finding = replace(finding, details=(raised, *finding.details))
    primal, refused = seen.case.primal, seen.case.traced(seen.case.base).refusal is not None
    if finding.verdict == "VACUOUS" or not primal.decomposes() or refused or not seen.ends:
        return finding
    within = max(float(jnp.finfo(dtype).eps) for dtype in seen.case.subject.dtypes) ** 0.5
    with seen.case.precise():
        equal = primal.equal_values(seen.case.subject.rest, seen.case.widened(seen.probe).xs, within)
    there = seen.at(beside(seen, seen.probe, "apart"))
    if not equal or (seen.case.own_rules and any(one.bad.any() for one in compared(there))):
        return finding
    hint = (
        f"equal {equal} leave their vectors open; what depends on none of them has a gradient by a gate "
        f"of funcnet.nn: {_GATES[equal]}"
    )
    told = dict(finding.details) | {"hint": hint}
    kept = ("worst", "error", "along v", "hint", "rule", "reproduce")
    lines = tuple((label, told[label]) for label in kept if label in told)
    summary = f"it goes through the vectors of equal {equal}, which have no derivative"
    return replace(finding, verdict="UNSTABLE", summary=summary, details=lines)
