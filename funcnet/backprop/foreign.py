"""Primitives that are not JAX's: a library's own, with the rule that it registered for them.

That rule is the word of whoever wrote the primitive, as a custom_jvp is. A tangent rule is traced as a
program of ẋ alone, and that is walked backward by the rules of the table. What is linear in that program
may be a primitive of theirs again, and then its registered transpose is the way back. An operation of
hijax is a class with a forward and a backward of its own.

JAX's own primitives never take this way: their rules are in the table.
"""

from collections.abc import Callable, Sequence
from typing import Any

from funcnet import _jax
from funcnet.backprop import control, remat
from funcnet.backprop.activity import Mask
from funcnet.backprop.custom import Differentiated, written_out
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.sweep import Engine


def by_their_rule(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback | None:
    """The way back through somebody else's primitive; None if it is none, or has no rule."""
    if eqn.primitive.name == "call_hi_primitive":
        return _by_hijax(eqn.params["_prim"], engine, eqn, given, asked)
    tangent, transpose = _jax.registered(eqn.primitive)
    if transpose and (engine.linear or not tangent):
        return _transposed(transpose, eqn, asked)
    if tangent and not engine.linear:
        return written_out(_with_tangent(tangent, eqn), engine, eqn, given, asked)
    return None


def _by_hijax(operation: Any, engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """An operation of hijax: a user's by its rule, JAX's own as the program that it stands for."""
    if type(operation).__name__ == "RematTraced":
        params = {"prevent_cse": True, **operation.params}
        return remat.remat(engine, eqn.replace(params=params), given, asked)
    if _jax.holds_a_rule(operation):
        return written_out(lambda *xs: _jax.bind(eqn, xs), engine, eqn, given, asked)
    return written_out(_jax.expanded(operation), engine, eqn, given, asked)


def _tracing() -> Differentiated:
    return _jax.current_trace()


def _with_tangent(rule: Callable, eqn: _jax.Equation) -> Callable:
    """The primitive as a function that is run by its tangent rule."""
    many, params = eqn.primitive.multiple_results, eqn.params

    def on_lists(xs: Sequence[Any], x_dots: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        ys, y_dots = rule(tuple(xs), tuple(x_dots), **params)
        dots = y_dots if many else [y_dots]
        return ys if many else [ys], [0.0 if isinstance(dot, _jax.Zero) else dot for dot in dots]

    name = eqn.primitive.name
    return lambda *xs: _tracing().by_tangent(on_lists, xs, _jax.internal_zero, name, name)


def _transposed(rule: Callable, eqn: _jax.Equation, asked: Mask) -> Pullback:
    """A linear primitive: x̄ = Aᵀ·ȳ by its transpose."""

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        xs = stash[len(eqn.outvars) :]
        operands = zip(xs, eqn.invars, asked, strict=True)
        operands = [_jax.UndefinedPrimal(v.aval) if one else x for x, v, one in operands]
        outs = zip(y_bars, eqn.outvars, strict=True)
        bars = [_jax.internal_zero(v.aval) if bar is None else bar for bar, v in outs]
        x_bars = rule(bars if eqn.primitive.multiple_results else bars[0], *operands, **eqn.params)
        sent = [_jax.as_cotangent(x_bar, v.aval) for x_bar, v in zip(x_bars, eqn.invars, strict=True)]
        return control.only(sent, asked)

    return Pullback(asked, backward, (False,) * len(eqn.outvars) + tuple(not one for one in asked))
