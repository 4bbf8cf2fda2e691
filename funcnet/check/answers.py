"""What the function under test and its oracles answer at a point, asked when first read, and never twice.

    rule         the function under test, with one upstream gradient; at roundings of the point
    truth        autodiff of the primal there
    slopes       differences of the primal, along any direction

What follows from the answers is a function of them, in the files that come after this one: a question that
`once` answers once.
"""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax.numpy as jnp
import numpy as np

from funcnet.bounded.loops import is_endless
from funcnet.bounded.rows import FUEL, Runner
from funcnet.check.case import Case
from funcnet.check.noise import cast
from funcnet.check.probes import Answer, Direction, Probe, ended
from funcnet.check.subject import Arrays
from funcnet.check.thresholds import LATE, OTHER_LOOP, TIMEOUT
from funcnet.numerical.slopes import STEPS, Slope, sides, slope

BATCH, DIRECTIONS = 4, 8
"""How many probes, and how many directions, a program takes at once, so that a check compiles few."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(eq=False)
class Answers:
    """What is measured for a case at a point.

    Attributes:
        case: the case.
        runner: what runs its programs.
        probe: the point, and an upstream gradient.
        where: what a message calls it; nothing for the arguments.
        here: the answers at the arguments, if these are others.
        left_out: what was not checked, and why.
        began: when, in seconds of the processor.
        known: what `once` has found out.
    """

    case: Case
    runner: Runner
    probe: Probe
    where: str = ""
    here: "Answers | None" = None
    left_out: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.process_time)
    known: dict[Any, Any] = field(default_factory=dict, init=False)

    def at(self, probe: Probe, where: str = "elsewhere") -> "Answers":
        """The answers at another point."""
        return replace(self, probe=probe, where=where, here=self.here or self)

    def is_late(self, what: str) -> bool:
        """Whether the check has taken so long that this is left out, with a note."""
        most = LATE * max(self.case.options.timeout, TIMEOUT)
        late = time.process_time() - self.began > most
        if late:
            self.left_out.append(f"not checked {what}: the rest has taken {most:g} seconds to compile")
        return late

    def run(
        self, at: Callable, rest: Arrays, probes: Sequence[Probe], quick: bool = False, needed: bool = True
    ) -> list[Answer]:
        """The answers `(rest, xs, given) -> (ys, forward, found)` to probes of one type.

        Those that are `needed` are worth all of the time.
        """
        rows = [(probe.xs, probe.given) for probe in probes]
        found = self.runner.run(at, rest, rows, quick=quick, needed=needed)
        return [Answer(*one, turns=turns or 0, ends=turns is not None) for one, turns in found]

    def ask(self, probes: Sequence[Probe], dtype: Any, needed: bool = True) -> list[Answer]:
        """The answers of the function under test."""
        with self.case.at(dtype):
            return self.run(self.case.answer, self.case.subject.rest, probes, needed=needed)

    def true(
        self, probes: Sequence[Probe], oracle: Callable | None = None, needed: bool = True
    ) -> list[Answer]:
        """The answers of autodiff of the primal, in the precision of the oracles."""
        case, points = self.case, list(map(self.case.widened, probes))
        with case.precise():
            return self.run(oracle or case.oracle, case.subject.rest, points, True, needed)

    def slopes(self, pairs: Sequence[tuple[Direction, Direction]]) -> list[Slope]:
        """The slopes of ⟨ȳ, primal⟩ along directions; no number where its loops turn much more often."""
        case, xs, known = self.case, self.case.widened(self.probe).xs, jnp.finfo(self.case.grain)
        turns = (self.here or self).truth.turns if is_endless(case.primal.jaxpr) else 0

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
            noise = (float(known.eps) * size + 2 * float(known.tiny)) / STEPS
            found.append(slope(*steps, noise=noise, tangent=float(alive * tangent)))
        return found

    @functools.cached_property
    def rule(self) -> Answer:
        """The function under test, in the dtype of the exact comparison."""
        return self.ask([self.probe], self.case.base)[0]

    @functools.cached_property
    def truth(self) -> Answer:
        """Autodiff."""
        return self.true([self.probe])[0]

    @property
    def ends(self) -> bool:
        """Whether function and oracle come to an end there."""
        return self.rule.ends and (not is_endless(self.case.primal.jaxpr) or self.truth.ends)

    @functools.cached_property
    def draws(self) -> list[Probe]:
        """The point rounded at random."""
        return self.case.draws(self.probe, "base")

    @functools.cached_property
    def rounded(self) -> list[Answer]:
        """The function under test at the draws."""
        return ended(self.ask([one.like(self.probe) for one in self.draws], self.case.base, needed=False))

    @functools.cached_property
    def moved(self) -> list[Answer]:
        """Autodiff at the draws."""
        return ended(self.true(self.draws, needed=False))


def answers(case: Case, batch: int = BATCH) -> Answers:
    """The answers at the arguments."""
    return Answers(case, Runner(case.options.timeout, batch), case.probe(case.base))


def once(question: Callable[Concatenate[Answers, P], T]) -> Callable[Concatenate[Answers, P], T]:
    """A question about answers, which is answered when it is first asked."""

    @functools.wraps(question)
    def asked(seen: Answers, *args: P.args, **kwargs: P.kwargs) -> T:
        if (question, args) not in seen.known:
            seen.known[question, args] = question(seen, *args, **kwargs)
        return seen.known[question, args]

    return asked


@once
def elsewhere(seen: Answers) -> list[Answers]:
    """Points elsewhere where the function is one, with rule and autodiff: it is finite and ends there.

    A loop that turns much more often than at the arguments has not converged, or runs into its cap.
    """
    case, found = seen.case, list[Answers]()
    points = case.options.points(case.subject, seen.probe, case.rng("domain")) if case.base else {}
    probes = list(points.values())
    pairs = zip(seen.ask(probes, case.base, needed=False), seen.true(probes, needed=False), strict=True)
    for (where, probe), (rule, truth) in zip(points.items(), pairs, strict=True):
        if not (rule.ends and truth.ends):
            seen.left_out.append(f"not checked{where}: it does not end there, or takes much longer")
        elif truth.is_finite and (_turns_more(rule, seen.rule) or _turns_more(truth, seen.truth)):
            seen.left_out.append(f"not checked{where}: its loops turn much more often there")
        elif truth.is_finite:
            there = seen.at(probe, where)
            there.rule, there.truth = rule, truth
            found.append(there)
    return found


def _turns_more(there: Answer, here: Answer) -> bool:
    return there.turns > OTHER_LOOP * here.turns + 2
