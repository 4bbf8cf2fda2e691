"""Loops that end: a program whose `while` loops, all together, may take a given number of turns.

A loop that a user wrote ends at the arguments that it was written for. Beside them, where a check also asks,
it may turn for minutes, or for ever. XLA cannot be interrupted: a thread that waits no longer leaves the
program running, and keeps Python from exiting; a forked process deadlocks in XLA's threads; a spawned one
imports JAX for two seconds, and has no Python function to call back. But a program is data here. Before it is
compiled each of its loops gets one more carried number, the turns that are left:

    while more(x) and left > 0:    x, left = body(x), left − 1

The number goes in as an argument and comes out at the end, so nothing is compiled anew for more turns, and
the same turns are counted on any machine. What ends in 0 has not ended, and its result is not read. A loop in
a loop takes from the same number. Loops with a fixed count take it along.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet import _jax
from funcnet.backprop.control import switch
from funcnet.backprop.program import CALLS, evaluate
from funcnet.bounded.callbacks import CALLBACKS, Patience


def is_endless(jaxpr: _jax.Jaxpr) -> bool:
    """Whether nothing in the program says when it ends."""
    return any(eqn.primitive.name in ("while", *CALLBACKS) for eqn in _jax.all_equations(jaxpr))


def metered(function: Callable, patience: Patience) -> Callable[..., tuple[Any, Any]]:
    """`(left, *args) -> (result, left)`: the function, within the turns that are left."""

    def run(left: Any, *args: Any) -> tuple[Any, Any]:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        left, ys = _run(patience, left, closed, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), ys), left

    return run


def _run(patience: Patience, left: Any, program: Any, xs: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The turns that a program leaves, and its outputs."""
    inner = functools.partial(_run, patience)

    def step(eqn: _jax.Equation, xs: Sequence[Any]) -> Sequence[Any]:
        nonlocal left
        name = eqn.primitive.name
        if name in CALLBACKS:
            return patience.call(eqn, xs)
        counted = _call if name in CALLS else _LOOPS.get(name)
        if counted is None or not (
            name == "while" or any(is_endless(part) for part, _ in _jax.programs(eqn))
        ):
            return _jax.bind(eqn, xs)
        left, ys = counted(inner, left, eqn, xs)
        return ys

    ys = evaluate(*_jax.open_jaxpr(program), xs, step)
    return left, ys


def _call(inner: Callable, left: Any, eqn: _jax.Equation, xs: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    return inner(left, _jax.closed(*_jax.called(eqn)), xs)


def _while(inner: Callable, left: Any, eqn: _jax.Equation, xs: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    params = eqn.params
    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]

    def more(carry: Sequence[Any]) -> Any:
        (one,) = evaluate(*_jax.open_jaxpr(params["cond_jaxpr"]), [*xs[:first], *carry])
        return one

    def goes_on(state: Any) -> Any:
        left, carry = state
        return more(carry).any() & (left > 0)

    def turn(state: Any) -> Any:
        left, carry = state
        left, ys = inner(left - 1, params["body_jaxpr"], [*xs[first:second], *carry])
        return left, [_where(more(carry), y, x) for y, x in zip(ys, carry, strict=True)]

    return lax.while_loop(goes_on, turn, (left, list(xs[second:])))


def _scan(inner: Callable, left: Any, eqn: _jax.Equation, xs: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    params = eqn.params
    consts, carried = _jax.scan_counts(eqn)

    def turn(state: Any, x: Any) -> Any:
        left, carry = state
        left, ys = inner(left, params["jaxpr"], [*xs[:consts], *carry, *x])
        return (left, ys[:carried]), ys[carried:]

    start = left, list(xs[consts : consts + carried])
    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    (left, carry), ys = lax.scan(turn, start, list(xs[consts + carried :]), **options)
    return left, [*carry, *ys]


def _cond(inner: Callable, left: Any, eqn: _jax.Equation, xs: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    branches = eqn.params["branches"]
    left, ys = switch(eqn, xs[0], lambda k, left, *xs: [*inner(left, branches[k], xs)], left, *xs[1:])
    return left, ys


def _solve(inner: Callable, left: Any, eqn: _jax.Equation, xs: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """Its solver is run as it is: nobody differentiates it any more."""
    lengths, programs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    start = lengths.matvec + lengths.vecmat
    consts, b = xs[start : start + lengths.solve], xs[sum(lengths) :]
    return inner(left, programs.solve, [*consts, *b])


_LOOPS = {"while": _while, "scan": _scan, "cond": _cond, "custom_linear_solve": _solve}


def _where(more: Any, y: Any, x: Any) -> Any:
    """Under vmap each example stands still once its own loop has ended."""
    return y if more.ndim == 0 else jnp.where(lax.expand_dims(more, range(more.ndim, y.ndim)), y, x)
