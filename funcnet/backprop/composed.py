"""Functions that JAX composes of primitives and that no call names: softmax, logsumexp, gelu, I₀ and I₁.

Their gradients lose digits primitive by primitive. Found in a program by what it computes, whoever wrote it,
each becomes a call, for which the table has a rule:

    softmax      e / Σ e,    e = exp(d)
    logsumexp    log Σ e
    gelu         as `jax.nn.gelu` is written, in both forms
    softplus     logaddexp(x, 0) or logaddexp(0, x), with the slope σ(x) in the place of σ of a difference
    I₀, I₁       e^|x| i₀ₑ(x) and e^|x| i₁ₑ(x)

The difference d = x − max x stays outside: the way back through it is right as it stands.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from funcnet import _jax
from funcnet.backprop.program import live
from funcnet.rules import RULES, Table, _forms, rule_name
from funcnet.rules.functions import THROUGH

Makers = Mapping[_jax.Var, _jax.Equation]
"""The equation that each variable of a program comes from."""

_LAYOUT = ("broadcast_in_dim", "convert_element_type", "abs")


def with_calls(jaxpr: _jax.Jaxpr, rules: Table) -> _jax.Jaxpr:
    """The same program, in which these functions are calls, as far as the table has rules for them."""
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    guesses = [guess for needed, guess in _GUESSES if names.issuperset(needed)]
    if not guesses and "custom_jvp_call" not in names:
        return jaxpr
    makers = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}
    eqns = [_softplus(eqn, rules) or _as_call(eqn, makers, guesses, rules) or eqn for eqn in jaxpr.eqns]
    if all(old is new for old, new in zip(jaxpr.eqns, eqns, strict=True)):
        return jaxpr
    return jaxpr.replace(eqns=live(eqns, jaxpr.outvars)[0])


def _as_call(
    eqn: _jax.Equation, makers: Makers, guesses: list[Callable], rules: Table
) -> _jax.Equation | None:
    """The last equation of one of these functions as a call of it; None for any other."""
    for guess in guesses:
        if (call := guess(eqn, makers)) is None or (argument := _argument(call, eqn, makers)) is None:
            continue
        if rule_name(call.primitive, call.params, rules) in rules:
            return eqn.replace(invars=[argument], primitive=call.primitive, params=call.params)
    return None


def _argument(call: _jax.Equation, last: _jax.Equation, makers: Makers) -> Any:
    """Of what the equations that end in this one compute what the call does; None if they do not.

    In softmax and logsumexp, where all that is made of exp(d) is positive, an absolute value is none.
    """
    program, _ = _jax.called(call)
    is_positive = any(eqn.primitive.name == "exp" for eqn in program.eqns)
    of_call = {v: eqn for eqn in program.eqns for v in eqn.outvars}
    (x,), (y,) = program.invars, program.outvars
    y = of_call[y].invars[0] if of_call[y].primitive.name.startswith("copy") else y
    found: dict[_jax.Var, Any] = {}

    def same(wanted: Any, atom: Any) -> bool:
        if _jax.is_literal(wanted) or _jax.is_literal(atom):
            both = _jax.is_literal(wanted) and _jax.is_literal(atom)
            return both and wanted.aval == atom.aval and bool(wanted.val == atom.val)
        if wanted is x or wanted in found:
            return found.setdefault(wanted, atom) is atom
        found[wanted] = atom
        one, other = of_call[wanted], makers.get(atom)
        if is_positive and other is not None and other.primitive.name == "abs" != one.primitive.name:
            other = makers.get(other.invars[0])
        if other is None or one.primitive is not other.primitive or one.params != other.params:
            return False
        return all(map(same, one.invars, other.invars))

    if y.aval != last.outvars[0].aval or not same(y, last.outvars[0]):
        return None
    return found[x] if found[x].aval == x.aval else None


def _softmax(eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    if eqn.primitive.name != "div" or (total := _sum(eqn.invars[1], makers)) is None:
        return None
    e = eqn.invars[0].aval
    if e.ndim != total.invars[0].aval.ndim:
        return None
    return _call(_forms.softmax, e, axis=total.params["axes"])


def _logsumexp(eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    if eqn.primitive.name != "log" or (total := _sum(eqn.invars[0], makers)) is None:
        return None
    e, y = total.invars[0].aval, eqn.outvars[0].aval
    keepdims = len(y.shape) == len(e.shape)
    return _call(_forms.logsumexp, _jax.with_shape(y, e.shape), axis=total.params["axes"], keepdims=keepdims)


def _gelu(name: str, eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    is_product = eqn.primitive.name == "mul" and not _jax.is_literal(eqn.invars[1])
    return _call(THROUGH[name], eqn.outvars[0].aval) if is_product else None


def _softplus(eqn: _jax.Equation, rules: Table) -> _jax.Equation | None:
    """logaddexp of one number and 0 as a call of softplus, where the table has the rules of the house."""
    others = [v for v in eqn.invars if not _is_zero(v)]
    if eqn.primitive.name != "custom_jvp_call" or len(eqn.invars) != 2 or len(others) != 1:
        return None
    known = ("jax.numpy.logaddexp", "jax.nn.softplus")
    is_logaddexp = rule_name(eqn.primitive, eqn.params, rules) == known[0]
    if not is_logaddexp or any(rules.get(name) is not RULES[name] for name in known):
        return None
    call = _call(jax.nn.softplus, others[0].aval)
    return call and eqn.replace(invars=others, primitive=call.primitive, params=call.params)


def _is_zero(atom: Any) -> bool:
    return _jax.is_literal(atom) and not atom.aval.shape and bool(atom.val == 0)


def _bessel(form: Callable, eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    return _call(form, eqn.outvars[0].aval) if eqn.primitive.name == "mul" else None


def _sum(atom: Any, makers: Makers) -> _jax.Equation | None:
    """The sum over some axes that an operand is, whatever its shape and dtype have become."""
    eqn = None if _jax.is_literal(atom) else makers.get(atom)
    while eqn is not None and eqn.primitive.name in _LAYOUT:
        eqn = None if _jax.is_literal(eqn.invars[0]) else makers.get(eqn.invars[0])
    return eqn if eqn is not None and eqn.primitive.name == "reduce_sum" else None


@functools.lru_cache(maxsize=1024)
def _call(function: Callable, aval: Any, **params: Any) -> _jax.Equation | None:
    """A call of a function of one array of this type; None if that is not of real numbers."""
    if not jnp.issubdtype(aval.dtype, jnp.floating):
        return None
    with jax.disable_jit(False):
        program, _ = _jax.staged(lambda x: [function(x, **params)], [aval], "a function")
    return next(eqn for eqn in program.eqns if eqn.primitive.name == "jit")


_GUESSES = [
    (("exp", "reduce_sum", "div"), _softmax),
    (("exp", "reduce_sum", "log"), _logsumexp),
    (("tanh", "mul"), functools.partial(_gelu, "jax.nn.gelu")),
    (("erfc", "mul"), functools.partial(_gelu, "jax.nn.gelu(approximate=False)")),
    (("bessel_i0e", "exp", "mul"), functools.partial(_bessel, _forms.i0)),
    (("bessel_i1e", "exp", "mul"), functools.partial(_bessel, _forms.i1)),
]
