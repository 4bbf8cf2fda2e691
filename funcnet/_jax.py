"""Everything that differs between JAX versions, and every use of JAX beyond its public functions.

The engine reads jaxprs: the programs, as data, that JAX's tracing makes of Python functions. Their
vocabulary is stable, their spelling is not. Equations, parameters and sub-programs get one spelling
here, so that no other file asks which JAX it runs on.
"""

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
from jax.extend import core, source_info_util

if TYPE_CHECKING:  # their annotations leave out the shape and dtype of an abstract value
    Equation: TypeAlias = Any
    Jaxpr: TypeAlias = Any
    Var: TypeAlias = Any
else:
    Equation, Jaxpr, Var = core.JaxprEqn, core.Jaxpr, core.Var

_PACKAGE = Path(__file__).parent
_NOT_THE_USERS = [
    _PACKAGE / "backprop",
    _PACKAGE / "rules",
    _PACKAGE / "nn/_gate.py",
    Path(jaxtyping.__file__).parent,
]
for _place in _NOT_THE_USERS:  # a source line is never one of these: they only pass on what the user wrote
    source_info_util.register_exclusion(str(_place))

# Parameters that say where a value lives or how it is laid out, never what it is.
_PLACEMENT = frozenset({"sharding", "out_sharding", "accuracy", "dtype_sharding"})


def is_literal(atom: Any) -> bool:
    """Whether an operand of an equation is a constant written into the program."""
    return isinstance(atom, core.Literal)


def uses_a_ref(eqn: Equation) -> bool:
    """Whether an equation reads or writes a mutable array (`jax.new_ref`)."""
    return bool(eqn.effects) and any(hasattr(v.aval, "inner_aval") for v in (*eqn.invars, *eqn.outvars))


def open_jaxpr(program: Any) -> tuple[Jaxpr, Sequence[Any]]:
    """A sub-program as (jaxpr, the values of its constvars), whether JAX keeps it open or closed."""
    if hasattr(program, "consts") and hasattr(program, "jaxpr"):
        return program.jaxpr, program.consts
    return program, ()


def without_constants(jaxpr: Jaxpr) -> Jaxpr:
    """The same program with its constants as inputs, after the others."""
    return jaxpr.replace(constvars=(), invars=(*jaxpr.invars, *jaxpr.constvars))


def parameters(eqn: Equation) -> dict[str, Any]:
    """The parameters of an equation that its rule sees: what to compute, not where."""
    return {name: value for name, value in eqn.params.items() if name not in _PLACEMENT}


def bind(eqn: Equation, inputs: Sequence[Any]) -> list[Any]:
    """Run one equation on new inputs; its outputs as a list.

    Where a program is being traced and the inputs have the types that the equation was traced with, it
    is written there as it stands: its types need not be inferred, nor its own programs traced, again.
    """
    trace = core.find_top_trace(inputs)
    as_it_stands = hasattr(trace, "emit_eqn") and not eqn.effects and not is_high(eqn)
    if as_it_stands and _of_the_same_types(eqn, inputs):
        info = source_info_util.current()
        tracers = [trace.to_jaxpr_tracer(x, source_info=info) for x in inputs]
        outs = [v.aval for v in eqn.outvars]
        return list(trace.emit_eqn(tracers, outs, eqn.primitive, eqn.params, eqn.effects, source_info=info))
    outputs = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(eqn.params))
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def is_high(eqn: Equation) -> bool:
    """Whether an equation must be written out before a program is compiled (newer JAX has such)."""
    return eqn.primitive.is_high(*(v.aval for v in eqn.invars), **eqn.params)


def _of_the_same_types(eqn: Equation, inputs: Sequence[Any]) -> bool:
    return all(
        is_literal(atom) or (isinstance(x, jax.Array) and (x.aval is atom.aval or x.aval == atom.aval))
        for x, atom in zip(inputs, eqn.invars, strict=True)
    )


@contextlib.contextmanager
def context_of(eqn: Equation) -> Iterator[None]:
    """Whatever is bound inside carries the source line, named scopes and settings of `eqn`."""
    info = eqn.source_info
    names = source_info_util.current_name_stack() + info.name_stack
    with source_info_util.user_context(info.traceback, name_stack=names), eqn.ctx.manager:
        yield


