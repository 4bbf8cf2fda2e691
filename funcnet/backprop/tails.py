"""What of a program ends in a gate, and who reads what that leaves of 1."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from funcnet import _jax
from funcnet.backprop.differences import LAYOUT, LOG_SOFTMAX, SOFTMAX, is_jitted, name_of, number
from funcnet.backprop.program import CALLS
from funcnet.rules import RULES, Table
from funcnet.rules._rests import ADDED, LEFT, SERVED

LONGEST = 16
"""So many equations from a gate on are looked at."""

SHIFTS = frozenset({"add", "sub", "mul", "div", "neg", "max", "min"})
_HANDED_ON = LAYOUT | {"neg", "integer_pow", "square", "max", "min", "select_n", "exp"}
_READ = SERVED.keys() | {"log", "log2", "jax.scipy.special.xlogy"}
_GATES = frozenset({*LEFT, *ADDED, SOFTMAX, LOG_SOFTMAX})


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
            aval = result.aval if self.one_by_one else eqn.outvars[0].aval
            to = result if eqn is self.eqns[-1] else _jax.variable(aval)
            operands = [v if _jax.is_literal(v) else source for v in eqn.invars]
            eqns.append(eqn.replace(invars=operands, outvars=[to]))
            source = to
        return eqns


def _written(atom: Any) -> Any:
    """The number that an operand is; None for a variable."""
    return (atom.aval, np.asarray(atom.val).tobytes()) if _jax.is_literal(atom) else None


def tail_of(atom: Any, makers: Mapping, rules: Table, one_by_one: bool) -> Tail | None:
    """The equations from a gate to an operand, if they are few."""
    eqns, found = [], 0
    while len(eqns) < LONGEST and (eqn := _maker_of_one(atom, makers, one_by_one)):
        name = name_of(eqn, rules)
        is_gate = name in _GATES and rules.get(name) is RULES.get(name)
        if not (is_gate or name in LAYOUT | SHIFTS or is_jitted(eqn, "clip")):
            break
        eqns.append(eqn)
        (atom,) = _jax.variables(eqn.invars)
        if is_gate:
            found = len(eqns)
            if name != "exp":  # of which there may be a gate
                break
    if not found:
        return None
    (source,) = _jax.variables(eqns[found - 1].invars)
    return Tail(source, tuple(eqns[found - 1 :: -1]), one_by_one)


def _maker_of_one(atom: Any, makers: Mapping, one_by_one: bool) -> _jax.Equation | None:
    """The equation that makes an operand of one variable."""
    eqn = None if _jax.is_literal(atom) else makers.get(atom)
    if eqn is None or len(eqn.outvars) > 1 or eqn.effects or len(operands := _jax.variables(eqn.invars)) != 1:
        return None
    differs = one_by_one and (operands[0].aval != atom.aval or _jax.programs(eqn))
    return None if differs else eqn


class Readers:
    """Who reads the variables of a program.

    Args:
        jaxpr: the program.
        rules: the table.
        more: variables that somebody else reads so.
    """

    def __init__(self, jaxpr: _jax.Jaxpr, rules: Table, more: Sequence[_jax.Var] = ()):
        self._rules, self._makers = rules, makers_of(jaxpr)
        self._readers: dict[_jax.Var, list[_jax.Equation]] = {}
        self._found = dict.fromkeys(more, True)
        # From the last: whether a result is read is known before this is asked of what it is made of.
        self._backward = (v for eqn in reversed(jaxpr.eqns) for v in eqn.outvars)
        for eqn in jaxpr.eqns:
            for v in dict.fromkeys(_jax.variables(eqn.invars)):
                self._readers.setdefault(v, []).append(eqn)

    def of(self, v: Any) -> bool:
        """Whether somebody takes this from a number, or takes its logarithm."""
        for one in self._backward:
            self._of(one)
        return self._of(v)

    def _of(self, v: Any) -> bool:
        if v not in self._found:
            self._found[v] = any(self._is_read(eqn, v) for eqn in self._readers.get(v, ()))
        return self._found[v]

    def _is_read(self, eqn: _jax.Equation, v: _jax.Var) -> bool:
        name = name_of(eqn, self._rules)
        others = [atom for atom in eqn.invars if atom is not v]
        with_numbers = all(number(atom, self._makers) is not None for atom in others)
        if name in _READ or (name in ("add", "sub") and with_numbers):
            return True
        is_scaled = name in ("mul", "div") and with_numbers
        if name in _HANDED_ON or is_scaled or is_jitted(eqn, "_where", "clip"):
            return any(map(self._of, eqn.outvars))
        if name == "sub" and eqn.invars[1] is v:
            return others[0] not in self._makers
        bodies = [body for body, _ in programs_of(eqn, self._rules)]
        places = [k for k in given_to(eqn) if eqn.invars[k] is v] if bodies else []
        return any(readers_of(body, self._rules).of(body.invars[k]) for body in bodies for k in places)


readers_of = functools.lru_cache(maxsize=512)(Readers)


def makers_of(jaxpr: _jax.Jaxpr) -> dict[_jax.Var, _jax.Equation]:
    return {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}


def programs_of(eqn: _jax.Equation, rules: Table) -> list[tuple[_jax.Jaxpr, Sequence[Any]]]:
    """The programs of a call that gates may be moved into and out of."""
    name = eqn.primitive.name
    is_call = name in ("scan", "cond") or (name in CALLS and not name.startswith("custom"))
    if not is_call:
        return []
    if is_jitted(eqn, "clip", "_where") or name_of(eqn, rules) in rules or _jax.is_placed(eqn):
        return []
    return _jax.programs(eqn)


def given_to(eqn: _jax.Equation) -> list[int]:
    """The places, from the last, of what the programs of a call get, and get in each step of a loop."""
    n, others = len(eqn.invars), range(eqn.primitive.name == "cond")
    if eqn.primitive.name == "scan":
        consts, carried = _jax.scan_counts(eqn)
        others = range(consts, consts + carried)
    return [k - n for k in range(n) if k not in others]
