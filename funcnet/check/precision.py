"""What is left of a right gradient in a short dtype."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from funcnet.check import directions, words
from funcnet.check.answers import Answers
from funcnet.check.disputes import settle
from funcnet.check.noise import Comparison, compare, spreads, unit, wide
from funcnet.check.probes import Answer, ended
from funcnet.check.report import Finding
from funcnet.check.thresholds import DRAWS


@dataclass(frozen=True)
class Short:
    """A gradient in a short dtype.

    Attributes:
        dtype: which; None for that of the arguments.
        compared: for each x the gradient beside the true one, at the arguments.
        finding: what is wrong, if something is.
        notes: why it was not compared, and what was settled.
    """

    dtype: Any
    compared: Sequence[Comparison] = ()
    finding: Finding | None = None
    notes: tuple[str, ...] = ()


def in_short(answers: Answers, dtype: Any) -> Short:
    """Compare the gradient in a short dtype with the true one at the same numbers.

    The truth is that of the rule itself in float64, once it is found right there too: short dtypes make
    ties, at which a rule may choose otherwise than autodiff. Where rounding breaks a tie the noise is
    whatever the choice makes of it, so the gradient is compared beside the ties as well.
    """
    case = answers.case
    refusal = case.traced(dtype).refusal
    if refusal is not None:
        return Short(dtype, finding=words.not_traced(case, dtype, refusal))
    probe = case.probe(dtype)
    kind = probe.xs[0].dtype
    probes = [probe, *([answers.beside(probe, "short")] if directions.equals(probe.xs) else ())]
    count = len(probes)
    moved = [draw for n, one in enumerate(probes) for draw in case.draws(one, f"{kind} {n}")]
    stops = case.primal.stops_itself()
    own = answers.ask([*probes, *(draw.like(probe) for draw in moved if stops)], dtype, needed=count)
    true = answers.true([*probes, *moved], needed=count)
    found, truths = ended(own[:count]), ended(true[:count])
    rules = ended(answers.ask(case.widened(probes), case.base)) if case.base is not None else truths
    if not len(found) == len(truths) == len(rules) == count:
        return Short(dtype, notes=(f"not checked in {kind}: a loop in it does not end there",))
    if not all(np.isfinite(wide(y)).all() for y in found[0].ys):
        return Short(dtype, notes=(f"not checked in {kind}: the function overflows there",))
    if (stops or case.primal.draws()) and not _near(found[0], truths[0]):
        why = (
            "its loop takes another course there"
            if stops
            else "the function draws other random numbers there"
        )
        return Short(dtype, notes=(f"not checked in {kind}: {why}",))
    compared, notes = [], []
    for k, (answer, rule, truth) in enumerate(zip(found, rules, truths, strict=True)):
        around, spread = (ended(one[count + DRAWS * k :][:DRAWS]) for one in (true, own))
        if other := answers.other_result(answer, truth, around):
            return Short(dtype, finding=words.other_result(case, *other))
        if k == 0:
            where = f", at the arguments rounded to {kind}"
            point = case.widened([probe])[0]
            rulings = settle(answers, point, answers.roughly(rule, truth), truth, around, where)
            notes += [ruling.note for ruling in rulings]
            if lost := next((ruling.finding for ruling in rulings if ruling.finding), None):
                return Short(dtype, finding=lost)
        compared += _compared(answers, answer, rule, truth, around, spread)
        for i, one in enumerate(compared[-len(rule.found) :]):
            if one.bad.any():
                return Short(dtype, finding=words.unstable(case, i, one, dtype))
    return Short(dtype, compared[: len(rules[0].found)], notes=words.all_of(notes))


def _compared(
    answers: Answers,
    answer: Answer,
    rule: Answer,
    truth: Answer,
    around: Sequence[Answer],
    spread: Sequence[Answer],
) -> list[Comparison]:
    """The gradient beside the rule's own in float64.

    A loop that stops at a tolerance is as good as that, which shows in the spread of its own answers.
    """
    pairs = [tuple(map(wide, pair)) for pair in zip(rule.found, truth.found, strict=True)]
    exact = [np.where(np.isfinite(one), one, other) for one, other in pairs]
    sigmas = spreads(truth.found, [one.found for one in around])
    if spread:
        sigmas = list(map(np.maximum, sigmas, spreads(answer.found, [one.found for one in spread])))
    kinds = [x.dtype for x in answer.found]
    zeros = [unit(kind) * terms for kind, terms in zip(kinds, answers.terms, strict=True)]
    return compare(answer.found, exact, sigmas, kinds, answers.case.slack, zeros=zeros)


def _near(answer: Answer, truth: Answer) -> bool:
    return all(np.allclose(wide(y), other, rtol=0.1) for y, other in zip(answer.ys, truth.ys, strict=True))
