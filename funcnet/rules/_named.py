"""Which function of JAX a call is, and the rule for this call.

The name of a function does not tell. JAX keeps it for all that its transformations make of the function:
vmap may map other axes of one argument than of another, jvp adds tangents, linearize leaves the linear part
alone. So the program of the call must compute what a trace of the function of that name does.
"""

import functools
import importlib
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet import _jax
from funcnet.rules._elementwise import Places, along, elementwise
from funcnet.rules._forms import FORMS
from funcnet.rules._sparing import spared
from funcnet.rules._table import Rule, Table
from funcnet.rules.functions import DEFINED, PARAMETERS, REAL, REDUCING, THROUGH, WHOLE
from funcnet.rules.softmax import WRITTEN_OUT


def function_of(primitive: Any, params: Mapping[str, Any], rules: Table) -> str:
    """The name of the rule in the table of the function of JAX that a call is; empty for all else."""
    place = _jax.called_function(primitive, params)
    names = tuple(name for name in DEFINED.get(place, ()) if name in rules)
    return _named(_jax.called_by(params)[0], place, names) if names else ""


@functools.lru_cache(maxsize=1024)
def _named(jaxpr: _jax.Jaxpr, place: str, names: tuple[str, ...]) -> str:
    """Which of these functions a program is that is said to be defined in this place."""
    complex_ = any(jnp.issubdtype(v.aval.dtype, jnp.complexfloating) for v in jaxpr.invars)
    known = (name for name in names if not (complex_ and name in REAL))
    return next((name for name in known if arity(jaxpr, place, name) is not None), "")


@functools.lru_cache(maxsize=1024)
def arity(jaxpr: _jax.Jaxpr, place: str, name: str) -> int | None:
    """How many arguments of the function with this public name a program of it has; None if it is another.

    JAX may put tables of coefficients before the arguments.
    """
    least, most = _arities(name)
    counts = range(min(most, len(jaxpr.invars)), least - 1, -1)
    return next((count for count in counts if _computes(jaxpr, place, name, count)), None)


def _computes(jaxpr: _jax.Jaxpr, place: str, name: str, count: int) -> bool:
    """Whether a program computes what the function with this public name does of so many arguments."""
    if name in REDUCING:
        return _reduces(jaxpr, place, name)
    if name in WHOLE:
        return len(jaxpr.invars) == count and _mapped_axis(jaxpr, place, name) is not None
    tables = len(jaxpr.invars) - count
    types, form = [v.aval for v in jaxpr.invars[tables:]], elementwise(jaxpr, tables)
    if form is None or form.axes:
        program = _program(name, place, tuple(types), _jax.trace_context()) if _fit(types) else None
        return program is not None and _text(jaxpr) == _text(program)
    shape = (2,) if any(aval.shape for aval in types) else ()
    types = tuple(_jax.with_shape(aval, shape) for aval in types)
    program = _program(name, place, types, _jax.trace_context())
    same = program and elementwise(program, len(program.invars) - len(types))
    return bool(same) and same.expression == form.expression


def _fit(types: Sequence[Any]) -> bool:
    """Whether arguments of these types can be broadcast: those of a call that vmap has mapped may not."""
    sizes = itertools.zip_longest(*(reversed(aval.shape) for aval in types), fillvalue=1)
    return all(len({*axis} - {1}) <= 1 for axis in sizes)


def _text(jaxpr: _jax.Jaxpr) -> str:
    """A program in words, without the call around it if that is all of it.

    What JAX writes of a program that stands in it twice depends on whether both are one object.
    """

    def copied(jaxpr: _jax.Jaxpr) -> _jax.Jaxpr:
        return jaxpr.replace(eqns=[_jax.with_programs(eqn, inner) for eqn in jaxpr.eqns])

    def inner(jaxpr: _jax.Jaxpr, consts: Sequence[Any]) -> Any:
        return _jax.closed(copied(jaxpr), consts)

    if len(jaxpr.eqns) == 1 and jaxpr.eqns[0].primitive.name == "jit":
        (call,) = jaxpr.eqns
        if [*call.invars] == [*jaxpr.invars] and [*call.outvars] == [*jaxpr.outvars]:
            return _text(_jax.called(call)[0])
    return str(copied(jaxpr))


def _reduces(jaxpr: _jax.Jaxpr, place: str, name: str) -> bool:
    """Whether a program computes what this function does that reduces its first argument over some axes."""
    form, x = elementwise(jaxpr), jaxpr.invars[0].aval
    if form is None or not form.axes:
        return False
    program = _program(name, place, (x,), _jax.trace_context(), form.axes)
    same = elementwise(program) if program else None
    return same is not None and (same.expression, same.axes) == (form.expression, form.axes)


@functools.lru_cache(maxsize=1024)
def _mapped_axis(jaxpr: _jax.Jaxpr, place: str, name: str) -> int | None:
    """Along which axis of its matrices vmap has mapped a function of one matrix that a program is.

    0 where it has not, or has several times, each time along the first; None for another program.
    """
    (x,) = (v.aval for v in jaxpr.invars)
    first = [(0,) * count for count in range(x.ndim - 1)]
    later = [(axis,) for axis in range(1, x.ndim)] if x.ndim == 3 else []
    for mapped in [*first, *later]:
        m, n = [size for axis, size in enumerate(x.shape) if (axis,) != mapped][-2:]
        program = m == n and _program(name, place, (x,), _jax.trace_context(), mapped=mapped)
        if program and _text(jaxpr) == _text(program):
            return max(mapped, default=0)
    return None


