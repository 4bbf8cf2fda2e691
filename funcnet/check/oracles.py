"""The oracles of a case: which there are, and in which dtypes they and the function run.

Autodiff is taken by JAX of functions with rules of their own, and by funcnet where the rules of JAX are the
ones under test; what neither differentiates is left to differences. Where the function runs in a shorter
dtype only, rule and oracles run there, and everything is as coarse as its grain.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.errors import ConcretizationTypeError, TracerArrayConversionError, TracerIntegerConversionError

from funcnet._compiled import compiled, double, undisturbed
from funcnet._errors import ParameterError
from funcnet.check.case import Case
from funcnet.check.finding import sentence
from funcnet.check.noise import unit
from funcnet.check.options import Options
from funcnet.check.primal import Primal, program, undecorated
from funcnet.check.probes import FORWARD, REVERSE, Mode
from funcnet.check.subject import Subject, subject


@undisturbed()
def set_up(
    fun: Callable,
    args: Sequence[Any],
    options: Options,
    mode: Mode = REVERSE,
    order: int = 1,
    truth: Callable | None = None,
) -> Case:
    """Set up a case: trace the function, find its oracles, and see in which dtypes they run.

    At a higher order the function is a gradient, and `truth` what the primal makes of that, if it is known.

    Raises:
        ParameterError: the function has no float result, or no oracle can be made of it.
    """
    asked = subject(fun, args, options.argnums)
    reference = options.reference if order == 1 else truth
    flat, bare = asked.floats(fun), asked.floats(reference or fun)
    traced = _program(asked, flat)
    if not traced.jaxpr.outvars:
        raise ParameterError(
            f"check of {asked.name}: its result has no floats, expected one at least to differentiate"
        )
    oracles, primal, notes = _primal(asked, bare, reference is not None)
    case = Case(asked, options, reference, order, mode, flat, traced, primal, oracles, jnp.float64, mode.slow)
    ways = mode.autodiff if case.own_rules or reference else mode.autodiff[::-1]
    autodiff = next((one for one in ways if case.differentiates(mode, one)), mode.slow)
    if autodiff is mode.slow:
        notes += ("its primal cannot be differentiated: differences alone are the oracle, to 1e-6",)
    refusal = case.traced(jnp.float64).refusal or _refusal(flat, traced, asked) or _stays_short(case)
    if refusal is not None:
        notes += (f"not checked in float64, where it does not run: {sentence(refusal)}",)
    base, forward = None if refusal else jnp.float64, case.differentiates(FORWARD, jax.jvp)
    return replace(case, autodiff=autodiff, forward=forward, base=base, notes=notes)


def _program(asked: Subject, flat: Callable) -> Primal:
    try:
        return program(flat, asked.rest, asked.at(None))
    except (ConcretizationTypeError, TracerArrayConversionError, TracerIntegerConversionError) as error:
        raise ParameterError(
            f"check of {asked.name}: it needs the value of an argument while it is traced: "
            f"{sentence(error)}. Bind numbers that are settings: functools.partial(f, rate=0.1); "
            "write jnp for np, or jax.pure_callback around it"
        ) from error


def _primal(asked: Subject, bare: Callable, reference: bool) -> tuple[Any, Primal, tuple[str, ...]]:
    """The dtype of the oracles, the primal in it, and a note if that is not float64."""
    refusal: Exception | None
    try:
        with double():
            primal = undecorated(bare, asked.rest, asked.at(jnp.float64))
        refusal = _refusal(primal, primal, asked)
        if refusal is None:
            return jnp.float64, primal, ()
    except Exception as error:
        refusal = error
    if reference:
        raise ParameterError(
            f"check of {asked.name}: its reference does not run in float64, which the oracles need: "
            f"{sentence(refusal)}. Pass a plain JAX function of the same signature that does"
        ) from refusal
    note = f"the oracles run in the dtype of the arguments, not in float64: {sentence(refusal)}"
    return None, undecorated(bare, asked.rest, asked.at(None)), (note,)


def _refusal(function: Callable, traced: Primal, asked: Subject) -> Exception | None:
    """Why it does not run in float64, if it calls Python, which says so no sooner than it runs."""
    if any("callback" in name for name in traced.primitives):
        try:
            with double():
                compiled(function, tuple(asked.rest), *asked.at(jnp.float64))
        except Exception as error:
            return error
    return None


def _stays_short(case: Case) -> Exception | None:
    """What is in the way of float64 if it computes in a shorter dtype, and so does its rule."""

    def is_typed(dtype: Any) -> bool:
        return [x.dtype for x in case.traced(dtype).found] == [x.dtype for x in case.types(dtype)]

    stays = unit(case.grain) > unit(jnp.float64) and is_typed(None) and not is_typed(jnp.float64)
    return TypeError(f"it computes in {case.grain}, whatever comes") if stays else None
