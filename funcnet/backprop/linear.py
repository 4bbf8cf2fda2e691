"""Functions that are linear, with a transpose of their users' own: linear_call, custom_linear_solve.

A linear_call y = A(r)·x brings a function for Aᵀ: x̄ = A(r)ᵀ·ȳ. A custom_linear_solve x = A(c)⁻¹·b brings
a solver for Aᵀ: b̄ = A⁻ᵀ·x̄ and c̄ = −(∂(A(c)·x)/∂c)ᵀ·b̄. The solution does not depend on how it is
found: the constants of the solvers have no gradient, nor has what a solver returns beside the solution.
"""

from collections.abc import Sequence
from typing import Any

from jax import lax

from funcnet import _jax
from funcnet._errors import GradientError
from funcnet.backprop.activity import Mask
from funcnet.backprop.control import only
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.sweep import Engine


def linear_call(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A linear function with its transpose: called as a linear function whose transpose is the first."""
    n = eqn.params["num_callee_consts"] + eqn.params["num_res"]
    if any(asked[:n]):
        raise GradientError(
            f"linear_call at {_jax.source_line(eqn)}: the gradient of what it is not linear in is asked for, "
            f"expected that of its linear arguments alone; put stop_gradient around the others"
        )

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        return _jax.bind(eqn, xs), xs[:n]

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        bars = [
            _jax.zeros(v.aval) if bar is None else bar for bar, v in zip(y_bars, eqn.outvars, strict=True)
        ]
        return only([*[None] * n, *_jax.transposed_call(eqn, stash, bars)], asked)

    return Pullback(asked, backward, forward=forward)


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
