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

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.check import words
from funcnet.check.case import Case
from funcnet.check.evidence import Evidence
from funcnet.check.linear import unequal
from funcnet.check.noise import compare, largest, unit, wide
from funcnet.check.primal import sees_zeros
from funcnet.check.probes import Answer
from funcnet.check.report import Finding
from funcnet.check.thresholds import SIGNAL

Criterion = Callable[[Case, Evidence], Finding | None]

_ERRORS = (TypeError, ValueError, NotImplementedError, jax.errors.JaxRuntimeError)

LEAVES = 8
"""Up to so many arrays are perturbed one by one; of more, each argument at once."""


def traced(case: Case, seen: Evidence) -> Finding | None:
    """The gradient can be traced, in float64 and in the dtypes of the arguments."""
    for dtype in dict.fromkeys((case.base, None)):
        refusal = case.traced(dtype).refusal
        if refusal is not None:
            return words.not_traced(case, dtype, refusal)
    return None


def typed(case: Case, seen: Evidence) -> Finding | None:
    """Shape and dtype of every x̄ are those of x."""
    for dtype in dict.fromkeys((case.base, None, *seen.dtypes)):
        if case.traced(dtype).refusal is None:
            for i, (x, found) in enumerate(zip(case.types(dtype), case.traced(dtype).found, strict=True)):
                if (x.shape, x.dtype) != (found.shape, found.dtype):
                    return words.other_type(case, i, dtype, found)
    return None


def integers_have_none(case: Case, seen: Evidence) -> Finding | None:
    """The rule returns None for integers; JAX drops what else it returns in silence."""
    fun, rest, xs = case.subject.fun, case.subject.rest, case.subject.at(None)
    if not isinstance(fun, jax.custom_vjp) or fun.fwd is None or fun.bwd is None:
        return None
    if fun.symbolic_zeros or fun.nondiff_argnums or not rest:
        return None
    fwd, bwd = fun.fwd, fun.bwd

    def raw(rest: Any, *xs: Any) -> Any:
        y, stash = case.subject.call(fwd, rest, xs)
        return bwd(stash, jax.tree.map(jnp.ones_like, y))

    x_bars = jax.eval_shape(raw, rest, *xs)
    for arg, x_bar in zip(case.subject.call(lambda *args: args, rest, xs), x_bars, strict=False):
        leaves = jax.tree.leaves(arg)
        integers = bool(leaves) and not any(jnp.issubdtype(jnp.result_type(x), jnp.inexact) for x in leaves)
        given = [g for g in jax.tree.leaves(x_bar) if g.dtype != jax.dtypes.float0]
        if integers and given:
            return words.of_integers(case, given[0])
    return None


def ends(case: Case, seen: Evidence) -> Finding | None:
    """Every loop ends at the arguments."""
    return None if seen.ends else words.endless(case)


def finite(case: Case, seen: Evidence) -> Finding | None:
    """The function is finite at the arguments."""
    return None if seen.truth[0].is_finite else words.not_finite(case, seen.runner.patience.refusal)


def outputs(case: Case, seen: Evidence) -> Finding | None:
    """The forward pass returns what the function returns, and the function what its reference does."""
    other = seen.other_result(seen.rule[0], seen.truth[0], seen.moved)
    return words.other_result(case, *other) if other else None


def linear(case: Case, seen: Evidence) -> Finding | None:
    """It is linear in the upstream gradient, and the same when it is repeated."""
    noise = [own + seen.floor(seen.probe, seen.rule[0], i) for i, own in enumerate(seen.rule_noise)]
    two = next(unequal(case, seen.rule, noise), None)
    return words.unequal(case, two) if two else None


def derivative(case: Case, seen: Evidence) -> Finding | None:
    """At the arguments it is what autodiff and differences say."""
    return next((ruling.finding for ruling in seen.rulings if ruling.finding), None)


def derivative_elsewhere(case: Case, seen: Evidence) -> Finding | None:
    """And elsewhere in its domain."""
    return next((ruling.finding for ruling in seen.rulings_elsewhere if ruling.finding), None)


def slopes(case: Case, seen: Evidence) -> Finding | None:
    """⟨x̄, v⟩ is the slope along random directions, of which one in two may cross a kink."""
    for i in range(len(case.subject.xs)):
        own = [one for one in seen.along if one.i == i]
        if own and not any(one.agrees() for one in own):
            return words.off_slope(own[0], f"along a random direction of {case.subject.names[i]}")
    return None


