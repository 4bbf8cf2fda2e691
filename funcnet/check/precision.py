"""What is left of a right gradient in a short dtype."""

from typing import Any

import numpy as np

from funcnet.check import contract
from funcnet.check.criteria import Comparison, compare, spreads
from funcnet.check.exact import draws, row
from funcnet.check.hints import hint
from funcnet.check.primal import wide
from funcnet.check.probes import Answer, Probe
from funcnet.check.report import Row
from funcnet.check.settle import CANCELS, at, error_of, number
from funcnet.check.trial import Trial


def check(made: Trial, dtype: Any, probe: Probe) -> list[Row]:
    """Compare the gradient in a short dtype with the true one at the same numbers.

    At kinks and ties, where the rule may choose otherwise than autodiff, the truth is the rule itself in
    float64, which has been compared there before.

    Raises:
        VJPCheckError: the gradient is UNSTABLE: off by more than rounding explains.
    """
    (answer,) = made.ask([probe], dtype)
    truth, *moved = made.truth([probe, *draws(made, probe)])
    if made.primal.draws() and not _near(answer, truth):
        made.notes.append(
            f"not checked in {probe.xs[0].dtype}: the function draws other random numbers there"
        )
        return []
    if not all(np.isfinite(y.astype(np.complex128)).all() for y in answer.ys):
        made.notes.append(f"not checked in {probe.xs[0].dtype}: the function overflows there")
        return []
    contract.check_outputs(made, answer, truth, [draw.ys for draw in moved])
    exact = truth.x_bars
    if made.double:
        (again,) = made.ask(made.widened([probe]), made.base)
        exact = [np.where(np.isfinite(a), a, b) for a, b in zip(again.x_bars, truth.x_bars, strict=True)]
    sigmas = spreads(truth.x_bars, [draw.x_bars for draw in moved])
    comparisons = compare(answer.x_bars, exact, sigmas, [x.dtype for x in probe.xs], made.slack)
    for i, one in enumerate(comparisons):
        if one.bad.any():
            raise _unstable(made, i, one, dtype)
    return [row(made, i, one, dtype) for i, one in enumerate(comparisons)]


def _near(answer: Answer, truth: Answer) -> bool:
    return all(np.allclose(wide(y), other, rtol=0.1) for y, other in zip(answer.ys, truth.ys, strict=True))


def _unstable(made: Trial, i: int, one: Comparison, dtype: Any) -> Exception:
    name, kind = made.subject.names[i], made.point(dtype)[i].dtype
    values = f"rule {number(one.found[one.worst])}, truth {number(one.truth[one.worst])}"
    guess = CANCELS
    if not np.isfinite(one.found).all():
        guess = "an intermediate value overflows, or 0/0: scale before exp, square or divide"
    elif np.median(one.error / (np.abs(one.truth) + one.noise)) > 0.01:
        guess = hint(one.found, one.truth)
    known = "right in float64, but off" if made.double else "off"
    return made.fail(
        "UNSTABLE" if made.double else "WRONG",
        f"{known} by more than rounding explains in {kind}",
        ("worst", f"{at(name, one.worst)}: {values}"),
        ("error", f"{error_of(one)}; allowed are {made.slack:g}"),
        ("off", f"{int(one.bad.sum())} of {one.bad.size} elements"),
        ("hint", guess),
        ("reproduce", made.again),
        argument=made.describe(i, dtype),
    )
