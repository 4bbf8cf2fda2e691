"""Values that are no numbers, and the way from them to the gate that made the first.

A program has run, and every value in it is at hand. From a value with a NaN the search goes to the operands
that have one, from an infinity to the infinite ones, until a gate is reached that made it of others. Where
NaN was made of infinities, as in ∞ − ∞, it asks on for these: was it a gate that made them, then that was
the first; an infinite argument or constant may be meant, as in a mask, and the gate that made NaN of it is
the one to name. A value that a select has left behind is not on that way; but where a NaN has made a select
take an infinity that is written in the code, the NaN was first.

A call, the branch that a cond took and the step of a loop are programs too, and are searched alike.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet.backprop.activity import differentiable
from funcnet.backprop.program import CALLS, all_values, read
from funcnet.nonfinite.advice import is_whole
from funcnet.nonfinite.finding import Gate, Operand, Where
from funcnet.nonfinite.loops import LOOPS, Loop
from funcnet.nonfinite.source import Source

Test = Callable[[Any], Any]


def has(test: Test, x: Any) -> bool:
    """Whether an array of floats has elements that pass the test; None and all else have none.

    NumPy looks, which has nothing to compile for each shape, unless a part of the array is elsewhere.
    """
    if x is None or not differentiable(jax.typeof(x)):
        return False
    is_here = getattr(x, "is_fully_addressable", True)
    return bool(ON_THE_HOST[test](np.asarray(x)).any() if is_here else jnp.any(test(x)))


def not_finite(x: Any) -> Any:
    """Where an array is NaN or infinite."""
    return ~jnp.isfinite(x)


ON_THE_HOST: dict[Test, Test] = {
    jnp.isnan: np.isnan,
    jnp.isinf: np.isinf,
    not_finite: lambda x: ~np.isfinite(x),
}
"""The tests, as NumPy has them."""


class Values:
    """Every value of a program that has run.

    Attributes:
        jaxpr: the program.
        values: the value of each variable.
        where: what is around the program.
        names: how its operands are called; empty where nobody knows.
    """

    def __init__(
        self, jaxpr: _jax.Jaxpr, consts: Sequence[Any], xs: Sequence[Any], where: Where, names: Sequence[str]
    ):
        self.jaxpr, self.where = _jax.without_local_refs(jaxpr), where
        self.names = dict(zip(self.jaxpr.invars, names, strict=True))
        self.values = all_values(self.jaxpr)(consts, xs)
        self.makers = {v: (i, k) for i, eqn in enumerate(self.jaxpr.eqns) for k, v in enumerate(eqn.outvars)}

    def source(self, atoms: Sequence[Any], test: Test) -> Source:
        """The first gate on the way to the elements of these values that pass the test."""
        gates: list[tuple[int, Source]] = []
        ends: list[Source] = []
        written: list[Source] = []
        pending, seen = list(atoms), set()
        while pending:
            atom = pending.pop()
            if _jax.is_literal(atom) or atom in seen:
                continue
            seen.add(atom)
            if atom not in self.makers:
                ends += [Source(operand=self.jaxpr.invars.index(atom))] if atom in self.names else []
                continue
            i, k = self.makers[atom]
            eqn = self.jaxpr.eqns[i]
            inner = self.inside(eqn, k, test)
            if inner is None:
                guilty = self.guilty(eqn, k, test)
                inner = Source() if guilty else self.made_by(eqn, k, test)
                if guilty and all(map(self.is_written, guilty)):
                    inner = self.written_at(eqn, k, test)
                else:
                    pending += guilty
            elif inner.operand is not None:
                given = eqn.invars[inner.operand]
                if inner.of_nan:
                    inner = inner.after(self.source([given], jnp.isnan))
                elif inner.gate:
                    inner = inner.asked_on(self.source([given], jnp.isinf))
                elif self.is_written(given):
                    inner = self.written_at(eqn, k, test)
                else:
                    pending.append(given)
                    inner = Source()
            mine = inner.gate or inner.written
            if mine and mine.written and not inner.of_nan and _jax.is_of_jax(eqn):
                inner = self.written_at(eqn, k, test)  # what the function is defined to be
            gates += [(i, inner)] if inner.gate else []
            ends += [inner] if inner.operand is not None and not inner.gate else []
            written += [inner] if inner.written else []
        if gates:
            return min(gates, key=lambda found: found[0])[1]
        return next(iter(ends + written), Source())

    def is_written(self, atom: Any) -> bool:
        """Whether a value is a number in the code, or an array of it."""
        if _jax.is_literal(atom) or atom not in self.makers:
            return _jax.is_literal(atom)
        maker = self.jaxpr.eqns[self.makers[atom][0]]
        return maker.primitive.name in ("broadcast_in_dim", "convert_element_type") and all(
            map(self.is_written, maker.invars)
        )

    def written_at(self, eqn: _jax.Equation, k: int, test: Test) -> Source:
        """A gate that makes it of what is written in the code; or the NaN that made a select take that."""
        gate = dataclasses.replace(self.gate(eqn, k), written=True)
        if test is jnp.isnan:
            return Source(gate)
        conditions = self.before(eqn, lambda v: str(getattr(v.aval, "dtype", "")) == "bool")
        return Source(written=gate).after(self.first_nan(conditions))

    def before(self, eqn: _jax.Equation, through: Callable[[Any], bool]) -> Iterator[Any]:
        """The variables that an equation is made of, back through those that `through` says."""
        seen: set[Any] = set()
        pending = list(eqn.invars)
        while pending:
            v = pending.pop()
            if _jax.is_literal(v) or v in seen:
                continue
            seen.add(v)
            yield v
            if v in self.makers and through(v):
                pending += self.jaxpr.eqns[self.makers[v][0]].invars

    def first_nan(self, suspects: Iterable[Any]) -> Source:
        """What the search finds for the first of these variables that has a NaN."""
        nan = next((v for v in suspects if has(jnp.isnan, self.value(v))), None)
        return Source() if nan is None else self.source([nan], jnp.isnan)

    def made_by(self, eqn: _jax.Equation, k: int, test: Test) -> Source:
        """A gate that made it of what does not pass the test; or the NaN that ended a loop before it."""
        found = Source(self.gate(eqn, k))
        infinite = [v for v in eqn.invars if has(jnp.isinf, self.value(v))]
        if test is jnp.isnan and infinite:
            return found.asked_on(self.source(infinite, jnp.isinf))
        made = (v for v in self.before(eqn, lambda v: True) if v in self.makers)
        makers = (self.jaxpr.eqns[self.makers[v][0]] for v in made)
        loops = (maker for maker in makers if maker.primitive.name == "while")
        return found.after(self.first_nan(y for loop in loops for y in loop.outvars))

    def guilty(self, eqn: _jax.Equation, k: int, test: Test) -> list[Any]:
        """The operands from which an output has what passes the test: each alone, or else together."""
        xs = [self.value(atom) for atom in eqn.invars]
        suspects = [i for i, x in enumerate(xs) if has(test, x)]

        def passes(kept: Sequence[int]) -> bool:
            others = [_replaced(test, x) if i in suspects and i not in kept else x for i, x in enumerate(xs)]
            return has(test, _jax.again(eqn, others)[k])

        alone = suspects if len(suspects) == 1 else [i for i in suspects if passes([i])]
        found = alone or ([] if not suspects or passes([]) else suspects)
        return [eqn.invars[i] for i in found]

    def inside(self, eqn: _jax.Equation, k: int, test: Test) -> Source | None:
        """What the search finds in the program that made output k; None for a gate."""
        xs, names = [self.value(atom) for atom in eqn.invars], list(map(self.name, eqn.invars))
        if eqn.primitive.name in LOOPS:
            return search_loop(LOOPS[eqn.primitive.name](eqn, xs), k, test, self.where.into(eqn), names)
        called = None if is_whole(eqn) else opened(eqn, xs)
        if called is None:
            return None
        (jaxpr, consts), first = called
        inner = Values(jaxpr, consts, xs[first:], self.where.into(eqn), names[first:])
        found = inner.source([inner.jaxpr.outvars[k]], test)
        return found if found.operand is None else dataclasses.replace(found, operand=found.operand + first)

    def gate(self, eqn: _jax.Equation, k: int) -> Gate:
        """What is known of a gate that made a value."""
        return self.where.gate("forward", eqn, self.operands(eqn), self.value(eqn.outvars[k]))

    def operands(self, eqn: _jax.Equation) -> tuple[Operand, ...]:
        """The operands of an equation with their names."""
        return tuple(Operand(self.name(atom), self.value(atom)) for atom in eqn.invars)

    def value(self, atom: Any) -> Any:
        """The value of an operand."""
        return read(self.values, atom)

    def name(self, atom: Any) -> str:
        """How an operand is called, if it is one of the program's own."""
        return "" if _jax.is_literal(atom) else self.names.get(atom, "")


