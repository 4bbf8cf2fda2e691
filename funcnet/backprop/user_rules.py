"""The rules of users, put aside by a trace: the way back through a call that they have run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import jax

from funcnet import _jax
from funcnet.backprop.activity import Mask
from funcnet.backprop.alive import Lives
from funcnet.backprop.control import only
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.sweep import Engine

OPERAND = object()
"""In the place of a residual that is an operand of the equation."""


@dataclass(frozen=True, eq=False, kw_only=True)
class UserRule:
    """The way back through one call, whose equation has the operands [*xs, *ys, *residuals].

    Attributes:
        name: how the function is called.
        xs: how many arguments have gradients.
        ys: the types of the results.
        aside: what the rule has put aside, with `OPERAND` for what is an operand.
    """

    name: str
    xs: int
    ys: tuple[Any, ...]
    aside: Sequence[Any]

    def split(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The results and the residuals among the operands."""
        end = self.xs + len(self.ys)
        return list(operands[self.xs : end]), list(operands[end:])

    def residuals(self, operands: Sequence[Any]) -> list[Any]:
        """All that the rule has put aside."""
        operand = iter(operands)
        return [next(operand) if one is OPERAND else one for one in self.aside]

    def with_all(self, operands: Sequence[Any]) -> tuple["UserRule", list[Any]]:
        """The rule for which all arrays that it has put aside are operands, and these."""
        ys, residuals = self.split(operands)
        values = self.residuals(residuals)
        arrays = [one is OPERAND or isinstance(one, jax.Array) for one in self.aside]
        aside = [OPERAND if one else value for one, value in zip(arrays, values, strict=True)]
        return replace(self, aside=aside), [*operands[: self.xs], *ys, *compress(values, arrays)]

    def reads(self, operands: Sequence[Any]) -> Mask:
        """What of [*results, *operands] is read when it runs: all but the arguments."""
        rest = len(operands) - self.xs
        return (False,) * (len(self.ys) + self.xs) + (True,) * rest

    def pullback(self, engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """The way back."""
        raise NotImplementedError


ruled = _jax.Transparent("ruled")
ruled.run = lambda *operands, rule: rule.split(operands)[0]
ruled.def_abstract_eval(lambda *operands, rule: list(rule.ys))


@dataclass(frozen=True, eq=False, kw_only=True)
class Backward(UserRule):
    """The way back that a custom_vjp brings.

    Attributes:
        bwd: `bwd(*residuals, *y_bars) -> x_bars`, with the checks that JAX makes of it.
        active: which of its arguments are the xs.
        zero: what it gets for the cotangent of a result of this type that is zero.
    """

    bwd: Any
    active: Mask
    zero: Callable[[Any], Any]

    def pullback(self, engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """Call it."""
        gives = tuple(one and i < self.xs for i, one in enumerate(asked))

        def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
            bars = [self.zero(y) if bar is None else bar for y, bar in zip(self.ys, y_bars, strict=True)]
            x_bars = list(compress(self.bwd(*self.residuals(stash), *bars), self.active))
            x_bars = [_jax.as_cotangent(x_bar, v.aval) for x_bar, v in zip(x_bars, eqn.invars, strict=False)]
            return only([*x_bars, *[None] * (len(asked) - self.xs)], gives)

        return Pullback(gives, backward, self.reads(asked), self.split, always=True, dense=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Tangent(UserRule):
    """The way back that a custom_jvp brings: its tangent, a program of (*ẋ,) that is linear.

    Attributes:
        jaxpr: the program.
        places: where the ẏ of the results are among its outputs.
    """

    jaxpr: _jax.Jaxpr
    places: Sequence[int]

    def pullback(self, engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """Walk the program backward, at ẋ = 0."""
        outs = len(self.jaxpr.outvars)
        has = dict(zip(self.places, given, strict=True))
        y_bars_given = tuple(has.get(i, False) for i in range(outs))
        plan = engine.of_tangents.plan(self.jaxpr, asked[: self.xs], y_bars_given, (False,) * outs)
        rest = len(asked) - self.xs

        def forward(operands: Sequence[Any]) -> tuple[list[Any], Any]:
            ys, residuals = self.split(operands)
            dots = [_jax.zero_tangent(v.aval) for v in self.jaxpr.invars]
            return ys, plan.forward(self.residuals(residuals), dots)[1]

        def of_outputs(values: Sequence[Any]) -> list[Any]:
            by_place = dict(zip(self.places, values, strict=True))
            return [by_place.get(i) for i in range(outs)]

        def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
            return [*plan.backward(stash, of_outputs(y_bars)), *[None] * rest]

        def masked(stash: Any, y_bars: Sequence[Any], lives: Lives) -> tuple[list[Any], Lives]:
            x_bars, lives = plan.masked_backward(stash, of_outputs(y_bars), of_outputs(lives))
            return [*x_bars, *[None] * rest], [*lives, *[None] * rest]

        gives = (*plan.gives, *(False,) * rest)
        return Pullback(gives, backward, self.reads(asked), forward, masked=masked)


def by_rule_of_user(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A call that has been run by its rule."""
    return eqn.params["rule"].pullback(engine, eqn, given, asked)
