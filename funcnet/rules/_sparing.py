"""Elementwise rules that spare elements: there they send back 0, whatever the slope is."""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import Rule, like, stretch


def spared(rule: Rule) -> Rule:
    """The rule with one more operand before the others: an array of bools that says where it sends something.

    An operand that was stretched gets the sum over the others.
    """

    def backward(y_bar: Any, y: Any, live: Any, /, *xs: Any, **params: Any) -> list[Any]:
        x_bars = rule.backward(y_bar, y, *(stretch(x, live.shape) for x in xs), **params)
        return [None, *map(functools.partial(_where, live), xs, x_bars)]

    return Rule(rule.primitives, backward, rule.formula, rule.source)


def _where(live: Any, x: Any, x_bar: Any) -> Any:
    if x_bar is None or not jnp.issubdtype(x.dtype, jnp.inexact):
        return None
    return like(x, lax.select(live, x_bar, lax.full_like(x_bar, 0)))


def with_strong_zero(rule: Rule) -> Rule:
    """The rule that sends back 0 where ȳ is 0."""
    if rule.forward:
        return Rule(rule.primitives, _pair(rule), _and_zero(rule), rule.source, rule.forward)
    sparing = spared(rule)

    def backward(y_bar: Any, y: Any, /, *xs: Any, **params: Any) -> Sequence[Any]:
        bars = [bar for bar in (y_bar if isinstance(y_bar, tuple) else (y_bar,)) if bar is not None]
        live = functools.reduce(operator.or_, (bar != 0 for bar in bars))
        return sparing.backward(y_bar, y, live, *xs, **params)[1:]

    return Rule(rule.primitives, backward, _and_zero(rule), rule.source)


def _pair(rule: Rule) -> Any:
    """The backward of a rule of one argument with a forward of its own."""

    def backward(stash: Any, y_bar: Any, /, **params: Any) -> list[Any]:
        (x_bar,) = rule.backward(stash, y_bar, **params)
        return [lax.select(y_bar != 0, x_bar, lax.full_like(x_bar, 0))]

    return backward


def _and_zero(rule: Rule) -> str:
    return f"{rule.formula},  and 0 where ȳ = 0"
