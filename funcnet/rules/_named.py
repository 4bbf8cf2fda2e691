"""Which function of JAX a call is, and the rule for this call.

The name of a function does not tell. JAX keeps it for all that its transformations make of the function:
vmap may map other axes of one argument than of another, jvp adds tangents, linearize leaves the linear part
alone. So the program of the call must compute what a trace of the function of that name does.
"""

import functools
import importlib
import inspect
from collections.abc import Container, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet import _jax
from funcnet.rules._elementwise import Places, along, elementwise
from funcnet.rules._sparing import spared
from funcnet.rules._table import Rule
from funcnet.rules.functions import DEFINED


def function_of(primitive: Any, params: Mapping[str, Any], names: Container[str]) -> str:
    """Which function of JAX with a rule a call is, of these names; empty for all else.

    What JAX's transformations make of a function keeps its name, so the program must be the function's too.
    """
    candidates = [name for name in DEFINED.get(_jax.called_function(primitive, params), ()) if name in names]
    return _same_program(_jax.called_by(params)[0], tuple(candidates)) if candidates else ""


@functools.lru_cache(maxsize=1024)
def _same_program(jaxpr: _jax.Jaxpr, names: tuple[str, ...]) -> str:
    form = elementwise(jaxpr)
    if form is None:
        return ""
    shape = (2,) if any(v.aval.shape for v in jaxpr.invars) else ()
    types = tuple(_jax.with_shape(v.aval, shape) for v in jaxpr.invars)
    same = (name for name in names if form.expression == _expression(name, types, _jax.trace_context()))
    return next(same, "")


@functools.lru_cache(maxsize=1024)
def _expression(name: str, types: tuple[Any, ...], context: tuple[Any, ...]) -> Any:
    """The expression of the function with this public name, of such arguments; None if it takes others."""
    module, _, function = name.rpartition(".")
    f = getattr(importlib.import_module(module), function)
    arguments = inspect.signature(f).parameters.values()
    if not sum(one.default is one.empty for one in arguments) <= len(types) <= len(arguments):
        return None
    form = elementwise(_jax.staged(lambda *xs: jax.tree.leaves(f(*xs)), types, name)[0])
    return form and form.expression


@functools.lru_cache(maxsize=1024)
def for_call(rule: Rule, jaxpr: _jax.Jaxpr, sparing: bool = False) -> Rule:
    """The rule of an elementwise function for a call of it.

    The rule gets each argument in the shape and the dtype of the result; what it sends back is summed over
    the axes along which an argument was repeated.

    Args:
        rule: the rule.
        jaxpr: the program of the call.
        sparing: whether it is to be the rule that spares elements; see `spared`.
    """
    form, y = elementwise(jaxpr), jaxpr.outvars[0].aval
    assert form is not None
    places, rule = form.places, spared(rule) if sparing else rule
    if all(v.aval.dtype == y.dtype for v in jaxpr.invars) and set(places) == {along(y.shape)}:
        return rule

    def backward(y_bar: Any, y: Any, *xs: Any) -> list[Any]:
        first = y[0] if isinstance(y, tuple) else y
        live, xs = xs[:sparing], xs[sparing:]
        wide = [_spread(x, place, first) for x, place in zip(xs, places, strict=True)]
        x_bars = rule.backward(y_bar, y, *live, *wide)[sparing:]
        sent = [_gathered(x_bar, place, x) for x_bar, place, x in zip(x_bars, places, xs, strict=True)]
        return [*[None] * sparing, *sent]

    return Rule(rule.primitives, backward, rule.formula, rule.source)


def _spread(x: Any, place: Places, y: Any) -> Any:
    """An argument in the shape and the dtype of the result."""
    long = [axis for axis in place if axis is not None]
    x = lax.reshape(x, [n for n, axis in zip(x.shape, place, strict=True) if axis is not None])
    x = lax.transpose(x, sorted(range(len(long)), key=long.__getitem__))
    return lax.convert_element_type(lax.broadcast_in_dim(x, y.shape, sorted(long)), y.dtype)


def _gathered(x_bar: Any, place: Places, x: Any) -> Any:
    """The gradient of an argument from that of what it was spread to."""
    if x_bar is None or not jnp.issubdtype(x.dtype, jnp.inexact):
        return None
    long = [axis for axis in place if axis is not None]
    x_bar = lax.reduce_sum(x_bar, [axis for axis in range(x_bar.ndim) if axis not in long])
    x_bar = lax.transpose(x_bar, [sorted(long).index(axis) for axis in long])
    return lax.convert_element_type(lax.reshape(x_bar, x.shape), x.dtype)
