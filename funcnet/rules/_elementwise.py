"""Elementwise programs: what one computes of single numbers, and where its arguments lie.

An elementwise program computes one number from one number of each argument, the same way everywhere. What it
computes is an expression in these numbers; where they lie is, for each axis of an argument, an axis of the
results. Broadcasts, transpositions and axes of length 1 only change where. Two programs with one expression
are one function, however JAX's vmap has mapped them.

A program of one array may also reduce it, always over the same axes, as softmax does: what it has of a
reduction lies along the other axes.
"""

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from funcnet import _jax

Places = tuple[int | None, ...]
"""For each axis of an argument the axis of a value along which it lies; None if it has length 1."""

_LAYOUT = frozenset({"broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose"})
_IDENTITY = frozenset({"copy", "copy_p", "optimization_barrier"})
_REDUCTIONS = frozenset({"reduce_max", "reduce_sum"})
_CALLS = frozenset({"jit", "closed_call", "custom_jvp_call", "custom_vjp_call"})
_LONGEST_LOOP = 64


class NotElementwiseError(Exception):
    """A program is not elementwise, or not in a way that is understood here."""


@dataclass(frozen=True)
class Elementwise:
    """An elementwise program.

    Attributes:
        expression: the operations that make its results, each with the numbers of those that it works on.
        places: for each argument where its axes lie in the results.
        axes: those over which it reduces its argument.
    """

    expression: tuple[Hashable, ...]
    places: tuple[Places, ...]
    axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Value:
    """A value within a program: the number of its operation, and where the arguments lie that are in it.

    A constant that is the same everywhere has no shape.
    """

    number: int
    shape: tuple[int, ...]
    places: dict[int, Places] = field(default_factory=dict)

    def moved(self, axes: Sequence[int | None], shape: tuple[int, ...]) -> "Value":
        """The same numbers in an array of this shape, in which each axis lies along this one."""
        if not self.places and not self.shape:
            return self  # one constant everywhere
        to = [None if axis is None or shape[axis] == 1 else axis for axis in axes]
        places = {i: tuple(None if a is None else to[a] for a in old) for i, old in self.places.items()}
        return Value(self.number, shape, places)


@functools.lru_cache(maxsize=1024)
def elementwise(jaxpr: _jax.Jaxpr, tables: int = 0) -> Elementwise | None:
    """A program as an elementwise one; None if it is none.

    Args:
        jaxpr: the program.
        tables: how many constants stand before its arguments.
    """
    reader, operands = _Reader(), []
    for i, v in enumerate(jaxpr.invars):
        is_table, shape = i < tables, v.aval.shape
        key = ("table", i, shape, v.aval.dtype) if is_table else ("argument", i)
        operands.append(Value(reader.number(key), shape, {} if is_table else {i: along(shape, len(shape))}))
    try:
        results = reader.run(jaxpr, (), operands)
        everywhere = reader.merged(results, results[0].shape)
    except NotElementwiseError:
        return None
    arguments = range(tables, len(operands))
    if set(everywhere) != set(arguments) or len(reader.reduced) > 1:
        return None
    places = tuple(everywhere[i] for i in arguments)
    expression = reader.expression([result.number for result in results])
    return Elementwise(expression, places, *reader.reduced)


def along(shape: tuple[int, ...], ndim: int) -> Places:
    """Where the axes of an array lie in one of so many to which NumPy broadcasts it."""
    first = ndim - len(shape)
    return tuple(None if n == 1 else first + axis for axis, n in enumerate(shape))


