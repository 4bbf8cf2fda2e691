"""Loops that end: a program whose `while` loops, all together, may take a given number of turns.

A loop that a user wrote ends at the arguments that it was written for. A check also asks beside them, and
there it may turn for minutes, or for ever. XLA cannot be interrupted: a thread that waits no longer leaves
the program running, and keeps Python from exiting; a forked process deadlocks in XLA's threads; a spawned
one imports JAX for two seconds, and has no Python function to call back. But a program is data here. Before
it is compiled each of its loops gets one more carried number, the turns that are left:

    while more(x) and left > 0:    x, left = body(x), left − 1

The number goes in as an argument and comes out at the end, so nothing is compiled anew for more turns, and
the same turns are counted on any machine. What ends in 0 has not ended, and its result is not read. A loop in
a loop takes from the same number. Loops with a fixed count take it along.

Beside loops only Python's own code can go on for ever: a callback. It runs in a thread that is waited for as
long as the check may take; then it gives NaN, and is told to stop where it stands.
"""

import ctypes
import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet import _jax
from funcnet.backprop.program import CALLS, evaluate
from funcnet.check.primal import equations

LOST = 2
"""After so many callbacks that do not come back the others in a program are not asked."""

_CALLBACKS = ("pure_callback", "io_callback")


def is_endless(jaxpr: _jax.Jaxpr) -> bool:
    """Whether nothing in the program says when it ends."""
    return any(eqn.primitive.name in ("while", *_CALLBACKS) for eqn in equations(jaxpr))


def metered(function: Callable, patience: "Patience") -> Callable[..., tuple[Any, Any]]:
    """`(left, *args) -> (result, left)`: the function, within the turns that are left."""

    def run(left: Any, *args: Any) -> tuple[Any, Any]:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        left, ys = _run(patience, left, closed, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), ys), left

    return run


class _Stopped(BaseException):
    """Raised in a callback that is not waited for any more."""


class Patience:
    """How long to wait for what need not end: so many seconds for a whole program.

    It knows the slowest callback that did end, how many were lost, and the first exception of one.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.slowest = 0.0
        self.lost = 0
        self.refusal: Exception | None = None

    @property
    def of_a_callback(self) -> float:
        """One that takes a hundred times as long as the others, and a second at least, does not end."""
        return min(self.seconds, max(1.0, 100 * self.slowest)) if self.slowest else self.seconds


def _run(patience: Patience, left: Any, program: Any, xs: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The turns that a program leaves, and its outputs."""
    inner = functools.partial(_run, patience)

    def step(eqn: _jax.Equation, xs: Sequence[Any]) -> Sequence[Any]:
        nonlocal left
        name = eqn.primitive.name
        if name in _CALLBACKS:
            return _guarded(eqn, patience, xs)
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
    index, *operands = xs
    branches = [lambda left, *xs, branch=branch: inner(left, branch, xs) for branch in eqn.params["branches"]]
    return lax.switch(index.astype(jnp.int32), branches, left, *operands)


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


def _guarded(eqn: _jax.Equation, patience: Patience, xs: Sequence[Any]) -> Sequence[Any]:
    function, avals = eqn.params["callback"], [v.aval for v in eqn.outvars]
    in_x64 = jax.enable_x64(_jax.is_in_float64())  # which each thread has for itself

    def guarded(*args: Any) -> list[Any]:
        if patience.lost >= LOST:
            return [_nothing(aval) for aval in avals]
        found: list[Any] = []
        thread = threading.Thread(target=_answer, args=(found, in_x64(function), args), daemon=True)
        begin = time.monotonic()
        thread.start()
        thread.join(patience.of_a_callback)
        if thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Stopped)
            )
            patience.lost += 1
            return [_nothing(aval) for aval in avals]
        patience.slowest = max(patience.slowest, time.monotonic() - begin)
        (answer,) = found
        if isinstance(answer, Exception):
            patience.refusal = patience.refusal or answer
            return [_nothing(aval) for aval in avals]
        return answer

    return _jax.bind(eqn.replace(params={**eqn.params, "callback": guarded}), xs)


def _answer(found: list[Any], function: Callable, args: Sequence[Any]) -> None:
    try:
        found.append(function(*args))
    except _Stopped:
        return
    except Exception as error:  # it refuses the point: the function is not one there
        found.append(error)


def _nothing(aval: Any) -> Any:
    return np.full(aval.shape, np.nan if jnp.issubdtype(aval.dtype, jnp.inexact) else 0, aval.dtype)
