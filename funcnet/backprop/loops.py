"""Loops: scan and while.

A scan runs a body T times, carry_{t+1}, y_t = body(consts, carry_t, x_t). Its way back is a scan in
the other direction over what the bodies put aside, which carries two things: the cotangent of the
carry, and the sum of what each step sends back to the constants.

A while loop does not say beforehand how often it runs, so there is no place to stack its stash. The
forward sweep counts the steps; the way back runs them again from checkpoints. With c places for a
carry, one of them taken by the first, ℓ steps are reversed by placing a checkpoint after the first
min(B(c + r − 1, c), ℓ − B(c + r − 2, c − 1)) of them, reversing the rest with c − 1 places, and then the
first part in the same way; B(n, k) is the binomial coefficient and r the smallest number with
B(c + r, c) ≥ ℓ. To come back to every step takes r·ℓ − B(c + r, c + 1) runs of the body, at most r of each
step, which no schedule with c places betters (Griewank and Walther 2000, Algorithm 799: Revolve,
proposition 1). With c = 32 places, r is 1 up to 33 steps, 2 up to 561, 3 up to 6545, 4 up to 58,905 and
at most 11 for any count of 32 bits: extra memory for 32 carries, however long the loop.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet import _jax
from funcnet.backprop.activity import Mask, in_any_step, is_in
from funcnet.backprop.alive import Lives, mask_of, of_mask, parted
from funcnet.backprop.control import only
from funcnet.backprop.program import Program
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.staging import Staged, stage
from funcnet.backprop.sweep import Engine, Plan

PLACES = 32
_LENGTHS = np.array(
    [[min(math.comb(c + r, c), 2**31 - 1) for r in range(12)] for c in range(PLACES + 1)], np.int32
)


def scan(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A scan: forward with its stash stacked, backward in the other direction."""
    jaxpr, values = _jax.open_jaxpr(eqn.params["jaxpr"])
    jaxpr = _jax.without_local_refs(jaxpr)
    n, carries = _jax.scan_counts(eqn)
    options = {name: eqn.params[name] for name in ("length", "reverse", "unroll")}
    plan, given = through_the_loop(engine, jaxpr, asked, given, slice(n, n + carries))
    held = [True] * (len(values) + n) + [False] * carries + [True] * (len(eqn.invars) - n - carries)
    staged = stage(plan, given, held)
    fixed = _invariant(staged, len(values) + n)
    silent = dataclasses.replace(staged.ahead, eqns=[one for one in staged.ahead.eqns if not one.effects])
    carried = given[:carries]
    summed = [(v.aval, i) for i, v in enumerate(jaxpr.invars[:n]) if staged.gives[i]]

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        consts, init, slices = [*values, *xs[:n]], xs[n : n + carries], xs[n + carries :]
        once = silent.only([False] * len(eqn.outvars) + fixed)([*consts, *init, *slices])
        step = staged.ahead.only([True] * len(eqn.outvars) + [not one for one in fixed])

        def body(carry: list[Any], x: list[Any]) -> tuple[list[Any], Any]:
            results = step([*consts, *carry, *x])
            return results[:carries], results[carries:]

        final, stacked = lax.scan(body, list(init), list(slices), **options)
        ys = len(eqn.outvars) - carries
        reads = staged.reads
        kept = only(xs, reads[len(values) :])
        return [*final, *stacked[:ys]], (kept, once[len(eqn.outvars) :], stacked[ys:])

    def masked(stash: Any, y_bars: Sequence[Any], lives: Lives) -> tuple[list[Any], Lives]:
        xs, once, stacked = stash
        consts, slices = [*values, *xs[:n]], xs[n + carries :]
        last = [
            (_jax.zeros(v.aval) if bar is None else bar) if one else None
            for bar, v, one in zip(y_bars[:carries], jaxpr.invars[n : n + carries], carried, strict=True)
        ]
        masks = [*[None] * carries, *map(mask_of, only(lives[carries:], given[carries:]))]
        each = [mask if mask is None else _jax.with_shape(jax.typeof(mask), mask.shape[1:]) for mask in masks]
        parts = staged.alive(each)

        def body(bars: Any, step: Any) -> tuple[Any, Any]:
            carry_bars, sums, anywhere = bars
            slices, stacked, y_bars, masks = step
            extras = [a if one else b for a, b, one in zip(once, stacked, fixed, strict=True)]
            inputs = [*consts, *[None] * carries, *slices]
            x_bars, sent = staged.backward_in_parts(inputs, extras, [*carry_bars, *y_bars], masks)
            sums = [_jax.add(total, x_bars[i]) for total, (_, i) in zip(sums, summed, strict=True)]
            anywhere = [_either(one, mask) for one, mask in zip(anywhere, sent[:n], strict=True)]
            before = like(carry_bars, x_bars[n : n + carries])
            return (before, sums, anywhere), (x_bars[n + carries :], sent[n + carries :])

        zeros = [_jax.zeros(aval) for aval, _ in summed]
        nowhere = [
            _jax.zeros(_jax.bools(v.aval)) if one else None
            for v, one in zip(jaxpr.invars[:n], parts[:n], strict=True)
        ]
        back = {**options, "reverse": not options["reverse"]}
        steps = (slices, stacked, only(y_bars[carries:], given[carries:]), masks)
        (first, sums, anywhere), (x_bars, sent) = lax.scan(body, (last, zeros, nowhere), steps, **back)
        totals = dict(zip((i for _, i in summed), sums, strict=True))
        x_bars = [*(totals.get(i) for i in range(n)), *first, *x_bars]
        sent = list(map(of_mask, [*anywhere, *[None] * carries, *sent]))
        return parted(eqn, y_bars, lives, x_bars, sent)

    gives = (*staged.gives[:n], *carried, *staged.gives[n + carries :])
    return dataclasses.replace(_for_those_asked(gives, asked, forward, masked), always=True)