class _Reader:
    """Gives each operation of a program a number, equal ones the same."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[Hashable, ...], int] = {}
        self.reduced: set[tuple[int, ...]] = set()

    def number(self, operation: tuple[Hashable, ...]) -> int:
        return self.numbers.setdefault(operation, len(self.numbers))

    def expression(self, results: Sequence[int]) -> tuple[Hashable, ...]:
        """The operations that lead to these, numbered by their own order."""
        operations = list(self.numbers)
        order: dict[int, int] = {}
        listed: list[Hashable] = []

        def visit(number: int) -> int:
            if number not in order:
                name, *rest = operations[number]
                parts = [visit(part.number) if isinstance(part, _Operand) else part for part in rest]
                order[number] = len(listed)
                listed.append((name, *parts))
            return order[number]

        return (*map(visit, results), *listed)

    def run(self, jaxpr: _jax.Jaxpr, consts: Sequence[Any], arguments: Sequence[Value]) -> list[Value]:
        known = getattr(jaxpr, "consts", ()) or consts
        if len(known) != len(jaxpr.constvars):
            raise NotElementwiseError
        constants = map(self.constant, known, (v.aval for v in jaxpr.constvars))
        values = dict(zip(jaxpr.constvars, constants, strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Value:
            return self.constant(atom.val, atom.aval) if _jax.is_literal(atom) else values[atom]

        for eqn in jaxpr.eqns:
            outs = self.step(eqn, list(map(read, eqn.invars)))
            values.update(zip(eqn.outvars, outs, strict=True))
        return list(map(read, jaxpr.outvars))

    def constant(self, value: Any, aval: Any) -> Value:
        array = np.asarray(value, aval.dtype)
        return Value(self.number(("constant", array.dtype, array.shape, array.tobytes())), array.shape)

    def step(self, eqn: _jax.Equation, operands: list[Value]) -> list[Value]:
        name, params = eqn.primitive.name, eqn.params
        if name in _CALLS:
            return self.run(*_jax.called(eqn), operands)
        if name == "scan":
            return self.scan(eqn, operands)
        if name == "cond":
            return self.cond(eqn, operands)
        shape = eqn.outvars[0].aval.shape
        if name in _REDUCTIONS and operands[0].places:
            return [self.reduction(name, params["axes"], operands[0], shape)]
        in_layout = name in _LAYOUT and (operands[0].places or operands[0].shape == ())
        if in_layout or name in _IDENTITY or _is_same_dtype(eqn):
            return [operands[0].moved(_axes(name, params, operands[0].shape, shape), shape)]
        return self.operation(eqn, operands, shape)

    def operation(self, eqn: _jax.Equation, operands: list[Value], shape: tuple[int, ...]) -> list[Value]:
        """An operation that works on each element by itself, or on constants only."""
        params = _jax.parameters(eqn)
        if eqn.primitive.name == "convert_element_type":
            params = {"new_dtype": params["new_dtype"]}
        if operation := params.pop("_prim", None):  # of hijax: a class, with the types of its arguments
            said = {name: value for name, value in operation.params.items() if not hasattr(value, "shape")}
            params |= {"kind": type(operation).__name__, **said}
        places = self.merged(operands, shape)
        shapes = [v.aval.shape for v in eqn.invars]
        everywhere_one = operands and not any(x.shape for x in operands) and set(shapes) == {shape}
        if not places and not everywhere_one:
            params["shapes"] = shapes
        key = (eqn.primitive.name, str(sorted(params.items())))
        parts = [_Operand(operand.number) for operand in operands]
        return [
            Value(
                self.number((*key, i, *parts)), () if everywhere_one and not places else v.aval.shape, places
            )
            for i, v in enumerate(eqn.outvars)
        ]

    def reduction(self, name: str, axes: Sequence[int], x: Value, shape: tuple[int, ...]) -> Value:
        """A reduction of the first argument over some of its axes; the others are single numbers."""
        whole = 0 in x.places and not any(place for i, place in x.places.items() if i)
        if not whole or any(x.shape[axis] > 1 and axis not in x.places[0] for axis in axes):
            raise NotElementwiseError
        reduced = tuple(i for i, axis in enumerate(x.places[0]) if axis in axes)
        self.reduced.add(reduced)
        rest = [axis for axis in range(len(x.shape)) if axis not in axes]
        moved = x.moved([rest.index(axis) if axis in rest else None for axis in range(len(x.shape))], shape)
        return Value(self.number((name, reduced, _Operand(x.number))), shape, moved.places)

    def merged(self, values: Sequence[Value], shape: tuple[int, ...]) -> dict[int, Places]:
        """Where the arguments lie in a value that is made of these, element by element."""
        places: dict[int, Places] = {}
        if any(value.places for value in values):
            for value in values:
                if value.shape and not _stretches(value.shape, shape):
                    raise NotElementwiseError
                for i, one in value.places.items():
                    places[i] = _both(places.get(i, one), one)
        return places

    def scan(self, eqn: _jax.Equation, operands: list[Value]) -> list[Value]:
        """A loop over constants, such as the coefficients of a polynomial."""
        n_consts, n_carry = _jax.scan_counts(eqn)
        consts, carry, xs = operands[:n_consts], operands[n_consts:], operands[n_consts + n_carry :]
        carry, length = carry[:n_carry], eqn.params["length"]
        if length > _LONGEST_LOOP or len(eqn.outvars) > n_carry or any(x.places for x in xs):
            raise NotElementwiseError
        order = range(length)
        for i in reversed(order) if eqn.params["reverse"] else order:
            rows = [Value(self.number(("row", i, _Operand(x.number))), x.shape[1:]) for x in xs]
            carry = self.run(*_jax.called(eqn), [*consts, *carry, *rows])
        return carry

    def cond(self, eqn: _jax.Equation, operands: list[Value]) -> list[Value]:
        """A choice between functions of the same numbers."""
        branches = [self.run(*_jax.open_jaxpr(b), operands[1:]) for b in eqn.params["branches"]]
        results = []
        for choices in zip(*branches, strict=True):
            values, shape = [operands[0], *choices], choices[0].shape
            parts = [_Operand(value.number) for value in values]
            results.append(Value(self.number(("cond", *parts)), shape, self.merged(values, shape)))
        return results


@dataclass(frozen=True)
class _Operand:
    """The number of an operation in the place of an operand."""

    number: int


def _both(first: Places, second: Places) -> Places:
    """Where an argument lies in a value made of two, of which one may lack an axis that was reduced."""
    if any(a != b and a is not None and b is not None for a, b in zip(first, second, strict=True)):
        raise NotElementwiseError
    return tuple(b if a is None else a for a, b in zip(first, second, strict=True))


def _stretches(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    """Whether an operation takes an operand of one shape for a result of the other."""
    return len(old) == len(new) and all(n in (1, m) for n, m in zip(old, new, strict=True))


def _is_same_dtype(eqn: _jax.Equation) -> bool:
    """Whether this is a conversion that changes at most the weakness of a type."""
    is_conversion = eqn.primitive.name == "convert_element_type"
    return is_conversion and eqn.invars[0].aval.dtype == eqn.params["new_dtype"]


def _axes(
    name: str, params: dict[str, Any], old: tuple[int, ...], new: tuple[int, ...]
) -> Sequence[int | None]:
    """Along which axis of its result each axis of an operand lies."""
    if name == "broadcast_in_dim":
        return params["broadcast_dimensions"]
    if name == "transpose":
        return [params["permutation"].index(axis) for axis in range(len(old))]
    long = [[axis for axis, n in enumerate(shape) if n != 1] for shape in (old, new)]
    if [old[axis] for axis in long[0]] != [new[axis] for axis in long[1]]:
        raise NotElementwiseError
    to = dict(zip(*long, strict=True))
    return [to.get(axis) for axis in range(len(old))]
