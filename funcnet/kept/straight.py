"""A program without calls: every operation in the order in which it runs, loops and branches as one each.

Calls of functions are written out where they stand, as XLA writes them out. Marks of who reads a value are
taken off, and put on record at the value's place.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from funcnet import _jax
from funcnet.backprop.program import CALLS
from funcnet.kept.marking import READ

AGAIN = ("remat2", "while")
"""What runs forward once more: what is read within is read of the second run."""


@dataclass(eq=False)
class Reader:
    """A rule that reads a value.

    Attributes:
        rule: its name.
        line: of the operation that it is the rule of.
        of_jax: whether that is a call of a function of JAX's: what is within has no line of its own.
    """

    rule: str
    line: str
    of_jax: bool


@dataclass(eq=False)
class Place:
    """Where a value of the program stands.

    Attributes:
        aval: its type.
        readers: who reads it; of a call and what is read within, the innermost.
    """

    aval: Any
    readers: list[Reader] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Operation:
    """An equation between places; None in the place of a constant that is written into the program."""

    eqn: _jax.Equation
    ins: Sequence[Place | None]
    outs: Sequence[Place]


Known = tuple[Place | None, Reader | None]
"""A place, and the reader whose mark has just been taken off it."""


class Straight:
    """The operations of a program, as they are written out one after the other.

    Attributes:
        operations: those so far.
        values: by variable, its place.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.values: dict[_jax.Var, Known] = {}

    def bind(self, variables: Iterable[_jax.Var], known: Iterable[Known]) -> None:
        """Let variables stand for places."""
        self.values.update(zip(variables, known, strict=True))

    def known(self, atom: Any) -> Known:
        """The place of an operand."""
        return (None, None) if _jax.is_literal(atom) else self.values[atom]

    def place(self, atom: Any) -> Place | None:
        """Likewise, without what is on record there."""
        return self.known(atom)[0]

    def write(self, eqns: Iterable[_jax.Equation], reading: bool = True) -> None:
        """Write out equations.

        Args:
            eqns: the equations.
            reading: whether it counts who reads what.
        """
        for eqn in eqns:
            ins = list(map(self.known, eqn.invars))
            if eqn.primitive is READ:
                self.bind(eqn.outvars, [_read(ins[0], eqn) if reading else ins[0]])
                continue
            within = reading and eqn.primitive.name not in AGAIN
            if eqn.primitive.name in CALLS:
                self.bind(eqn.outvars, self._called(_jax.called(eqn)[0], ins, within))
                continue
            outs = [Place(v.aval) for v in eqn.outvars]
            self.operations.append(Operation(eqn, [place for place, _ in ins], outs))
            self.bind(eqn.outvars, [(place, None) for place in outs])
            if within:
                self._readers_within(eqn, ins)

    def _called(self, jaxpr: _jax.Jaxpr, ins: Sequence[Known], reading: bool) -> list[Known]:
        """The places of the results of a program that runs once."""
        outer = self.values
        self.values = dict(zip(jaxpr.invars, ins, strict=True))
        self.bind(jaxpr.constvars, [(Place(v.aval), None) for v in jaxpr.constvars])
        self.write(jaxpr.eqns, reading)
        results = list(map(self.known, jaxpr.outvars))
        self.values = outer
        return results

    def _readers_within(self, eqn: _jax.Equation, ins: Sequence[Known]) -> None:
        """Put on record who reads the operands of a loop or a switch in its programs."""
        ins = ins[1:] if eqn.primitive.name == "cond" else ins
        for jaxpr, _ in _jax.programs(eqn):
            if len(jaxpr.invars) == len(ins):
                Straight()._called(jaxpr, ins, True)


def written_out(jaxpr: _jax.Jaxpr) -> Straight:
    """A program alone, between places for its inputs and constants."""
    straight = Straight()
    variables = [*jaxpr.invars, *jaxpr.constvars]
    straight.bind(variables, [(Place(v.aval), None) for v in variables])
    straight.write(jaxpr.eqns, reading=False)
    return straight


def _read(known: Known, eqn: _jax.Equation) -> Known:
    """A value of which a rule has said that it reads it, in the place of the call around it."""
    place, outer = known
    if place is None:
        return known
    reader = Reader(**eqn.params)
    if outer and (outer.of_jax or not reader.line):
        reader = dataclasses.replace(reader, line=outer.line, of_jax=outer.of_jax)
    if outer in place.readers:
        place.readers[place.readers.index(outer)] = reader
    else:
        place.readers.append(reader)
    return place, reader
