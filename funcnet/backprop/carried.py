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
from dataclasses import dataclass
from typing import Any

import numpy as np

from funcnet import _jax
from funcnet.backprop.composed import with_calls
from funcnet.backprop.differences import LAYOUT, LOG_SOFTMAX, SOFTMAX, is_jitted, name_of, number
from funcnet.backprop.program import CALLS, live
from funcnet.rules import RULES, Table
from funcnet.rules._rests import ADDED, LEFT, SERVED

_HANDED_ON = LAYOUT | {"neg", "integer_pow", "square", "max", "min", "select_n", "exp"}
_READ = SERVED.keys() | {"log", "log2", "jax.scipy.special.xlogy"}
_GATES = frozenset({*LEFT, *ADDED, SOFTMAX, LOG_SOFTMAX})
_SHIFTS = frozenset({"add", "sub", "mul", "div", "neg", "max", "min"})


def with_gates_beside(jaxpr: _jax.Jaxpr, rules: Table) -> _jax.Jaxpr:
    """The same program, with gates where what they leave of 1 is read."""
    if not any(_programs(eqn, rules) for eqn in jaxpr.eqns):
        return jaxpr
    moved = _sunk(_written_out(_lifted(jaxpr, (), rules), rules), rules)
    return jaxpr if moved is jaxpr else with_calls(moved, rules)


def _lifted(jaxpr: _jax.Jaxpr, more: Sequence[_jax.Var], rules: Table) -> _jax.Jaxpr:
    """The same program with gates out of its calls, where their results are read in it, or are `more`."""
    eqns, readers = [], Readers(jaxpr, rules, more)
    for eqn in jaxpr.eqns:
        read = [readers.of(v) for v in eqn.outvars] if _programs(eqn, rules) else []
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
    ((body, _),) = _programs(eqn, rules)
    body = _lifted_body(body, places, rules)
    makers = _makers(body)
    results, gates, heads = list(eqn.outvars), [], []
    for k in places:
        if tail := _tail(body.outvars[k], makers, rules, stacked):
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
    makers, eqns = _makers(jaxpr), []
    for eqn in jaxpr.eqns:
        bodies = _programs(eqn, rules) if eqn.primitive.name == "jit" else []
        hands_on = [body for body, consts in bodies if not consts and _only_hands_on(body)]
        is_written_out = hands_on and any(_tail(v, makers, rules, False) for v in eqn.invars)
        inside = _in_place(hands_on[0], eqn) if is_written_out else [eqn]
        makers |= {v: e for e in inside for v in e.outvars}
        eqns += inside
    same = len(eqns) == len(jaxpr.eqns) and all(map(operator.is_, jaxpr.eqns, eqns))
    return jaxpr if same else jaxpr.replace(eqns=eqns)


def _only_hands_on(jaxpr: _jax.Jaxpr) -> bool:
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    own, results = _makers(jaxpr), jaxpr.outvars
    returned = {v for v in _jax.variables(results) if v in own}
    return len(returned) == len(results) and names <= _SHIFTS | LAYOUT | {"convert_element_type", "select_n"}


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
    makers = _makers(jaxpr)
    eqns = [_with_first_gates(eqn, makers, rules) for eqn in jaxpr.eqns]
    return jaxpr if all(map(operator.is_, jaxpr.eqns, eqns)) else jaxpr.replace(eqns=eqns)


def _with_first_gates(eqn: _jax.Equation, makers: Mapping, rules: Table) -> _jax.Equation:
    """A call that begins with the gates of which its operands are results."""
    bodies = [body for body, _ in _programs(eqn, rules)]
    if not bodies:
        return eqn
    operands, tails = list(eqn.invars), []
    for k in _given_to(eqn):
        tail = _tail(operands[k], makers, rules, eqn.primitive.name == "scan")
        if tail and any(_readers(body, rules).of(body.invars[k]) for body in bodies):
            operands[k] = tail.source
            tails.append((k, tail))
    if not tails:
        return eqn
    begun = _jax.with_programs(eqn, lambda body, consts: _jax.closed(_beginning(body, tuple(tails)), consts))
    return begun.replace(invars=operands)


def _given_to(eqn: _jax.Equation) -> list[int]:
    """The places, from the last, of what the programs of a call get, and get in each step of a loop."""
    n, others = len(eqn.invars), range(eqn.primitive.name == "cond")
    if eqn.primitive.name == "scan":
        consts, carried = _jax.scan_counts(eqn)
        others = range(consts, consts + carried)
    return [k - n for k in range(n) if k not in others]


@functools.lru_cache(maxsize=512)
def _beginning(jaxpr: _jax.Jaxpr, tails: Sequence[tuple[int, "Tail"]]) -> _jax.Jaxpr:
    """A program that begins with gates."""
    inputs, eqns = list(jaxpr.invars), []
    for k, tail in tails:
        v = jaxpr.invars[k]
        inputs[k] = _jax.variable(v.aval if tail.one_by_one else tail.source.aval)
        eqns += tail.on(inputs[k], v)
    return jaxpr.replace(invars=inputs, eqns=[*eqns, *jaxpr.eqns])


