"""What `grad` and its kin ask of a function, of its arguments and of its results."""

import contextlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from funcnet import _jax
from funcnet._errors import GradientError
from funcnet.backprop.activity import differentiable
from funcnet.backprop.tape import Tape

_SINGLE = jax.tree.structure(0)
"""The structure of a result that is one array."""


@contextlib.contextmanager
def traced_without_values() -> Iterator[None]:
    """A block that traces a function as `jax.jit` does: one that asks for a value is told what to write."""
    try:
        yield
    except (
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerIntegerConversionError,
    ) as error:
        error.add_note(
            "The function is traced as jax.jit traces: for all values of its arguments, so they have none "
            "while it runs. Use jax.lax.cond or jnp.where for a branch that depends on them, jnp for numpy."
        )
        raise


def check_callable(name: str, fun: Any) -> None:
    if not callable(fun):
        got = textwrap.shorten(repr(fun), 60, placeholder=" …")
        raise GradientError(f"{name}: got {got}, expected a function; write {name}(f)(x)")


def check_arrays(name: str, fun: Callable, primals: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(primals):
        if not _jax.is_value(leaf):
            raise GradientError(
                f"{name} of {where(fun)}: argument {jax.tree_util.keystr(path)} is {type(leaf).__name__}, "
                f"expected an array or a number; close over what is none"
            )


def check_inputs(name: str, fun: Callable, primals: Any, holomorphic: bool, allow_int: bool) -> None:
    check_arrays(name, fun, primals)
    for path, leaf in jax.tree_util.tree_leaves_with_path(primals):
        aval = jax.typeof(leaf)
        if jnp.issubdtype(aval.dtype, jnp.complexfloating) if holomorphic else differentiable(aval):
            continue
        if holomorphic:
            advice = "expected complex numbers with holomorphic=True"
        elif allow_int:
            continue
        else:
            advice = "expected floats; convert it, differentiate another argument, or pass allow_int=True"
        raise GradientError(
            f"{name} of {where(fun)}: argument {jax.tree_util.keystr(path)} is "
            f"{aval.dtype}{list(aval.shape)}, {advice}"
        )


def check_scalar(fun: Callable, tape: Tape) -> None:
    if tape.out_tree == _SINGLE and tape.outs[0].shape == ():
        return
    came = ", ".join(f"{aval.dtype}{list(aval.shape)}" for aval in tape.outs)
    if tape.out_tree != _SINGLE:
        raise GradientError(
            f"grad of {where(fun)}: the result is a {tape.out_tree} of {came or 'nothing'}, expected a "
            f"scalar; return the loss alone, with has_aux=True for what else there is, or use vjp"
        )
    raise GradientError(
        f"grad of {where(fun)}: the result is {came}{_made_at(tape, 0)}, "
        f"expected a scalar; sum or average it, or use vjp or jacobian"
    )


def check_outputs(name: str, fun: Callable, tape: Tape, holomorphic: bool) -> None:
    kind = jnp.complexfloating if holomorphic else jnp.floating
    for i, aval in enumerate(tape.outs):
        if not jnp.issubdtype(aval.dtype, kind):
            expected = "complex numbers with holomorphic=True" if holomorphic else "real floats"
            raise GradientError(
                f"{name} of {where(fun)}: the result is {aval.dtype}{list(aval.shape)}"
                f"{_made_at(tape, i)}, expected {expected}; use vjp for results of other types"
            )


def _made_at(tape: Tape, i: int) -> str:
    line = tape.made_at(i)
    return f", made at {line}" if line else ""


def where(fun: Callable) -> str:
    """A function's name and the line where it is written."""
    plain = inspect.unwrap(fun)
    code = getattr(plain, "__code__", None)
    name = getattr(plain, "__qualname__", repr(plain))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
