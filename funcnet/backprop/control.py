"""Equations that call programs: jit and its kin, cond and switch, remat."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax

from funcnet import _jax
from funcnet.backprop.activity import Mask
from funcnet.backprop.program import Program, evaluate, program
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.staging import Staged, stage
from funcnet.backprop.sweep import Engine, Plan

FEW = 4
"""Up to so many equations a program costs less to trace inlined than as a call."""


def call(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A called program: both sweeps over its own equations.

    They are compiled, once for each program, as the call itself would have been; under an outer jit
    that saves tracing them for each call. There a program of a few equations is inlined.
    """
    jaxpr, consts = _jax.called(eqn)
    plan = engine.kept_plan(jaxpr, asked, given)
    if _jax.under_jit() and len(jaxpr.eqns) <= FEW:
        return Pullback(plan.gives, plan.backward, forward=lambda xs: plan.forward(consts, xs))
    staged, ahead, back = _compiled(plan, given)

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        inputs = [*consts, *xs]
        ys, extras = ahead(inputs)
        return ys, (only(inputs, staged.reads), extras)

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        return back(*stash, list(y_bars))

    return Pullback(staged.gives, backward, forward=forward)


def written_out(function: Callable) -> Callable[[Engine, _jax.Equation, Mask, Mask], Pullback]:
    """An equation that is walked back through what `function` writes it out as."""

    def pullback(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        run = jax.jit(functools.partial(function, **_jax.parameters(eqn)))
        (again,) = jax.make_jaxpr(run)(*(v.aval for v in eqn.invars)).eqns
        return call(engine, again, given, asked)

    return pullback


@functools.lru_cache(maxsize=512)
def _compiled(plan: Plan, given: Mask) -> tuple[Staged, Callable, Callable]:
    """The two sweeps of a plan as compiled functions."""
    staged = stage(plan, given)
    return staged, jax.jit(staged.forward), jax.jit(staged.backward)


def cond(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """cond and switch: the branch that ran is the branch that runs back.

    Each branch fills the slots that its stash needs; slots of the same type are shared by the
    branches, so that the switch brings out no more than the largest of them.
    """
    branches = [_jax.open_jaxpr(branch) for branch in eqn.params["branches"]]
    staged = [stage(engine.kept_plan(jaxpr, asked[1:], given), given) for jaxpr, _ in branches]
    types, slots = _shared_slots([[v.aval for v in one.extras] for one in staged])
    gives = tuple(map(any, zip(*(one.gives for one in staged), strict=True)))
    consts = [len(values) for _, values in branches]
    reads = tuple(map(any, zip(*(one.reads[n:] for one, n in zip(staged, consts, strict=True)), strict=True)))

    def ahead(k: int, xs: Sequence[Any]) -> list[Any]:
        ys, extras = staged[k].forward([*branches[k][1], *xs])
        filled = dict(zip(slots[k], extras, strict=True))
        return [*ys, *(filled[i] if i in filled else _jax.zeros(t) for i, t in enumerate(types))]

    def back(k: int, xs: Sequence[Any], extras: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
        x_bars = staged[k].backward([*branches[k][1], *xs], [extras[i] for i in slots[k]], y_bars)
        atoms = zip(x_bars, eqn.invars[1:], gives, strict=True)
        return [_jax.zeros(v.aval) if x_bar is None else x_bar for x_bar, v, one in atoms if one]

    def forward(inputs: Sequence[Any]) -> tuple[list[Any], Any]:
        which, *xs = inputs
        results = _switch(which, ahead, len(branches), xs)
        return results[: len(given)], (which, only(xs, reads), results[len(given) :])

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        which, xs, extras = stash
        x_bars = iter(_switch(which, back, len(branches), xs, extras, list(y_bars)))
        return [None, *(next(x_bars) if one else None for one in gives)]

    return Pullback((False, *gives), backward, forward=forward)


def _switch(which: Any, branch: Callable[..., list[Any]], n: int, *operands: Any) -> list[Any]:
    """Run branch number `which` of n."""
    branches = [functools.partial(branch, k) for k in range(n)]
    if n == 2:
        return lax.cond(lax.ne(which, lax.full_like(which, 0)), branches[1], branches[0], *operands)
    return lax.switch(which, branches, *operands)


def _shared_slots(needs: Sequence[Sequence[Any]]) -> tuple[list[Any], list[list[int]]]:
    """The types of as many slots as the neediest branch has for each type; each branch's own slots."""
    types: list[Any] = []
    slots = []
    for need in needs:
        free = list(range(len(types)))
        own = []
        for aval in need:
            slot = next((i for i in free if types[i] == aval), None)
            if slot is None:
                slot = len(types)
                types.append(aval)
            else:
                free.remove(slot)
            own.append(slot)
        slots.append(own)
    return types, slots


def remat(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """`jax.checkpoint`: keep the inputs and what its policy saves, and run forward again on the way back.

    The way back stands in a `jax.checkpoint` of its own, so that a second derivative recomputes too, and
    behind a barrier, so that XLA does not find the first run again among common subexpressions.
    """
    policy = eqn.params["policy"]
    jaxpr, consts = _jax.open_jaxpr(eqn.params["jaxpr"])
    if policy is not None:
        jaxpr, consts = _jax.open_jaxpr(inlined(jaxpr, consts))
    saved = _saved(jaxpr, policy)
    plan = engine.plan(jaxpr, asked, given)
    m = len(jaxpr.invars)

    def recompute(*operands: Any) -> list[Any]:
        xs, known, y_bars = operands[:m], operands[m : m + len(saved)], iter(operands[m + len(saved) :])
        _, stashes = plan.forward(consts, xs, dict(zip(saved, known, strict=True)))
        return plan.backward(stashes, [next(y_bars) if has else None for has in given])

    cotangents = [v.aval for v, has in zip(eqn.outvars, given, strict=True) if has]
    again, sent = program(recompute, *(v.aval for v in (*jaxpr.invars, *saved)), *cotangents)
    run = Program([*jaxpr.constvars, *jaxpr.invars], {}, jaxpr.eqns, [*jaxpr.outvars, *saved], ())

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        values = run([*consts, *xs])
        kept = [*xs, *values[len(given) :]]
        return values[: len(given)], only(kept, again.reads[: len(kept)])

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        operands = [*stash, *(y_bar for y_bar in y_bars if y_bar is not None)]

        @functools.partial(jax.checkpoint, prevent_cse=False, policy=policy)
        def behind_a_barrier(operands: Any) -> list[Any]:
            return again(lax.optimization_barrier(operands) if eqn.params["prevent_cse"] else operands)

        x_bars = iter(behind_a_barrier(only(operands, again.reads)))
        return [None if x_bar is None else next(x_bars) for x_bar in sent]

    return Pullback(tuple(x_bar is not None for x_bar in sent), backward, forward=forward)


def inlined(jaxpr: _jax.Jaxpr, consts: Sequence[Any]) -> Any:
    """The program with the bodies of its jitted calls in their place."""

    def run(eqn: _jax.Equation, xs: Sequence[Any]) -> list[Any]:
        return evaluate(*_jax.called(eqn), xs, run) if eqn.primitive.name == "jit" else _jax.bind(eqn, xs)

    return jax.make_jaxpr(lambda *xs: evaluate(jaxpr, consts, xs, run))(*(v.aval for v in jaxpr.invars))


def _saved(jaxpr: _jax.Jaxpr, policy: Callable | None) -> list[_jax.Var]:
    """The variables that a policy saves from the forward run."""
    if policy is None:
        return []
    decisions = [policy(eqn.primitive, *(v.aval for v in eqn.invars), **eqn.params) for eqn in jaxpr.eqns]
    return [
        v
        for eqn, decision in zip(jaxpr.eqns, decisions, strict=True)
        if _jax.saves(decision)
        for v in eqn.outvars
    ]


def only(values: Sequence[Any], reads: Sequence[bool]) -> list[Any]:
    """These values, with None in place of those that nobody reads."""
    return [value if one else None for value, one in zip(values, reads, strict=True)]
