"""Gates beside those who read what they leave of 1, where calls part the two.

    p = jit(predict)(x)  →  p = σ(jit(scores)(x)),   and then log(1 − p)
    jit(loss)(σ(s))      →  jit(loss ∘ σ)(s),        where the loss has log(1 − p)

What `funcnet.backprop.differences` and `composed` know, they know within one program. So a gate with which a
call ends is moved out of it, and one before a call into it: over the borders of jit, checkpoint, cond and
scan, as far as it acts on each step by itself. It is moved only where somebody reads its result so.
"""

import functools
import operator
from collections.abc import Mapping, Sequence

from funcnet import _jax
from funcnet.backprop.composed import with_calls
from funcnet.backprop.differences import LAYOUT
from funcnet.backprop.program import live
from funcnet.backprop.tails import (
    SHIFTS,
    Readers,
    Tail,
    given_to,
    makers_of,
    programs_of,
    readers_of,
    tail_of,
)
from funcnet.rules import Table


def with_gates_beside(jaxpr: _jax.Jaxpr, rules: Table) -> _jax.Jaxpr:
    """The same program, with gates where what they leave of 1 is read."""
    if not any(programs_of(eqn, rules) for eqn in jaxpr.eqns):
        return jaxpr
    moved = _sunk(_written_out(_lifted(jaxpr, (), rules), rules), rules)
    return jaxpr if moved is jaxpr else with_calls(moved, rules)


def _lifted(jaxpr: _jax.Jaxpr, more: Sequence[_jax.Var], rules: Table) -> _jax.Jaxpr:
    """The same program with gates out of its calls, where their results are read in it, or are `more`."""
    eqns, readers = [], Readers(jaxpr, rules, more)
    for eqn in jaxpr.eqns:
        read = [readers.of(v) for v in eqn.outvars] if programs_of(eqn, rules) else []
        eqns += _without_last_gates(eqn, read, rules) if any(read) else [eqn]
    return jaxpr if len(eqns) == len(jaxpr.eqns) else jaxpr.replace(eqns=eqns)


@functools.lru_cache(maxsize=512)
def _lifted_body(jaxpr: _jax.Jaxpr, places: Sequence[int], rules: Table) -> _jax.Jaxpr:
    """The program of a call, these of whose results are read."""
    jaxpr = with_calls(jaxpr, rules)
    return _lifted(jaxpr, _jax.variables(jaxpr.outvars[k] for k in places), rules)


def _without_last_gates(eqn: _jax.Equation, read: Sequence[bool], rules: Table) -> list[_jax.Equation]:
    """A call without the gates that these of its results end in, and these gates."""
    if eqn.primitive.name == "cond":
        return [eqn]
    stacked = eqn.primitive.name == "scan"
    carried = _jax.scan_counts(eqn)[1] if stacked else 0
    places = tuple(k for k, one in enumerate(read) if one and k >= carried)
    ((body, _),) = programs_of(eqn, rules)
    body = _lifted_body(body, places, rules)
    makers = makers_of(body)
    results, gates, heads = list(eqn.outvars), [], []
    for k in places:
        if tail := tail_of(body.outvars[k], makers, rules, stacked):
            aval = eqn.outvars[k].aval if stacked else tail.source.aval
            results[k] = _jax.variable(aval)
            heads.append((k, tail.source))
            gates += tail.on(results[k], eqn.outvars[k])
    if not heads:
        return [eqn]
    call = _jax.with_programs(eqn, lambda _, consts: _jax.closed(_returning(body, tuple(heads)), consts))
    return [call.replace(outvars=results), *gates]


@functools.lru_cache(maxsize=512)
def _returning(jaxpr: _jax.Jaxpr, heads: Sequence[tuple[int, _jax.Var]]) -> _jax.Jaxpr:
    """A program with other results at some places."""
    results = list(jaxpr.outvars)
    for k, v in heads:
        results[k] = v
    return jaxpr.replace(outvars=results, eqns=live(jaxpr.eqns, results)[0])


def _written_out(jaxpr: _jax.Jaxpr, rules: Table) -> _jax.Jaxpr:
    """The same program without calls that only choose among results of gates, or shift them."""
    makers, eqns = makers_of(jaxpr), []
    for eqn in jaxpr.eqns:
        bodies = programs_of(eqn, rules) if eqn.primitive.name == "jit" else []
        hands_on = [body for body, consts in bodies if not consts and _only_hands_on(body)]
        is_written_out = hands_on and any(tail_of(v, makers, rules, False) for v in eqn.invars)
        inside = _in_place(hands_on[0], eqn) if is_written_out else [eqn]
        makers |= {v: e for e in inside for v in e.outvars}
        eqns += inside
    same = len(eqns) == len(jaxpr.eqns) and all(map(operator.is_, jaxpr.eqns, eqns))
    return jaxpr if same else jaxpr.replace(eqns=eqns)


def _only_hands_on(jaxpr: _jax.Jaxpr) -> bool:
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    own, results = makers_of(jaxpr), jaxpr.outvars
    returned = {v for v in _jax.variables(results) if v in own}
    return len(returned) == len(results) and names <= SHIFTS | LAYOUT | {"convert_element_type", "select_n"}


def _in_place(jaxpr: _jax.Jaxpr, call: _jax.Equation) -> list[_jax.Equation]:
    """The equations of a called program, on the operands of the call."""
    named = dict(zip(jaxpr.invars, call.invars, strict=True)) | dict(
        zip(jaxpr.outvars, call.outvars, strict=True)
    )
    eqns = []
    for eqn in jaxpr.eqns:
        for v in eqn.outvars:
            named.setdefault(v, _jax.variable(v.aval))
        operands = [v if _jax.is_literal(v) else named[v] for v in eqn.invars]
        eqns.append(eqn.replace(invars=operands, outvars=[named[v] for v in eqn.outvars]))
    return eqns


def _sunk(jaxpr: _jax.Jaxpr, rules: Table) -> _jax.Jaxpr:
    """The same program with gates within the calls where their results are read."""
    makers = makers_of(jaxpr)
    eqns = [_with_first_gates(eqn, makers, rules) for eqn in jaxpr.eqns]
    return jaxpr if all(map(operator.is_, jaxpr.eqns, eqns)) else jaxpr.replace(eqns=eqns)


def _with_first_gates(eqn: _jax.Equation, makers: Mapping, rules: Table) -> _jax.Equation:
    """A call that begins with the gates of which its operands are results."""
    bodies = [body for body, _ in programs_of(eqn, rules)]
    if not bodies:
        return eqn
    operands, tails = list(eqn.invars), []
    for k in given_to(eqn):
        tail = tail_of(operands[k], makers, rules, eqn.primitive.name == "scan")
        if tail and any(readers_of(body, rules).of(body.invars[k]) for body in bodies):
            operands[k] = tail.source
            tails.append((k, tail))
    if not tails:
        return eqn
    begun = _jax.with_programs(eqn, lambda body, consts: _jax.closed(_beginning(body, tuple(tails)), consts))
    return begun.replace(invars=operands)


@functools.lru_cache(maxsize=512)
def _beginning(jaxpr: _jax.Jaxpr, tails: Sequence[tuple[int, Tail]]) -> _jax.Jaxpr:
    """A program that begins with gates."""
    inputs, eqns = list(jaxpr.invars), []
    for k, tail in tails:
        v = jaxpr.invars[k]
        inputs[k] = _jax.variable(v.aval if tail.one_by_one else tail.source.aval)
        eqns += tail.on(inputs[k], v)
    return jaxpr.replace(invars=inputs, eqns=[*eqns, *jaxpr.eqns])
