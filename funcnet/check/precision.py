"""What is left of a right gradient in a short dtype.

The truth is that of the rule itself in float64, once it is found right there too: short dtypes make ties, at
which a rule may choose otherwise than autodiff. Where rounding breaks a tie the noise is whatever the choice
makes of it, so the gradient is compared beside the ties as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet.check import directions, words
from funcnet.check.answers import Answers, once
from funcnet.check.comparisons import beside, other_result, roughly, terms
from funcnet.check.disputes import rulings_at
from funcnet.check.finding import Finding
from funcnet.check.noise import Comparison, compare, spreads, unit, wide
from funcnet.check.probes import Answer, ended
from funcnet.check.thresholds import DRAWS


@dataclass(frozen=True)
class Short:
    """A gradient in a short dtype, None for that of the arguments, beside the true one, if it was compared.

    `finding` is what is wrong; the notes say why it was not compared, and what was settled.
    """

    dtype: Any
    compared: Sequence[Comparison] = ()
    finding: Finding | None = None
    notes: tuple[str, ...] = ()


def dtypes(seen: Answers) -> list[Any]:
    """The dtypes to check in beside the base; None stands for those of the arguments."""
    case, chosen = seen.case, seen.case.options.dtypes
    if chosen is not None:
        return [jnp.dtype(dtype) for dtype in chosen if jnp.dtype(dtype) != jnp.float64]
    widest = all(jnp.finfo(dtype).bits == 64 for dtype in case.subject.dtypes)
    return [None] if case.base is not None and not widest else []


@once
def shorts(seen: Answers) -> list[Short]:
    """The gradient in short dtypes; the first that is wrong ends it."""
    found: list[Short] = []
    for dtype in dtypes(seen):
        found.append(_short(seen, dtype))
        if found[-1].finding:
            break
    return found


def _short(seen: Answers, dtype: Any) -> Short:
    """Compare the gradient in a short dtype with the true one at the same numbers."""
    case = seen.case
    if seen.is_late(f"in {case.subject.at(dtype)[0].dtype}"):
        return Short(dtype)
    refusal = case.traced(dtype).refusal
    if refusal is not None:
        return Short(dtype, finding=words.not_traced(case, dtype, refusal))
    probe = case.probe(dtype)
    kind = probe.xs[0].dtype
    probes = [probe, *([beside(seen, probe, "short")] if directions.equals(probe.xs) else ())]
    count = len(probes)
    moved = [draw for n, one in enumerate(probes) for draw in case.draws(one, f"{kind} {n}")]
    own = [draw.like(probe) for draw in moved if case.primal.stops_itself()]
    own = seen.ask([*probes, *own], dtype, needed=count)
    true = seen.true([*probes, *moved], needed=count)
    exact = seen.ask(case.widened(probes), case.base) if case.base is not None else true[:count]
    columns = [ended(answers[:count]) for answers in (own, exact, true)]
    if any(len(answers) < count for answers in columns):
        return Short(dtype, notes=(f"not checked in {kind}: a loop in it does not end there",))
    if why := _elsewhere(seen, columns[0][0], columns[2][0]):
        return Short(dtype, notes=(f"not checked in {kind}: {why}",))
    compared, notes = [], ()
    for k, (answer, rule, truth) in enumerate(zip(*columns, strict=True)):
        around, spread = (ended(one[count + DRAWS * k :][:DRAWS]) for one in (true, own))
        if other := other_result(seen, answer, truth, around):
            return Short(dtype, finding=words.other_result(case, *other))
        if k == 0:
            where = f", at the arguments rounded to {kind}"
            rulings = rulings_at(seen, probe, roughly(seen, rule, truth), truth, around, where)
            notes = tuple(ruling.note for ruling in rulings)
            if lost := next((ruling.lost for ruling in rulings if ruling.lost), None):
                return Short(dtype, finding=words.lost(*lost))
        beside_truth = _compared(seen, answer, rule, truth, around, spread)
        compared += beside_truth
        for i, one in enumerate(beside_truth):
            if one.bad.any():
                return Short(dtype, finding=words.unstable(case, i, one, dtype))
    return Short(dtype, compared[: len(columns[0][0].found)], notes=notes)


def _elsewhere(seen: Answers, answer: Answer, truth: Answer) -> str:
    """Why a result in a short dtype has nothing to do with that in float64, if it has not."""
    primal, pairs = seen.case.primal, list(zip(map(wide, answer.ys), truth.ys, strict=True))
    if not all(np.isfinite(y).all() for y, _ in pairs):
        return "the function overflows there"
    if all(np.allclose(y, other, rtol=0.1) for y, other in pairs):
        return ""
    if primal.stops_itself():
        return "its loop takes another course there"
    return "the function draws other random numbers there" if primal.draws() else ""


def _compared(
    seen: Answers,
    answer: Answer,
    rule: Answer,
    truth: Answer,
    around: Sequence[Answer],
    spread: Sequence[Answer],
) -> list[Comparison]:
    """The gradient beside the rule's own in float64.

    A loop that stops at a tolerance is as good as that, which shows in the spread of its own answers.
    """
    sigmas = spreads(truth.found, [one.found for one in around])
    if spread:
        sigmas = list(map(np.maximum, sigmas, spreads(answer.found, [one.found for one in spread])))
    kinds = [x.dtype for x in answer.found]
    zeros = [unit(kind) * size for kind, size in zip(kinds, terms(seen), strict=True)]
    pairs = zip(map(wide, rule.found), truth.found, strict=True)
    expected = [np.where(np.isfinite(own), own, true) for own, true in pairs]
    return compare(answer.found, expected, sigmas, kinds, seen.case.slack, zeros=zeros)
