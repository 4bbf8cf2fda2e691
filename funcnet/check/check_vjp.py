"""Is this rule right? The whole check of a gradient.

A rule is asked with many probes at once, in float64, and compared with two oracles that know nothing of
it: autodiff of the undecorated function, and its differences. Then it runs in the dtypes that people use,
where the measured rounding noise says what can be expected. In this order:

    CONTRACT     trees, shapes and dtypes; forward's output is the function's; the same under jit and vmap
    NONLINEAR    x̄(α ȳ₁ + β ȳ₂) = α x̄(ȳ₁) + β x̄(ȳ₂), from upstream gradients of 2⁻⁴⁰ to 2⁴⁰; x̄(0) = 0
    WRONG        x̄ is the derivative: at the arguments, at an eighth, three and eight times of them, at
                 what short dtypes round them to; along random directions; along equal elements
    KINK         where the slopes to either side differ, x̄ lies between them
    VACUOUS      there is a gradient to see at all
    UNSTABLE     in float32, bfloat16 or float16 the error is no larger than rounding explains; no vectors of
                 equal eigenvalues or singular values are differentiated
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import ParameterError, VJPCheckError
from funcnet.check import contract, exact, precision
from funcnet.check.hints import of_ties
from funcnet.check.primal import subject
from funcnet.check.probes import Probe
from funcnet.check.report import Finding, Report
from funcnet.check.trial import Trial, trial

_TRANSFORMS = ("jit", "vmap")


def check_vjp(
    fun: Callable,
    *args: Any,
    reference: Callable | None = None,
    dtypes: Sequence[Any] | None = None,
    order: int = 1,
    transforms: Sequence[str] = _TRANSFORMS,
    kinks: float | int | None = None,
    key: Any = 0,
    slack: float | int = 8,
) -> Report:
    """Check that the gradient of a function is its derivative, and that it is computed as well as can be.

    Args:
        fun: a `jax.custom_vjp`, a `jax.custom_jvp`, a gate, or any function: then the gradient that
            JAX computes is what is checked.
        *args: where to check it: any pytrees of floats, complex numbers, integers, keys; what is no
            array or float is passed on as it is. The choice matters: a rule is checked where these are.
        reference: an independent definition of the same function, of the same signature. By default the
            primal of fun, with all custom rules in it taken out.
        dtypes: the float dtypes to check in after float64; by default those of the arguments.
        order: how often to differentiate: 2 checks the gradient of the gradient too.
        transforms: what must change nothing: "jit", "vmap", or nothing.
        kinks: what the rule promises at a kink: 0 for the slope to the left, 1 for that to the right, 0.5 for
            the middle. By default anything from left to right is right.
        key: a number or a key of jax.random, from which all random probes come.
        slack: how many units of rounding noise an error may have.

    Returns:
        What was measured: errors in units of the rounding noise, the smallest error that would have been
        seen, what the forward pass keeps.

    Raises:
        VJPCheckError: the gradient is WRONG, UNSTABLE, outside of what a KINK allows, VACUOUS, NONLINEAR or
            breaks its CONTRACT. Its message names the argument, the worst element and the likely mistake.
        ParameterError: an argument of the check itself is not what it should be, or the primal cannot be
            traced in float64 and no reference was given.

    Source:
        CS231n 2019, lecture 4, slide 8: always use the analytic gradient, but check it with the
        numerical one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> @jax.custom_vjp
        ... def square(x):
        ...     return x * x
        >>> square.defvjp(lambda x: (x * x, x), lambda x, y_bar: (2 * x * y_bar,))
        >>> report = check_vjp(square, jnp.arange(1.0, 4.0))
        >>> [(row.argument, row.dtype, row.error < 3) for row in report.rows]
        [('x', 'float64', True), ('x', 'float32', True)]
    """
    __tracebackhide__ = True
    _check_options(dtypes, order, transforms, kinks, slack)
    try:
        chosen = {"dtypes": dtypes, "order": order, "transforms": transforms, "kinks": kinks, "slack": slack}
        call = f"check_vjp({{}}, *args{_options(reference, chosen)}{{}})"
        made = trial(fun, subject(fun, args), reference, key, float(slack), call)
        report = _checked(made, dtypes, transforms, kinks)
        if order > 1:
            y_bars = made.probe(jnp.float64).y_bars
            gradient, truth = (
                _gradient(made, function, y_bars) for function in (made.flat, made.undecorated)
            )
            again = {**chosen, "order": order - 1, "kinks": None, "key": key}
            check_vjp(gradient, *args, reference=truth, **again)
    except VJPCheckError as error:
        raise VJPCheckError(error.finding) from None
    return report


def _check_options(dtypes: Any, order: Any, transforms: Any, kinks: Any, slack: Any) -> None:
    for dtype in dtypes or ():
        try:
            float_dtype = jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
        except TypeError:
            float_dtype = False
        if isinstance(dtypes, str) or not float_dtype:
            raise ParameterError(
                f"check_vjp: dtypes={dtypes!r}, expected float dtypes; write dtypes=('float32', 'bfloat16')"
            )
    if not isinstance(order, int) or order < 1:
        raise ParameterError(
            f"check_vjp: order={order!r}, expected 1 for the gradient, 2 for its gradient, …"
        )
    if isinstance(transforms, str) or not set(transforms) <= set(_TRANSFORMS):
        raise ParameterError(f"check_vjp: transforms={transforms!r}, expected some of {_TRANSFORMS}")
    if kinks is not None and not (isinstance(kinks, (int, float)) and 0 <= kinks <= 1):
        raise ParameterError(
            f"check_vjp: kinks={kinks!r}, expected a number from 0, left, to 1, right, or None"
        )
    if not (isinstance(slack, (int, float)) and slack > 0):
        raise ParameterError(f"check_vjp: slack={slack!r}, expected a positive number of rounding units")


def _options(reference: Callable | None, chosen: Mapping[str, Any]) -> str:
    """The keywords of the call that are not the defaults, as one writes them."""
    defaults = {name: one.default for name, one in inspect.signature(check_vjp).parameters.items()}
    given = [f", {name}={value!r}" for name, value in chosen.items() if value != defaults[name]]
    return "".join([", reference=reference"] * (reference is not None) + given)


@np.errstate(all="ignore")  # infinities and NaN are findings, not accidents
def _checked(
    made: Trial, dtypes: Sequence[Any] | None, transforms: Sequence[str], kinks: float | int | None
) -> Report:
    contract.check_types(made, made.base)
    contract.check_types(made, None)
    contract.check_integers(made)
    probe = made.probe(made.base)
    try:
        rows, seen = exact.check(made, probe, kinks)
        for dtype in _short(made, dtypes):
            rows += precision.check(made, dtype)
    except VJPCheckError as error:
        raise VJPCheckError(_explained(made, probe, error.finding)) from None
    if "jit" in transforms:
        contract.check_eager(made, *seen.answers[0], seen.noises)
    if "vmap" in transforms:
        contract.check_vmap(made, seen.answers, seen.noises)
    contract.check_sharding(made)
    stash = contract.stash(made)
    notes = tuple(dict.fromkeys(made.notes))
    return Report(made.subject.name, tuple(rows), stash, made.own_rules, made.asked, made.calls, notes)


def _explained(made: Trial, probe: Probe, finding: Finding) -> Finding:
    """The finding, or what equal eigenvalues or singular values make of JAX's own gradient."""
    equal = "" if made.own_rules or finding.verdict == "VACUOUS" else made.equal_values(probe)
    if not equal:
        return finding
    shown = [detail for detail in finding.details if detail[0] in ("worst", "error", "along v")]
    details = (*shown, ("hint", of_ties(equal)), ("reproduce", made.again))
    summary = f"it goes through the vectors of equal {equal}, which have no derivative"
    return replace(finding, verdict="UNSTABLE", summary=summary, details=details)


def _short(made: Trial, dtypes: Sequence[Any] | None) -> list[Any]:
    """The dtypes to check in beside the base; None stands for those of the arguments."""
    if dtypes is not None:
        return [jnp.dtype(dtype) for dtype in dtypes if jnp.dtype(dtype) != jnp.float64]
    widest = all(jnp.finfo(dtype).bits == 64 for dtype in made.subject.dtypes)
    return [None] if made.double and not widest else []


def _gradient(made: Trial, function: Callable, y_bars: Sequence[Any]) -> Callable:
    """x̄ for one upstream gradient, as a function of all arguments."""

    def gradient(*args: Any) -> tuple[Any, ...]:
        rest, xs = made.subject.split(args)
        ys, back = jax.vjp(functools.partial(function, rest), *xs)
        return back(tuple(y_bar.astype(y.dtype) for y_bar, y in zip(y_bars, ys, strict=True)))

    return functools.wraps(made.subject.fun)(gradient)
