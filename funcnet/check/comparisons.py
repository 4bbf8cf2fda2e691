"""The gradient beside autodiff's, and the noise that each of its elements is known to.

A spread under roundings is u times the size of the terms that an element sums: of the rule's answers, or of
autodiff's. Where terms cancel to 0 that is all there is to measure an error by.
"""

from collections.abc import Sequence

import numpy as np

from funcnet._types import Host
from funcnet.check import directions
from funcnet.check.answers import Answers, once
from funcnet.check.noise import Comparison, compare, largest, spreads, unit, wide, without_jumps
from funcnet.check.probes import Answer, Probe
from funcnet.check.thresholds import AWAY, EXACT, ROUGHLY


def floor(seen: Answers, probe: Probe, answer: Answer, i: int) -> Host:
    """What rounding of y makes of a gradient: along a smaller one, x by its size moves y by less."""
    if not seen.case.mode.is_reverse:
        return seen.u * np.abs(answer.ys[i])
    total = sum(float(np.abs(g * y).sum()) for g, y in zip(probe.given, answer.ys, strict=True))
    return seen.u * total / directions.sizes(probe.xs[i])


@once
def rule_noise(seen: Answers) -> list[Host]:
    """For each element the spread of the rule under roundings."""
    return _spreads(seen, seen.rule[0], seen.rounded)


def _spreads(seen: Answers, center: Answer, around: Sequence[Answer]) -> list[Host]:
    """Spreads, without those that only a tie explains: beside the gradient, or the terms of it."""
    found = []
    for i, sigma in enumerate(spreads(center.found, [one.found for one in around])):
        terms = largest(np.asarray(floor(seen, seen.probe, seen.rule[0], i))) / seen.u
        found.append(without_jumps(sigma, max(largest(wide(center.found[i])), terms)))
    return found


@once
def zero(seen: Answers) -> list[Host]:
    """For each element that autodiff does not tell from 0, what a 0 is known to there; else 0."""
    found = []
    for i, (own, true) in enumerate(
        zip(rule_noise(seen), _spreads(seen, seen.truth[0], seen.moved), strict=True)
    ):
        noise = np.maximum(np.maximum(own, true), floor(seen, seen.probe, seen.rule[0], i))
        found.append(np.where(np.abs(wide(seen.truth[0].found[i])) <= seen.case.slack * true, noise, 0))
    return found


@once
def compared(seen: Answers) -> list[Comparison]:
    """The gradient at the arguments beside autodiff's."""
    case, found, truth = seen.case, seen.rule[0].found, seen.truth[0].found
    sigmas = spreads(truth, [one.found for one in seen.moved])
    if case.base is not None:
        sigmas = [without_jumps(sigma, largest(x)) for sigma, x in zip(sigmas, truth, strict=True)]
    if unit(case.grain) > unit(seen.probe.xs[0].dtype):  # sums of few short numbers often round alike
        sigmas = list(map(np.maximum, sigmas, rule_noise(seen)))
    dtypes = [max((case.grain, x.dtype), key=unit) for x in case.types(case.base)]
    relative = case.exact if case.base is not None or case.oracles is None else 0.0
    return compare(found, list(map(wide, truth)), sigmas, dtypes, case.slack, relative, zero(seen))


@once
def terms(seen: Answers) -> list[Host]:
    """For each element that is 0 at the arguments, the size of the terms which cancel in it."""
    found = []
    for one, noise in zip(compared(seen), zero(seen), strict=True):
        vanishes = np.maximum(np.abs(one.found), np.abs(one.truth)) <= seen.case.slack * noise
        found.append(np.where(vanishes, noise / seen.u, 0))
    return found


def roughly(seen: Answers, rule: Answer, truth: Answer, near: Sequence[Comparison] = ()) -> list[Comparison]:
    """The gradient elsewhere: of the noise nothing is known, only errors beside the largest elements count.

    Those of the comparisons `near` are among them.
    """
    sizes = [largest(x) for x in truth.found]
    if near:
        sizes = [max(size, largest(one.truth)) for size, one in zip(sizes, near, strict=True)]
    allowed = max(ROUGHLY, seen.case.exact if seen.case.by_differences else 0)
    sigmas = [
        np.full(x.shape, allowed * size + EXACT * largest(term))
        for x, size, term in zip(truth.found, sizes, terms(seen), strict=True)
    ]
    return compare(rule.found, list(map(wide, truth.found)), sigmas, ["float32"] * len(sigmas), 1.0)


def other_result(
    seen: Answers, answer: Answer, truth: Answer, around: Sequence[Answer]
) -> tuple[str, Comparison, str] | None:
    """What returns something else than it should: in words, beside that, and the result by name."""
    case, sigmas = seen.case, spreads(truth.ys, [one.ys for one in around or [truth]])
    dtypes = [max((case.grain, y.dtype), key=unit) for y in answer.ys]
    pairs = [("forward returns another result than the function", answer.forward, answer.ys)]
    if case.options.reference is not None:
        pairs.append(("the function returns another result than its reference", answer.ys, truth.ys))
    for what, ys, others in pairs:
        relative = EXACT if all(y.dtype.itemsize >= 8 for y in ys) else 0.0
        for i, one in enumerate(compare(ys, list(map(wide, others)), sigmas, dtypes, case.slack, relative)):
            if (one.bad & np.isfinite(one.truth)).any():
                return what, one, "y" if len(ys) == 1 else f"y[{i}]"
    return None


def beside(seen: Answers, probe: Probe, use: str) -> Probe:
    """The point moved by a hundredth, so that no elements are equal."""
    rng = seen.case.rng(use)

    def moved(x: Host) -> Host:
        step = AWAY * directions.sizes(wide(x)) * rng.uniform(-1, 1, x.shape)
        return (wide(x) + step).astype(x.dtype)

    return Probe(tuple(map(moved, probe.xs)), probe.given)