def while_loop(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A while loop: count the steps forward; reverse them from checkpoints."""
    goes_on, condition_values = _runnable(eqn.params["cond_jaxpr"])
    body, values = _runnable(eqn.params["body_jaxpr"])
    if goes_on.results[0].aval.shape:
        return _while_any(engine, eqn, given, asked)
    m, n = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    jaxpr = _jax.without_local_refs(_jax.open_jaxpr(eqn.params["body_jaxpr"])[0])
    plan, given = through_the_loop(engine, jaxpr, asked[m:], given, slice(n, None))
    summed = [i for i in range(n) if plan.gives[i]]

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        test, consts, init = [*condition_values, *xs[:m]], [*values, *xs[m : m + n]], xs[m + n :]
        ys, steps = lax.while_loop(
            lambda state: goes_on([*test, *state[0]])[0],
            lambda state: (body([*consts, *state[0]]), state[1] + 1),
            (list(init), jnp.int32(0)),
        )
        return ys, (list(xs[m:]), steps)

    def masked(stash: Any, y_bars: Sequence[Any], lives: Lives) -> tuple[list[Any], Lives]:
        xs, steps = stash
        consts, init = xs[:n], xs[n:]

        def step_back(carry: Sequence[Any], bars: Any) -> Any:
            carry_bars, sums = bars
            _, stashes = plan.forward(values, [*consts, *carry])
            x_bars = plan.backward(stashes, carry_bars)
            return like(carry_bars, x_bars[n:]), [
                total if x_bars[i] is None else _jax.add(total, x_bars[i])
                for total, i in zip(sums, summed, strict=True)
            ]

        last = [
            (_jax.zeros(v.aval) if bar is None else bar) if one else None
            for bar, v, one in zip(y_bars, eqn.outvars, given, strict=True)
        ]
        zeros = [_jax.zeros(jaxpr.invars[i].aval) for i in summed]
        first, sums = reverse(
            lambda carry: body([*values, *consts, *carry]), step_back, init, steps, (last, zeros)
        )
        totals = dict(zip(summed, sums, strict=True))
        x_bars = [*[None] * m, *(totals.get(i) for i in range(n)), *first]
        return parted(eqn, y_bars, lives, x_bars, [None] * len(x_bars))

    gives = ((False,) * m) + (*plan.gives[:n], *given)
    return _for_those_asked(gives, asked, forward, masked)


def _while_any(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A while loop under vmap whose examples stop at different steps: it runs while any of them goes on.

    Its condition is an array with an entry for each example, and an example that has stopped keeps its carry.
    """
    goes_on, test_values = _runnable(eqn.params["cond_jaxpr"])
    body, values = _runnable(eqn.params["body_jaxpr"])
    m, n = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]

    def loop(*xs: Any) -> list[Any]:
        test, consts, init = [*test_values, *xs[:m]], [*values, *xs[m : m + n]], list(xs[m + n :])

        def of_examples(carry: Sequence[Any]) -> Any:
            return goes_on([*test, *carry])[0]

        def step(carry: Sequence[Any]) -> list[Any]:
            on = of_examples(carry)
            return [
                lax.select(lax.broadcast_in_dim(on, new.shape, range(on.ndim)), new, old)
                for new, old in zip(body([*consts, *carry]), carry, strict=True)
            ]

        return lax.while_loop(lambda carry: jnp.any(of_examples(carry)), step, init)

    jaxpr, consts = _jax.open_jaxpr(jax.make_jaxpr(loop)(*(v.aval for v in eqn.invars)))
    plan = engine.kept_plan(jaxpr, asked, given)
    ahead = functools.partial(plan.forward, consts)
    return Pullback(plan.gives, plan.backward, forward=ahead, masked=plan.masked_backward)


