"""Which oracles there are for a function: a case is set up here.

Autodiff is taken by JAX of functions with rules of their own, and by funcnet where the rules of JAX are the
ones under test; what neither differentiates is left to differences. Where the function runs in a shorter
dtype only, rule and oracles run there, and everything is as coarse as its grain.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import ParameterError
from funcnet.check.case import REFUSES, Case, words
from funcnet.check.modes import FORWARD, REVERSE, Mode
from funcnet.check.options import Options
from funcnet.check.primal import Primal, custom_rules, equations, program, undecorated
from funcnet.check.programs import compiled, double
from funcnet.check.subject import Subject


def case(fun: Callable, subject: Subject, options: Options, call: str, mode: Mode = REVERSE) -> Case:
    """Set up a case: trace the function, find its oracles, and see in which dtypes they run.

    Raises:
        ParameterError: the function has no float result, or no oracle can be made of it.
    """
    flat, bare = subject.floats(fun), subject.floats(options.reference or fun)
    traced = _program(subject, flat)
    if not traced.jaxpr.outvars:
        raise ParameterError(
            f"check of {subject.name}: its result has no floats, expected one at least to differentiate"
        )
    oracles, primal, notes = _primal(subject, bare, options.reference is not None)
    made = Case(
        subject=subject,
        mode=mode,
        options=options,
        flat=flat,
        program=traced,
        undecorated=lambda rest, *xs: undecorated(bare, rest, xs)(rest, *xs),
        primal=primal,
        autodiff=mode.slow,
        forward=False,
        base=jnp.float64,
        oracles=oracles,
        seed=_seed(options.key),
        call=call,
    )
    own = bool(custom_rules(traced.jaxpr) or options.reference)
    order = mode.autodiff if own else mode.autodiff[::-1]
    autodiff = next((one for one in order if _differentiates(made, one)), mode.slow)
    if autodiff is mode.slow:
        notes += ("its primal cannot be differentiated: differences alone are the oracle, to 1e-6",)
    refusal = made.traced(jnp.float64).refusal or _refusal(flat, traced, subject)
    if refusal is not None:
        notes += (f"not checked in float64, where it does not run: {words(refusal)}",)
    return replace(
        made,
        autodiff=autodiff,
        forward=_differentiates(replace(made, mode=FORWARD), jax.jvp),
        base=jnp.float64 if refusal is None else None,
        notes=notes,
    )


def _program(subject: Subject, flat: Callable) -> Primal:
    try:
        return program(flat, subject.rest, subject.at(None))
    except jax.errors.ConcretizationTypeError as error:
        raise ParameterError(
            f"check of {subject.name}: it needs the value of an argument while it is traced: "
            f"{words(error)}. Bind numbers that are settings: functools.partial(f, rate=0.1)"
        ) from error


def _primal(subject: Subject, bare: Callable, reference: bool) -> tuple[Any, Primal, tuple[str, ...]]:
    """The dtype of the oracles, the primal in it, and a note if that is not float64."""
    refusal: Exception | None
    try:
        with double():
            primal = undecorated(bare, subject.rest, subject.at(jnp.float64))
        refusal = _refusal(primal, primal, subject)
        if refusal is None:
            return jnp.float64, primal, ()
    except REFUSES as error:
        refusal = error
    if reference:
        raise ParameterError(
            f"check of {subject.name}: its reference does not run in float64, which the oracles need: "
            f"{words(refusal)}. Pass a plain JAX function of the same signature that does"
        ) from refusal
    note = f"the oracles run in the dtype of the arguments, not in float64: {words(refusal)}"
    return None, undecorated(bare, subject.rest, subject.at(None)), (note,)


def _refusal(function: Callable, traced: Primal, subject: Subject) -> Exception | None:
    """Why it does not run in float64, if it calls Python, which says so no sooner than it runs."""
    if any("callback" in eqn.primitive.name for eqn in equations(traced.jaxpr)):
        try:
            with double():
                compiled(function, tuple(subject.rest), *subject.at(jnp.float64))
        except (*REFUSES, jax.errors.JaxRuntimeError) as error:
            return error
    return None


def _differentiates(made: Case, autodiff: Callable) -> bool:
    with made.precise(), contextlib.suppress(*REFUSES):
        rest, xs = made.subject.rest, made.subject.at(made.oracles)
        given = jax.eval_shape(made.primal, rest, *xs) if made.mode.is_reverse else xs
        jax.eval_shape(made.mode.answer(made.primal, autodiff), rest, xs, given)
        return True
    return False


def _seed(key: Any) -> tuple[int, ...]:
    if isinstance(key, jax.Array):
        data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
        return tuple(np.asarray(data).ravel().tolist())
    if isinstance(key, int) and key >= 0:
        return (key,)
    raise ParameterError(f"key={key!r}: expected a number, 0 or more, or a key of jax.random")