def opened(eqn: _jax.Equation, xs: Sequence[Any]) -> tuple[tuple[_jax.Jaxpr, Sequence[Any]], int] | None:
    """The program that an equation runs, and the number of its first operand in it; None for a gate.

    A gate of ours stays one: it is looked into by its formula.
    """
    name = eqn.primitive.name
    if name == "cond":
        return _jax.open_jaxpr(eqn.params["branches"][int(xs[0])]), 1
    if name not in CALLS or _jax.is_gate(eqn):
        return None
    return _jax.called(eqn), 0


def search_loop(loop: Loop, k: int, test: Test, where: Where, names: Sequence[str]) -> Source:
    """The gate in the step of a loop from which its output k has what passes the test."""
    if not loop.length:
        return Source(operand=loop.consts + k)
    flags = loop.flags(test)

    def made_in(k: int, last: int, test: Test) -> Source:
        """Of output k of the steps up to the last, where it came in and stayed."""
        t = last
        while t and flags_of(test)[t - 1, k]:
            t -= 1
        around = where.step(t, loop.length)
        inner = Values(loop.body, loop.values, loop.operands(t), around, loop.names(names))
        found = inner.source([inner.jaxpr.outvars[k]], test)
        carry = None if found.operand is None else found.operand - loop.consts
        if carry is None or not 0 <= carry < loop.carries or t == 0:
            return found
        if found.of_nan:
            return found.after(made_in(carry, t - 1, jnp.isnan))
        return found.asked_on(made_in(carry, t - 1, jnp.isinf if found.gate else test))

    def flags_of(other: Test) -> Any:
        return flags if other is test else loop.flags(other)

    if k < loop.carries:
        return made_in(k, loop.length - 1, test)
    return made_in(k, int(flags[:, k].argmax()), test)


@functools.partial(jax.jit, static_argnums=0)
def _replaced(test: Test, x: Any) -> Any:
    """An array with ones where it passes the test."""
    return jnp.where(test(x), jnp.ones_like(x), x)
