"""Equations with derivatives of their users' own: custom_jvp, custom_vjp, custom_linear_solve.

The user's rule is the gradient. A custom_vjp brings both sweeps; a custom_jvp brings a tangent
ẏ = J(x)·ẋ, a program linear in ẋ, and the way back is that program walked backward: x̄ = J(x)ᵀ·ȳ.
A custom_linear_solve x = A(c)⁻¹·b brings a solver for Aᵀ: b̄ = A⁻ᵀ·x̄ and c̄ = −(∂(A(c)·x)/∂c)ᵀ·b̄.
The solution does not depend on how it is found: the constants of the solvers have no gradient.
"""

from collections.abc import Sequence
from typing import Any

from jax import lax

from funcnet import _jax
from funcnet._errors import GradientError
from funcnet.backprop.control import only
from funcnet.backprop.pullback import Mask, Pullback, trace_pair
from funcnet.backprop.sweep import Engine, differentiable
from funcnet.rules import Rule


def custom_jvp(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A function with a tangent rule: walk the rule's own program back from ẏ to ẋ, at ẋ = 0."""
    jaxpr, consts, zeros = _jax.jvp_rule(eqn)
    first = eqn.params["num_consts"]
    primals, outs = eqn.invars[first:], len(eqn.outvars)
    nonzero = tuple(has for has, zero in zip(given, zeros, strict=True) if not zero)
    plan = engine.plan(
        jaxpr,
        asked=(False,) * (len(consts) + len(primals)) + asked[first:],
        given=(False,) * outs + nonzero,
        wanted=(True,) * outs + (False,) * len(nonzero),
    )
    gives = (False,) * first + plan.gives[-len(primals) :]

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        tangents = [_jax.zeros(v.aval) if differentiable(v.aval) else _jax.float0(v.aval) for v in primals]
        ys, stashes = plan.forward([], [*consts, *xs[first:], *tangents])
        return ys[:outs], stashes

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        of_tangents = [y_bar for y_bar, zero in zip(y_bars, zeros, strict=True) if not zero]
        x_bars = plan.backward(stash, [None] * outs + of_tangents)
        return [None] * first + x_bars[-len(primals) :]

    return Pullback(gives, backward, forward=forward)


def custom_vjp(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A function with a forward and a backward of its user's: a pair rule that stands in the equation."""
    name, forward, backward = _jax.vjp_rule(eqn, asked)
    if any(asked[: eqn.params["num_consts"]]):
        raise GradientError(
            f"{name} is a custom_vjp that closes over a value whose gradient is asked for, at "
            f"{_jax.source_line(eqn)}; its rule speaks of its arguments only: pass the value as one"
        )
    ins = tuple(v.aval for v in eqn.invars)
    outs = tuple(v.aval for v in eqn.outvars)
    rule = Rule((name,), backward, forward=forward)
    return trace_pair.__wrapped__(rule, (), ins, outs, True, given, asked, ())


def custom_linear_solve(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A linear solve whose operator is a function of its constants."""
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    if jaxprs.transpose_solve is None:
        raise GradientError(
            f"custom_linear_solve at {_jax.source_line(eqn)} has no transpose_solve, expected the solver of "
            f"Aᵀ·b̄ = x̄; pass transpose_solve= or symmetric=True"
        )
    matvec, consts = _jax.open_jaxpr(jaxprs.matvec)
    k, n = lengths.matvec, len(matvec.outvars)
    m = len(eqn.invars) - n
    if any(given[n:]):
        raise GradientError(
            f"custom_linear_solve at {_jax.source_line(eqn)}: what the solver returns beside the solution "
            f"has no gradient, expected a loss of the solution alone; put stop_gradient around the rest"
        )
    plan = engine.plan(matvec, asked=asked[:k] + (False,) * n, given=(True,) * n, wanted=(False,) * n)

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        ys = _jax.bind(eqn, xs)
        return ys, (xs[:m], ys[:n] if any(plan.gives) else None)

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        of_operator, solution = stash
        x_bars = [_jax.zeros(v.aval) if y is None else y for y, v in zip(y_bars, eqn.outvars, strict=True)]
        b_bars = _jax.transposed_solve(eqn, of_operator, x_bars[:n])[:n]
        c_bars = [None] * k
        if solution is not None:
            _, stashes = plan.forward(consts, [*of_operator[:k], *solution])
            c_bars = plan.backward(stashes, [lax.neg(b_bar) for b_bar in b_bars])[:k]
        return only([*c_bars, *[None] * (m - k), *b_bars], gives)

    gives = plan.gives[:k] + (False,) * (m - k) + asked[m:]
    return Pullback(gives, backward, forward=forward)
