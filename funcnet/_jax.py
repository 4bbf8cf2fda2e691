"""Everything that differs between JAX versions, and every use of JAX beyond its public functions.

The engine reads jaxprs: the programs, as data, that JAX's tracing makes of Python functions. Their
vocabulary is stable, their spelling is not. Equations, parameters and sub-programs get one spelling
here, so that no other file asks which JAX it runs on.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.extend import core, source_info_util

Equation = core.JaxprEqn
Jaxpr = core.Jaxpr
Var = core.Var
Literal = core.Literal

_PACKAGE = Path(__file__).parent
for _folder in ("backprop", "rules"):
    source_info_util.register_exclusion(str(_PACKAGE / _folder))

# Parameters that say where a value lives or how it is laid out, never what it is.
_PLACEMENT = frozenset({"sharding", "out_sharding", "accuracy", "dtype_sharding"})


def is_literal(atom: Any) -> bool:
    """Whether an operand of an equation is a constant written into the program."""
    return isinstance(atom, Literal)


def open_jaxpr(program: Any) -> tuple[Jaxpr, Sequence[Any]]:
    """A sub-program as (jaxpr, the values of its constvars), whether JAX keeps it open or closed."""
    if hasattr(program, "consts") and hasattr(program, "jaxpr"):
        return program.jaxpr, program.consts
    return program, ()


def parameters(eqn: Equation) -> dict[str, Any]:
    """The parameters of an equation that its rule sees: what to compute, not where."""
    return {name: value for name, value in eqn.params.items() if name not in _PLACEMENT}


def bind(eqn: Equation, inputs: Sequence[Any]) -> list[Any]:
    """Run one equation on new inputs; its outputs as a list."""
    outputs = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(eqn.params))
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


@contextlib.contextmanager
def context_of(eqn: Equation) -> Iterator[None]:
    """Whatever is bound inside carries the source line, named scopes and settings of `eqn`."""
    info = eqn.source_info
    names = source_info_util.current_name_stack() + info.name_stack
    with source_info_util.user_context(info.traceback, name_stack=names), eqn.ctx.manager:
        yield


def source_line(eqn: Equation) -> str:
    """Where the user's code wrote this equation: `file:line:column (function)`."""
    return source_info_util.summarize(eqn.source_info)


def scope(eqn: Equation) -> str:
    """The `jax.named_scope` names around an equation, joined by slashes."""
    return str(eqn.source_info.name_stack)


def trace_context() -> tuple[Any, ...]:
    """The settings that change what tracing a function gives, beside the arguments' types."""
    return (
        jax.config.jax_enable_x64,
        jax.config.jax_default_matmul_precision,
        jax.config.jax_numpy_dtype_promotion,
        jax.config.jax_numpy_rank_promotion,
    )
