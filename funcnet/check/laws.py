"""Laws of every rule, whatever the function: no oracle is needed to see that they hold.

Its forward pass returns what the function does. And its gradient is the same, but for the order of sums,
without jit, under vmap, on several devices, and where only a part is differentiated.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet._compiled import compiled
from funcnet.bounded.rows import stacked
from funcnet.check import words
from funcnet.check.answers import Answers, elsewhere
from funcnet.check.case import Case
from funcnet.check.comparisons import compared, zero
from funcnet.check.finding import Finding, finding, sentence
from funcnet.check.linearity import multiples
from funcnet.check.noise import compare, largest, spread, unit, wide
from funcnet.check.probes import Answer
from funcnet.check.thresholds import EXACT, LEAVES, SLACK


def outputs(case: Case, seen: Answers) -> Finding | None:
    """The forward pass returns what the function returns, and the function what its reference does."""
    return other_result(seen, seen.rule, seen.truth, seen.moved, case.slack)


def other_result(
    seen: Answers, answer: Answer, truth: Answer, near: Sequence[Answer], slack: float
) -> Finding | None:
    """What returns something else than it should; forward may round otherwise, as the function does."""
    case = seen.case
    pairs = [("forward returns another result than the function", answer.forward, answer.ys)]
    if case.reference is not None:
        pairs.append(("the function returns another result than its reference", answer.ys, truth.ys))
    for what, ys, others in pairs:
        relative = EXACT if all(y.dtype.itemsize >= 8 for y in ys) else 0.0
        for i, (y, other) in enumerate(zip(ys, others, strict=True)):
            sigma = spread(truth.ys[i], [one.ys[i] for one in near])
            if ys is answer.forward:
                sigma = np.maximum(sigma, largest(wide(other) - truth.ys[i]))
            one = compare(y, other, sigma, case.coarser(answer.ys[i].dtype), slack, relative)
            if one.differs:
                name = "y" if len(ys) == 1 else f"y[{i}]"
                return finding(case, "CONTRACT", what, *words.worst_element(one, name))
    return None


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
            *_, found = case.answer(case.subject.rest, xs, given)
        except Exception as error:
            advice = "make it run eagerly too, or leave jit out of transforms"
            return _does_not_run(case, "without jit", error, advice)
    return _another(seen, "without jit the gradient is another than under jit", found, seen.rule.found)


def vmapped(case: Case, seen: Answers) -> Finding | None:
    """The gradient under vmap is that of each example."""
    if "vmap" not in case.options.transforms or seen.is_late("under vmap"):
        return None
    there = [(one.probe, one.rule) for one in elsewhere(seen)]
    examples = [pair for pair in (*multiples(seen)[1:3], *there[:1]) if pair[1].ends]
    xs, given = stacked([(probe.xs, probe.given) for probe, _ in examples])
    try:
        with case.at(case.base):
            *_, found = compiled(jax.vmap(case.answer, (None, 0, 0)), case.subject.rest, xs, given)
    except Exception as error:
        with contextlib.suppress(Exception), case.precise():
            jax.eval_shape(jax.vmap(lambda xs: case.primal(case.subject.rest, *xs)), xs)
            advice = "give it a batching rule, or leave vmap out of transforms"
            return _does_not_run(case, "under vmap", error, advice)
        seen.left_out.append(f"not checked under vmap, where the function does not run: {sentence(error)}")
        return None
    summary = "under vmap the gradient is another than for each example"
    pairs = (([x[k] for x in found], rule.found) for k, (_, rule) in enumerate(examples))
    differing = (_another(seen, summary, *pair) for pair in pairs)
    return next(filter(None, differing), None)


def _another(
    seen: Answers, summary: str, found: Any, expected: Any, verdict: str = "CONTRACT", *told: str
) -> Finding | None:
    """What is wrong if a gradient is not as expected, by its noise and 8 roundings of its largest."""
    for i, (one, other) in enumerate(zip(map(np.asarray, found), expected, strict=True)):
        kind = seen.case.coarser(one.dtype)
        sigma = compared(seen)[i].noise + SLACK * unit(kind) * largest(other) + zero(seen, i)
        beside = compare(one, other, sigma, kind, seen.case.slack, EXACT)
        if beside.differs:
            return words.differs(seen.case, verdict, summary, i, beside, *told)
    return None


def sharded(case: Case, seen: Answers) -> Finding | None:
    """The gradient of an array that lies on several devices lies as that array does."""
    _, given = case.subject.split(case.subject.args)
    spread = [isinstance(x, jax.Array) and len(x.sharding.device_set) > 1 for x in given]
    if not case.mode.is_reverse or not any(spread):
        return None
    given = list(map(jnp.asarray, given))
    try:
        ys, back = jax.vjp(partial(case.flat, case.subject.rest), *given)
        found = back(tuple(map(jnp.ones_like, ys)))
    except Exception as error:
        advice = "keep each gradient where its argument is"
        return _does_not_run(case, "on the devices of its arguments", error, advice)
    for i, (x, x_bar) in enumerate(zip(given, found, strict=True)):
        if not x_bar.sharding.is_equivalent_to(x.sharding, x.ndim):
            advice = "constrain it with jax.lax.with_sharding_constraint, or compute it where the argument is"
            lines = ("argument", str(x.sharding)), ("gradient", str(x_bar.sharding)), ("do", advice)
            summary = "the gradient lies on other devices than its argument"
            return finding(case, "CONTRACT", summary, *lines, about=(i, None))
    return None


def one_alone(case: Case, seen: Answers) -> Finding | None:
    """A rule that is told what is perturbed is right too where one argument, or one result, is alone."""
    eqns = _jax.all_equations(case.program.jaxpr)
    if not any(eqn.params.get("symbolic_zeros") is True or _jax.is_foreign(eqn.primitive) for eqn in eqns):
        return None
    for what, parts in _parts(case):
        if seen.is_late(f"where {what}"):
            continue
        with case.at(case.base):
            (one,) = seen.run(partial(_in_parts, case, parts), case.subject.rest, [seen.probe])
        guess = "what is not perturbed, or has no upstream gradient, adds 0: the rest of the rule goes on"
        summary, told = f"it is another where {what}", ("with all of them", guess)
        if one.ends and (found := _another(seen, summary, one.found, seen.rule.found, "WRONG", *told)):
            return found
    return None


def _parts(case: Case) -> Iterator[tuple[str, list[tuple[list[int], list[int]]]]]:
    """How to put the derivative together from parts: which arguments are perturbed, which results seen."""
    xs, ys = list(range(len(case.subject.xs))), list(range(len(case.traced(case.base).ys)))
    places = case.subject.places if len(xs) > LEAVES else xs
    groups = [[i for i in xs if places[i] == place] for place in dict.fromkeys(places)]
    if len(groups) > 1:
        yield "one argument alone is differentiated", [(group, ys) for group in groups]
    if case.mode.is_reverse and len(ys) > 1:
        yield "one result alone has an upstream gradient", [(xs, [k]) for k in ys]


def _in_parts(case: Case, parts: Any, rest: Any, xs: Any, given: Any) -> tuple[Any, Any, Any]:
    """What the parts find, added up."""
    ys, reverse = case.flat(rest, *xs), case.mode.is_reverse
    sums = [jnp.zeros_like(like) for like in (xs if reverse else ys)]
    for perturbed, results in parts:
        part = _part(case.flat, xs, perturbed, results)
        finds, takes = (perturbed, results) if reverse else (results, perturbed)
        _, _, found = case.mode.answer(part)(rest, [xs[i] for i in perturbed], [given[k] for k in takes])
        for i, one in zip(finds, found, strict=True):
            sums[i] += one
    return ys, ys, tuple(sums)


def _part(flat: Callable, xs: Any, perturbed: Sequence[int], results: Sequence[int]) -> Callable:
    """The function of some of its arguments alone, to some of its results."""

    def part(rest: Any, *some: Any) -> tuple[Any, ...]:
        new = dict(zip(perturbed, some, strict=True))
        ys = flat(rest, *(new.get(i, x) for i, x in enumerate(xs)))
        return tuple(ys[k] for k in results)

    return part
