"""What is left of a right gradient in a short dtype.

The truth is that of the rule itself in float64, once it is found right there too: short dtypes make ties, at
which a rule may choose otherwise than autodiff. Where rounding breaks a tie the noise is whatever the choice
makes of it, so the gradient is compared beside the ties as well.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet.check import words
from funcnet.check.answers import Answers, once
from funcnet.check.comparisons import beside, zero
from funcnet.check.disputes import rulings
from funcnet.check.finding import Finding, sentence
from funcnet.check.laws import other_result
from funcnet.check.noise import Comparison, compare, spread, unit, wide
from funcnet.check.primal import Primal
from funcnet.check.probes import Answer, Probe, ended, equal_groups


@dataclass(frozen=True)
class Short:
    """A gradient in a short dtype, None for that of the arguments, beside the true one, if it was compared.

    `finding` is what is wrong.
    """

    dtype: Any
    compared: Sequence[Comparison] = ()
    finding: Finding | None = None


def dtypes(seen: Answers) -> list[Any]:
    """The dtypes to check in beside the base; None stands for those of the arguments."""
    case, chosen = seen.case, seen.case.options.dtypes
    if chosen is not None:
        return [jnp.dtype(dtype) for dtype in chosen if jnp.dtype(dtype) != jnp.float64]
    widest = all(jnp.finfo(dtype).bits == 64 for dtype in case.subject.dtypes)
    return [None] if case.base is not None and not widest else []


@once
def shorts(seen: Answers) -> list[Short]:
    """The gradient in short dtypes."""
    return [_short(seen, dtype) for dtype in dtypes(seen)]


def _short(seen: Answers, dtype: Any) -> Short:
    """Compare the gradient in a short dtype with the true one at the same numbers, and beside their ties."""
    case = seen.case
    if seen.is_late(f"in {case.subject.at(dtype)[0].dtype}"):
        return Short(dtype)
    probe = case.probe(dtype)
    short = _at(seen, dtype, probe)
    if short.compared and not short.finding and equal_groups(probe.xs):
        return replace(short, finding=_at(seen, dtype, beside(seen, probe, "short"), True).finding)
    return short


def _at(seen: Answers, dtype: Any, probe: Probe, aside: bool = False) -> Short:
    """Compare the two at one point; aside, where arguments have lost their structure, with nothing else."""
    case, kind = seen.case, probe.xs[0].dtype
    there = seen.at(case.widened(probe), f", at the arguments rounded to {kind}")
    there.draws = case.draws(probe, str(kind))
    if case.base is None:
        there.rule = there.truth
    (answer,) = seen.ask([probe], dtype)
    if why := _unseen(case.primal, answer, there, seen.runner.patience.refusal):
        seen.left_out += [f"not checked in {kind}: {why}"] * (not aside)
        return Short(dtype)
    clouds = [(there.truth, there.moved)]
    if case.primal.stops_itself():
        around = seen.ask([one.like(probe) for one in there.draws], dtype, needed=False)
        clouds.append((answer, ended(around)))
    if case.base is not None and any(ruling.note for ruling in rulings(seen)):
        clouds.append((there.rule, there.rounded))
    slack = case.slack_in(dtype)
    if other := other_result(seen, answer, there.truth, there.moved, slack):
        return Short(dtype, finding=other)
    ruled = [] if aside else rulings(there)
    seen.left_out += [ruling.note for ruling in ruled]
    compared = _compared(seen, answer, there.rule, clouds, slack)
    off = (words.unstable(case, i, one, dtype) for i, one in enumerate(compared) if one.bad.any())
    return Short(dtype, compared, words.lost(ruled) or next(off, None))


def _unseen(primal: Primal, answer: Answer, there: Answers, refusal: Exception | None) -> str:
    """Why a result in a short dtype has nothing to do with that in float64, if it has not."""
    if not (answer.ends and there.rule.ends and there.truth.ends):
        return "a loop in it does not end there"
    pairs = list(zip(map(wide, answer.ys), there.truth.ys, strict=True))
    if not all(np.isfinite(y).all() for y, _ in pairs):
        return f"a callback raised {sentence(refusal)}" if refusal else "the function overflows there"
    if all(np.allclose(y, other, rtol=0.1) for y, other in pairs):
        return ""
    if primal.stops_itself():
        return "its loop takes another course there"
    return "the function draws other random numbers there" if primal.draws() else ""


def _compared(
    seen: Answers,
    answer: Answer,
    rule: Answer,
    clouds: Sequence[tuple[Answer, Sequence[Answer]]],
    slack: float,
) -> list[Comparison]:
    """The gradient beside the rule's own in float64, with the spread of some answers around others.

    That of autodiff is what rounding explains. A loop that stops at a tolerance is as good as that, which its
    own answers show; and where autodiff was overruled, the spread is that of the rule in float64.
    """
    (truth, _), *_ = clouds
    found = []
    for i, x in enumerate(answer.found):
        spreads = (spread(one.found[i], [near.found[i] for near in around]) for one, around in clouds)
        sigma = functools.reduce(np.maximum, spreads)
        expected = wide(rule.found[i])
        expected = np.where(np.isfinite(expected), expected, truth.found[i])
        least = unit(x.dtype) / seen.case.u * zero(seen, i)
        found.append(compare(x, expected, sigma, x.dtype, slack, zero=least))
    return found
