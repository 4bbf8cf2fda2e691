"""One run of a program that makes every value and every gradient of a picture.

Operation by operation, the first of each kind is compiled by itself: seconds for a net of two layers. One
program for all of them takes half of that, but a compiler fuses and rewrites what it sees together, and the
last bits change. So nothing is fused here, and behind each operation stands a barrier: the numbers are those
of one operation after the other.

Where the same operations come again and again, as in a deep net, that is the faster way, and it is taken.
"""

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.core
from jax import lax

from funcnet import _jax
from funcnet._compiled import compiled_once
from funcnet.backprop.program import Run, evaluate

UNFUSED = (("xla_disable_hlo_passes", "fusion,cpu-instruction-fusion,instruction-fusion"),)
"""What XLA is told: the names of its passes that fuse."""

PART = "a_part_of_a_picture"
"""What a function is called in a program that `part` has made."""

REPEATS = 15
"""An operation compiled by itself takes as long as so many in one program."""


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Python's collector of circles rests: it would look again and again through all that a picture keeps."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def run_once(function: Callable[..., Sequence[Any]], *xs: Any) -> list[Any]:
    """The results of a function of arrays without effects."""
    jaxpr, consts = _jax.open_jaxpr(jax.make_jaxpr(function)(*xs))
    eqns = list(equations(jaxpr))
    kinds = {(eqn.primitive.name, *(atom.aval for atom in eqn.invars)) for eqn in eqns}
    if len(eqns) > REPEATS * len(kinds):
        return evaluate(jaxpr, consts, xs, by_kind({}))
    return unfused(jaxpr, consts, xs)(*consts, *xs)


def unfused(jaxpr: _jax.Jaxpr, consts: Sequence[Any], xs: Sequence[Any]) -> Any:
    """A program for arrays like these, compiled so that it runs one operation after the other.

    A cell of a notebook that is run again compiles nothing.
    """

    def one_by_one(*operands: Any) -> list[Any]:
        return evaluate(jaxpr, operands[: len(consts)], operands[len(consts) :], fenced)

    return compiled_once(jax.jit(one_by_one, keep_unused=True).lower(*consts, *xs), UNFUSED)


def by_kind(known: dict[Any, Any]) -> Run:
    """How an equation is run where its kind comes again and again: a part of a picture is compiled once."""

    def run(eqn: _jax.Equation, operands: Sequence[Any]) -> Sequence[Any]:
        if eqn.primitive.name != "jit" or eqn.params["name"] != PART:
            return _jax.again(eqn, operands)
        jaxpr, consts = _jax.open_jaxpr(eqn.params["jaxpr"])
        if jaxpr not in known:
            known[jaxpr] = unfused(jaxpr, consts, operands)
        return known[jaxpr](*consts, *operands)

    return run


def part(function: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
    """A function that is traced and compiled once for all of a picture's arrays that are alike."""
    function.__name__ = PART
    jitted, known = jax.jit(function), {}

    def run(*xs: Any) -> Sequence[Any]:
        if any(isinstance(x, jax.core.Tracer) for x in xs):
            return jitted(*xs)
        types = tuple(map(_jax.type_of, xs))
        if types not in known:
            jaxpr, consts = _jax.open_jaxpr(jax.make_jaxpr(function)(*xs))
            known[types] = functools.partial(unfused(jaxpr, consts, xs), *consts)
        return known[types](*xs)

    return run


def equations(jaxpr: _jax.Jaxpr) -> Iterator[_jax.Equation]:
    """The equations of a program, and of the functions that it calls."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "jit":
            yield from equations(_jax.open_jaxpr(eqn.params["jaxpr"])[0])
        else:
            yield eqn


def fenced(eqn: _jax.Equation, operands: Sequence[Any]) -> Sequence[Any]:
    """Run an equation so that the compiler rewrites nothing across it; a call, equation by equation."""
    if eqn.primitive.name == "jit":
        return evaluate(*_jax.open_jaxpr(eqn.params["jaxpr"]), operands, fenced)
    outputs = _jax.again(eqn, operands)
    return lax.optimization_barrier(outputs) if outputs else outputs
