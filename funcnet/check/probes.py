"""The compiled programs of a check: many probes in few calls, each of which ends.

A probe is a point and what the rule is given there, ȳ or ẋ; a program maps over a stack of them (`lax.map`),
so that a check runs a handful of programs however many probes it makes:

    answers      (x, ȳ)  →  f(x), y, x̄          the function under test, and once more the undecorated one
    slopes       (x, ȳ, v)  →  ⟨ȳ, f(x ± h v) − f(x)⟩ / h for all steps h, and ⟨ȳ, J v⟩ by forward mode

A program is traced anew for every check, so an edited rule is never mistaken for the old one; what
compiles to the same text is compiled once.
"""

import contextlib
import functools
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from funcnet import _jax
from funcnet._types import Host
from funcnet.check.differences import Slope, sides, slope
from funcnet.check.fuel import Patience, metered
from funcnet.check.thresholds import FUEL, GROWTH, STEPS

BATCH = 8
"""How many directions one call of `slopes` takes."""

_QUICK = (("xla_backend_optimization_level", 0), ("xla_llvm_disable_expensive_passes", True))

_ENDLESS = np.iinfo(np.int32).max


@contextlib.contextmanager
def double() -> Iterator[None]:
    """Float64 inside, whatever is switched on outside, on the CPU."""
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        yield


@dataclass(frozen=True)
class _Program:
    text: str
    inputs: str
    outputs: str
    options: tuple[tuple[str, Any], ...]
    lowered: Any = field(compare=False, repr=False)


@functools.lru_cache(maxsize=256)
def _compile(program: _Program) -> Any:
    return program.lowered.compile(dict(program.options))


def compiled(function: Callable, *args: Any, quick: bool = False) -> Any:
    """Run a function as one compiled program; the result as numpy arrays.

    With `quick` it is compiled with few optimizations, for an oracle that runs a few times.
    """
    return _program(function, *args, quick=quick)(*args)


def _program(function: Callable, *args: Any, quick: bool = False) -> Callable:
    lowered = jax.jit(function, keep_unused=True).lower(*args)
    text = lowered.as_text()
    program = _Program(text, str(lowered.in_tree), str(lowered.out_tree), _QUICK if quick else (), lowered)
    if "callback" not in text:
        run = _compile(program)
        return lambda *args: jax.tree.map(np.asarray, run(*args))
    run_callbacks = _compile.__wrapped__(program)

    def with_callbacks(*args: Any) -> Any:
        with _same_in_all_threads():
            return jax.tree.map(np.asarray, run_callbacks(*args))

    return with_callbacks


@contextlib.contextmanager
def _same_in_all_threads() -> Iterator[None]:
    """XLA may run a callback in a thread of its own, where JAX rounds its results unless float64 is on."""
    with ThreadPoolExecutor(1) as other:
        before = other.submit(_jax.is_in_float64).result()
    jax.config.update("jax_enable_x64", _jax.is_in_float64())
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@dataclass(frozen=True, eq=False)
class Probe:
    """A point, and what the rule is given there: an upstream gradient, or a tangent."""

    xs: tuple[Host, ...]
    given: tuple[Host, ...]

    def like(self, other: "Probe") -> "Probe":
        """The same numbers in the dtypes of another probe."""
        pairs = (self.xs, other.xs), (self.given, other.given)
        return Probe(*jax.tree.map(lambda a, b: np.asarray(a, b.dtype), *zip(*pairs, strict=True)))


@dataclass(frozen=True, eq=False)
class Answer:
    """What a function says at a probe: f(x), the y of its forward pass, and its gradient or tangent.

    `turns` counts those of its loops.
    """

    ys: tuple[Host, ...]
    forward: tuple[Host, ...]
    found: tuple[Host, ...]
    turns: int = 0

    @property
    def is_finite(self) -> bool:
        """Whether the function is."""
        return all(np.isfinite(y).all() for y in self.ys)


def ended(answers: Iterable[Answer | None]) -> list[Answer]:
    """Those that came to an end."""
    return [one for one in answers if one is not None]


