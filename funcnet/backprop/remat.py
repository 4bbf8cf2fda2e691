"""Rematerialization: `jax.checkpoint` runs forward again on the way back instead of keeping what it computed.

What it keeps are its inputs, and what its policy saves of the forward run: also from within jitted
functions, from each step of a scan and from the branch of a cond that ran. The second run computes the
rest anew, and takes what was saved in the place of what it would compute (Chen et al. 2016, Training Deep
Nets with Sublinear Memory Cost).
"""

import functools
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

from jax import lax

from funcnet import _jax
from funcnet.backprop.activity import Mask
from funcnet.backprop.control import only, shared_slots, switch
from funcnet.backprop.program import evaluate, program
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.sweep import Engine

Policy = Callable[..., Any]

SAVED = _jax.Transparent("saved")
SAVED.run = lambda y, value: [value]
SAVED.def_abstract_eval(lambda y, value: [y])
"""A result, and the value that the first run saved of it: that value, with the gradient of the result."""


def remat(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """The way back through a checkpoint.

    It stands in a checkpoint of its own, so that a second derivative recomputes too, and behind a barrier,
    so that XLA does not find the first run again among common subexpressions.
    """
    policy = eqn.params["policy"]
    first, second, consts, types = _two_runs(*_jax.open_jaxpr(eqn.params["jaxpr"]), policy)
    m, n = len(eqn.invars), len(eqn.outvars)
    plan = engine.plan(second, asked + (False,) * len(types), given)

    def recompute(*operands: Any) -> list[Any]:
        kept, y_bars = operands[: m + len(types)], iter(operands[m + len(types) :])
        _, stashes = plan.forward(consts, kept)
        return plan.backward(stashes, [next(y_bars) if has else None for has in given])

    cotangents = [v.aval for v, has in zip(eqn.outvars, given, strict=True) if has]
    again, sent = program(recompute, *(v.aval for v in eqn.invars), *types, *cotangents)
    prevented = eqn.params["prevent_cse"]
    of_xs = prevented if isinstance(prevented, tuple) else (prevented,) * m
    fenced = (*of_xs, *(any(of_xs),) * (len(again.inputs) - m))
    second_run = _jax.checkpointed(
        [*again.consts, *compress(again.inputs, again.reads)],
        again.eqns,
        [atom for atom in again.results if atom is not None],
        [*[False] * len(again.consts), *compress(fenced, again.reads)],
        policy,
    )

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        results = first(xs)
        kept = [*xs, *results[n:]]
        return results[:n], only(kept, again.reads[: len(kept)])

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        operands = [*stash, *(y_bar for y_bar in y_bars if y_bar is not None)]
        x_bars = iter(second_run(*again.consts.values(), *compress(operands, again.reads)))
        return [next(x_bars) if one else None for one in gives]

    gives = tuple(x_bar is not None for x_bar in sent[:m])
    return Pullback(gives, backward, forward=forward)


def saved(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """The gradient of a saved value belongs to the result that it was saved of."""
    return Pullback((asked[0], False), lambda stash, y_bars: [y_bars[0], None], (False,) * 3)


def _two_runs(
    jaxpr: _jax.Jaxpr, consts: Sequence[Any], policy: Policy | None
) -> tuple[Callable, _jax.Jaxpr, Sequence[Any], list[Any]]:
    """The run that saves, as a function; the one that knows what was saved, and its constants; its types."""
    if policy is None:
        return functools.partial(evaluate, jaxpr, consts), jaxpr, consts, []

    def saving(*xs: Any) -> list[Any]:
        run = Run(policy)
        return [*evaluate(jaxpr, consts, xs, run), *run.saved]

    def knowing(*operands: Any) -> list[Any]:
        xs, values = operands[: len(jaxpr.invars)], operands[len(jaxpr.invars) :]
        return evaluate(jaxpr, consts, xs, Run(policy, values))

    ins, types = [v.aval for v in jaxpr.invars], _types(jaxpr, policy)
    first, _ = program(saving, *ins)
    return first, *_jax.staged(knowing, [*ins, *types], "a checkpoint"), types


class Run:
    """A run of equations that saves what a policy says, or knows what an earlier one has saved.

    Attributes:
        policy: the policy.
        values: what was saved, in order; None in the first run.
        saved: what this run has saved.
    """

    def __init__(self, policy: Policy, values: Sequence[Any] | None = None):
        self.policy, self.values = policy, None if values is None else list(values)
        self.saved: list[Any] = []

    def take(self, n: int) -> list[Any] | None:
        """The next n values, if there are any."""
        if self.values is None:
            return None
        taken, self.values = self.values[:n], self.values[n:]
        return taken

    def __call__(self, eqn: _jax.Equation, xs: Sequence[Any]) -> Sequence[Any]:
        """Run one equation."""
        if eqn.primitive.name == "jit":
            return evaluate(*_jax.called(eqn), xs, self)
        types = _types_of(eqn, self.policy)
        if not types:
            return _jax.bind(eqn, xs)
        if eqn.primitive.name == "scan":
            return self.scan(eqn, xs, len(types))
        if eqn.primitive.name == "cond":
            return self.cond(eqn, xs)
        ys = _jax.bind(eqn, xs)
        known = self.take(len(ys))
        if known is None:
            self.saved += ys
            return ys
        trace = _jax.current_trace()
        pairs = zip(ys, known, eqn.outvars, strict=True)
        return [_jax.emit(trace, SAVED, [y, value], [v.aval], {})[0] for y, value, v in pairs]

    def scan(self, eqn: _jax.Equation, xs: Sequence[Any], n: int) -> list[Any]:
        """A scan, each step of which saves n values."""
        jaxpr, values = _jax.open_jaxpr(eqn.params["jaxpr"])
        consts, carries = _jax.scan_counts(eqn)
        options = {name: eqn.params[name] for name in ("length", "reverse", "unroll")}

        def body(carry: list[Any], step: Any) -> tuple[list[Any], Any]:
            x, known = step
            run = Run(self.policy, known)
            ys = evaluate(jaxpr, values, [*xs[:consts], *carry, *x], run)
            return ys[:carries], (ys[carries:], run.saved)

        init, slices = list(xs[consts : consts + carries]), list(xs[consts + carries :])
        carry, (ys, saved) = lax.scan(body, init, (slices, self.take(n)), **options)
        self.saved += saved
        return [*carry, *ys]

    def cond(self, eqn: _jax.Equation, xs: Sequence[Any]) -> list[Any]:
        """A branch, whose values stand in slots that the branches share."""
        branches = [_jax.open_jaxpr(branch) for branch in eqn.params["branches"]]
        types, slots = shared_slots([_types(jaxpr, self.policy) for jaxpr, _ in branches])

        def branch(k: int, xs: Sequence[Any], known: list[Any] | None) -> list[Any]:
            run = Run(self.policy, None if known is None else [known[i] for i in slots[k]])
            ys = evaluate(*branches[k], xs, run)
            if known is not None:
                return ys
            filled = dict(zip(slots[k], run.saved, strict=True))
            return [*ys, *(filled[i] if i in filled else _jax.zeros(t) for i, t in enumerate(types))]

        results = switch(eqn, xs[0], branch, list(xs[1:]), self.take(len(types)))
        n = len(eqn.outvars)
        self.saved += results[n:]
        return results[:n]


def _types(jaxpr: _jax.Jaxpr, policy: Policy) -> list[Any]:
    """The types of what a policy saves of a program."""
    return [aval for eqn in jaxpr.eqns for aval in _types_of(eqn, policy)]


def _types_of(eqn: _jax.Equation, policy: Policy) -> list[Any]:
    """The types of what a policy saves of an equation."""
    name = eqn.primitive.name
    if name == "jit":
        return _types(_jax.called(eqn)[0], policy)
    if name == "scan":
        of_step = _types(_jax.open_jaxpr(eqn.params["jaxpr"])[0], policy)
        return [aval.update(shape=(eqn.params["length"], *aval.shape)) for aval in of_step]
    if name == "cond":
        branches = [_jax.open_jaxpr(branch)[0] for branch in eqn.params["branches"]]
        return shared_slots([_types(jaxpr, policy) for jaxpr in branches])[0]
    decision = policy(eqn.primitive, *(v.aval for v in eqn.invars), **eqn.params)
    return [v.aval for v in eqn.outvars] if _jax.saves(decision) else []
