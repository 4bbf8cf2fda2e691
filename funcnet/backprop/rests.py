"""1 − σ, 1 − tanh², 1 − eˣ, 1 − softmax and what is computed of them, as rules read it that divide by it.

Their values are JAX's, and rounding leaves no digit of 1 − σ at x = 16 in float32. JAX's σ′ = y (1 − y) has
the same error, which cancels where it is divided by 1 − σ; the σ′ of the house has none. So there a rule
reads σ(−x) in place of 1 − σ(x), made of x on the way back. One that divides by what is computed of 1 − σ,
as of σ (1 − σ), 1 − σ + ε, √(1 − tanh²), 1 − clip(σ), reads that as computed of σ(−x).

The formulas are those of `funcnet.rules._rests`.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import xlogy

from funcnet import _jax
from funcnet.backprop.again import Made
from funcnet.backprop.program import program
from funcnet.backprop.renamed import Makers
from funcnet.rules import RULES, Table, rule_name
from funcnet.rules._elementwise import elementwise
from funcnet.rules._rests import (
    DIVIDING,
    DIVISORS,
    LEFT,
    ODD,
    OF_POSITIVE,
    ROOTS,
    SERVED,
    VALUES,
    left_by_softmax,
    log_of_softmax,
    log_of_sum,
)

_LAYOUT = frozenset(
    {
        "broadcast_in_dim",
        "copy",
        "dynamic_slice",
        "expand_dims",
        "gather",
        "reshape",
        "slice",
        "squeeze",
        "transpose",
    }
)
_ARITHMETIC = frozenset({"add", "sub", "mul", "neg", "max", "min", "select_n", *ROOTS, *_LAYOUT})
_JITTED = frozenset({"_where", "clip"})


@dataclass(frozen=True)
class Part:
    """A part of how a value is made on the way back.

    Attributes:
        inputs: of which variables of the program.
        of: `of(values)`, of the values of these by variable.
    """

    inputs: tuple[_jax.Var, ...]
    of: Callable[[dict[Any, Any]], Any]

    @property
    def whole(self) -> Made:
        """The same as a program."""
        avals = [v.aval for v in self.inputs]
        made, _ = program(lambda *xs: self.of(dict(zip(self.inputs, xs, strict=True))), *avals)
        return Made(self.inputs, lambda xs, y_bar: made.as_call(xs)[0])


def _made(function: Callable[..., Any], *parts: Part) -> Part:
    inputs = tuple(dict.fromkeys(v for part in parts for v in part.inputs))
    return Part(inputs, lambda values: function(*[part.of(values) for part in parts]))


def _plain(atom: Any) -> Part:
    """A value as it is."""
    if _jax.is_literal(atom):
        return Part((), lambda values: atom.val)
    return Part((atom,), lambda values: values[atom])


def _once(v: _jax.Var, part: Part) -> Part:
    """The same, made once where several parts are made of it."""

    def of(values: dict[Any, Any]) -> Any:
        if (v, part) not in values:
            values[v, part] = part.of(values)
        return values[v, part]

    return Part(part.inputs, of)


class Rests:
    """The values of a program that are, or are made of, 1 less a gate.

    Args:
        jaxpr: the program.
        rules: the table. Of gates for which it has another rule than that of the house nothing is known.
    """

    def __init__(self, jaxpr: _jax.Jaxpr, rules: Table):
        self._rules = rules
        self._found: dict[_jax.Var, Part | None] = {}
        known = {*LEFT, *VALUES, "jax.nn.softmax", "jax.nn.log_softmax"}
        is_any = not known.isdisjoint(map(self._name, jaxpr.eqns))
        self._makers: Makers = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars} if is_any else {}

    def rereading(self, eqn: _jax.Equation) -> tuple[_jax.Equation, Sequence[Part | None]]:
        """An equation whose rule serves for this one, and what of [*outputs, *inputs] that reads made so."""
        nothing = [None] * (len(eqn.outvars) + len(eqn.invars))
        name = self._name(eqn) if self._makers else ""
        if name in SERVED and self._is_ours(name) and (divisor := self._divisor(name, eqn.invars[-1])):
            other = _call(SERVED[name], *[v.aval for v in eqn.invars])
            return eqn.replace(primitive=other.primitive, params=other.params), [*nothing[:-1], divisor]
        if name in DIVIDING:
            return eqn, [self.exact(v) for v in (*eqn.outvars, *eqn.invars)]
        if name == "mul":
            return eqn, [None, *[self.exact(v) if self._is_root(v) else None for v in eqn.invars]]
        return eqn, nothing

    def _divisor(self, name: str, u: Any) -> Part | None:
        """By what the rule of a function of u divides, if any of what that reads is left by a gate."""
        rest, other = self._rest(u), self._rest_of_negative(u)
        if not (rest or (other and name not in OF_POSITIVE)):
            return None
        pair = rest or _made(lambda u: 1 - u, _plain(u)), other or _made(lambda u: 1 + u, _plain(u))
        return _made(DIVISORS[name], _plain(u), *pair)

    def _is_root(self, atom: Any) -> bool:
        """Whether a factor is a quotient, power or logarithm, or one's negative: not 1 − σ, as in a GRU."""
        if (eqn := self._maker(atom)) is None:
            return False
        return (
            self._is_root(eqn.invars[0])
            if eqn.primitive.name == "neg"
            else self._name(eqn) in {*ROOTS, *VALUES}
        )

    def exact(self, atom: Any) -> Part | None:
        """1 less a gate, or what is computed of that."""
        if (eqn := self._maker(atom)) is None:
            return None
        if atom not in self._found:
            self._found[atom] = self._exact(atom, eqn)
        return self._found[atom]

    def _exact(self, v: _jax.Var, eqn: _jax.Equation) -> Part | None:
        if part := self._difference(eqn):
            return part
        name = self._name(eqn)
        if name == "jax.nn.log_softmax" and self._is_ours(name):
            return _made(functools.partial(log_of_softmax, axes=_axes(eqn)), _plain(v))
        if name == "log1p" and (other := self._rest_of_negative(eqn.invars[0])):
            return _made(log_of_sum, _plain(eqn.invars[0]), other)
        if name in VALUES:
            (x,) = eqn.invars
            return _made(VALUES[name], self.exact(x) or _plain(x))
        if name not in _ARITHMETIC and not (name == "jit" and eqn.params["name"] in _JITTED):
            return None
        parts = list(map(self.exact, eqn.invars))
        if not any(parts):
            return None
        parts = [part or _plain(atom) for part, atom in zip(parts, eqn.invars, strict=True)]
        return _once(v, _made(functools.partial(_run, eqn), *parts))

    def _difference(self, eqn: _jax.Equation) -> Part | None:
        """c − u, u − c, c + u, u + c for a number c near 1, whose difference to 1 is exact."""
        name = eqn.primitive.name
        if name not in ("add", "sub"):
            return None
        is_first = self._near_one(eqn.invars[0]) is not None
        u, c = eqn.invars if not is_first else eqn.invars[::-1]
        number, rest = self._near_one(c), self._rest(u) if name == "sub" else self._rest_of_negative(u)
        if number is None or rest is None:
            return None
        if number != 1:
            rest = _made(lambda r: r + (number - 1), rest)
        return rest if is_first or name == "add" else _made(lax.neg, rest)

    def _rest(self, u: Any) -> Part | None:
        """1 − u."""
        if (eqn := self._maker(u)) is None:
            return None
        name, x = self._name(eqn), eqn.invars[0]
        if name == "neg":
            return self._rest_of_negative(x)
        if name == "exp" and (part := self._rest_of_exp(x)):
            return part
        if name == "jax.nn.softmax" and self._is_ours(name):
            return _made(functools.partial(left_by_softmax, axes=_axes(eqn)), _plain(u))
        if name in LEFT and self._is_ours(name):
            return _made(LEFT[name], _plain(x))
        if name == "sub" and self._near_one(x) == 1:
            return _plain(eqn.invars[1])
        if name in ("square", "integer_pow", "mul") and eqn.invars[-1] is x and eqn.params.get("y", 2) == 2:
            return self._divisor("atanh", x)
        return self._through(eqn, self._rest, -1)

    def _rest_of_negative(self, u: Any) -> Part | None:
        """1 + u."""
        if (eqn := self._maker(u)) is None:
            return None
        name, x = self._name(eqn), eqn.invars[0]
        if name == "neg":
            return self._rest(x)
        if name in ODD and self._is_ours(name):
            return _made(lambda x: LEFT[name](-x), _plain(x))
        return self._through(eqn, self._rest_of_negative, 1)

    def _rest_of_exp(self, x: Any) -> Part | None:
        """1 − eˣ of an x that is of a log_softmax."""
        if (eqn := self._maker(x)) is None:
            return None
        if self._name(eqn) == "jax.nn.log_softmax" and self._is_ours("jax.nn.log_softmax"):
            return _made(lambda y: left_by_softmax(lax.exp(y), _axes(eqn)), _plain(x))
        return self._through(eqn, self._rest_of_exp, 1) if eqn.primitive.name in _LAYOUT else None

    def _through(self, eqn: _jax.Equation, rest: Callable[[Any], Part | None], sign: int) -> Part | None:
        """1 ± u of a u that lies otherwise, is clipped, or multiplied by a number near 1."""
        name, (u, *others) = eqn.primitive.name, eqn.invars
        if name in _LAYOUT and (part := rest(u)):
            return _made(functools.partial(_run, eqn), part, *map(_plain, others))
        if name == "jit" and eqn.params["name"] == "clip" and all(map(_jax.is_literal, others)):
            low, high = sorted(1 + sign * v.val for v in others)
            return (part := rest(u)) and _made(lambda r: jnp.clip(r, low, high), part)
        if name not in ("max", "min", "mul"):
            return None
        u, c = eqn.invars if _jax.is_literal(eqn.invars[1]) else eqn.invars[::-1]
        if not _jax.is_literal(c) or np.size(c.val) != 1 or (part := rest(u)) is None:
            return None
        number = np.ravel(c.val)[0]
        if name == "mul":
            return _made(lambda r: (1 - number) + number * r, part) if 0.5 <= number <= 1 else None
        bound = lax.max if (name == "max") == (sign > 0) else lax.min
        return _made(lambda r: bound(r, lax.full_like(r, 1 + sign * number)), part)

    def _near_one(self, atom: Any) -> Any:
        """The number that an operand is, if it is near 1."""
        if _jax.is_literal(atom):
            number = np.ravel(atom.val)
            return number[0] if number.size == 1 and 0.5 <= number[0] <= 2 else None
        if (eqn := self._maker(atom)) is None or eqn.primitive.name != "broadcast_in_dim":
            return None
        return self._near_one(eqn.invars[0])

    def _maker(self, atom: Any) -> Any:
        """The equation of real numbers that an operand comes from, or None."""
        eqn = None if _jax.is_literal(atom) else self._makers.get(atom)
        return eqn if eqn is not None and jnp.issubdtype(atom.aval.dtype, jnp.floating) else None

    def _name(self, eqn: _jax.Equation) -> str:
        return rule_name(eqn.primitive, eqn.params, self._rules)

    def _is_ours(self, name: str) -> bool:
        return self._rules.get(name) is RULES[name]


def _run(eqn: _jax.Equation, *xs: Any) -> Any:
    return _jax.bind(eqn, xs)[0]


def _axes(eqn: _jax.Equation) -> Sequence[int]:
    """Over which axes of its result a softmax sums."""
    form = elementwise(_jax.called(eqn)[0])
    assert form is not None
    return [axis for axis in map(form.places[0].__getitem__, form.axes) if axis is not None]


@functools.lru_cache(maxsize=512)
def _call(name: str, *avals: Any) -> _jax.Equation:
    """An equation that the rule of this name is for."""
    function = lax.log if name == "log" else xlogy
    program, _ = _jax.staged(lambda *xs: [function(*xs)], avals, "a function")
    return next(eqn for eqn in program.eqns if name in ("log", rule_name(eqn.primitive, eqn.params, RULES)))
