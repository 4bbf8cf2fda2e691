"""A derivative is linear in what it is given, whatever the function: no oracle is needed to see it.

    x̄(α ȳ₁ + β ȳ₂) = α x̄(ȳ₁) + β x̄(ȳ₂),     x̄(0) = 0,     x̄(2ᵏ ȳ) = 2ᵏ x̄(ȳ)

A rule that clips the upstream gradient, takes its absolute value, adds to it or ignores it is found out,
if the upstream gradients are of all sizes: here from 2⁻⁴⁰ to 2⁴⁰ times the usual. The same of ẏ and ẋ.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from funcnet._types import Host
from funcnet.check.case import Case
from funcnet.check.noise import cotangent, largest, unit, wide
from funcnet.check.probes import Answer, Probe
from funcnet.check.thresholds import FACTORS, LINEAR, LINEAR_AT_LARGEST, POWER


class Unequal(NamedTuple):
    """Two i-th gradients, found and expected, that should be the same: as linearity or repetition has it."""

    i: int
    what: str
    found: Host
    expected: Host
    repeated: bool = False


def probes(case: Case, probe: Probe) -> list[Probe]:
    """ȳ₁ twice, ȳ₂, α ȳ₁ + β ȳ₂, 0, and ȳ₁ far up, and far down with the other sign."""
    rng, first = case.rng("linear"), probe.given
    scales = [np.abs(wide(one)) if not case.mode.is_reverse else 1.0 for one in first]
    second = [(cotangent(y, rng) * scale).astype(y.dtype) for y, scale in zip(first, scales, strict=True)]
    (a, b), up = FACTORS, _power(case)

    def given(one: float, two: float = 0.0) -> Probe:
        sums = (one * y + two * z for y, z in zip(first, second, strict=True))
        return Probe(probe.xs, tuple(z.astype(y.dtype) for z, y in zip(sums, first, strict=True)))

    return [probe, probe, given(0.0, 1.0), given(a, b), given(0.0), given(up), given(-1 / up)]


def _power(case: Case) -> float:
    """2⁴⁰, or less where a short dtype would overflow."""
    types = (*case.traced(case.base).ys, *case.subject.at(case.base))
    shortest = min(jnp.finfo(y.dtype).maxexp for y in types)
    return 2.0 ** min(POWER, shortest // 4, jnp.finfo(case.grain).maxexp // 4)


def unequal(case: Case, answers: Sequence[Answer], noise: Sequence[Host]) -> Iterator[Unequal]:
    """What is not linear in the answers to `probes`, or not the same where the probe is.

    `noise` is for each element what a zero is known to.
    """
    first, again, second, sums, nothing, large, small = (list(map(wide, one.found)) for one in answers)
    given, found = case.mode.given, case.mode.found
    (a, b), up = FACTORS, _power(case)
    for i, (one, other) in enumerate(zip(first, again, strict=True)):
        if not np.array_equal(one, other, equal_nan=True):
            yield Unequal(i, "the same call gives another gradient when it is repeated", one, other, True)
    for i, x in enumerate(nothing):
        zero = "an upstream gradient of 0" if case.mode.is_reverse else "a tangent of 0"
        lost = not np.isfinite(x).all()
        if x.any() and not (lost and not np.isfinite(first[i]).all()):
            what = f"not linear: {zero} gives one that is not {'finite' if lost else '0'}"
            yield Unequal(i, what, x, np.zeros_like(x))
    both = f"{found}(α {given}₁ + β {given}₂) is not α {found}({given}₁) + β {found}({given}₂)"
    for i, whole in enumerate(first):
        one, two = a * whole, b * second[i]
        size = np.abs(one) + np.abs(two)
        yield from _apart(
            case, Unequal(i, f"not linear: {both}", sums[i], one + two), size, 4 * case.slack * noise[i]
        )
        for factor, x in ((up, large[i]), (-1 / up, small[i])):
            power = f"{'-' * (factor < 0)}2^{int(np.log2(abs(factor)))}"
            what = f"not linear: {power} {given} does not give {power} times the gradient"
            yield from _apart(
                case, Unequal(i, what, x / factor, whole), np.abs(whole), 0 * noise[i], abs(factor)
            )


def _apart(case: Case, one: Unequal, size: Host, zero: Host, factor: float = 1.0) -> Iterator[Unequal]:
    """The two, if they are not the same but for rounding, where the expected one is finite."""
    finite = np.isfinite(one.expected)
    own = case.types(case.base)[one.i].dtype
    u = max(map(unit, [case.grain, own, *(y.dtype for y in case.traced(case.base).ys)]))
    lost = float(jnp.finfo(own).tiny) / factor
    whole = largest(np.where(finite, size, 0))
    tolerance = max(LINEAR, 16 * u) * size + max(LINEAR_AT_LARGEST, 16 * u) * whole + 8 * lost + zero
    with np.errstate(invalid="ignore"):
        wrong = finite & ~(np.abs(one.found - one.expected) <= tolerance)
    if wrong.any():
        found, expected = (np.where(finite, x, 0) for x in (one.found, one.expected))
        yield one._replace(found=found, expected=expected)
