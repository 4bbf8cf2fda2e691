"""1 − σ, 1 − tanh², 1 − eˣ, 1 − softmax and what is computed of them, as rules read it that divide by it.

Their values are JAX's, and rounding leaves no digit of 1 − σ at x = 16 in float32. JAX's σ′ = y (1 − y) has
the same error, which cancels where it is divided by 1 − σ; the σ′ of the house has none. So there a rule
reads σ(−x) in place of 1 − σ(x), made of x on the way back. One that divides by what is computed of 1 − σ,
as of σ (1 − σ), 1 − σ + ε, √(1 − tanh²), 1 − clip(σ), reads that as computed of σ(−x).

The formulas are those of `funcnet.rules._rests`.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from jax import lax
from jax.scipy.special import xlogy

from funcnet import _jax
from funcnet.backprop.differences import (
    LAYOUT,
    LOG_SOFTMAX,
    SOFTMAX,
    Differences,
    Part,
    axes,
    is_jitted,
    made,
    plain,
    run_again,
    search,
)
from funcnet.rules import RULES, Table, rule_name
from funcnet.rules._rests import (
    ADDED,
    DIVIDING,
    DIVISORS,
    LEFT,
    OF_POSITIVE,
    ROOTS,
    SERVED,
    VALUES,
    log_of_softmax,
    log_of_sum,
)

_PRODUCTS = frozenset({"mul", "dot_general", "reduce_prod", "cumprod", "numpy.reductions.cumprod"})
_SUMS = frozenset({"add", "sub", "neg", "reduce_sum", "cumsum", "numpy.reductions.cumsum"})
_CHOICES = frozenset({"max", "min", "select_n", "concatenate", "stack"})
_REPEATED = _PRODUCTS | _SUMS | _CHOICES | ROOTS | LAYOUT


class Rests:
    """The values of a program that are, or are made of, 1 less a gate.

    Args:
        jaxpr: the program.
        rules: the table. Of gates for which it has another rule than that of the house nothing is known.
    """

    def __init__(self, jaxpr: _jax.Jaxpr, rules: Table):
        self._differences, self.asked = Differences(jaxpr, rules), Counter[Callable]()
        names = set(map(self._differences.name, jaxpr.eqns))
        known = {*LEFT, *ADDED, *VALUES, SOFTMAX, LOG_SOFTMAX}
        self._is_any = not (names.isdisjoint(known) or names.isdisjoint(DIVIDING | SERVED.keys()))
        self._found: dict[_jax.Var, Part | None] = {}

    def rereading(self, eqn: _jax.Equation) -> tuple[_jax.Equation, Sequence[Part | None]]:
        """An equation whose rule serves for this one, and what of [*outputs, *inputs] that reads made so.

        To be asked from the last equation to the first: a product reads its factors so where somebody divides
        by it, or where one is a quotient, but not where it only is a gate, as (1 − z) h in a GRU.
        """
        nothing = [None] * (len(eqn.outvars) + len(eqn.invars))
        if not self._is_any:
            return eqn, nothing
        name = self._differences.name(eqn)
        if (
            name in SERVED
            and self._differences.is_ours(name)
            and (divisor := self._divisor(name, eqn.invars[-1]))
        ):
            other = _call(SERVED[name], *[v.aval for v in eqn.invars])
            return eqn.replace(primitive=other.primitive, params=other.params), [*nothing[:-1], divisor]
        is_divided_by = name in _PRODUCTS and self._found.get(eqn.outvars[0])
        if name in DIVIDING or is_divided_by or (name == "mul" and any(map(self._is_root, eqn.invars))):
            if name == "integer_pow" and eqn.params["y"] > 0 and self._is_residual(eqn.invars[0]):
                return eqn, nothing
            return eqn, [self.exact(v) for v in (*eqn.outvars, *eqn.invars)]
        return eqn, nothing

    def _is_residual(self, atom: Any) -> bool:
        """Whether this is y − σ(x) for a given y, as in a sum of squares: nothing is divided by it."""
        eqn = self._differences.maker(atom)
        return eqn is not None and self._differences.made_beside(eqn) is not None

    def _divisor(self, name: str, u: Any) -> Part | None:
        """By what the rule of a function of u divides, if any of what that reads is left by a gate."""
        if name in OF_POSITIVE and self._differences.made(1.0, -1.0, u) is None:
            return None
        pair = self._differences.pair(lambda rest, other: (rest, other), u)
        return pair and made(lambda u, pair: DIVISORS[name](u, *pair), plain(u), pair)

    def _is_root(self, atom: Any) -> bool:
        """Whether a factor is a quotient, power or logarithm, or one's negative."""
        eqn = self._differences.maker(atom)
        while eqn is not None and eqn.primitive.name == "neg":
            eqn = self._differences.maker(eqn.invars[0])
        name = "" if eqn is None else self._differences.name(eqn)
        return name in ROOTS or name in VALUES

    @search
    def exact(self, atom: Any) -> Part | None:
        """1 less a gate, or what is computed of that."""
        if (eqn := self._differences.maker(atom)) is None:
            return None
        if atom not in self._found:
            part = self._exact(atom, eqn)
            self._found[atom] = part and _once(atom, part)
        return self._found[atom]

    def _exact(self, v: _jax.Var, eqn: _jax.Equation) -> Part | None:
        if part := self._differences.made_by(eqn) or self._differences.made_beside(eqn):
            return part
        name, x = self._differences.name(eqn), eqn.invars[0]
        if name == LOG_SOFTMAX and self._differences.is_ours(name):
            return made(functools.partial(log_of_softmax, axes=axes(eqn)), plain(v))
        if name == "log1p" and (other := self._differences.made(1.0, 1.0, x)):
            return made(log_of_sum, plain(x), other)
        if name in VALUES:
            return made(VALUES[name], self.exact(x) or plain(x))
        if name not in _REPEATED and not is_jitted(eqn, "_where", "clip"):
            return None
        parts = list(map(self.exact, eqn.invars))
        if not any(parts):
            return None
        parts = [part or plain(atom) for part, atom in zip(parts, eqn.invars, strict=True)]
        return made(run_again(eqn), *parts)


def _once(v: _jax.Var, part: Part) -> Part:
    """The same, made once where several parts are made of it."""

    def of(values: dict[Any, Any]) -> Any:
        if (v, part) not in values:
            values[v, part] = part.of(values)
        return values[v, part]

    return Part(part.inputs, of)


@functools.lru_cache(maxsize=512)
def _call(name: str, *avals: Any) -> _jax.Equation:
    """An equation that the rule of this name is for."""
    function = lax.log if name == "log" else xlogy
    program, _ = _jax.staged(lambda *xs: [function(*xs)], avals, "a function")
    return next(eqn for eqn in program.eqns if name in ("log", rule_name(eqn.primitive, eqn.params, RULES)))