def ties(case: Case, seen: Evidence) -> Finding | None:
    """And along groups of equal elements, where it lies between the slopes to either side."""
    for one in seen.along:
        if one.how and not one.agrees():
            return words.off_slope(one, f"where equal elements move {one.how}")
    return None


def promise(case: Case, seen: Evidence) -> Finding | None:
    """At a kink it keeps what it promises, from 0, the slope to the left, to 1, that to the right."""
    kinks = case.options.kinks
    if kinks is None:
        return None
    for one in seen.along:
        promised = one.slope.left + kinks * (one.slope.right - one.slope.left)
        if one.how == "alone" and one.slope.kink and abs(one.rule - promised) > one.tolerance:
            return words.promise_broken(one, kinks, promised)
    return None


def signal(case: Case, seen: Evidence) -> Finding | None:
    """No gradient vanishes here that does not vanish everywhere: a wrong rule would pass."""
    if not case.mode.is_reverse:
        return None
    for i, (one, depends) in enumerate(zip(seen.settled, case.primal.depends(), strict=True)):
        if not depends or one.truth.size == 0 or any(along.moves(i) for along in seen.along):
            continue
        gradients = [answer.found[i] for answer in (*seen.truth, *seen.true_elsewhere)]
        sizes = [np.abs(np.where(np.isfinite(x), x, 0)) for x in gradients]
        if any((size > SIGNAL * one.tolerance).any() for size in sizes):
            continue
        if seen.vanishes_everywhere(i):
            continue
        return words.nothing_to_see(seen, i, one, max(size.max(initial=0) for size in sizes))
    return None


def short(case: Case, seen: Evidence) -> Finding | None:
    """In short dtypes the error is no larger than rounding explains."""
    return next((one.finding for one in seen.shorts if one.finding), None)


def eager(case: Case, seen: Evidence) -> Finding | None:
    """The gradient without jit is that under jit."""
    if "jit" not in case.options.transforms:
        return None
    with case.at(case.base):
        try:
            rest, autodiff = case.subject.rest, case.mode.autodiff[0]
            xs, given = jax.tree.map(jnp.asarray, (seen.probe.xs, seen.probe.given))
            found = case.mode.answer(case.flat, rest, xs, given, autodiff)[2]
        except _ERRORS as error:
            advice = "make it run eagerly too, or leave jit out of transforms"
            return words.does_not_run(case, "without jit", error, advice)
    return _same(case, seen, "without jit the gradient is another than under jit", found, seen.rule[0])


def vmapped(case: Case, seen: Evidence) -> Finding | None:
    """The gradient under vmap is that of each example."""
    if "vmap" not in case.options.transforms:
        return None
    places = list(seen.elsewhere.values())[:1]
    probes = [seen.probes[0], seen.probes[2], *(probe for probe, _, _ in places)]
    singles = [seen.rule[0], seen.rule[2], *(rule for _, rule, _ in places)]
    try:
        batched = seen.ask(probes, case.base, lambda function, stacks: jax.vmap(function)(stacks))
    except _ERRORS as error:
        advice = "give it a batching rule, or leave vmap out of transforms"
        return words.does_not_run(case, "under vmap", error, advice)
    summary = "under vmap the gradient is another than for each example"
    pairs = zip(batched, singles, strict=True)
    found = (_same(case, seen, summary, one.found, single) for one, single in pairs if one is not None)
    return next(filter(None, found), None)


def _same(case: Case, seen: Evidence, summary: str, found: Any, expected: Answer) -> Finding | None:
    """The same but for the order of sums: within the noise, and 8 roundings of the largest element."""
    for i, (one, other) in enumerate(zip(map(np.asarray, found), expected.found, strict=True)):
        truth = wide(other)
        kind = max((case.grain, one.dtype), key=unit)
        noise = seen.compared[i].noise + 8 * unit(kind) * largest(truth) + seen.zero[i]
        (compared,) = compare([one], [truth], [noise], [kind], case.slack)
        if (compared.bad & np.isfinite(truth)).any():
            return words.other_result(
                case, summary, compared, case.name(i), words.described(case, i, case.base)
            )
    return None


