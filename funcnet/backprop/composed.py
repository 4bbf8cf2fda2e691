"""Functions that JAX composes and no call names: softmax, logsumexp, gelu, I₀, I₁, Φ, log B, Li₂, log σ.

Their gradients lose digits primitive by primitive. Found in a program by what it computes, whoever wrote it,
each becomes a call, for which the table has a rule:

    softmax      e / Σ e,    e = exp(d)
    logsumexp    log Σ e
    gelu         as `jax.nn.gelu` is written, in both forms
    I₀, I₁       e^|x| i₀ₑ(x) and e^|x| i₁ₑ(x)
    Φ, log Φ     as `jax.scipy.special.ndtr` is written, and its logarithm
    log B, Li₂   as `jax.scipy.special.betaln` and `spence` are written
    (x^λ − 1)/λ  as `jax.scipy.special.boxcox` and `boxcox1p` are written, of log x
    log σ, log(1 − σ), log(1 ± tanh), log(1 − tanh²), log(1 − e)    with log or log1p
    log(1 − σ + ε), log(1 − tanh² + ε), log(1 − clip(σ)), log(σ (1 − σ)), log(σ − σ) of two numbers

The difference d = x − max x stays outside: the way back through it is right as it stands. Φ, log Φ, log B
and Li₂ choose among expressions by comparisons, which need not be in the program: where x is known they are
values. Those of Φ and its logarithm are arguments of the call. Those of the others may be any: they choose
among forms of one function.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from funcnet import _jax
from funcnet.backprop.program import live
from funcnet.backprop.renamed import Makers, call, renamed
from funcnet.rules import RULES, Table, _forms, rule_name
from funcnet.rules.functions import THROUGH

_LAYOUT = ("broadcast_in_dim", "convert_element_type", "abs")


def with_calls(jaxpr: _jax.Jaxpr, rules: Table) -> _jax.Jaxpr:
    """The same program, in which these functions are calls, as far as the table has rules for them."""
    names = {eqn.primitive.name for eqn in jaxpr.eqns}
    guesses = [guess for needed, guess in _GUESSES if names.issuperset(needed)]
    guesses += [
        guess
        for needed, guess in _LOGARITHMS
        if names.issuperset(needed) and all(rules.get(name) is RULES[name] for name in needed)
    ]
    if not guesses and "custom_jvp_call" not in names:
        return jaxpr
    makers = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}
    eqns = [
        renamed(eqn, makers, rules)
        or _softmax_of_all(eqn, makers, rules)
        or _as_call(eqn, makers, guesses, rules)
        or eqn
        for eqn in jaxpr.eqns
    ]
    if all(old is new for old, new in zip(jaxpr.eqns, eqns, strict=True)):
        return jaxpr
    return jaxpr.replace(eqns=live(eqns, jaxpr.outvars)[0])


def _made_by(name: str, atom: Any, makers: Makers) -> _jax.Equation | None:
    eqn = None if _jax.is_literal(atom) else makers.get(atom)
    return eqn if eqn is not None and eqn.primitive.name == name else None


def _as_call(
    eqn: _jax.Equation, makers: Makers, guesses: list[Callable], rules: Table
) -> _jax.Equation | None:
    """The last equation of one of these functions as a call of it; None for any other."""
    for guess in guesses if len(eqn.outvars) == 1 else ():
        if (wanted := guess(eqn, makers)) is None or (arguments := _arguments(wanted, eqn, makers)) is None:
            continue
        if rule_name(wanted.primitive, wanted.params, rules) in rules:
            return eqn.replace(invars=arguments, primitive=wanted.primitive, params=wanted.params)
    return None


def _arguments(call: _jax.Equation, last: _jax.Equation, makers: Makers) -> list[Any] | None:
    """Of what the equations that end in this one compute what the call does; None if they do not.

    In softmax and logsumexp, where all that is made of exp(d) is positive, an absolute value is none.
    """
    program, _ = _jax.called(call)
    is_positive = any(eqn.primitive.name == "exp" for eqn in program.eqns)
    of_call = {v: eqn for eqn in program.eqns for v in eqn.outvars}
    xs, (y,) = program.invars, program.outvars
    y = of_call[y].invars[0] if of_call[y].primitive.name.startswith("copy") else y
    found: dict[_jax.Var, Any] = {}

    def same(wanted: Any, atom: Any) -> bool:
        if _jax.is_literal(wanted):
            return _is_same_literal(wanted, atom)
        if wanted in xs or wanted in found:
            return _is_same(found.setdefault(wanted, atom), atom, makers)
        found[wanted] = atom
        if wanted.aval.dtype == bool:
            return atom.aval.dtype == bool
        one, other = of_call[wanted], None if _jax.is_literal(atom) else makers.get(atom)
        if is_positive and other is not None and other.primitive.name == "abs" != one.primitive.name:
            other = makers.get(other.invars[0])
        return other is not None and _is_same_step(one, other) and all(map(same, one.invars, other.invars))

    if y.aval != last.outvars[0].aval or not same(y, last.outvars[0]):
        return None
    arguments = [found[x] for x in xs]
    types = [[(v.aval.shape, v.aval.dtype) for v in atoms] for atoms in (arguments, xs)]
    return arguments if types[0] == types[1] else None


def _is_same(one: Any, other: Any, makers: Makers) -> bool:
    """Whether two atoms of a program are the same value, perhaps broadcast or raised to a power twice."""
    if one is other or _jax.is_literal(one) or _jax.is_literal(other):
        return one is other or _is_same_literal(one, other)
    a, b = makers.get(one), makers.get(other)
    if a is None or b is None or not _is_same_step(a, b):
        return False
    if a.primitive.name not in ("broadcast_in_dim", "exp"):
        return False
    return _is_same(a.invars[0], b.invars[0], makers)


def _is_same_literal(one: Any, other: Any) -> bool:
    both = _jax.is_literal(one) and _jax.is_literal(other)
    return both and one.aval == other.aval and np.array_equal(one.val, other.val, equal_nan=True)


def _is_same_step(one: _jax.Equation, other: _jax.Equation) -> bool:
    if one.primitive is not other.primitive or one.primitive.name != "jit":
        return one.primitive is other.primitive and one.params == other.params
    (program, consts), (of_other, consts_of_other) = _jax.called(one), _jax.called(other)
    same = str(program) == str(of_other) and len(consts) == len(consts_of_other)
    return same and all(map(np.array_equal, consts, consts_of_other))


def _softmax(eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    if eqn.primitive.name != "div" or (total := _sum(eqn.invars[1], makers)) is None:
        return None
    e = eqn.invars[0].aval
    if e.ndim != total.invars[0].aval.ndim:
        return None
    return call(_forms.softmax, e, axis=total.params["axes"])


def _softmax_of_all(eqn: _jax.Equation, makers: Makers, rules: Table) -> _jax.Equation | None:
    """exp(d) / Σ exp(d) with one sum for all elements, which has no axes then."""
    if eqn.primitive.name != "div" or "jax.nn.softmax" not in rules or eqn.invars[-1].aval.shape:
        return None
    e, total = _made_by("exp", eqn.invars[0], makers), _made_by("reduce_sum", eqn.invars[1], makers)
    summed = _made_by("exp", total.invars[0], makers) if total else None
    if e is None or summed is None or summed.invars[0] is not e.invars[0]:
        return None
    d = e.invars[0].aval
    wanted = call(_forms.softmax, d, axis=tuple(range(d.ndim))) if d.ndim else None
    return wanted and eqn.replace(invars=e.invars, primitive=wanted.primitive, params=wanted.params)


def _logsumexp(eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    if eqn.primitive.name != "log" or (total := _sum(eqn.invars[0], makers)) is None:
        return None
    e, y = total.invars[0].aval, eqn.outvars[0].aval
    keepdims = len(y.shape) == len(e.shape)
    return call(_forms.logsumexp, _jax.with_shape(y, e.shape), axis=total.params["axes"], keepdims=keepdims)


def _gelu(name: str, eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    is_product = eqn.primitive.name == "mul" and not _jax.is_literal(eqn.invars[1])
    return call(THROUGH[name], eqn.outvars[0].aval) if is_product else None


def _ndtr(form: Callable, eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    is_half = eqn.primitive.name == "mul" and _jax.is_literal(eqn.invars[0])
    x = eqn.outvars[0].aval
    is_last = eqn.primitive.name == "log" if form is _forms.log_ndtr else is_half
    return call(form, x, *2 * [_jax.bools(x)]) if is_last else None


def _betaln(scalars: tuple[bool, bool], eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    """Of two arrays, or of one and a scalar."""
    return call(THROUGH["jax.scipy.special.betaln"], *_of(eqn, *scalars)) if _is_choice(eqn) else None


def _boxcox(scalars: tuple[bool, bool], eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    """The same."""
    if not _is_choice(eqn):
        return None
    log, lmbda = _of(eqn, *scalars)
    return call(_forms.boxcox, log, lmbda, lmbda, _jax.bools(lmbda))


def _is_choice(eqn: _jax.Equation) -> bool:
    return eqn.primitive.name in ("jit", "select_n") and len(eqn.invars) == 3


def _of(eqn: _jax.Equation, *scalars: bool) -> list[Any]:
    """The types of operands of which some are scalars."""
    y = eqn.outvars[0].aval
    return [_jax.with_shape(y, ()) if is_scalar else y for is_scalar in scalars]


def _spence(eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    is_piecewise = eqn.primitive.name == "jit" and eqn.params["name"] == "_piecewise"
    return call(THROUGH["jax.scipy.special.spence"], eqn.invars[0].aval) if is_piecewise else None


def _logarithm(name: str, eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    x = eqn.outvars[0].aval
    number = _jax.with_shape(x, ())
    others = {"sigmoid-sigmoid": [x], "eps": [number], "clip": 2 * [number.update(weak_type=True)]}
    more = next((avals for part, avals in others.items() if part in name), [])
    return call(THROUGH[name], x, *more) if eqn.primitive.name in ("log", "log1p") else None


def _bessel(form: Callable, eqn: _jax.Equation, makers: Makers) -> _jax.Equation | None:
    return call(form, eqn.outvars[0].aval) if eqn.primitive.name == "mul" else None


def _sum(atom: Any, makers: Makers) -> _jax.Equation | None:
    """The sum over some axes that an operand is, whatever its shape and dtype have become."""
    eqn = None if _jax.is_literal(atom) else makers.get(atom)
    while eqn is not None and eqn.primitive.name in _LAYOUT:
        eqn = None if _jax.is_literal(eqn.invars[0]) else makers.get(eqn.invars[0])
    return eqn if eqn is not None and eqn.primitive.name == "reduce_sum" else None


_GUESSES = [
    (("exp", "reduce_sum", "div"), _softmax),
    (("exp", "reduce_sum", "log"), _logsumexp),
    (("tanh", "mul"), functools.partial(_gelu, "jax.nn.gelu")),
    (("erfc", "mul"), functools.partial(_gelu, "jax.nn.gelu(approximate=False)")),
    (("erf", "erfc", "select_n", "mul"), functools.partial(_ndtr, _forms.ndtr)),
    (("erf", "erfc", "select_n", "log"), functools.partial(_ndtr, _forms.log_ndtr)),
    *(
        (needed, functools.partial(guess, scalars))
        for guess, needed in ((_betaln, ("lgamma", "log1p", "integer_pow")), (_boxcox, ("expm1", "div")))
        for scalars in ((False, False), (False, True), (True, False))
    ),
    (("jit",), _spence),
    (("bessel_i0e", "exp", "mul"), functools.partial(_bessel, _forms.i0)),
    (("bessel_i1e", "exp", "mul"), functools.partial(_bessel, _forms.i1)),
]

_LOGARITHMS = [
    ((primitive, "log1p" if "log1p" in name else "log"), guess)
    for gate, primitive in {"sigmoid": "logistic", "tanh": "tanh", "exp": "exp"}.items()
    for name in _forms.LOGARITHMS
    if name.startswith("jax.numpy.") and gate in name
    for guess in [functools.partial(_logarithm, name)]
]
"""Of these a rule of one's own for the gate or for the logarithm holds: it is not seen as a whole then."""