@contextlib.contextmanager
def planning(eqn: Equation) -> Iterator[None]:
    """What is traced inside belongs to `eqn`, or, where JAX's own code wrote that, to the call around it.

    It has no named scopes of its surroundings: where it is replayed it gets those there.
    """
    info = eqn.source_info if source_line(eqn) else source_info_util.current()
    names = source_info_util.new_name_stack()
    with source_info_util.user_context(info.traceback, name_stack=names), eqn.ctx.manager:
        yield


def blamed_line(eqn: Equation) -> str:
    """The user's line of an equation, or of the call that is planned around it if JAX's own code wrote it."""
    return source_line(eqn) or _readable(source_info_util.current())


def source_line(eqn: Equation) -> str:
    """Where the user's code wrote this equation: `file:line:column (function)`."""
    return _readable(eqn.source_info)


def _readable(info: Any) -> str:
    """A source line; a notebook's cell, which is a file that nobody knows, is called that."""
    return re.sub(r"^.*[/\\]ipykernel_\d+[/\\]\d+\.py", "notebook cell", source_info_util.summarize(info))


def scope(eqn: Equation) -> str:
    """The `jax.named_scope` names around an equation, joined by slashes."""
    return str(eqn.source_info.name_stack)


def function_name(eqn: Equation) -> str:
    """The Python name of the function that an equation calls; empty where there is none."""
    if "name" in eqn.params:
        return str(eqn.params["name"])
    if not any(name in eqn.params for name in ("jaxpr", "call_jaxpr")) or "length" in eqn.params:
        return ""
    return called(eqn)[0].debug_info.func_name.strip("<>")


def backward_function(eqn: Equation) -> Callable:
    """The Python function that the user of a custom_vjp wrote for its way back."""
    function = eqn.params["bwd"].f
    while isinstance(function, functools.partial):
        function = function.func
    return function


def is_scoped(eqn: Equation) -> bool:
    """Whether there is a `jax.named_scope` around an equation."""
    return bool(eqn.source_info.name_stack.stack)


def trace_context() -> tuple[Any, ...]:
    """The settings that change what tracing a function gives, beside the arguments' types."""
    settings = ("enable_x64", "default_matmul_precision", "numpy_dtype_promotion", "numpy_rank_promotion")
    return tuple(getattr(jax.config, f"jax_{name}") for name in settings)


def under_jit() -> bool:
    """Whether what runs now is being staged out into a program instead of being computed."""
    return core.unsafe_am_i_under_a_jit_DO_NOT_USE()  # pyright: ignore[reportPrivateImportUsage]


def called(eqn: Equation) -> tuple[Jaxpr, Sequence[Any]]:
    """The program that a call runs on its inputs."""
    return open_jaxpr(eqn.params["jaxpr"] if "jaxpr" in eqn.params else eqn.params["call_jaxpr"])


def zeros(aval: Any) -> Any:
    """Zeros of this type, varying over the same mesh axes."""
    array = jax.lax.full(aval.shape, 0, aval.dtype)
    axes = tuple(getattr(aval, "vma", ()))
    return jax.lax.pcast(array, axes, to="varying") if axes else array


def weak(x: Any) -> Any:
    """The same number as weakly typed as a Python scalar: it does not widen what it is combined with."""
    if jax.typeof(x).weak_type:
        return x
    convert = core.primitives.convert_element_type_p
    return convert.bind(x, new_dtype=x.dtype, weak_type=True, sharding=None)


def float0(aval: Any) -> Any:
    """JAX's cotangent of an integer, a bool or a key: an array of nothing."""
    return np.zeros(aval.shape, jax.dtypes.float0)


def saves(decision: Any) -> bool:
    """Whether a policy of `jax.checkpoint` decided to keep a value, here or in another memory."""
    return decision is not False and type(decision).__name__ != "RecomputeType"


