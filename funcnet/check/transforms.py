"""What must change nothing: no jit, vmap, several devices, or that only a part is differentiated.

A rule runs under all of them, and its gradient is the same but for the order of sums.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.check import words
from funcnet.check.answers import Answers
from funcnet.check.case import Case, sentence
from funcnet.check.comparisons import compared, zero
from funcnet.check.finding import Finding, described, finding
from funcnet.check.noise import Comparison, compare, largest, unit, wide
from funcnet.check.primal import sees_zeros
from funcnet.check.thresholds import EXACT, LEAVES

_ERRORS = (TypeError, ValueError, NotImplementedError, jax.errors.JaxRuntimeError)


def _does_not_run(case: Case, how: str, error: Exception, advice: str) -> Finding:
    what = f"the rule does not run {how}"
    return finding(case, "CONTRACT", what, ("error", sentence(error)), ("do", advice))


def eager(case: Case, seen: Answers) -> Finding | None:
    """The gradient without jit is that under jit."""
    if "jit" not in case.options.transforms or seen.is_late("without jit"):
        return None
    with case.at(case.base):
        try:
            xs, given = jax.tree.map(jnp.asarray, (seen.probe.xs, seen.probe.given))
            *_, found = case.mode.answer(case.flat)(case.subject.rest, xs, given)
        except _ERRORS as error:
            advice = "make it run eagerly too, or leave jit out of transforms"
            return _does_not_run(case, "without jit", error, advice)
    return _another(seen, "without jit the gradient is another than under jit", found, seen.rule[0].found)


def vmapped(case: Case, seen: Answers) -> Finding | None:
    """The gradient under vmap is that of each example."""
    if "vmap" not in case.options.transforms or seen.is_late("under vmap"):
        return None
    places = list(seen.elsewhere.values())[:1]
    probes = [seen.probes[0], seen.probes[2], *(probe for probe, _, _ in places)]
    singles = [seen.rule[0], seen.rule[2], *(rule for _, rule, _ in places)]
    try:
        batched = seen.ask(probes, case.base, lambda function, stacks: jax.vmap(function)(stacks))
    except _ERRORS as error:
        advice = "give it a batching rule, or leave vmap out of transforms"
        return _does_not_run(case, "under vmap", error, advice)
    summary = "under vmap the gradient is another than for each example"
    for one, single in zip(batched, singles, strict=True):
        if one is not None and (found := _another(seen, summary, one.found, single.found)):
            return found
    return None


def _another(seen: Answers, summary: str, found: Any, expected: Any) -> Finding | None:
    """What is wrong if the gradient is not the same."""
    if other := _other(seen, found, expected):
        case, (i, beside) = seen.case, other
        return words.other_result(case, summary, beside, case.name(i), described(case, i, case.base))
    return None


def _other(seen: Answers, found: Any, expected: Any) -> tuple[int, Comparison] | None:
    """The first gradient that is not as expected: by more than its noise and 8 roundings of its largest."""
    for i, (one, other) in enumerate(zip(map(np.asarray, found), map(wide, expected), strict=True)):
        kind = max((seen.case.grain, one.dtype), key=unit)
        sigma = compared(seen)[i].noise + 8 * unit(kind) * largest(other) + zero(seen)[i]
        (beside,) = compare([one], [other], [sigma], [kind], seen.case.slack, EXACT)
        if (beside.bad & np.isfinite(beside.truth)).any():
            return i, beside
    return None


def sharded(case: Case, seen: Answers) -> Finding | None:
    """The gradient of an array that lies on several devices lies as that array does."""
    given = case.subject.given
    spread = [isinstance(x, jax.Array) and len(x.sharding.device_set) > 1 for x in given]
    if not case.mode.is_reverse or not any(spread):
        return None
    given = list(map(jnp.asarray, given))
    try:
        ys, back = jax.vjp(partial(case.flat, case.subject.rest), *given)
        found = back(tuple(map(jnp.ones_like, ys)))
    except _ERRORS as error:
        advice = "keep each gradient where its argument is"
        return _does_not_run(case, "on the devices of its arguments", error, advice)
    for i, (x, x_bar) in enumerate(zip(given, found, strict=True)):
        if not x_bar.sharding.is_equivalent_to(x.sharding, x.ndim):
            advice = "constrain it with jax.lax.with_sharding_constraint, or compute it where the argument is"
            lines = ("argument", str(x.sharding)), ("gradient", str(x_bar.sharding)), ("do", advice)
            summary = "the gradient lies on other devices than its argument"
            return finding(case, "CONTRACT", summary, *lines, argument=described(case, i, None))
    return None


def one_alone(case: Case, seen: Answers) -> Finding | None:
    """A rule that is told what is perturbed is right too where one argument, or one result, is alone."""
    trace = case.traced(case.base)
    if not sees_zeros(case.program.jaxpr) or trace.refusal is not None:
        return None
    for what, answer in _partly(case):
        if seen.is_late(f"where {what}"):
            continue
        with case.at(case.base):
            (one,) = seen.runner.answers(answer, case.subject.rest, [seen.probe], endless=trace.endless)
        if one is not None and (other := _other(seen, one.found, seen.rule[0].found)):
            i, beside = other
            return words.one_alone(case, f"it is another where {what}", beside, i)
    return None


def _partly(case: Case) -> Iterator[tuple[str, Callable]]:
    """The derivative put together from parts, in which the rest is not perturbed or has no ȳ."""
    count, mode, flat = len(case.subject.xs), case.mode, case.flat
    places = case.subject.places if count > LEAVES else range(count)
    groups = [[i for i in range(count) if places[i] == place] for place in dict.fromkeys(places)]

    def by_argument(rest: Any, xs: Any, given: Any) -> Any:
        parts = [_of_some(case, group, rest, xs, given) for group in groups]
        ys = flat(rest, *xs)
        if not mode.is_reverse:
            return ys, ys, tuple(map(sum, zip(*parts, strict=True)))
        found = dict(zip(chain(*groups), chain(*parts), strict=True))
        return ys, ys, tuple(found[i] for i in range(count))

    def by_result(rest: Any, xs: Any, given: Any) -> Any:
        ys = flat(rest, *xs)
        parts = [
            mode.answer(lambda rest, *xs, k=k: (flat(rest, *xs)[k],))(rest, xs, (given[k],))[2]
            for k in range(len(ys))
        ]
        return ys, ys, tuple(map(sum, zip(*parts, strict=True)))

    if len(groups) > 1:
        yield "one argument alone is differentiated", by_argument
    if mode.is_reverse and len(case.traced(case.base).ys) > 1:
        yield "one result alone has an upstream gradient", by_result


def _of_some(case: Case, group: list[int], rest: Any, xs: Any, given: Any) -> Any:
    """What is found where the xs of a group alone are perturbed."""

    def own(rest: Any, *some: Any) -> Any:
        new = dict(zip(group, some, strict=True))
        return case.flat(rest, *(new.get(i, x) for i, x in enumerate(xs)))

    chosen = given if case.mode.is_reverse else [given[i] for i in group]
    return case.mode.answer(own)(rest, [xs[i] for i in group], chosen)[2]