class Runner:
    """Runs the programs of one check, within its time, and counts them.

    Attributes:
        patience: how long it waits for what need not end.
        calls: how many compiled programs ran.
        probes: how many probes were answered.
    """

    def __init__(self, timeout: float):
        self.patience = Patience(timeout)
        self.calls = self.probes = 0

    def answers(
        self,
        answer: Callable,
        rest: Sequence[Any],
        probes: Sequence[Probe],
        mapped: Callable = jax.lax.map,
        quick: bool = False,
        endless: bool = False,
        needed: int = 1,
    ) -> list[Answer | None]:
        """The answers `(rest, xs, given) -> (ys, forward, found)` to probes of one type, in one call.

        Of what is `endless` there may be none. The first ones that are `needed` are worth all of the time.
        """
        stacks = _stacked([(probe.xs, probe.given) for probe in probes])
        found, turns = self._run(answer, rest, stacks, mapped, quick, FUEL if endless else 0, needed)
        self.probes += len(probes)
        return [
            None if used is None else Answer(*one, turns=used) for one, used in zip(found, turns, strict=True)
        ]

    def slopes(
        self,
        flat: Callable,
        rest: Sequence[Any],
        xs: Sequence[Any],
        pairs: Sequence[tuple[Any, Any]],
        eps: float,
        forward: bool,
        turns: int | None = None,
    ) -> tuple[list[Slope], Host]:
        """The slopes of ⟨ȳ, f⟩ for pairs of ȳ and v, and what forward mode says they are, if it can.

        Args:
            flat: `(rest, *xs) -> ys`, undecorated, with values that are rounded by `eps`.
            rest: what is not differentiated.
            xs: the point.
            pairs: for each direction ȳ, one array for each y, and v, one for each x.
            eps: the relative rounding of f's values.
            forward: whether there is a forward mode.
            turns: those of its loops at the point, None without any that need not end; a slope is no number
                where they take more than twice as many.
        """

        def at(fixed: Any, y_bars: Any, v: Any) -> Any:
            rest, xs = fixed
            return sides(functools.partial(flat, rest), xs, y_bars, v, forward)

        fuel = 0 if turns is None else FUEL + 4 * (len(STEPS) + 1) * turns
        slopes, tangents = [], []
        for start in range(0, len(pairs), BATCH):
            batch = pairs[start : start + BATCH]
            stacks = _stacked(
                [*batch, *list(pairs[:1]) * (BATCH - len(batch))]
            )  # of one shape: compiled once
            found, used = self._run(at, (tuple(rest), tuple(xs)), stacks, quick=True, fuel=fuel)
            for (measured, tangent, size), ends in list(zip(found, used, strict=True))[: len(batch)]:
                alive = 1.0 if ends is not None else np.nan
                slopes.append(slope(*(alive * one for one in measured), noise=eps * size / STEPS))
                tangents.append(alive * tangent)
        self.probes += len(pairs)
        return slopes, np.array(tangents)

    def _run(
        self,
        function: Callable,
        rest: Sequence[Any],
        stacks: Any,
        mapped: Callable = jax.lax.map,
        quick: bool = False,
        fuel: int = 0,
        needed: int = 0,
    ) -> tuple[list[Any], list[int | None]]:
        """`function(rest, *columns)` row by row, and the turns of its loops: None for too many."""
        at = metered(function, self.patience) if fuel else lambda left, *args: (function(*args), left)

        def program(left: Any, rest: Any, stacks: Any) -> Any:
            return mapped(lambda row: at(left, rest, *row), stacks)

        given, start, timeout = fuel or 1, time.process_time(), self.patience.seconds
        run = _program(program, np.int32(given), tuple(rest), stacks, quick=quick)
        while True:
            self.calls += 1
            begin, self.patience.lost = time.process_time(), 0
            results, left = run(np.int32(given), tuple(rest), stacks)
            now = time.process_time()
            used = given - left[:needed].min(initial=given)
            enough = given >= min(GROWTH * used, _ENDLESS) if used < given else False
            late = 2 * (now - begin) > timeout or now - start > timeout
            if (left > 0).all() or enough or late or given == _ENDLESS:
                break
            more = int(np.clip(timeout / max(now - begin, 1e-3), 2, GROWTH))
            given = min(given * more if used == given else GROWTH * int(used), _ENDLESS)
        rows = [jax.tree.map(operator.itemgetter(i), results) for i in range(len(left))]
        return rows, [int(given - own) if own > 0 else None for own in left]


def _stacked(rows: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *parts: np.stack(parts), *rows)
