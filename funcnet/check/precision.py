"""What is left of a right gradient in a short dtype."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from funcnet._types import Host
from funcnet.check import contract, directions
from funcnet.check.criteria import DRAWS, Comparison, compare, spreads
from funcnet.check.exact import roughly, row
from funcnet.check.hints import hint
from funcnet.check.primal import wide
from funcnet.check.probes import Answer, Probe
from funcnet.check.report import Row
from funcnet.check.settle import CANCELS, at, error_of, number, settle
from funcnet.check.trial import Trial


def check(made: Trial, dtype: Any) -> list[Row]:
    """Compare the gradient in a short dtype with the true one at the same numbers.

    The truth is that of the rule itself in float64, once it is found right there too: short dtypes make
    ties, at which a rule may choose otherwise than autodiff. Where rounding breaks a tie the noise is
    whatever the choice makes of it, so the gradient is compared beside the ties as well.

    Raises:
        VJPCheckError: the gradient is UNSTABLE: off by more than rounding explains.
    """
    probe = made.probe(dtype)
    contract.check_types(made, dtype)
    probes = [probe, *([_beside(made, probe)] if directions.equals(probe) else ())]
    answers = made.ask(probes, dtype)
    moved = [draw for one in probes for draw in made.draws(one)]
    truths = made.truth([*probes, *moved])
    if made.primal.draws() and not _near(answers[0], truths[0]):
        return _skipped(made, probe, "the function draws other random numbers there")
    if not all(np.isfinite(wide(y)).all() for y in answers[0].ys):
        return _skipped(made, probe, "the function overflows there")
    wides = made.widened(probes)
    rules = made.ask(wides, made.base) if made.double else truths
    rows = []
    for k, (answer, rule, truth) in enumerate(zip(answers, rules, truths, strict=False)):
        around = truths[len(probes) + DRAWS * k :][:DRAWS]
        contract.check_outputs(made, answer, truth, [draw.ys for draw in around])
        if k == 0:
            where = f", at the arguments rounded to {probe.xs[0].dtype}"
            settle(made, wides[0], roughly(rule, truth), around, where)
        comparisons = _comparisons(made, answer, rule, truth, around)
        for i, one in enumerate(comparisons):
            if one.bad.any():
                raise _unstable(made, i, one, dtype)
        rows += [row(made, i, one, dtype) for i, one in enumerate(comparisons)]
    return rows[: len(probe.xs)]


def _beside(made: Trial, probe: Probe) -> Probe:
    """The point moved by a hundredth, so that no elements are equal."""

    def moved(x: Host) -> Host:
        step = 0.01 * directions.sizes(wide(x)) * made.rng.uniform(-1, 1, x.shape)
        return (wide(x) + step).astype(x.dtype)

    return Probe(tuple(map(moved, probe.xs)), probe.y_bars)


def _skipped(made: Trial, probe: Probe, why: str) -> list[Row]:
    made.notes.append(f"not checked in {probe.xs[0].dtype}: {why}")
    return []


def _comparisons(
    made: Trial, answer: Answer, rule: Answer, truth: Answer, around: Sequence[Answer]
) -> list[Comparison]:
    pairs = zip(rule.x_bars, truth.x_bars, strict=True)
    exact = [np.where(np.isfinite(one), one, other) for one, other in pairs]
    sigmas = spreads(truth.x_bars, [draw.x_bars for draw in around])
    return compare(answer.x_bars, exact, sigmas, [x_bar.dtype for x_bar in answer.x_bars], made.slack)


def _near(answer: Answer, truth: Answer) -> bool:
    return all(np.allclose(wide(y), other, rtol=0.1) for y, other in zip(answer.ys, truth.ys, strict=True))


def _unstable(made: Trial, i: int, one: Comparison, dtype: Any) -> Exception:
    name, kind = made.subject.names[i], made.point(dtype)[i].dtype
    values = f"rule {number(one.found[one.worst])}, truth {number(one.truth[one.worst])}"
    guess = CANCELS
    if not np.isfinite(one.found).all():
        guess = "an intermediate value overflows, or 0/0: scale before exp, square or divide"
    elif one.bad.all():
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
