"""A segment: a run of equations that keeps little and runs again on the way back.

Its first run keeps the values that the plan says, its second starts from those and from its inputs, and
makes the rest of what its rules read (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost).
Segments may stand in segments: what the second run of one makes is then made in turn by the second runs of
those in it.

The second run must be tied to the way back. XLA finds common subexpressions, and with two runs alike it
would keep the results of the first; nor may the second start before its turn, or all of them would be there
at once. So one operand of each equation that starts it is x′ = select(t = t or t ≠ t, x, 0), where t is an
element of each cotangent that comes: x′ is x, for NaN too, but XLA cannot know it before they are there. The
smallest operand will do: of x·w the weights, of h + b the bias.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from funcnet import _jax
from funcnet.backprop.activity import Mask, is_in
from funcnet.backprop.alive import Lives
from funcnet.backprop.control import only
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.sweep import Engine, Plan
from funcnet.backprop.user_rules import ruled


def _run(*xs: Any, jaxpr: _jax.Jaxpr, kept: Sequence[_jax.Var]) -> list[Any]:
    return _first_run(jaxpr, ()).forward((), xs)[0]


SEGMENT = _jax.Transparent("segment")
SEGMENT.run = _run
SEGMENT.def_abstract_eval(lambda *xs, jaxpr, kept: [v.aval for v in jaxpr.outvars])
"""A run of equations that runs again on the way back; `kept` are the variables whose values it keeps."""


def segment_of(
    eqns: Sequence[_jax.Equation], inputs: Sequence[_jax.Var], outputs: Sequence[_jax.Var], kept: Any
) -> _jax.Equation:
    """These equations as a segment.

    Args:
        eqns: the equations.
        inputs: what they read of others.
        outputs: what others read of them.
        kept: what to keep between the two runs, beside the inputs that the second reads.
    """
    jaxpr = _jax.part(eqns, inputs, outputs, "a segment")
    return eqns[0].replace(
        primitive=SEGMENT,
        invars=list(inputs),
        outvars=list(outputs),
        params={"jaxpr": jaxpr, "kept": tuple(kept)},
        effects=jaxpr.effects,
    )


def segment(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """The way back through a segment: its second run, and the way back through that."""
    jaxpr, kept = eqn.params["jaxpr"], eqn.params["kept"]
    plan = engine.plan(jaxpr, asked, given, (False,) * len(given), kept, as_written=True)
    first = _first_run(jaxpr, kept)
    n, m = len(jaxpr.outvars), len(jaxpr.invars)
    reads = [v in plan.needed for v in jaxpr.invars]
    starts = starting_operands(plan)
    ties = [v in starts for v in (*jaxpr.invars, *kept)]
    plan = dataclasses.replace(plan, pullbacks={i: _late(plan, i) for i in plan.pullbacks})

    def forward(xs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        results, _ = first.forward((), xs)
        return results[:n], [*only(xs, reads), *results[n:]]

    def masked(stash: Sequence[Any], y_bars: Sequence[Any], lives: Lives) -> tuple[list[Any], Lives]:
        values = waiting(stash, ties, y_bars)
        _, stashes = plan.forward((), values[:m], values[m:])
        return plan.masked_backward(stashes, y_bars, lives)

    def backward(stash: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
        return masked(stash, y_bars, [None] * n)[0]

    return Pullback(plan.gives, backward, forward=forward, masked=masked)


@functools.lru_cache(maxsize=512)
def _first_run(jaxpr: _jax.Jaxpr, kept: Sequence[_jax.Var]) -> Plan:
    """A run of a segment to its results and to what it keeps."""
    results = [*jaxpr.outvars, *kept]
    everything = (True,) * len(results)
    return Plan(jaxpr.replace(outvars=results), {}, {}, (), (), everything, {})


def starting_operands(plan: Plan) -> set[_jax.Var]:
    """What to tie of the inputs of a second run, and of what it knows, so that all its equations wait."""
    there = {v: v for v in (*plan.jaxpr.invars, *(plan.known or ()))}
    tied: set[_jax.Var] = set()
    _tie([plan.jaxpr.eqns[i] for i, runs, _ in plan.schedule if runs], there, tied, set())
    return tied


def _late(plan: Plan, i: int) -> Pullback:
    """The pullback of an equation, before which XLA does not transpose what the gradient of a kernel reads.

    It makes this copy as soon as it can, and so too early; of a user's rule it may be the largest array.
    """
    eqn, pullback = plan.jaxpr.eqns[i], plan.pullbacks[i]
    there = {*plan.jaxpr.invars, *(plan.known or ())}
    if eqn.primitive is ruled:
        _, atoms = eqn.params["rule"].split(eqn.invars)
        copied = max(atoms, key=lambda atom: _size(atom.aval), default=None)
    elif eqn.primitive.name == "conv_general_dilated":
        atoms, copied = plan.kept[i], eqn.invars[0]
    else:
        return pullback
    if pullback.masked or not is_in(there, copied):
        return pullback
    ties = [atom is copied for atom in atoms]
    return dataclasses.replace(
        pullback, backward=lambda stash, y_bars: pullback.backward(waiting(stash, ties, y_bars), y_bars)
    )


def _tie(
    eqns: Sequence[_jax.Equation],
    there: Mapping[_jax.Var, _jax.Var],
    tied: set[_jax.Var],
    waiting: set[_jax.Var],
) -> None:
    """Add to what is tied the smallest operand of each equation that would not wait.

    Args:
        eqns: the equations, in order; those of a segment in it are looked at one by one too.
        there: of the variables those that can be tied, each with its name outside of segments.
        tied: what is tied, by these names.
        waiting: the variables that wait, to which results are added.
    """
    for eqn in eqns:
        operands = _jax.variables(eqn.invars)
        waiting.update(v for v in operands if there.get(v) in tied)
        if eqn.primitive is SEGMENT:
            jaxpr = eqn.params["jaxpr"]
            pairs = list(zip(jaxpr.invars, eqn.invars, strict=True))
            inside = {v for v, outer in pairs if outer in waiting}
            _tie(jaxpr.eqns, {v: there[outer] for v, outer in pairs if outer in there}, tied, inside)
            results = zip(eqn.outvars, jaxpr.outvars, strict=True)
            waiting.update(v for v, inner in results if inner in inside and v not in there)
            continue
        if waiting.isdisjoint(operands):
            free = [v for v in operands if v in there and _size(v.aval)]
            smallest = sorted(free, key=lambda v: _size(v.aval))[:1]
            tied.update(there[v] for v in smallest)
            waiting.update(smallest)
        if not waiting.isdisjoint(operands):
            waiting.update(v for v in eqn.outvars if v not in there)


def _size(aval: Any) -> int:
    """The elements of a value that can be tied; 0 for one that cannot."""
    return getattr(aval, "size", 0)


def waiting(values: Sequence[Any], ties: Sequence[bool], y_bars: Sequence[Any]) -> list[Any]:
    """The same values, of which those to tie are known only once the cotangents are there."""
    bars = [bar for bar in y_bars if bar is not None and _jax.is_of_numbers(jax.typeof(bar)) and bar.size]
    if not bars:
        return list(values)
    is_there = certainly(*(lax.stop_gradient(_two_of(bar)) for bar in bars))
    return [_after(is_there, x) if one else x for x, one in zip(values, ties, strict=True)]


def _two_of(x: Any) -> Any:
    """The first two elements of an array; one, if it has no more."""
    shape = [1] * x.ndim
    longest = max(range(x.ndim), key=lambda axis: x.shape[axis], default=None)
    if longest is not None:
        shape[longest] = min(2, x.shape[longest])
    return lax.reshape(lax.slice(x, [0] * x.ndim, shape), (math.prod(shape),))


@custom_vmap
def certainly(*ts: Any) -> Any:
    """True, for NaN too; one bool for all examples of a vmap.

    XLA fuses sorting with nothing. Else all that waits would read the cotangents themselves, and hold them.
    """
    return lax.sort(lax.concatenate([(t == t) | (t != t) for t in ts], 0))[0]


@certainly.def_vmap
def _of_first_example(size: int, batched: Sequence[bool], *ts: Any) -> tuple[Any, bool]:
    return certainly(*(t[0] if one else t for t, one in zip(ts, batched, strict=True))), False


def _after(is_there: Any, x: Any) -> Any:
    """x, once it is known whether something is there."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        words = _after(is_there, jax.random.key_data(x))
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(x))
    if not _jax.varies_like(x, is_there):
        return x
    return lax.select(is_there, x, lax.full_like(x, 0))