def sharded(case: Case, seen: Evidence) -> Finding | None:
    """The gradient of an array that lies on several devices lies as that array does."""
    given = case.subject.given
    if not case.mode.is_reverse or not any(_is_spread(x) for x in given):
        return None
    given = list(map(jnp.asarray, given))
    try:
        ys, back = jax.vjp(functools.partial(case.flat, case.subject.rest), *given)
        found = back(tuple(map(jnp.ones_like, ys)))
    except _ERRORS as error:
        advice = "keep each gradient where its argument is"
        return words.does_not_run(case, "on the devices of its arguments", error, advice)
    for i, (x, x_bar) in enumerate(zip(given, found, strict=True)):
        if not x_bar.sharding.is_equivalent_to(x.sharding, x.ndim):
            return words.other_devices(case, i, x.sharding, x_bar.sharding)
    return None


def _is_spread(x: Any) -> bool:
    return isinstance(x, jax.Array) and len(x.sharding.device_set) > 1


def one_alone(case: Case, seen: Evidence) -> Finding | None:
    """A rule that is told what is perturbed is right too where one argument, or one result, is alone."""
    if not sees_zeros(case.program.jaxpr) or case.traced(case.base).refusal is not None:
        return None
    for what, answer in _partly(case):
        with case.at(case.base):
            (one,) = seen.runner.answers(
                answer, case.subject.rest, [seen.probe], endless=case.traced(case.base).endless
            )
        for i, (found, whole) in enumerate(zip(one.found if one else (), seen.rule[0].found, strict=False)):
            noise = seen.compared[i].noise + 8 * seen.u * largest(wide(whole))
            (compared,) = compare([found], [wide(whole)], [noise], [found.dtype], case.slack, 1e-9)
            if (compared.bad & np.isfinite(compared.truth)).any():
                return words.one_alone(case, f"it is another where {what}", compared, i)
    return None


def _partly(case: Case) -> Iterator[tuple[str, Callable]]:
    """The derivative put together from parts, in which the rest is not perturbed or has no ȳ."""
    places = case.subject.places if len(case.subject.xs) > LEAVES else range(len(case.subject.xs))
    groups = [[i for i, place in enumerate(places) if place == one] for one in dict.fromkeys(places)]
    autodiff, flat = case.mode.autodiff[0], case.flat

    def by_argument(rest: Any, xs: Any, given: Any) -> Any:
        parts = {}
        for group in groups:

            def own(rest: Any, *some: Any, group: Any = group) -> Any:
                return flat(rest, *_replaced(xs, group, some))

            chosen = given if case.mode.is_reverse else [given[i] for i in group]
            _, _, found = case.mode.answer(own, rest, [xs[i] for i in group], chosen, autodiff)
            parts[tuple(group)] = found
        ys = flat(rest, *xs)
        if case.mode.is_reverse:
            return ys, ys, tuple(parts[g][g.index(i)] for i in range(len(xs)) for g in parts if i in g)
        return ys, ys, tuple(map(sum, zip(*parts.values(), strict=True)))

    def by_result(rest: Any, xs: Any, given: Any) -> Any:
        ys = flat(rest, *xs)
        parts = [
            case.mode.answer(lambda rest, *xs, k=k: (flat(rest, *xs)[k],), rest, xs, (given[k],), autodiff)[2]
            for k in range(len(ys))
        ]
        return ys, ys, tuple(map(sum, zip(*parts, strict=True)))

    if len(groups) > 1:
        yield "one argument alone is differentiated", by_argument
    if case.mode.is_reverse and len(case.traced(case.base).ys) > 1:
        yield "one result alone has an upstream gradient", by_result


def _replaced(xs: Any, group: Any, some: Any) -> list[Any]:
    new = dict(zip(group, some, strict=True))
    return [new.get(i, x) for i, x in enumerate(xs)]


CRITERIA: tuple[Criterion, ...] = (
    traced,
    typed,
    integers_have_none,
    ends,
    finite,
    outputs,
    linear,
    derivative,
    derivative_elsewhere,
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

CONTRACT: tuple[Criterion, ...] = (traced, typed, integers_have_none, ends, outputs, eager, vmapped)
"""What a rule owes to JAX, without asking whether its numbers are right."""

LINEARITY: tuple[Criterion, ...] = (ends, linear)
"""What needs no oracle."""


def along(move: Any) -> Criterion:
    """The criterion that the gradient is a slope along one direction."""

    def given(case: Case, seen: Evidence) -> Finding | None:
        (one,) = seen.seen_along([(None, "given", move)])
        return None if one.agrees() else words.off_slope(one, "along the direction given")

    return given