def _runnable(program: Any) -> tuple[Program, Sequence[Any]]:
    """A sub-program as a function of [*consts, *xs], and those consts."""
    jaxpr, consts = _jax.open_jaxpr(program)
    return Program([*jaxpr.constvars, *jaxpr.invars], {}, jaxpr.eqns, jaxpr.outvars, ()), consts


def reverse(step: Callable, step_back: Callable, init: Sequence[Any], steps: Any, bars: Any) -> Any:
    """Reverse a chain of steps whose number is known at run time only, with `PLACES` checkpoints.

    Args:
        step: from one carry to the next.
        step_back: from the carry before a step and the cotangents after it to the cotangents before it.
        init: the first carry.
        steps: how many steps there were.
        bars: the cotangents after the last step.
    """
    places = jax.tree.map(lambda x: jnp.broadcast_to(x, (PLACES, *jnp.shape(x))), list(init))

    def advance_or_reverse(state: Any) -> Any:
        places, at, top, end, bars = state
        length = end - at[top]
        ahead = _ahead(length, PLACES - top)
        carry = [lax.dynamic_index_in_dim(place, top, keepdims=False) for place in places]
        carry = lax.fori_loop(0, ahead, lambda _, carry: step(carry), carry)
        turn = ahead == length - 1

        def turn_back(_: None) -> Any:
            done = at[top] == end - 1
            return places, at, lax.select(done & (top > 0), top - 1, top), end - 1, step_back(carry, bars)

        def put(_: None) -> Any:
            above = top + 1
            put_one = lambda place, x: lax.dynamic_update_index_in_dim(place, x, above, 0)  # noqa: E731
            return [*map(put_one, places, carry)], at.at[above].set(at[top] + ahead), above, end, bars

        return lax.cond(turn, turn_back, put, None)

    start = (places, jnp.zeros(PLACES, jnp.int32), jnp.int32(0), steps, bars)
    return lax.while_loop(lambda state: state[3] > 0, advance_or_reverse, start)[-1]


def _ahead(length: Any, free: Any) -> Any:
    """How far from a checkpoint to place the next one, or to the last step if no place is left for it.

    Args:
        length: the steps from the checkpoint to the end of the chain.
        free: the places, with the checkpoint's own.
    """
    lengths = jnp.asarray(_LENGTHS)
    again = jnp.argmax(lengths[free] >= length)
    before = jnp.maximum(again - 1, 0)
    return jnp.minimum(lengths[free, before], length - lengths[free - 1, before])


def through_the_loop(
    engine: Engine, jaxpr: _jax.Jaxpr, asked: Mask, given: Mask, carry: slice
) -> tuple[Plan, Mask]:
    """The plan of a loop's body, and which of its outputs have a cotangent.

    A carry is on a path if it is so in any step: what one step sends back to its carry is given to the step
    before it.
    """
    ins, reached = in_any_step(jaxpr, asked, engine.rules, carry)
    outs = [has and one for has, one in zip(given, reached, strict=True)]
    while True:
        plan = engine.kept_plan(jaxpr, ins, tuple(outs))
        sent = plan.gives[carry]
        merged = [has or one for has, one in zip(outs, sent, strict=False)]
        if merged == outs[: len(merged)]:
            return plan, tuple(outs)
        outs[: len(merged)] = merged


def _for_those_asked(gives: Mask, asked: Mask, forward: Callable, masked: Callable) -> Pullback:
    """The pullback without the cotangents of first carries that only later steps make depend on an input."""
    gives = tuple(has and one for has, one in zip(gives, asked, strict=True))

    def run(stash: Any, y_bars: Sequence[Any], lives: Lives) -> tuple[list[Any], Lives]:
        x_bars, sent = masked(stash, y_bars, lives)
        return only(x_bars, gives), only(sent, gives)

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        return run(stash, y_bars, [None] * len(y_bars))[0]

    return Pullback(gives, backward, forward=forward, masked=run)


def _either(one: Any, mask: Any) -> Any:
    return None if one is None else one | mask


def _invariant(staged: Staged, consts: int) -> list[bool]:
    """Which extras of a loop's body are the same in every step: they depend on its constants alone."""
    varying = set(staged.ahead.inputs[consts:])
    for eqn in staged.ahead.eqns:
        if eqn.effects or any(is_in(varying, atom) for atom in eqn.invars):
            varying.update(eqn.outvars)
    return [v not in varying for v in staged.extras]


def like(carry_bars: Sequence[Any], x_bars: Sequence[Any]) -> list[Any]:
    """The cotangents of the carry before a step, as dense and as strongly typed as those after it."""
    return [
        None if before is None else jnp.zeros_like(before) if x_bar is None else _as_strong(x_bar, before)
        for before, x_bar in zip(carry_bars, x_bars, strict=True)
    ]


def _as_strong(x: Any, like: Any) -> Any:
    return x if jax.typeof(like).weak_type else lax.convert_element_type(x, like.dtype)
