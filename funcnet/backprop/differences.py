"""c + k u for numbers c and k and a u that is made of a gate, as 1 − σ(x), without what rounding takes of it.

    c + k σ(x) = (c + k) − k (1 − σ(x)) = (c + k) − k σ(−x)

`funcnet.rules._rests` says what other gates leave of 1. Between the gate and the difference u may be scaled
and shifted by numbers, clipped, chosen among others, squared, or lie otherwise.
"""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet import _jax
from funcnet.backprop.again import Made
from funcnet.backprop.program import program
from funcnet.rules import RULES, Table, rule_name
from funcnet.rules._elementwise import elementwise
from funcnet.rules._rests import ADDED, LEFT, left_by_softmax

SOFTMAX, LOG_SOFTMAX = "jax.nn.softmax", "jax.nn.log_softmax"
LAYOUT = frozenset({"broadcast_in_dim", "copy", "dynamic_slice", "expand_dims", "gather", "reshape"})
LAYOUT |= {"slice", "squeeze", "transpose", "convert_element_type"}


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


def made(function: Callable[..., Any], *parts: Part) -> Part:
    """A function of parts."""
    inputs = tuple(dict.fromkeys(v for part in parts for v in part.inputs))
    return Part(inputs, lambda values: function(*[part.of(values) for part in parts]))


def plain(atom: Any) -> Part:
    """A value as it is."""
    if _jax.is_literal(atom):
        return Part((), lambda values: atom.val)
    return Part((atom,), lambda values: values[atom])


def run_again(eqn: _jax.Equation) -> Callable[..., Any]:
    """An equation with one result as a function of its operands."""
    return lambda *xs: _jax.bind(eqn, xs)[0]


MOST = 32
"""So many times a search asks itself, as deep or as broad as a program may be."""

Found = TypeVar("Found")
Asked = ParamSpec("Asked")


def search(
    ask: Callable[Concatenate[Any, Asked], Found | None],
) -> Callable[Concatenate[Any, Asked], Found | None]:
    """Decorator: a method that asks itself, and finds nothing beyond `MOST` times; `self.asked` counts."""

    @functools.wraps(ask)
    def asked(self: Any, *args: Asked.args, **kwargs: Asked.kwargs) -> Found | None:
        before = self.asked[ask]
        self.asked[ask] += 1
        try:
            return ask(self, *args, **kwargs) if before < MOST else None
        finally:
            if not before:
                self.asked[ask] = 0

    return asked


