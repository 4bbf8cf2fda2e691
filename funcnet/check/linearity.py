"""A derivative is linear in what it is given, whatever the function.

In reverse mode, and the same of ẏ and ẋ in forward mode,

    x̄(α ȳ₁ + β ȳ₂) = α x̄(ȳ₁) + β x̄(ȳ₂),     x̄(0) = 0,     x̄(2ᵏ ȳ) = 2ᵏ x̄(ȳ)

No oracle is needed to see that. A rule that clips the upstream gradient, takes its absolute value, adds to it
or ignores it is found out, if the upstream gradients are of all sizes: here from 2⁻⁴⁰ to 2⁴⁰ times the usual.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from funcnet._types import Host
from funcnet.check import words
from funcnet.check.answers import Answers, once
from funcnet.check.case import Case
from funcnet.check.comparisons import floor, rule_noise
from funcnet.check.finding import Finding
from funcnet.check.hints import of_nonlinear
from funcnet.check.noise import cast, compare, cotangent, largest, wide
from funcnet.check.probes import Answer, Probe
from funcnet.check.thresholds import EXACT, FACTORS, OF_LARGEST, POWER, SLACK, SUMS


@once
def multiples(seen: Answers) -> list[tuple[Probe, Answer]]:
    """ȳ₁ twice, ȳ₂, α ȳ₁ + β ȳ₂, 0, and ȳ₁ far up, and far down with the other sign."""
    case, rng, first = seen.case, seen.case.rng("linear"), seen.probe.given
    scales = [np.abs(wide(one)) if not case.mode.is_reverse else 1.0 for one in first]
    second = cast((cotangent(y, rng) * scale for y, scale in zip(first, scales, strict=True)), first)
    up = _power(seen)
    factors = (1.0, 0.0), (1.0, 0.0), (0.0, 1.0), FACTORS, (0.0, 0.0), (up, 0.0), (-1 / up, 0.0)
    sums = [[m * y + n * z for y, z in zip(first, second, strict=True)] for m, n in factors]
    probes = [Probe(seen.probe.xs, cast(one, first)) for one in sums]
    return list(zip(probes, seen.ask(probes, case.base), strict=True))


def _power(seen: Answers) -> float:
    """2⁴⁰, or less where a short dtype would overflow."""
    types = (*seen.case.traced(seen.case.base).ys, *seen.probe.xs)
    exponents = [jnp.finfo(kind).maxexp for kind in (seen.case.grain, *(y.dtype for y in types))]
    return 2.0 ** min(POWER, min(exponents) // 4)


def linear(case: Case, seen: Answers) -> Finding | None:
    """It is linear in the upstream gradient, and the same when it is repeated."""
    if not all(one.ends for _, one in multiples(seen)):
        return words.does_not_end(case, f"for {case.mode.given} of all sizes")
    return next(filter(None, _nonlinear(case, seen)), None)


def _nonlinear(case: Case, seen: Answers) -> Iterator[Finding | None]:
    answers = [list(map(wide, one.found)) for _, one in multiples(seen)]
    first, again, second, sums, nothing, large, small = answers
    given, found, (a, b), up = case.mode.given, case.mode.found, FACTORS, _power(seen)
    for i, (one, other) in enumerate(zip(first, again, strict=True)):
        if not np.array_equal(one, other, equal_nan=True):
            summary = "the same call gives another gradient when it is repeated"
            guess = "randomness without a key, or memory that is not initialized"
            differing = compare(one, other, 0.0, "float64", 1.0)
            yield words.differs(case, "CONTRACT", summary, i, differing, "then", guess)
    for i, x in enumerate(nothing):
        zero = "an upstream gradient of 0" if case.mode.is_reverse else "a tangent of 0"
        lost = not np.isfinite(x).all()
        if not (lost and not np.isfinite(first[i]).all()):
            what = f"{zero} gives one that is not {'finite' if lost else '0'}"
            yield _apart(seen, i, what, x, np.zeros_like(x), 0.0)
    for i, whole in enumerate(first):
        one, two = a * whole, b * second[i]
        noise = rule_noise(seen, i) + floor(seen, seen.rule, i)
        least = SLACK * float(jnp.finfo(case.types(case.base)[i].dtype).tiny)
        what = f"{found}(α {given}₁ + β {given}₂) is not α {found}({given}₁) + β {found}({given}₂)"
        rounding = _of_sums(case, np.abs(one) + np.abs(two)) + 4 * case.slack * noise + least
        yield _apart(seen, i, what, sums[i], one + two, rounding)
        for factor, x in ((up, large[i]), (-1 / up, small[i])):
            power = f"{'-' * (factor < 0)}2^{int(np.log2(abs(factor)))}"
            what = f"{power} {given} does not give {power} times the gradient"
            yield _apart(seen, i, what, x / factor, whole, _of_sums(case, whole) + least / abs(factor))


def _of_sums(case: Case, x: Host) -> Host:
    """What sums in another order may be apart, beside their size and the largest."""
    sums = SUMS * case.u
    return max(EXACT, sums) * np.abs(x) + max(OF_LARGEST, sums) * largest(x)


def _apart(
    seen: Answers, i: int, what: str, found: Host, expected: Host, rounding: Host | float
) -> Finding | None:
    """That two are not the same but for rounding, where one is expected."""
    one, known = compare(found, expected, rounding, "float64", 1.0), np.isfinite(expected)
    if not one.differs:
        return None
    loops = seen.rule.turns > 0
    guess = of_nonlinear(np.where(known, found, 0), np.where(known, expected, 0), loops)
    return words.differs(seen.case, "NONLINEAR", f"not linear: {what}", i, one, "linear would be", guess)