def jvp_rule(eqn: Equation) -> tuple[Jaxpr, Sequence[Any], Sequence[bool]]:
    """The tangent rule of a custom_jvp call, a program `(*consts, *xs, *tangents) -> (*ys, *tangents)`.

    Beside it, its consts, and which tangents it leaves out because they are zero. The xs are the call's
    inputs after the first `num_consts`.
    """
    primals = len(eqn.invars) - eqn.params["num_consts"]
    jaxpr, consts, zero = eqn.params["jvp_jaxpr_fun"].call_wrapped(*[False] * primals)
    if jaxpr.constvars:
        jaxpr = jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars])
    return jaxpr, consts, zero


def vjp_rule(eqn: Equation, asked: Sequence[bool]) -> tuple[str, Callable, Callable]:
    """Name, `forward(*xs) -> (ys, stash)` and `backward(stash, y_bars) -> x_bars` of a custom_vjp call."""
    params = eqn.primitive.get_bind_params(eqn.params)
    _, fwd, bwd = params["subfuns"]

    def forward(*xs: Any) -> tuple[list[Any], Any]:
        flat = fwd.call_wrapped(*(part for x, one in zip(xs, asked, strict=True) for part in (x, one)))
        _, tree, forwarded = params["out_trees"]()
        n = tree.num_leaves - sum(place is not None for place in forwarded)
        fresh = iter(flat[:n])
        return list(flat[n:]), [next(fresh) if place is None else xs[place] for place in forwarded]

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        outs = [v.aval for v in eqn.outvars]
        dense = [
            (zeros(aval) if jnp.issubdtype(aval.dtype, jnp.inexact) else float0(aval))
            if y_bar is None
            else y_bar
            for y_bar, aval in zip(y_bars, outs, strict=True)
        ]
        answer = bwd.call_wrapped(*stash, *dense)
        x_bars = answer[0] if isinstance(answer, tuple) else answer  # newer JAX: (x_bars, log)
        arrays = [isinstance(x_bar, (jax.Array, np.ndarray)) for x_bar in x_bars]
        return [
            x_bar if one and x_bar.dtype != jax.dtypes.float0 else None
            for x_bar, one in zip(x_bars, arrays, strict=True)
        ]

    return bwd.debug_info.func_name, forward, backward


def transposed_solve(eqn: Equation, consts: Sequence[Any], x_bars: Sequence[Any]) -> list[Any]:
    """Solve Aᵀ·b̄ = x̄ with the solver that a custom_linear_solve brings for it."""
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    ends = [0, *itertools.accumulate(lengths)]
    matvec, vecmat, solve, transpose = (consts[a:b] for a, b in itertools.pairwise(ends))
    operands = [*vecmat, *matvec, *transpose, *solve, *x_bars]
    return eqn.primitive.bind(*operands, const_lengths=lengths.transpose(), jaxprs=jaxprs.transpose())


def scan_counts(eqn: Equation) -> tuple[int, int]:
    """How many of a scan's operands are constants, and how many are carried."""
    params = eqn.params
    if "ft_in" in params:
        consts, carry, _ = (len(list(part)) for part in params["ft_in"].unpack())
        return consts, carry
    return params["num_consts"], params["num_carry"]


def programs(eqn: Equation) -> list[tuple[Jaxpr, Sequence[Any]]]:
    """The programs that an equation calls: a jitted function, branches, a loop's condition and body."""
    return [open_jaxpr(program) for program in core.jaxprs_in_params(eqn.params)]


def with_programs(eqn: Equation, rewrite: Callable[[Jaxpr, Sequence[Any]], Any]) -> Equation:
    """The equation with each program that it calls replaced by `rewrite(jaxpr, consts)`, of the same types.

    A program that JAX keeps open, without constants, must stay so.
    """

    def rewritten(value: Any) -> Any:
        if isinstance(value, (core.Jaxpr, core.ClosedJaxpr)):
            closed = rewrite(*open_jaxpr(value))
            return closed if isinstance(value, type(closed)) else open_jaxpr(closed)[0]
        if isinstance(value, tuple):
            parts = map(rewritten, value)
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        return value

    return eqn.replace(params={name: rewritten(value) for name, value in eqn.params.items()})