class Differences:
    """The differences c + k u in a program.

    Args:
        jaxpr: the program.
        rules: the table. Of gates for which it has another rule than that of the house nothing is known.
    """

    def __init__(self, jaxpr: _jax.Jaxpr, rules: Table):
        self._rules, self.asked = rules, Counter[Callable]()
        self._makers: Mapping[Any, Any] = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}

    def maker(self, atom: Any) -> Any:
        """The equation of real numbers that an operand comes from, or None."""
        eqn = None if _jax.is_literal(atom) else self._makers.get(atom)
        return eqn if eqn is not None and jnp.issubdtype(atom.aval.dtype, jnp.floating) else None

    def name(self, eqn: _jax.Equation) -> str:
        """What an equation computes."""
        return name_of(eqn, self._rules)

    def is_ours(self, name: str) -> bool:
        """Whether the rule of this name, if there is any, is that of the house."""
        return self._rules.get(name) is RULES.get(name)

    def made_by(self, eqn: _jax.Equation) -> Part | None:
        """The sum or difference that an equation is, if of a number and a gate."""
        of = self._shifted(eqn, 0.0, 1.0)
        return of and self.made(*of)

    def made_beside(self, eqn: _jax.Equation) -> Part | None:
        """a − w = (a − 1) + (1 − w) of a gate w and of another, or of what is given, where a is near 1."""
        if eqn.primitive.name != "sub":
            return None
        for sign, a, w in ((1.0, *eqn.invars), (-1.0, *eqn.invars[::-1])):
            less, rest = self.made(-1.0, 1.0, a), self.made(1.0, -1.0, w)
            if rest and (less or _jax.is_literal(a) or a not in self._makers):
                less = less or _affine(-1.0, 1.0, a)
                return made(functools.partial(_near_one, sign), plain(a), plain(w), less, rest)
        return None

    @search
    def made(self, c: float, k: float, u: Any) -> Part | None:
        """c + k u, if u is made of a gate."""
        if (eqn := self.maker(u)) is None:
            return None
        if (shifted := self._shifted(eqn, c, k)) is not None:
            c, k, w = shifted
            return made(lambda w: k * w, plain(w)) if c == 0 else self.made(c, k, w)
        name = self.name(eqn)
        if 0.5 <= -c / k <= 2 and (rest := self._left(name, eqn, u)):
            return (
                made(lambda rest: (c + k) - k * rest, rest) if c + k else made(lambda rest: -k * rest, rest)
            )
        if 0.5 <= c / k <= 2 and name in ADDED and self.is_ours(name) and len(eqn.invars) == 1:
            return made(lambda x: (c - k) + k * ADDED[name](x), plain(eqn.invars[0]))
        return self._through(name, eqn, c, k)

    def _shifted(self, eqn: _jax.Equation, c: float, k: float) -> tuple[float, float, Any] | None:
        """c + k y of a y that is w + a, w − a, a − w, −w, a w or w/a for a number a: as c′ + k′ w."""
        name, invars = eqn.primitive.name, eqn.invars
        if name == "neg":
            return c, -k, invars[0]
        if name not in ("add", "sub", "mul", "div"):
            return None
        (first, second), (w, v) = map(self._number, invars), invars
        if second is not None and not (name in ("mul", "div") and second == 0):
            shift = {"add": (k * second, k), "sub": (-k * second, k), "mul": (0, k * second)}
            more, k = shift[name] if name in shift else (0, k / second)
            return c + more, k, w
        if first is not None and name != "div" and not (name == "mul" and first == 0):
            more, k = {"add": (k * first, k), "sub": (k * first, -k), "mul": (0, k * first)}[name]
            return c + more, k, v
        return None

    def _left(self, name: str, eqn: _jax.Equation, u: Any) -> Part | None:
        """1 − u of a gate, or of a square."""
        x = eqn.invars[0]
        if name == "exp" and (part := self._left_by_exp(x)):
            return part
        if name == SOFTMAX and self.is_ours(name):
            return made(functools.partial(left_by_softmax, axes=axes(eqn)), plain(u))
        if name in LEFT and self.is_ours(name):
            return made(LEFT[name], plain(x))
        if (
            name == "abs"
            and (gate := self.maker(x)) is not None
            and self.name(gate) in LEFT.keys() & ADDED.keys()
        ):
            return made(lambda x: LEFT[self.name(gate)](lax.abs(x)), plain(gate.invars[0]))
        is_square = name in ("square", "integer_pow", "mul") and eqn.invars[-1] is x
        return self.pair(lax.mul, x) if is_square and eqn.params.get("y", 2) == 2 else None

    def pair(self, function: Callable[[Any, Any], Any], u: Any) -> Part | None:
        """A function of 1 − u and 1 + u, if one of these is a difference that is known."""
        both = self.made(1.0, -1.0, u), self.made(1.0, 1.0, u)
        if not any(both):
            return None
        rest, other = (part or _affine(1.0, k, u) for part, k in zip(both, (-1.0, 1.0), strict=True))
        return made(function, rest, other)

    @search
    def _left_by_exp(self, x: Any) -> Part | None:
        """1 − eˣ of an x that is of a log_softmax."""
        if (eqn := self.maker(x)) is None:
            return None
        if self.name(eqn) == LOG_SOFTMAX and self.is_ours(LOG_SOFTMAX):
            return made(lambda y: left_by_softmax(lax.exp(y), axes(eqn)), plain(x))
        if eqn.primitive.name in LAYOUT and (part := self._left_by_exp(eqn.invars[0])):
            return made(run_again(eqn), part, *map(plain, eqn.invars[1:]))
        return None

    def _number(self, atom: Any) -> float | None:
        return number(atom, self._makers)

    def _through(self, name: str, eqn: _jax.Equation, c: float, k: float) -> Part | None:
        """c + k u of a u that lies otherwise, is chosen, or is clipped."""
        u, *others = eqn.invars
        if name in LAYOUT and (part := self.made(c, k, u)):
            return made(run_again(eqn), part, *map(plain, others))
        if is_jitted(eqn, "_where") or name == "select_n":
            parts = [self.made(c, k, v) for v in others]
            wide = [part or _affine(c, k, v) for part, v in zip(parts, others, strict=True)]
            return made(run_again(eqn), plain(u), *wide) if any(parts) else None
        if is_jitted(eqn, "clip") and (part := self.made(c, k, u)):
            low, high = (_affine(c, k, bound) for bound in (others if k > 0 else others[::-1]))
            return made(_clip, part, low, high)
        if name in ("max", "min"):
            parts = [self.made(c, k, v) for v in eqn.invars]
            wide = [part or _affine(c, k, v) for part, v in zip(parts, eqn.invars, strict=True)]
            is_max = (name == "max") == (k > 0)
            return made(jnp.maximum if is_max else jnp.minimum, *wide) if any(parts) else None
        return None


def name_of(eqn: _jax.Equation, rules: Table) -> str:
    """The name of the rule for an equation, or where it is defined for a call without one."""
    name = rule_name(eqn.primitive, eqn.params, rules)
    return _jax.called_function(eqn.primitive, eqn.params) or name if name == "jit" else name


def number(atom: Any, makers: Mapping[Any, _jax.Equation]) -> float | None:
    """The number that an operand is, everywhere."""
    if _jax.is_literal(atom):
        return float(np.ravel(atom.val)[0]) if np.size(atom.val) == 1 and np.isrealobj(atom.val) else None
    eqn = makers.get(atom)
    is_spread = eqn is not None and eqn.primitive.name == "broadcast_in_dim"
    return number(eqn.invars[0], makers) if eqn and is_spread else None


def is_jitted(eqn: _jax.Equation, *names: str) -> bool:
    """Whether an equation calls a small function of JAX with one of these names."""
    return eqn.primitive.name == "jit" and eqn.params["name"] in names


def axes(eqn: _jax.Equation) -> Sequence[int]:
    """Over which axes of its result a softmax sums."""
    form = elementwise(_jax.called(eqn)[0])
    assert form is not None
    return [axis for axis in map(form.places[0].__getitem__, form.axes) if axis is not None]


def _near_one(sign: float, a: Any, w: Any, less: Any, rest: Any) -> Any:
    """± (a − w), of a − 1 and 1 − w where that is better."""
    return sign * jnp.where((a >= 0.5) & (a <= 2), less + rest, a - w)


def _clip(x: Any, *bounds: Any) -> Any:
    """In the dtype of x: as numbers the bounds may have another."""
    return jnp.clip(x, *[lax.convert_element_type(bound, x.dtype) for bound in bounds])


def _affine(c: float, k: float, v: Any) -> Part:
    """c + k v as it is."""
    return made(lambda w: jnp.asarray(c + k * w, v.aval.dtype), plain(v))