@dataclass(frozen=True, eq=False)
class Tail:
    """Equations of one variable each, the first of a gate. Two are the same that do the same.

    Attributes:
        source: of what they are computed.
        eqns: the equations, in order.
        one_by_one: whether they act on each element by itself, on arrays of any shape.
    """

    source: _jax.Var
    eqns: tuple[_jax.Equation, ...]
    one_by_one: bool

    @functools.cached_property
    def _does(self) -> tuple[Any, ...]:
        return self.source.aval, *(
            (eqn.primitive, tuple(eqn.params.items()), *map(_written, eqn.invars)) for eqn in self.eqns
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tail) and self._does == other._does

    def __hash__(self) -> int:
        return hash((self.source.aval, *(eqn.primitive for eqn in self.eqns)))

    def on(self, source: _jax.Var, result: _jax.Var) -> list[_jax.Equation]:
        """The same equations from another variable to another."""
        eqns = []
        for eqn in self.eqns:
            to = (
                result
                if eqn is self.eqns[-1]
                else _jax.variable(result.aval if self.one_by_one else eqn.outvars[0].aval)
            )
            operands = [v if _jax.is_literal(v) else source for v in eqn.invars]
            eqns.append(eqn.replace(invars=operands, outvars=[to]))
            source = to
        return eqns


def _written(atom: Any) -> Any:
    """The number that an operand is; None for a variable."""
    return (atom.aval, np.asarray(atom.val).tobytes()) if _jax.is_literal(atom) else None


def _tail(atom: Any, makers: Mapping, rules: Table, one_by_one: bool) -> Tail | None:
    """The equations from a gate to an operand."""
    eqn = None if _jax.is_literal(atom) else makers.get(atom)
    if eqn is None or len(eqn.outvars) > 1 or eqn.effects or len(operands := _jax.variables(eqn.invars)) != 1:
        return None
    x, name = operands[0], name_of(eqn, rules)
    if one_by_one and (x.aval != atom.aval or _jax.programs(eqn)):
        return None
    is_gate = name in _GATES and rules.get(name) is RULES.get(name)
    if is_gate and name != "exp":
        return Tail(x, (eqn,), one_by_one)
    before = _tail(x, makers, rules, one_by_one)
    if before and (is_gate or name in LAYOUT | _SHIFTS or is_jitted(eqn, "clip")):
        return Tail(before.source, (*before.eqns, eqn), one_by_one)
    return Tail(x, (eqn,), one_by_one) if is_gate else None


class Readers:
    """Who reads the variables of a program.

    Args:
        jaxpr: the program.
        rules: the table.
        more: variables that somebody else reads so.
    """

    def __init__(self, jaxpr: _jax.Jaxpr, rules: Table, more: Sequence[_jax.Var] = ()):
        self._rules, self._makers = rules, _makers(jaxpr)
        self._readers: dict[_jax.Var, list[_jax.Equation]] = {}
        self._found = dict.fromkeys(more, True)
        for eqn in jaxpr.eqns:
            for v in dict.fromkeys(_jax.variables(eqn.invars)):
                self._readers.setdefault(v, []).append(eqn)

    def of(self, v: Any) -> bool:
        """Whether somebody takes this from a number, or takes its logarithm."""
        if v not in self._found:
            self._found[v] = any(self._is_read(eqn, v) for eqn in self._readers.get(v, ()))
        return self._found[v]

    def _is_read(self, eqn: _jax.Equation, v: _jax.Var) -> bool:
        name = name_of(eqn, self._rules)
        others = [atom for atom in eqn.invars if atom is not v]
        with_numbers = all(number(atom, self._makers) is not None for atom in others)
        if name in _READ or (name in ("add", "sub") and with_numbers):
            return True
        if (
            name in _HANDED_ON
            or is_jitted(eqn, "_where", "clip")
            or (name in ("mul", "div") and with_numbers)
        ):
            return any(map(self.of, eqn.outvars))
        if name == "sub" and eqn.invars[1] is v:
            return others[0] not in self._makers
        bodies = [body for body, _ in _programs(eqn, self._rules)]
        places = [k for k in _given_to(eqn) if eqn.invars[k] is v] if bodies else []
        return any(_readers(body, self._rules).of(body.invars[k]) for body in bodies for k in places)


_readers = functools.lru_cache(maxsize=512)(Readers)


def _makers(jaxpr: _jax.Jaxpr) -> dict[_jax.Var, _jax.Equation]:
    return {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}


def _programs(eqn: _jax.Equation, rules: Table) -> list[tuple[_jax.Jaxpr, Sequence[Any]]]:
    """The programs of a call that gates may be moved into and out of."""
    name = eqn.primitive.name
    is_call = name in ("scan", "cond") or (name in CALLS and not name.startswith("custom"))
    if not is_call:
        return []
    if is_jitted(eqn, "clip", "_where") or name_of(eqn, rules) in rules or _jax.is_placed(eqn):
        return []
    return _jax.programs(eqn)
