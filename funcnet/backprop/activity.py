"""Activity: through which values of a program a gradient can flow.

An output of an equation is active if an active input can change it, other than by steps: rounding,
comparisons and everything on integers have no gradient. A call is as active as the program it calls.
"""

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

import jax.numpy as jnp

from funcnet import _jax
from funcnet._errors import MissingRuleError
from funcnet.backprop.program import CALLS
from funcnet.rules import PIECEWISE_CONSTANT, RULES, Table, rule_name

Mask = tuple[bool, ...]

TRANSPARENT = CALLS - {"custom_jvp_call", "custom_vjp_call"} | {"segment"}
"""Calls whose gradient is that of the program they run."""

TWICE = frozenset({"remat2", "while"})
"""Equations whose programs run again on the way back, and would write to a ref again."""

STOPPED = _jax.Transparent("stopped")
STOPPED.run = lambda x: [x]
STOPPED.def_abstract_eval(lambda x: [x])
"""A value through which no gradient flows."""

STEPS_OF_REALS = frozenset({"sign"})
"""Primitives with a rule that are piecewise constant in the real numbers, if not in the complex ones."""


def differentiable(aval: Any) -> bool:
    """Whether values of this type have gradients: real and complex floats do, integers and keys do not."""
    return _is_inexact(getattr(aval, "dtype", bool)) or _jax.has_own_tangents(aval)


@functools.lru_cache
def _is_inexact(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


def is_in(variables: Collection[_jax.Var], atom: Any) -> bool:
    """Whether an operand is one of these variables."""
    return not _jax.is_literal(atom) and atom in variables


def those_in(variables: Collection[_jax.Var], atoms: Iterable[Any]) -> Mask:
    """Which operands are among these variables."""
    return tuple([not _jax.is_literal(atom) and atom in variables for atom in atoms])


@functools.lru_cache(maxsize=2048)
def active(jaxpr: _jax.Jaxpr, asked: Mask, rules: Table) -> frozenset[_jax.Var]:
    """The variables of a program through which an input asked for can change an output.

    Raises:
        MissingRuleError: one of them goes through a mutable array.
    """
    found = {v for v, one in zip(jaxpr.invars, asked, strict=True) if one}
    for eqn in jaxpr.eqns:
        inputs = those_in(found, eqn.invars)
        if any(inputs):
            if _jax.uses_a_ref(eqn) and (eqn.primitive.name in TWICE or not _jax.programs(eqn)):
                raise MissingRuleError(_mutable(eqn))
            name, avals = rule_name(eqn.primitive, eqn.params, rules), [v.aval for v in eqn.outvars]
            outs = moved(name, eqn.params, inputs, avals, rules)
            found.update(compress(eqn.outvars, outs))
    return frozenset(found)


def moved(
    name: str, params: Mapping[str, Any], inputs: Mask, outs: Sequence[Any], rules: Table
) -> Sequence[bool]:
    """Which outputs of an equation, of these types, its active inputs can change."""
    if not any(inputs) or name == STOPPED.name or (name in PIECEWISE_CONSTANT and name not in rules):
        return [False] * len(outs)
    if name in TRANSPARENT:
        return _moved_by(_jax.called_by(params), inputs, rules)
    if name == "cond":
        branches = [_moved_by(_jax.open_jaxpr(one), inputs[1:], rules) for one in params["branches"]]
        return [any(outs) for outs in zip(*branches, strict=True)]
    if name == "scan":
        consts, carries = _jax.scan_counts_of(params)
        carry = slice(consts, consts + carries)
        return _moved_in_steps(params["jaxpr"], inputs, rules, carry)
    if name == "while":
        consts = params["body_nconsts"]
        carry = slice(consts, len(inputs) - params["cond_nconsts"])
        return _moved_in_steps(params["body_jaxpr"], inputs[params["cond_nconsts"] :], rules, carry)
    if name == "custom_linear_solve":  # what a solver returns beside the solution has no gradient
        n = len(_jax.open_jaxpr(params["jaxprs"].matvec)[0].outvars)
        return [differentiable(aval) and i < n for i, aval in enumerate(outs)]
    if name in STEPS_OF_REALS and rules[name] is RULES[name]:
        return [jnp.issubdtype(aval.dtype, jnp.complexfloating) for aval in outs]
    return list(map(differentiable, outs))


def _moved_by(program: Any, inputs: Mask, rules: Table) -> Mask:
    jaxpr = _jax.without_local_refs(program[0])
    found = active(jaxpr, inputs, rules)
    return those_in(found, jaxpr.outvars)


def _moved_in_steps(program: Any, inputs: Mask, rules: Table, carry: slice) -> list[bool]:
    """Which results of a loop its active inputs can change."""
    jaxpr = _jax.without_local_refs(_jax.open_jaxpr(program)[0])
    ins, outs = in_any_step(jaxpr, inputs, rules, carry)
    n = carry.stop - carry.start
    return [*ins[carry], *outs[n:]]


def in_any_step(jaxpr: _jax.Jaxpr, inputs: Mask, rules: Table, carry: slice) -> tuple[Mask, Mask]:
    """Which inputs and outputs of a loop's body are active in any step.

    What one step makes active is active in the next.

    Args:
        jaxpr: the body.
        inputs: which of its inputs are active in the first step.
        rules: the table of rules.
        carry: the inputs that are the first outputs of the step before.
    """
    ins = list(inputs)
    while True:
        found = active(jaxpr, tuple(ins), rules)
        outs = those_in(found, jaxpr.outvars)
        merged = [one or out for one, out in zip(ins[carry], outs, strict=False)]
        if merged == ins[carry]:
            return tuple(ins), outs
        ins[carry] = merged


def _mutable(eqn: _jax.Equation) -> str:
    return (
        f"{eqn.primitive.name!r} takes a value whose gradient is asked for through a mutable array, at "
        f"{_jax.blamed_line(eqn)}: gradients follow values only; return the value instead of writing it into "
        f"a ref, or put `jax.lax.stop_gradient` around it if it is only recorded there"
    )
