"""The way back through one equation: a rule, traced for the shapes that it meets.

Tracing a rule gives the few equations that turn ȳ into x̄. Of those only the ones are kept that lead
to a gradient somebody asked for, and what they read of the forward pass is the stash: exactly what
the rule needs, no more. A rule of the table is traced once for each signature.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from funcnet import _jax
from funcnet._errors import RuleError
from funcnet.backprop.program import Program, program
from funcnet.rules import RULES, Rule, Table

Mask = tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Pullback:
    """The way back through one equation, for the gradients that were asked for.

    Attributes:
        gives: which inputs get a gradient.
        forward: `forward(xs) -> (ys, stash)`.
        backward: `backward(stash, y_bars) -> x_bars`, with None where there is no gradient.
    """

    gives: Mask
    forward: Callable[[Sequence[Any]], tuple[list[Any], Any]]
    backward: Callable[[Any, Sequence[Any]], list[Any]]


def differentiable(aval: Any) -> bool:
    """Whether values of this type have gradients: real and complex floats do, integers and keys do not."""
    return jnp.issubdtype(aval.dtype, jnp.inexact)


def by_rule(eqn: _jax.Equation, given: Mask, asked: Mask, rules: Table) -> Pullback:
    """The pullback of an equation by the rule of its primitive.

    Args:
        eqn: the equation.
        given: which outputs have a cotangent.
        asked: which inputs want a gradient.
        rules: the table.

    Raises:
        RuleError: the rule's answer has the wrong number, shape or dtype.
    """
    rule = rules[eqn.primitive.name]
    signature = (
        rule,
        tuple(sorted(_jax.parameters(eqn).items())),
        tuple(v.aval for v in eqn.invars),
        tuple(v.aval for v in eqn.outvars) if eqn.primitive.multiple_results else eqn.outvars[0].aval,
        given,
        asked,
        _jax.trace_context(),
    )
    trace = _trace_pair if rule.forward else _trace_rule
    of_the_house = RULES.get(eqn.primitive.name) is rule
    if of_the_house and _hashable(signature):
        return trace(*signature)(eqn)
    return trace.__wrapped__(*signature)(eqn)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


@functools.lru_cache(maxsize=4096)
def _trace_rule(
    rule: Rule, params: tuple, ins: tuple, outs: Any, given: Mask, asked: Mask, context: tuple
) -> Callable[[_jax.Equation], Pullback]:
    """A rule `(y_bar, y, *xs) -> x_bars`: the stash is what it reads of ys and xs."""
    many = isinstance(outs, tuple)

    def x_bars(y_bar: Any, y: Any, xs: Any) -> list[Any]:
        return _checked(rule, ins, asked, rule.backward(y_bar, y, *xs, **dict(params)))

    y_bar = [aval if has else None for aval, has in zip(outs, given, strict=True)] if many else outs
    backward, shapes = program(x_bars, tuple(y_bar) if many else y_bar, outs, ins)
    of_y_bars = sum(given)
    reads = backward.reads[of_y_bars:]

    def forward(eqn: _jax.Equation, xs: Sequence[Any]) -> tuple[list[Any], Any]:
        ys = _jax.bind(eqn, xs)
        return ys, [value if read else None for value, read in zip([*ys, *xs], reads, strict=True)]

    return _assemble(forward, backward, shapes)


@functools.lru_cache(maxsize=4096)
def _trace_pair(
    rule: Rule, params: tuple, ins: tuple, outs: Any, given: Mask, asked: Mask, context: tuple
) -> Callable[[_jax.Equation], Pullback]:
    """A rule `forward(*xs) -> y, stash` and `backward(stash, y_bar) -> x_bars`."""
    many = isinstance(outs, tuple)
    run = functools.partial(rule.forward, **dict(params))
    ahead, (y, stash) = program(run, *ins)
    stash, tree = jax.tree.flatten(stash)
    n = len(jax.tree.leaves(y))

    def x_bars(y_bar: Any, leaves: Any) -> list[Any]:
        answer = rule.backward(jax.tree.unflatten(tree, leaves), y_bar, **dict(params))
        return _checked(rule, ins, asked, answer)

    y_bar = [aval if has else None for aval, has in zip(outs, given, strict=True)] if many else outs
    backward, shapes = program(x_bars, tuple(y_bar) if many else y_bar, stash)
    reads = backward.reads[sum(given) :]
    ahead = ahead.only([True] * n + list(reads))

    def forward(eqn: _jax.Equation, xs: Sequence[Any]) -> tuple[list[Any], Any]:
        values = ahead(xs)
        return values[:n], values[n:]

    return _assemble(forward, backward, shapes)


def _assemble(forward: Callable, backward: Program, shapes: list[Any]) -> Callable[[_jax.Equation], Pullback]:
    gives = tuple(shape is not None for shape in shapes)

    def run_backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        x_bars = iter(backward([*(y_bar for y_bar in y_bars if y_bar is not None), *stash]))
        return [next(x_bars) if one else None for one in gives]

    def of(eqn: _jax.Equation) -> Pullback:
        return Pullback(gives, functools.partial(forward, eqn), run_backward)

    return of


def _checked(rule: Rule, ins: tuple, asked: Mask, x_bars: Sequence[Any]) -> list[Any]:
    """The gradients that were asked for, once each is what the contract says."""
    name = "/".join(rule.primitives)
    if not isinstance(x_bars, (tuple, list)) or len(x_bars) != len(ins):
        came = f"{len(x_bars)} gradients" if isinstance(x_bars, (tuple, list)) else type(x_bars).__name__
        raise RuleError(
            f"the rule for {name} returned {came}, expected a tuple with one entry for each of its "
            f"{len(ins)} inputs; return None for an input without a gradient"
        )
    for i, (x, x_bar) in enumerate(zip(ins, x_bars, strict=True)):
        if x_bar is not None and asked[i] and (jnp.shape(x_bar), x_bar.dtype) != (x.shape, x.dtype):
            raise RuleError(
                f"the rule for {name} returned a gradient of type {x_bar.dtype}{list(jnp.shape(x_bar))} for "
                f"input {i}, expected {x.dtype}{list(x.shape)}, the type of that input"
            )
    return [x_bar if wanted else None for wanted, x_bar in zip(asked, x_bars, strict=True)]
