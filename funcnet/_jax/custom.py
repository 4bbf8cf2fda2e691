"""Derivatives that users wrote: custom_vjp and custom_jvp, linear_call, custom_linear_solve, checkpoints."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend import core, linear_util

from funcnet._errors import RuleError
from funcnet._jax.jaxprs import Equation, Var, is_high
from funcnet._jax.values import Zero, in_dtype, is_of_numbers


def call(function: Any, *operands: Any) -> Any:
    """Call a function, which JAX may have wrapped."""
    return getattr(function, "call_wrapped", function)(*operands)


def repeatable(function: Any) -> Callable[..., Any]:
    """A function that JAX has wrapped, which may be called more than once."""

    def run(*operands: Any) -> Any:
        for store in function.stores:
            if store is not None:
                store.reset()
        return function.call_wrapped(*operands)

    return run


def like(wrapped: Any, function: Callable) -> Any:
    """A function in the place of one that JAX may have wrapped."""
    if hasattr(wrapped, "debug_info"):
        return linear_util.wrap_init(function, debug_info=wrapped.debug_info)
    return function


def mapped(function: Callable, outs: Any) -> Any:
    """A function of each of the results that JAX's own code returns, in a list or in a tree of its own."""
    return outs.map(function) if hasattr(outs, "map") else list(map(function, outs))


def backward_function(eqn: Equation) -> Callable:
    """The Python function that the user of a custom_vjp wrote for its way back."""
    function = eqn.params["bwd"].f
    while isinstance(function, functools.partial):
        function = function.func
    return function


def backward_parameters(eqn: Equation) -> dict[str, Any]:
    """The keyword arguments that are bound to that function."""
    function, bound = eqn.params["bwd"].f, {}
    while isinstance(function, functools.partial):
        function, bound = function.func, {**function.keywords, **bound}
    return bound


def is_gate(eqn: Equation) -> bool:
    """Whether an equation calls a gate: a function whose backward has a formula on record."""
    return eqn.primitive.name == "custom_vjp_call" and hasattr(backward_function(eqn), "gate")


def residuals(made: Sequence[Any], xs: Sequence[Any], out_trees: Callable) -> tuple[list[Any], list[Any]]:
    """What a custom_vjp puts aside, and its results, from what its forward has returned for `xs`."""
    _, tree, forwarded = out_trees()
    n = tree.num_leaves - sum(place is not None for place in forwarded)
    fresh = iter(made[:n])
    return [next(fresh) if place is None else xs[place] for place in forwarded], list(made[n:])


def call_backward(bwd: Any, *operands: Any) -> Sequence[Any]:
    """What the backward of a custom_vjp returns for its residuals and cotangents."""
    answer = bwd.call_wrapped(*operands)
    return answer[0] if isinstance(answer, tuple) else answer  # newer JAX: (x_bars, log)


def as_cotangent(x_bar: Any, aval: Any) -> Any:
    """A user's gradient for an input of this type as an array of its dtype; None for a zero."""
    if (
        x_bar is None
        or isinstance(x_bar, (SymbolicZero, Zero))
        or getattr(x_bar, "dtype", None) == jax.dtypes.float0
    ):
        return None
    if not is_of_numbers(aval):
        return x_bar
    if jnp.iscomplexobj(x_bar) and not jnp.issubdtype(aval.dtype, jnp.complexfloating):
        raise RuleError(
            f"the backward of a custom_vjp returned {jnp.result_type(x_bar)} for an input of {aval.dtype}, "
            f"expected a real gradient; take its real part"
        )
    return in_dtype(x_bar, aval)


def transposed_call(eqn: Equation, constant: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
    """Call the transpose of a linear_call, whose own transpose is the call itself."""
    callee, n = eqn.params["callee"], eqn.params["num_callee_consts"]
    transpose, consts = eqn.params["transpose_thunk"]()
    return eqn.primitive.bind(
        *consts,
        *constant[n:],
        *y_bars,
        callee=transpose,
        transpose_thunk=lambda: (callee, constant[:n]),
        num_callee_consts=len(consts),
        num_res=eqn.params["num_res"],
    )


def transposed_solve(eqn: Equation, consts: Sequence[Any], x_bars: Sequence[Any]) -> list[Any]:
    """Solve Aᵀ·b̄ = x̄ with the solver that a custom_linear_solve brings for it."""
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    ends = [0, *itertools.accumulate(lengths)]
    matvec, vecmat, solve, transpose = (consts[a:b] for a, b in itertools.pairwise(ends))
    operands = [*vecmat, *matvec, *transpose, *solve, *x_bars]
    return eqn.primitive.bind(*operands, const_lengths=lengths.transpose(), jaxprs=jaxprs.transpose())


def checkpointed(
    inputs: Sequence[Var],
    eqns: Sequence[Equation],
    results: Sequence[Any],
    fenced: Sequence[bool],
    policy: Callable | None,
) -> Callable[..., list[Any]]:
    """A program as a function that `jax.checkpoint` has differentiated already.

    Args:
        inputs: its inputs.
        eqns: its equations.
        results: its results.
        fenced: which inputs stand behind a barrier to XLA's search for common subexpressions.
        policy: what a derivative of it may save.
    """
    info = core.DebugInfo("checkpoint", "the second run of a checkpoint", None, None)
    effects = frozenset().union(*(eqn.effects for eqn in eqns))
    jaxpr = core.Jaxpr((), inputs, results, eqns, effects, info, any(map(is_high, eqns)))
    params = {"jaxpr": jaxpr, "prevent_cse": tuple(fenced), "differentiated": True, "policy": policy}
    return functools.partial(core.primitives.remat_p.bind, **params)


def saves(decision: Any) -> bool:
    """Whether a policy of `jax.checkpoint` decided to keep a value, here or in another memory."""
    return decision is not False and type(decision).__name__ != "RecomputeType"
