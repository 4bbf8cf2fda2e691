"""Calls of JAX's functions that an argument makes calls of others.

logaddexp(x, 0), logaddexp(0, x)                    softplus(x), whose slope is σ(x), not σ of a difference
xlogy(k, σ(x)), xlogy(k, 1 − σ(x)), xlog1py(k, −σ(x))    see `funcnet.rules.logarithms`
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet.rules import RULES, Table, rule_name
from funcnet.rules.functions import THROUGH

Makers = Mapping[_jax.Var, _jax.Equation]
"""The equation that each variable of a program comes from."""


def renamed(eqn: _jax.Equation, makers: Makers, rules: Table) -> _jax.Equation | None:
    """Such a call as one of the other function; None for any other equation."""
    return _softplus(eqn, rules) or _weighted_logarithm(eqn, makers, rules)


def _softplus(eqn: _jax.Equation, rules: Table) -> _jax.Equation | None:
    """logaddexp of one number and 0 as a call of softplus, where the table has the rules of the house."""
    others = [v for v in eqn.invars if not _is_zero(v)]
    if eqn.primitive.name != "custom_jvp_call" or len(eqn.invars) != 2 or len(others) != 1:
        return None
    known = ("jax.numpy.logaddexp", "jax.nn.softplus")
    is_logaddexp = rule_name(eqn.primitive, eqn.params, rules) == known[0]
    if not is_logaddexp or any(rules.get(name) is not RULES[name] for name in known):
        return None
    return _in_place_of(eqn, call(jax.nn.softplus, others[0].aval), others)


def _is_zero(atom: Any) -> bool:
    return _jax.is_literal(atom) and not atom.aval.shape and bool(atom.val == 0)


def _weighted_logarithm(eqn: _jax.Equation, makers: Makers, rules: Table) -> _jax.Equation | None:
    """xlogy and xlog1py of a sigmoid, or of 1 less it, where the table has the rules of the house."""
    if eqn.primitive.name not in _jax.NAMED_CALLS or len(eqn.invars) != 2:
        return None
    k, u = eqn.invars
    found = _sigmoid(u, makers)
    if found is None or rules.get("logistic") is not RULES["logistic"]:
        return None
    spelled, x = found
    of_jax = rule_name(eqn.primitive, eqn.params, rules)
    name = f"{of_jax}({spelled})"
    is_known = name in THROUGH and name in rules and rules[of_jax] is RULES[of_jax]
    return _in_place_of(eqn, call(THROUGH[name], k.aval, x.aval), [k, x]) if is_known else None


def _sigmoid(atom: Any, makers: Makers) -> tuple[str, Any] | None:
    """How an operand is made of a sigmoid, and of which number."""
    eqn = None if _jax.is_literal(atom) else makers.get(atom)
    if eqn is None:
        return None
    name, operands = eqn.primitive.name, eqn.invars  # none of iota
    if name == "logistic":
        return "sigmoid", operands[0]
    is_rest = name == "sub" and _jax.is_literal(operands[0]) and bool(np.all(operands[0].val == 1))
    of = _sigmoid(operands[-1], makers) if is_rest or name == "neg" else None
    return ("1-sigmoid" if is_rest else "-sigmoid", of[1]) if of and of[0] == "sigmoid" else None


def _in_place_of(eqn: _jax.Equation, other: _jax.Equation | None, operands: Sequence[Any]) -> Any:
    return other and eqn.replace(invars=operands, primitive=other.primitive, params=other.params)


@functools.lru_cache(maxsize=1024)
def call(function: Callable, *avals: Any, **params: Any) -> _jax.Equation | None:
    """A call of a function of arrays of these types; None if the first is not of real numbers."""
    if not jnp.issubdtype(avals[0].dtype, jnp.floating):
        return None
    with jax.disable_jit(False):
        program, _ = _jax.staged(lambda *xs: [function(*xs, **params)], avals, "a function")
    return next(eqn for eqn in program.eqns if eqn.primitive.name == "jit")
