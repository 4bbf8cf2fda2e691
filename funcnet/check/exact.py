"""The exact comparison: in float64, with autodiff of the undecorated function and with its slopes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from funcnet._types import Host
from funcnet.check import contract, kinks, linear
from funcnet.check.criteria import DRAWS, Comparison, compare, spreads, unit
from funcnet.check.probes import Answer, Probe
from funcnet.check.report import Row
from funcnet.check.settle import settle
from funcnet.check.trial import Trial

ELSEWHERE = (0.125, 3.0, 8.0)
"""The arguments are scaled by these, to see more of the domain than they show."""

AT_ZERO = ", with an element set to 0"
"""Where only NaN and infinities count: a rule for symmetric or positive arguments may be off there."""

ROUGHLY = 1e-6
"""The error that is looked for there, relative to the largest element."""


class Seen(NamedTuple):
    """Probes with the answers to them, and the rounding noise of each gradient."""

    answers: list[tuple[Probe, Answer]]
    noises: list[Host]


def check(made: Trial, probe: Probe, promise: float | int | None) -> tuple[list[Row], Seen]:
    """Compare the gradient at a probe and at multiples of it; the rows of the report, and what was seen.

    Where the function does not run in float64, the comparison is made at the probe alone, within the
    rounding noise of the dtype in which it runs.

    Raises:
        VJPCheckError: the gradient is NONLINEAR, WRONG, outside of a KINK, VACUOUS or breaks its CONTRACT.
    """
    first = linear.probes(made, probe)
    elsewhere = _elsewhere(probe) if made.double else {}
    probes = [*first, *elsewhere.values()]
    answers = made.ask(probes, made.base)
    truths = made.truth([probe, first[2], *elsewhere.values(), *made.draws(probe)])
    if not all(np.isfinite(y).all() for y in truths[0].ys):
        raise made.fail(
            "VACUOUS", "the function is not finite at these arguments", ("do", "check it at others")
        )
    moved = truths[-DRAWS:]
    contract.check_outputs(made, answers[0], truths[0], [truth.ys for truth in moved])
    linear.check(made, answers[: len(first)])
    comparisons = _comparisons(made, answers[0], truths[0], moved)
    settled = settle(made, probe, comparisons, moved)
    _check_elsewhere(made, elsewhere, answers[len(first) :], truths[2:-DRAWS], settled)
    moving = kinks.check_slopes(made, probe, answers[0].x_bars, promise)
    _check_signal(made, settled, [truth.x_bars for truth in truths[:-DRAWS]], moving)
    rows = [row(made, i, one, made.base) for i, one in enumerate(settled)]
    seen = list(zip(probes, answers, strict=True))
    examples = [seen[0], seen[2], *seen[len(first) : len(first) + 1]]
    return rows, Seen(examples, [one.noise for one in comparisons])


def _check_elsewhere(
    made: Trial,
    elsewhere: dict[str, Probe],
    answers: Sequence[Answer],
    truths: Sequence[Answer],
    near: Sequence[Comparison],
) -> None:
    """Compare the gradients at more points, roughly, where the function is finite."""
    for (where, probe), answer, truth in zip(elsewhere.items(), answers, truths, strict=True):
        if all(np.isfinite(y).all() for y in truth.ys):
            compared = roughly(answer, truth, near)
            settle(made, probe, _finiteness(compared) if where == AT_ZERO else compared, where=where)


def _elsewhere(probe: Probe) -> dict[str, Probe]:
    """More points, by what the message calls them."""
    scaled = {
        f", at {f:g} × the arguments": Probe(tuple(f * x for x in probe.xs), probe.y_bars) for f in ELSEWHERE
    }
    with_zeros = Probe(tuple(_with_a_zero(x, i) for i, x in enumerate(probe.xs)), probe.y_bars)
    return {**scaled, AT_ZERO: with_zeros}


def _finiteness(comparisons: Sequence[Comparison]) -> list[Comparison]:
    return [replace(one, truth=np.where(np.isfinite(one.found), one.found, one.truth)) for one in comparisons]


def _with_a_zero(x: Host, i: int) -> Host:
    """The i-th argument with a 0 where no other has one, if 0 lies between its elements."""
    if np.iscomplexobj(x) or x.size < 3 or not x.min() < 0 < x.max():
        return x
    flat = x.flatten()
    flat[(i + 1) % x.size] = 0
    return flat.reshape(x.shape)


def _comparisons(made: Trial, answer: Answer, truth: Answer, moved: Sequence[Answer]) -> list[Comparison]:
    sigmas = spreads(truth.x_bars, [draw.x_bars for draw in moved])
    if made.double:
        sigmas = [_without_jumps(sigma, x_bar) for sigma, x_bar in zip(sigmas, truth.x_bars, strict=True)]
    dtypes = [max((made.grain, x.dtype), key=unit) for x in made.point(made.base)]
    return compare(
        answer.x_bars, truth.x_bars, sigmas, dtypes, made.slack, made.exact if made.double else 0.0
    )


def _without_jumps(sigma: Host, truth: Host) -> Host:
    """A spread that no conditioning explains comes from a tie that rounding breaks: it excuses nothing."""
    return np.where(sigma > 1e-4 * _largest(truth), 0, sigma)


def roughly(answer: Answer, truth: Answer, near: Sequence[Comparison] | None = None) -> list[Comparison]:
    """Farther off nothing is known of the noise: only errors beside the largest elements count.

    Args:
        answer: the rule's.
        truth: autodiff's.
        near: the comparisons at the arguments, whose elements count too.
    """
    sizes = [_largest(x_bar) for x_bar in truth.x_bars]
    if near is not None:
        sizes = [max(size, _largest(one.truth)) for size, one in zip(sizes, near, strict=True)]
    sigmas = [np.full(x.shape, ROUGHLY * size) for x, size in zip(truth.x_bars, sizes, strict=True)]
    return compare(answer.x_bars, truth.x_bars, sigmas, [jnp.float32] * len(sigmas), 1.0)


def _largest(x: Host) -> float:
    return float(np.abs(x[np.isfinite(x)]).max(initial=0))


def _check_signal(
    made: Trial,
    comparisons: Sequence[Comparison],
    gradients: Sequence[Sequence[Host]],
    moving: Sequence[bool],
) -> None:
    """Raise VACUOUS for an argument that the result depends on and whose gradient vanishes all the same."""
    for i, (one, depends) in enumerate(zip(comparisons, made.primal.depends(), strict=True)):
        sizes = [np.abs(np.where(np.isfinite(x_bars[i]), x_bars[i], 0)) for x_bars in gradients]
        seen = one.truth.size == 0 or moving[i] or any((size > 10 * one.tolerance).any() for size in sizes)
        if depends and not seen:
            largest = max(size.max(initial=0) for size in sizes)
            raise made.fail(
                "VACUOUS",
                "nothing to see: the true gradient vanishes at these arguments, so a wrong rule would pass",
                (
                    "largest",
                    f"{largest:.3g}, where the check resolves {one.tolerance.min(initial=np.inf):.1e}",
                ),
                ("do", "check it where the function changes with this argument, or close over the argument"),
                argument=made.describe(i, made.base),
            )


def row(made: Trial, i: int, one: Comparison, dtype: Any) -> Row:
    """A line of the report."""
    x = made.point(dtype)[i]
    largest = _largest(one.truth)
    relative = _largest(one.error) / largest if largest else 0.0
    return Row(made.subject.names[i], x.shape, str(x.dtype), one.roundings, relative, one.smallest)