@functools.lru_cache(maxsize=1024)
def _program(
    name: str,
    place: str,
    types: tuple[Any, ...],
    context: tuple[Any, ...],
    axes: tuple[int, ...] | None = None,
    mapped: tuple[int, ...] = (),
) -> _jax.Jaxpr | None:
    """The program of the function with this public name, of arguments of these types, over these axes.

    It is the first call in it of what is defined in this place, mapped by vmap along these axes.
    """
    f = FORMS.get(place) or _public(name)
    f = f if axes is None else functools.partial(f, axis=axes)
    f = functools.reduce(lambda f, axis: jax.vmap(f, in_axes=axis), mapped, f)
    with jax.disable_jit(False):
        program, _ = _jax.staged(lambda *xs: jax.tree.leaves(f(*xs)), types, name)
    calls = (e for e in _jax.all_equations(program) if _jax.called_function(e.primitive, e.params) == place)
    return next((_jax.called(call)[0] for call in calls), None)


def _public(name: str) -> Callable:
    module, _, function = name.rpartition(".")
    return THROUGH[name] if name in THROUGH else getattr(importlib.import_module(module), function)


@functools.cache
def _arities(name: str) -> tuple[int, int]:
    """How many arrays a function takes, at least and at most."""
    f = _public(name)
    if isinstance(f, jnp.ufunc):
        return f.nin, f.nin
    least = sum(one.default is one.empty for one in inspect.signature(f).parameters.values())
    return least, least + PARAMETERS.get(name, 0)


@functools.lru_cache(maxsize=1024)
def for_call(name: str, rule: Rule, jaxpr: _jax.Jaxpr, sparing: bool = False) -> Rule:
    """The rule of an elementwise function for a call of it.

    The rule gets each argument in the shape and the dtype of the result; what it sends back is summed over
    the axes along which an argument was repeated. It does not get the tables before the arguments. Where that
    takes work, a forward of its own does not run in the place of the call, but for its stash.

    Args:
        name: the public name of the function.
        rule: the rule.
        jaxpr: the program of the call.
        sparing: whether it is to be the rule that spares elements; see `spared`.
    """
    if name in REDUCING:
        return _reducing(rule, jaxpr)
    if name in WHOLE:
        return _of_matrices(name, rule, jaxpr)
    count = arity(jaxpr, _jax.defined_in(jaxpr.debug_info.func_src_info), name) or len(jaxpr.invars)
    tables = len(jaxpr.invars) - count
    form, y = elementwise(jaxpr, tables), jaxpr.outvars[0].aval
    places = form.places if form else [along(v.aval.shape, y.ndim) for v in jaxpr.invars[tables:]]
    rule = spared(rule) if sparing else rule
    straight = set(places) == {along(y.shape, y.ndim)} and all(v.aval.dtype == y.dtype for v in jaxpr.invars)
    if straight and not tables and count == _arities(name)[1]:
        return rule

    def backward(y_bar: Any, y: Any, *operands: Any) -> list[Any]:
        first = y[0] if isinstance(y, tuple) else y
        live, xs = operands[:sparing], operands[sparing + tables :]
        wide = [_spread(x, place, first) for x, place in zip(xs, places, strict=True)]
        read = (rule.forward(*wide)[1], y_bar) if rule.forward else (y_bar, y, *live, *wide)
        x_bars = rule.backward(*read)[sparing : sparing + count]
        sent = [_gathered(x_bar, place, x) for x_bar, place, x in zip(x_bars, places, xs, strict=True)]
        return [*[None] * (sparing + tables), *sent]

    return Rule(rule.primitives, backward, rule.formula, rule.source)


def _reducing(rule: Rule, jaxpr: _jax.Jaxpr) -> Rule:
    """The rule of a function that reduces some axes of its argument, for a call of it.

    The rule gets y and ȳ with their axes where those of the argument are, and with length 1 where y has none.
    """
    form = elementwise(jaxpr)
    assert form is not None
    if _jax.defined_in(jaxpr.debug_info.func_src_info) in FORMS:
        rule = WRITTEN_OUT.get(rule, rule)
    place = form.places[0]
    long = [axis for axis in place if axis is not None]

    def along_argument(y: Any) -> Any:
        y = lax.reshape(y, [n for axis, n in enumerate(y.shape) if axis in long])
        y = lax.transpose(y, [sorted(long).index(axis) for axis in long])
        return lax.expand_dims(y, [i for i, axis in enumerate(place) if axis is None])

    def backward(y_bar: Any, y: Any, x: Any, *numbers: Any) -> list[Any]:
        (x_bar,) = rule.backward(along_argument(y_bar), along_argument(y), x, axes=form.axes)
        return [x_bar, *[None] * len(numbers)]

    return Rule(rule.primitives, backward, rule.formula, rule.source)


def _of_matrices(name: str, rule: Rule, jaxpr: _jax.Jaxpr) -> Rule:
    """The rule of a function of one matrix, for a call of it, with the axes of the matrix at the end."""
    axis = _mapped_axis(jaxpr, _jax.defined_in(jaxpr.debug_info.func_src_info), name)
    if not axis:
        return rule

    def backward(y_bar: Any, y: Any, x: Any) -> list[Any]:
        (x_bar,) = rule.backward(y_bar, y, jnp.moveaxis(x, axis, 0))
        return [jnp.moveaxis(x_bar, 0, axis)]

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
