"""What the function under test and its oracles answer, asked when first read, and never twice.

    rule         the function under test: with upstream gradients of all sizes, at roundings, elsewhere
    truth        autodiff of the primal there
    slopes       differences of the primal, along any direction

What follows from the answers is a function of them, in the files that come after this one: a question that
`once` answers once.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax.numpy as jnp
import numpy as np

from funcnet.bounded.loops import is_endless
from funcnet.bounded.rows import FUEL, Runner
from funcnet.check.case import Case
from funcnet.check.noise import cast, cotangent, unit, wide
from funcnet.check.probes import Answer, Direction, Probe, ended
from funcnet.check.subject import Arrays
from funcnet.check.thresholds import FACTORS, LATE, OTHER_LOOP, POWER, TIMEOUT
from funcnet.numerical.slopes import STEPS, Slope, sides, slope

BATCH, DIRECTIONS = 4, 8
"""How many probes, and how many directions, a program takes at once, so that a check compiles few."""

P = ParamSpec("P")
T = TypeVar("T")


class Answers:
    """What is measured for a case; with `alone` its gradient only, without linearity and noise.

    Attributes:
        known: what `once` has found out.
        began: when, in seconds of the processor.
        left_out: what was not checked, and why.
    """

    def __init__(self, case: Case, alone: bool = False):
        self.case = case
        self.alone = alone
        self.runner = Runner(case.options.timeout, batch=1 if alone else BATCH)
        self.known: dict[Any, Any] = {}
        self.began, self.left_out = time.process_time(), list[str]()

    def is_late(self, what: str) -> bool:
        """Whether the check has taken so long that this is left out, with a note."""
        most = LATE * max(self.case.options.timeout, TIMEOUT)
        late = time.process_time() - self.began > most
        if late:
            self.left_out.append(f"not checked {what}: the rest has taken {most:g} seconds to compile")
        return late

    def run(
        self, at: Callable, rest: Arrays, probes: Sequence[Probe], quick: bool = False, needed: bool = True
    ) -> list[Answer | None]:
        """The answers `(rest, xs, given) -> (ys, forward, found)` to probes of one type.

        There is none where a loop goes on; those that are `needed` are worth all of the time.
        """
        rows = [(probe.xs, probe.given) for probe in probes]
        found = self.runner.run(at, rest, rows, quick=quick, needed=needed)
        return [None if turns is None else Answer(*one, turns=turns) for one, turns in found]

    def ask(self, probes: Sequence[Probe], dtype: Any, needed: bool = True) -> list[Answer | None]:
        """The answers of the function under test."""
        with self.case.at(dtype):
            return self.run(self.case.answer, self.case.subject.rest, probes, needed=needed)

    def true(
        self, probes: Sequence[Probe], oracle: Callable | None = None, needed: bool = True
    ) -> list[Answer | None]:
        """The answers of autodiff of the primal, in the precision of the oracles."""
        case, points = self.case, list(map(self.case.widened, probes))
        with case.precise():
            return self.run(oracle or case.oracle, case.subject.rest, points, True, needed)

    def slopes(self, probe: Probe, pairs: Sequence[tuple[Direction, Direction]]) -> list[Slope]:
        """The slopes of ⟨ȳ, primal⟩ along directions; no number where its loops turn much more often."""
        case, xs, eps = self.case, self.case.widened(probe).xs, 2 * unit(self.case.grain)
        turns = self.truth[0].turns if is_endless(case.primal.jaxpr) else 0

        def at(fixed: Any, y_bars: Any, v: Any) -> Any:
            rest, xs = fixed
            return sides(functools.partial(case.primal, rest), xs, y_bars, v, case.forward)

        rows = [(y_bars, cast(move, xs)) for y_bars, move in pairs]
        fuel, found = FUEL + 4 * (len(STEPS) + 1) * turns, []
        with case.precise():
            answers = self.runner.run(at, (tuple(case.subject.rest), xs), rows, DIRECTIONS, True, fuel, False)
        for (measured, tangent, size), ends in answers:
            alive = np.nan if ends is None else 1.0
            steps = [alive * one for one in measured]
            found.append(slope(*steps, noise=eps * size / STEPS, tangent=float(alive * tangent)))
        return found

    @functools.cached_property
    def probe(self) -> Probe:
        """The arguments, in the dtype of the exact comparison."""
        return self.case.probe(self.case.base)

    @functools.cached_property
    def probes(self) -> list[Probe]:
        """ȳ₁ twice, ȳ₂, α ȳ₁ + β ȳ₂, 0, and ȳ₁ far up, and far down with the other sign."""
        if self.alone:
            return [self.probe]
        case, rng, first = self.case, self.case.rng("linear"), self.probe.given
        scales = [np.abs(wide(one)) if not case.mode.is_reverse else 1.0 for one in first]
        second = cast((cotangent(y, rng) * scale for y, scale in zip(first, scales, strict=True)), first)
        up = self.power
        factors = (1.0, 0.0), (1.0, 0.0), (0.0, 1.0), FACTORS, (0.0, 0.0), (up, 0.0), (-1 / up, 0.0)
        sums = [[m * y + n * z for y, z in zip(first, second, strict=True)] for m, n in factors]
        return [Probe(self.probe.xs, cast(one, first)) for one in sums]

    @property
    def power(self) -> float:
        """2⁴⁰, or less where a short dtype would overflow."""
        types = (*self.case.traced(self.case.base).ys, *self.probe.xs)
        exponents = [jnp.finfo(kind).maxexp for kind in (self.case.grain, *(y.dtype for y in types))]
        return 2.0 ** min(POWER, min(exponents) // 4)

    @functools.cached_property
    def rule(self) -> list[Answer]:
        """The function under test at `probes`."""
        return ended(self.ask(self.probes, self.case.base))

    @functools.cached_property
    def truth(self) -> list[Answer]:
        """Autodiff at the arguments, with two upstream gradients."""
        return ended(self.true([self.probe, *self.probes[2:3]]))

    @property
    def ends(self) -> bool:
        """Whether function and oracle come to an end at the arguments."""
        oracle_ends = not is_endless(self.case.primal.jaxpr) or len(self.truth) == 2 - self.alone
        return len(self.rule) == len(self.probes) and oracle_ends

    @functools.cached_property
    def draws(self) -> list[Probe]:
        """The arguments rounded at random."""
        return [] if self.alone else self.case.draws(self.probe, "base")

    @functools.cached_property
    def rounded(self) -> list[Answer]:
        """The function under test at the draws."""
        return ended(self.ask([one.like(self.probe) for one in self.draws], self.case.base, needed=False))

    @functools.cached_property
    def moved(self) -> list[Answer]:
        """Autodiff at the draws."""
        return ended(self.true(self.draws, needed=False))

    @functools.cached_property
    def elsewhere(self) -> dict[str, tuple[Probe, Answer, Answer]]:
        """Points elsewhere where the function is one, with rule and autodiff: it is finite and ends there.

        A loop that turns much more often than at the arguments has not converged, or runs into its cap.
        """
        case, found = self.case, dict[str, tuple[Probe, Answer, Answer]]()
        points = case.options.points(case.subject, self.probe, case.rng("domain")) if case.base else {}
        probes = list(points.values())
        pairs = zip(self.ask(probes, case.base, needed=False), self.true(probes, needed=False), strict=True)
        for (where, probe), (rule, truth) in zip(points.items(), pairs, strict=True):
            if rule is None or truth is None:
                self.left_out.append(f"not checked{where}: it does not end there, or takes much longer")
            elif truth.is_finite and (_turns_more(rule, self.rule[0]) or _turns_more(truth, self.truth[0])):
                self.left_out.append(f"not checked{where}: its loops turn much more often there")
            elif truth.is_finite:
                found[where] = probe, rule, truth
        return found


def _turns_more(there: Answer, here: Answer) -> bool:
    return there.turns > OTHER_LOOP * here.turns + 2


def once(question: Callable[Concatenate[Answers, P], T]) -> Callable[Concatenate[Answers, P], T]:
    """A question about answers, which is answered when it is first asked."""

    @functools.wraps(question)
    def asked(seen: Answers, *args: P.args, **kwargs: P.kwargs) -> T:
        if (question, args) not in seen.known:
            seen.known[question, args] = question(seen, *args, **kwargs)
        return seen.known[question, args]

    return asked
