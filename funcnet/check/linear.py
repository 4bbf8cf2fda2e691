"""A pullback is linear in the upstream gradient, whatever the function: no oracle is needed to see it.

    x̄(α ȳ₁ + β ȳ₂) = α x̄(ȳ₁) + β x̄(ȳ₂),     x̄(0) = 0,     x̄(2ᵏ ȳ) = 2ᵏ x̄(ȳ)

A rule that clips the upstream gradient, takes its absolute value, adds to it or ignores it is found out,
if the upstream gradients are of all sizes: here from 2⁻⁴⁰ to 2⁴⁰ times the usual.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet._errors import VJPCheckError
from funcnet._types import Host
from funcnet.check.criteria import compare, cotangent, unit
from funcnet.check.primal import subject, wide
from funcnet.check.probes import Answer, Probe
from funcnet.check.settle import at, error_of, number
from funcnet.check.trial import Trial, trial

_FACTORS = (1.75, -0.625)
"""α and β, exact in every dtype."""


def probes(made: Trial, probe: Probe) -> list[Probe]:
    """ȳ₁ twice, ȳ₂, α ȳ₁ + β ȳ₂, 0, and ȳ₁ far up and down."""
    first = probe.y_bars
    second = tuple(cotangent(y_bar, made.rng).astype(y_bar.dtype) for y_bar in first)
    a, b = _FACTORS
    up = _power(made)
    sums = tuple((a * one + b * two).astype(one.dtype) for one, two in zip(first, second, strict=True))
    scaled = [tuple((factor * one).astype(one.dtype) for one in first) for factor in (0.0, up, 1 / up)]
    return [Probe(probe.xs, y_bars) for y_bars in (first, first, second, sums, *scaled)]


def _power(made: Trial) -> float:
    """2⁴⁰, or less where a short dtype would overflow."""
    shortest = min(jnp.finfo(y.dtype).maxexp for y in made.results(made.base))
    return 2.0 ** min(40, shortest // 4, jnp.finfo(made.grain).maxexp // 4)


def check(made: Trial, answers: Sequence[Answer]) -> None:
    """Raise unless the answers to `probes` are linear, and the same where the probe is the same.

    Raises:
        VJPCheckError: they are not: NONLINEAR, or CONTRACT if the same probe has two answers.
    """
    first, again, second, sums, nothing, large, small = ([*answer.x_bars] for answer in answers)
    for i, (one, other) in enumerate(zip(first, again, strict=True)):
        if not np.array_equal(one, other, equal_nan=True):
            _fail(made, i, "CONTRACT", "the same call gives another gradient when it is repeated", one, other)
    for i, x_bar in enumerate(nothing):
        if x_bar.any() and np.isfinite(x_bar).all():
            summary = "not linear: an upstream gradient of 0 gives one that is not 0"
            _fail(made, i, "NONLINEAR", summary, x_bar, np.zeros_like(x_bar))
        if not np.isfinite(x_bar).all() and np.isfinite(first[i]).all():
            summary = "not linear: an upstream gradient of 0 gives one that is not finite"
            _fail(made, i, "NONLINEAR", summary, x_bar, np.zeros_like(x_bar))
    (a, b), up = _FACTORS, _power(made)
    for i in range(len(first)):
        one, two = a * wide(first[i]), b * wide(second[i])
        summary = "x̄(α ȳ₁ + β ȳ₂) is not α x̄(ȳ₁) + β x̄(ȳ₂)"
        _same(made, i, summary, sums[i], one + two, np.abs(one) + np.abs(two))
        whole = wide(first[i])
        for factor, x_bar in ((up, large[i]), (1 / up, small[i])):
            what = f"2^{int(np.log2(factor))} ȳ does not give 2^{int(np.log2(factor))} times the gradient"
            _same(made, i, what, wide(x_bar) / factor, whole, np.abs(whole), factor)


def _same(
    made: Trial,
    i: int,
    summary: str,
    found: Host,
    truth: Host,
    size: Host,
    factor: float = 1.0,
) -> None:
    found = wide(found)
    finite = np.isfinite(truth)
    kinds = [made.grain, *(y.dtype for y in made.results(made.base)), made.point(made.base)[i].dtype]
    u = max(map(unit, kinds))
    largest = np.abs(size[finite]).max(initial=0)
    lost = float(jnp.finfo(made.point(made.base)[i].dtype).tiny) / factor
    tolerance = max(1e-9, 16 * u) * size + max(1e-12, 16 * u) * largest + 8 * lost
    with np.errstate(invalid="ignore"):
        wrong = finite & ~(np.abs(found - truth) <= tolerance)
    if wrong.any():
        _fail(
            made,
            i,
            "NONLINEAR",
            f"not linear: {summary}",
            np.where(finite, found, 0),
            np.where(finite, truth, 0),
        )


def _fail(made: Trial, i: int, verdict: str, summary: str, found: Host, truth: Host) -> None:
    found, truth = wide(found), wide(truth)
    (one,) = compare([found], [truth], [np.zeros_like(np.abs(truth))], [made.point(made.base)[i].dtype], 1.0)
    place = at(made.subject.names[i], one.worst)
    values = f"{place}: got {number(one.found[one.worst])}, linear would be {number(one.truth[one.worst])}"
    guess = "the upstream gradient is ignored, or something is added to it"
    if verdict == "CONTRACT":
        values = f"{place}: got {number(one.found[one.worst])}, then {number(one.truth[one.worst])}"
        guess = "randomness without a key, or memory that is not initialized"
    elif truth.any():
        guess = _guess(found, truth)
    raise made.fail(
        verdict,
        summary,
        ("worst", values),
        ("error", error_of(one)),
        ("hint", guess),
        ("reproduce", made.again),
        argument=made.describe(i, made.base),
    )


def _guess(found: Host, truth: Host) -> str:
    wrong = ~np.isclose(found, truth, rtol=1e-6)
    with np.errstate(all="ignore"):
        ratio = np.nanmedian(np.abs(found[wrong]) / np.abs(truth[wrong])) if wrong.any() else 1.0
    if ratio < 0.9:
        return "the upstream gradient is clipped, or ignored"
    if ratio > 1.1:
        return "the upstream gradient is ignored, added to or raised to a power"
    return "its sign or its small values are lost: an absolute value, a threshold, a short dtype on the way"


def check_linear(fun: Callable, *args: Any, key: Any = 0) -> None:
    """Check that the gradient of a function is linear in the upstream gradient.

    It needs no oracle, so it works for any function that `jax.vjp` takes.

    Args:
        fun: the function.
        *args: where to check it.
        key: a number or a key of jax.random.

    Raises:
        VJPCheckError: it is NONLINEAR, or the same call gives two answers (CONTRACT).

    Source:
        CS231n 2019, lecture 4, slide 98: backward multiplies the upstream gradient by the local one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> @jax.custom_vjp
        ... def clipped(x):
        ...     return x
        >>> clipped.defvjp(lambda x: (x, None), lambda _, y_bar: (jnp.clip(y_bar, -1, 1),))
        >>> try:
        ...     check_linear(clipped, 2.0)
        ... except VJPCheckError as error:
        ...     error.verdict
        'NONLINEAR'
    """
    __tracebackhide__ = True
    try:
        made = trial(fun, subject(fun, args), None, key, call="check_linear({}, *args{})")
        check(made, made.ask(probes(made, made.probe(made.base)), made.base))
    except VJPCheckError as error:
        raise VJPCheckError(error.finding) from None
