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
from funcnet.backprop.activity import Mask
from funcnet.backprop.program import Program, program
from funcnet.rules import RULES, Rule, Table


@dataclass(frozen=True, eq=False)
class Pullback:
    """The way back through one equation, for the gradients that were asked for.

    Attributes:
        gives: which inputs get a gradient.
        backward: `backward(stash, y_bars) -> x_bars`, with None where there is no gradient.
        reads: which of [*ys, *xs] are the stash; those that are not are None in it.
        forward: where the equation must run differently to make its stash, `forward(xs) -> (ys, stash)`.
            Then `reads` says which inputs that reads, if not all; those that it does not read may be None.
        always: whether it runs where nothing comes too: a rule of a user's may send something back then.
        dense: whether it gets an array for each cotangent that it was made for, where that is late a zero.
    """

    gives: Mask
    backward: Callable[[Any, Sequence[Any]], list[Any]]
    reads: Mask = ()
    forward: Callable[[Sequence[Any]], tuple[list[Any], Any]] | None = None
    always: bool = False
    dense: bool = True

    def reads_inputs(self, eqn: _jax.Equation) -> Sequence[bool]:
        """Which inputs the equation reads when it runs."""
        some = self.forward is not None and self.reads
        return self.reads[len(eqn.outvars) :] if some else [True] * len(eqn.invars)


def by_rule(name: str, eqn: _jax.Equation, given: Mask, asked: Mask, rules: Table) -> Pullback:
    """The pullback of an equation by its rule.

    Args:
        name: the name of the rule: its primitive's, or that of the function that it calls.
        eqn: the equation.
        given: which outputs have a cotangent.
        asked: which inputs want a gradient.
        rules: the table.

    Raises:
        RuleError: the rule's answer has the wrong number, shape or dtype.
    """
    rule = rules[name]
    of_primitive = name == _jax.rule_name(eqn.primitive, eqn.params)
    parameters = _jax.parameters(eqn) if of_primitive else {}
    signature = (
        rule,
        tuple(sorted(parameters.items())),
        tuple(v.aval for v in eqn.invars),
        tuple(v.aval for v in eqn.outvars),
        eqn.primitive.multiple_results if of_primitive else len(eqn.outvars) > 1,
        given,
        asked,
        _jax.trace_context(),
    )
    kept = _kept(*signature) if RULES.get(name) is rule and _hashable(signature) else []
    if not kept:
        with _jax.planning(eqn):
            whole = rule if of_primitive else behind_tables(rule, len(eqn.invars) - 1)
            kept.append((trace_pair if rule.forward else trace_rule)(whole, *signature[1:]))
    return kept[0]


def behind_tables(rule: Rule, count: int) -> Rule:
    """The rule of a function of one argument, for a call in which tables of JAX's stand before that."""
    if not count:
        return rule
    forward = rule.forward and (lambda *xs: rule.forward(xs[-1]))  # pyright: ignore[reportOptionalCall]

    def backward(*args: Any) -> Sequence[Any]:
        own = args if rule.forward else (*args[:2], args[-1])
        return (*(None,) * count, *rule.backward(*own))

    return Rule(rule.primitives, backward, rule.formula, rule.source, forward)


@functools.lru_cache(maxsize=4096)
def _kept(*signature: Any) -> list[Pullback]:
    """Where the pullback of all equations with one signature is kept."""
    return []


def trace_rule(
    rule: Rule, params: tuple, ins: tuple, outs: tuple, many: bool, given: Mask, asked: Mask, context: tuple
) -> Pullback:
    """A rule `(y_bar, y, *xs) -> x_bars`: the stash is what it reads of ys and xs."""

    def run(y_bars: Any, ys: Any, xs: Any) -> list[Any]:
        y_bar, y = (tuple(y_bars), tuple(ys)) if many else (y_bars[0], ys[0])
        return _checked(rule, ins, asked, rule.backward(y_bar, y, *xs, **dict(params)))

    backward, shapes = program(run, _given(outs, given), outs, ins)
    return Pullback(_present(shapes), _run(backward, shapes), reads=backward.reads[sum(given) :])


def trace_pair(
    rule: Rule, params: tuple, ins: tuple, outs: tuple, many: bool, given: Mask, asked: Mask, context: tuple
) -> Pullback:
    """A rule `forward(*xs) -> (y, stash)` and `backward(stash, y_bar) -> x_bars`."""
    assert rule.forward is not None
    ahead, (_, stash) = program(functools.partial(rule.forward, **dict(params)), *ins)
    stash, tree = jax.tree.flatten(stash)

    def run(y_bars: Any, stash: Any) -> list[Any]:
        y_bar = tuple(y_bars) if many else y_bars[0]
        return _checked(
            rule, ins, asked, rule.backward(jax.tree.unflatten(tree, stash), y_bar, **dict(params))
        )

    backward, shapes = program(run, _given(outs, given), stash)
    ahead = ahead.only([True] * len(outs) + list(backward.reads[sum(given) :]))

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        values = ahead(xs)
        return values[: len(outs)], values[len(outs) :]

    return Pullback(_present(shapes), _run(backward, shapes), forward=forward)


def _given(outs: Sequence[Any], given: Mask) -> list[Any]:
    """The types of the cotangents; None for a symbolic zero."""
    return [aval if has else None for aval, has in zip(outs, given, strict=True)]


def _present(x_bars: Sequence[Any]) -> Mask:
    return tuple(x_bar is not None for x_bar in x_bars)


def _run(backward: Program, shapes: Sequence[Any]) -> Callable[[Any, Sequence[Any]], list[Any]]:
    def run(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        x_bars = iter(backward.as_call([*(y_bar for y_bar in y_bars if y_bar is not None), *stash]))
        return [None if shape is None else next(x_bars) for shape in shapes]

    return run


def _checked(rule: Rule, ins: tuple, asked: Mask, x_bars: Sequence[Any]) -> list[Any]:
    """The gradients that were asked for, once each is what the contract says."""
    name = "/".join(rule.primitives)
    if not isinstance(x_bars, (tuple, list)) or len(x_bars) != len(ins):
        came = f"{len(x_bars)} gradients" if isinstance(x_bars, (tuple, list)) else type(x_bars).__name__
        raise RuleError(
            f"the rule for {name} returned {came}, expected a tuple with one entry for each of its "
            f"{len(ins)} inputs; return None for an input without a gradient"
        )
    x_bars = [x_bar if wanted else None for wanted, x_bar in zip(asked, x_bars, strict=True)]
    for i, (x, x_bar) in enumerate(zip(ins, x_bars, strict=True)):
        if x_bar is not None and (jnp.shape(x_bar), jnp.result_type(x_bar)) != (x.shape, x.dtype):
            raise RuleError(
                f"the rule for {name} returned a gradient {jnp.result_type(x_bar)}{list(jnp.shape(x_bar))} "
                f"for input {i}, expected {x.dtype}{list(x.shape)}, that input's own type; convert or sum it"
            )
    return x_bars


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
