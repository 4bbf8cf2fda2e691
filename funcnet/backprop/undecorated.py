"""A program without its custom rules: `custom_jvp` and `custom_vjp`, at whatever depth, are their primals."""

import functools
from collections.abc import Sequence
from typing import Any

import jax

from funcnet import _jax
from funcnet.backprop.program import CALLS, evaluate

_CUSTOM = ("custom_jvp_call", "custom_vjp_call")


def custom_rules(jaxpr: _jax.Jaxpr) -> list[_jax.Equation]:
    """The calls of custom rules in a program, but for those in the functions that they belong to."""
    inside = [
        part for eqn in jaxpr.eqns if eqn.primitive.name not in _CUSTOM for part, _ in _jax.programs(eqn)
    ]
    own = [eqn for eqn in jaxpr.eqns if eqn.primitive.name in _CUSTOM]
    return own + [eqn for part in inside for eqn in custom_rules(part)]


def undecorated(jaxpr: _jax.Jaxpr, consts: Sequence[Any]) -> Any:
    """The same program without custom rules."""
    avals = [v.aval for v in jaxpr.invars]
    like = [jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type) for aval in avals]
    return jax.make_jaxpr(lambda *xs: run(jaxpr, consts, xs))(*like)


def run(jaxpr: _jax.Jaxpr, consts: Sequence[Any], xs: Sequence[Any]) -> list[Any]:
    """Run a program: calls and custom rules inlined, those inside of loops and branches too."""
    return evaluate(jaxpr, consts, xs, run_equation)


def run_equation(eqn: _jax.Equation, xs: Sequence[Any]) -> list[Any]:
    """Run one equation of such a program."""
    if eqn.primitive.name in CALLS:
        return run(*_jax.called(eqn), xs)
    if any(custom_rules(part) for part, _ in _jax.programs(eqn)):
        if eqn.primitive.name == "shard_map":
            return _on_devices(eqn, xs)
        eqn = _jax.with_programs(eqn, undecorated)
    return _jax.bind(eqn, xs)


def _on_devices(eqn: _jax.Equation, xs: Sequence[Any]) -> list[Any]:
    """A shard_map whose program is undecorated; it can be traced inside of one over the same mesh only."""
    params = eqn.params
    body = functools.partial(run, *_jax.open_jaxpr(params["jaxpr"]))
    return jax.shard_map(
        lambda *parts: body(parts),
        mesh=params["mesh"],
        axis_names=params["newly_manual_axes"],
        check_vma=params["check_vma"],
        in_specs=tuple(params["in_specs"]),
        out_specs=list(params["out_specs"]),
    )(*xs)
