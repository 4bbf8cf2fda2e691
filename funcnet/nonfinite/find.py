"""The first value, or gradient, of a function that is not finite: `find_nonfinite`.

The function is run once more with every value looked at. If its result is not finite, that is searched to
the gate that made it so; else the gradients are. If they are finite by funcnet's rules, they are searched as
JAX takes them, which multiplies with the slopes of branches that a select has not taken.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp

from funcnet import _jax
from funcnet._errors import GradientError
from funcnet.backprop import argument_names
from funcnet.backprop.activity import Mask, differentiable
from funcnet.backprop.checks import check_callable, traced_without_values
from funcnet.backprop.composed import with_calls
from funcnet.backprop.program import CALLS
from funcnet.nonfinite.advice import DATA, PARAMETER
from funcnet.nonfinite.backward import Gradients, engines
from funcnet.nonfinite.finding import Gate, Operand, Where
from funcnet.nonfinite.forward import Values, has, not_finite
from funcnet.nonfinite.source import Source
from funcnet.rules import RULES, Table


def find_nonfinite(
    f: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, *, rules: Table = RULES
) -> Callable[..., Gate | None]:
    """A function of f's arguments that names the first gate whose value or gradient is infinite or NaN.

    It looks inside jitted functions, scans and while loops (and says in which step), the branch that a cond
    took, vmap, checkpoints and the backward of a custom_vjp. It is for a function that is known to go wrong,
    or on suspicion: it runs f a few times, keeps all values, and compiles each program that it enters.

    Args:
        f: a function of arrays, or of pytrees of arrays; the loss, or anything else with floats for results.
        argnums: the positional argument, or arguments, whose gradient is looked at; () for values alone.
        has_aux: whether f returns a pair `(result, aux)`, of which aux is not looked at.
        rules: the table of rules.

    Returns:
        A function that returns None where the result and the gradients are finite, and else a finding:
        `str` of it says the direction, the gate, the line, what went in, and what to do; its attributes
        are `direction`, `name`, `line`, `within`, `inputs`, `upstream`, `made`, `masked` and `advice`. The
        upstream gradient of the result is 1 everywhere.

    Raises:
        GradientError: f is no function; an argument has no value, as under jit; or argnums names an argument
            that is not there.
        MissingRuleError: a primitive on the way back has no rule.

    Example:
        >>> import funcnet, jax
        >>> found = funcnet.find_nonfinite(jax.jit(lambda x: jnp.sqrt(jnp.sum(x**2))))(jnp.zeros(3))
        >>> found.direction, found.name, found.inputs[0].value.item()
        ('backward', 'sqrt', 0.0)
    """
    check_callable("find_nonfinite", f)

    @functools.wraps(f)
    def found(*args: Any, **kwargs: Any) -> Gate | None:
        program, xs, names, asked = _traced(f, args, kwargs, argnums, has_aux)
        if not program.outvars:
            return None
        values = Values(program, (), xs, Where(), names)
        for test in (jnp.isnan, jnp.isinf):
            bad = [atom for atom in program.outvars if has(test, values.value(atom))]
            if bad:
                return _of_source(values.source(bad, test), values, bad[0], asked)
        if not any(asked):
            return None
        return _of_gradients(values, asked, names, rules)

    return found


def _traced(
    f: Callable, args: Any, kwargs: Any, argnums: int | Sequence[int], has_aux: bool
) -> tuple[_jax.Jaxpr, list[Any], list[str], Mask]:
    """The program of a function: its operands, how they are called, and which want a gradient.

    What is no array is not an operand; what the function closes over is one.
    """
    paths, tree = jax.tree_util.tree_flatten_with_path((args, kwargs))
    arrays = [i for i, (_, leaf) in enumerate(paths) if _jax.is_value(leaf)]

    def flat(*xs: Any) -> Any:
        leaves = [leaf for _, leaf in paths]
        for i, x in zip(arrays, xs, strict=True):
            leaves[i] = x
        args, kwargs = tree.unflatten(leaves)
        return f(*args, **kwargs)[0] if has_aux else f(*args, **kwargs)

    xs = [paths[i][1] for i in arrays]
    if any(isinstance(x, jax.core.Tracer) for x in xs):
        raise GradientError(
            "find_nonfinite: got a value that is being traced, expected arrays; it looks at numbers, so call "
            "it outside of jit, grad, vmap and scan, with the function that is jitted as its argument"
        )
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if any(not -len(args) <= n < len(args) for n in numbers):
        raise GradientError(
            f"find_nonfinite: argnums is {argnums}, expected places among its {len(args)} arguments"
        )
    wanted = {n % len(args) for n in numbers}
    with traced_without_values():
        program, consts = _jax.open_jaxpr(jax.make_jaxpr(flat)(*xs))
    names = [
        *argument_names(f, [paths[i][0] for i in arrays]),
        *["a value that it closes over"] * len(consts),
    ]
    asked = [p[0].idx == 0 and p[1].idx in wanted for p in (paths[i][0] for i in arrays)]
    asked = [one and differentiable(jax.typeof(x)) for one, x in zip(asked, xs, strict=True)]
    values = [*map(_jax.as_value, xs), *consts]
    return _jax.without_constants(program), values, names, (*asked, *[False] * len(consts))


def _of_source(source: Source, values: Values, bad: Any, asked: Mask) -> Gate:
    """The finding of a search for values: a gate, or an argument that is not finite."""
    if source.operand is None:
        number, name = values.value(bad), "a constant of the program"
        constant = Gate("forward", name, "", "", (), (Operand(name, number),), number, hint=DATA)
        return source.gate or source.written or constant
    v = values.jaxpr.invars[source.operand]
    operand = Operand(values.name(v), values.value(v))
    if source.gate and not source.of_nan:
        return dataclasses.replace(source.gate, came=operand)
    hint = PARAMETER if asked[source.operand] else DATA if any(asked) else f"{PARAMETER}. {DATA}"
    line = first_use(values.jaxpr, v, Where())
    return Gate("forward", operand.name, "", line, (), (operand,), operand.value, then=source.gate, hint=hint)


def first_use(jaxpr: _jax.Jaxpr, v: _jax.Var, where: Where) -> str:
    """The line of the first gate that reads a variable; empty if none does."""
    for eqn in jaxpr.eqns:
        places = [i for i, atom in enumerate(eqn.invars) if atom is v]
        if places:
            inner = _jax.called(eqn)[0] if eqn.primitive.name in CALLS else None
            line = inner and first_use(inner, inner.invars[places[0]], where.into(eqn))
            return line or where.line_of(eqn)
    return ""


def _of_gradients(values: Values, asked: Mask, names: Sequence[str], rules: Table) -> Gate | None:
    """The gate that sends back the first gradient that is not finite: by our rules, or as JAX takes them."""
    program = with_calls(values.jaxpr, RULES)
    xs = [values.value(v) for v in program.invars]
    results = [values.value(atom) for atom in values.jaxpr.outvars]
    y_bars = [jnp.ones_like(y) if differentiable(jax.typeof(y)) else None for y in results]
    for engine, masked in zip(engines(rules), (False, True), strict=True):
        gradients = Gradients(engine, (program, ()), xs, asked, y_bars, [None] * len(y_bars), Where(), names)
        bad = [i for i, v in enumerate(program.invars) if asked[i] and has(not_finite, gradients.bar(v))]
        gate = gradients.source(bad[0]) if bad else None
        if gate is not None:
            return dataclasses.replace(gate, masked=masked)
    return None
