"""What the function under test and its oracles answer, asked when first read, and never twice.

    rule         the function under test: at the probes of `linear`, at its own roundings, at points elsewhere
    truth        autodiff of the primal there
    slopes       differences of the primal, along any direction

What follows from the answers is a function of them, in the files that come after this one: a question that
`once` answers once.
"""

import functools
import time
from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

import jax

from funcnet._types import Host
from funcnet.check import domain, linear
from funcnet.check.case import Case
from funcnet.check.differences import Slope
from funcnet.check.directions import Direction
from funcnet.check.fuel import is_endless
from funcnet.check.noise import unit
from funcnet.check.probes import BATCH, Answer, Probe, Runner, ended
from funcnet.check.thresholds import LATE, OTHER_LOOP, TIMEOUT

T = TypeVar("T")


class Answers:
    """What is measured for a case; with `alone` its gradient only, without linearity and noise.

    Attributes:
        known: what `once` has found out.
        began: when, in seconds of the processor.
        left_out: what was not checked as that took too long.
    """

    def __init__(self, case: Case, alone: bool = False):
        self.case = case
        self.alone = alone
        self.runner = Runner(case.options.timeout, batch=1 if alone else BATCH)
        self.known: dict[Callable, Any] = {}
        self.began, self.left_out = time.process_time(), list[str]()

    def is_late(self, what: str) -> bool:
        """Whether the check has taken so long that this is left out, with a note."""
        most = LATE * max(self.case.options.timeout, TIMEOUT)
        late = time.process_time() - self.began > most
        if late:
            self.left_out.append(f"not checked {what}: the rest has taken {most:g} seconds to compile")
        return late

    def ask(
        self, probes: Sequence[Probe], dtype: Any, mapped: Callable = jax.lax.map, needed: int = 1
    ) -> list[Answer | None]:
        """The answers of the function under test."""
        case = self.case
        answer, endless = case.mode.answer(case.flat), case.traced(dtype).endless
        with case.at(dtype):
            return self.runner.answers(
                answer, case.subject.rest, probes, mapped, endless=endless, needed=needed
            )

    def true(
        self, probes: Sequence[Probe], autodiff: Callable | None = None, needed: int = 1
    ) -> list[Answer | None]:
        """The answers of autodiff of the primal, in the precision of the oracles."""
        case, endless = self.case, is_endless(self.case.primal.jaxpr)
        answer = case.mode.answer(case.primal, autodiff or case.autodiff)
        with case.precise():
            return self.runner.answers(
                answer, case.subject.rest, case.widened(probes), quick=True, endless=endless, needed=needed
            )

    def slopes(self, probe: Probe, pairs: Sequence[tuple[Direction, Direction]]) -> tuple[list[Slope], Host]:
        """The slopes of ⟨ȳ, primal⟩ along directions, and what forward mode says they are."""
        case, (point,) = self.case, self.case.widened([probe])
        turns = self.truth[0].turns if is_endless(case.primal.jaxpr) else None
        fitting = [
            (y_bars, tuple(v.astype(x.dtype) for v, x in zip(move, point.xs, strict=True)))
            for y_bars, move in pairs
        ]
        eps = 2 * unit(case.grain)
        with case.precise():
            return self.runner.slopes(
                case.primal, case.subject.rest, point.xs, fitting, eps, case.forward, turns
            )

    @functools.cached_property
    def probe(self) -> Probe:
        """The arguments, in the dtype of the exact comparison."""
        return self.case.probe(self.case.base)

    @functools.cached_property
    def probes(self) -> list[Probe]:
        """Those of `linear`, all at the arguments."""
        return [self.probe] if self.alone else linear.probes(self.case, self.probe)

    @functools.cached_property
    def _draws(self) -> list[Probe]:
        return [] if self.alone else self.case.draws(self.probe, "base")

    @functools.cached_property
    def points(self) -> dict[str, Probe]:
        """The points elsewhere."""
        case = self.case
        if case.base is None:
            return {}
        options = case.options
        return domain.points(case.subject, self.probe, options.domain, options.elsewhere, case.rng("domain"))

    @functools.cached_property
    def _asked(self) -> list[list[Answer | None]]:
        """The rule at `probes`, at the draws, elsewhere."""
        draws = [one.like(self.probe) for one in self._draws]
        groups = [self.probes, draws, list(self.points.values())]
        return _split(self.ask(list(chain(*groups)), self.case.base, needed=len(self.probes)), groups)

    @functools.cached_property
    def _true(self) -> list[list[Answer | None]]:
        """Autodiff at the arguments, with the second upstream gradient too; at the draws, elsewhere."""
        groups = [[self.probe, *self.probes[2:3]], self._draws, list(self.points.values())]
        return _split(self.true(list(chain(*groups))), groups)

    @property
    def ends(self) -> bool:
        """Whether function and oracle come to an end at the arguments."""
        oracle = not is_endless(self.case.primal.jaxpr) or self._true[0][0] is not None
        return None not in self._asked[0] and oracle

    @property
    def rule(self) -> list[Answer]:
        """The function under test at `probes`."""
        return ended(self._asked[0])

    @property
    def rounded(self) -> list[Answer]:
        """The function under test at the arguments rounded at random."""
        return ended(self._asked[1]) or self.rule[:1]

    @property
    def truth(self) -> list[Answer]:
        """Autodiff at the arguments, with two upstream gradients."""
        return ended(self._true[0])

    @property
    def moved(self) -> list[Answer]:
        """Autodiff at the arguments rounded at random."""
        return ended(self._true[1]) or self.truth[:1]

    @functools.cached_property
    def elsewhere(self) -> dict[str, tuple[Probe, Answer, Answer]]:
        """Points elsewhere where the function is one, with rule and autodiff: it is finite and ends there.

        A loop that turns much more often than at the arguments has not converged, or runs into its cap.
        """
        found = {}
        most = [OTHER_LOOP * answers[0].turns + 2 for answers in (self.rule, self.truth)]
        for (where, probe), rule, truth in zip(
            self.points.items(), self._asked[2], self._true[2], strict=True
        ):
            if rule is None or truth is None or not truth.is_finite:
                continue
            if rule.turns <= most[0] and truth.turns <= most[1]:
                found[where] = (probe, rule, truth)
        return found

    @property
    def dropped(self) -> list[str]:
        """What was left out, and why points elsewhere were not counted."""
        notes = list(self.left_out)
        for where, rule, truth in zip(self.points, self._asked[2], self._true[2], strict=True):
            if rule is None or truth is None:
                notes.append(f"not checked{where}: it does not end there, or takes much longer")
            elif where not in self.elsewhere and truth.is_finite:
                notes.append(f"not checked{where}: its loops turn much more often there")
        return notes

    @property
    def u(self) -> float:
        """The rounding of the exact comparison."""
        return max(map(unit, (self.case.grain, *(x.dtype for x in self.probe.xs))))


def _split(answers: Sequence[Answer | None], groups: Sequence[Sequence[Probe]]) -> list[list[Answer | None]]:
    rest = iter(answers)
    return [list(islice(rest, len(group))) for group in groups]


def once(question: Callable[[Answers], T]) -> Callable[[Answers], T]:
    """A question about answers, which is answered when it is first asked."""

    @functools.wraps(question)
    def asked(seen: Answers) -> T:
        if question not in seen.known:
            seen.known[question] = question(seen)
        return seen.known[question]

    return asked
