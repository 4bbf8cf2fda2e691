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
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet._types import Host
from funcnet.check.differences import Slope, slope
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

        def cast(ours: Sequence[Host], theirs: Sequence[Host]) -> tuple[Host, ...]:
            return tuple(np.asarray(a, b.dtype) for a, b in zip(ours, theirs, strict=True))

        return Probe(cast(self.xs, other.xs), cast(self.given, other.given))


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
        """The answers to a list of probes, in one call; None where they do not end.

        Args:
            answer: `(rest, xs, given) -> (ys, forward, found)`.
            rest: what is not differentiated.
            probes: points, all of the same shapes and dtypes.
            mapped: `mapped(function, stacks)` runs a function on each probe.
            quick: compile it with few optimizations.
            endless: whether it has loops that need not end.
            needed: how many of the probes, the first ones, are worth all of the time.
        """
        at = metered(answer, self.patience) if endless else lambda left, *args: (answer(*args), left)

        def program(left: Any, rest: Any, stacks: Any) -> Any:
            return mapped(lambda probe: at(left, rest, *probe), stacks)

        columns = zip(*((probe.xs, probe.given) for probe in probes), strict=True)
        stacks = tuple(tuple(map(np.stack, zip(*column, strict=True))) for column in columns)
        given, answers, left = self._run(program, needed, FUEL, tuple(rest), stacks, quick=quick)
        self.probes += len(probes)
        found = [jax.tree.map(operator.itemgetter(i), answers) for i in range(len(probes))]
        return [
            Answer(ys, forward, grads, int(given - own)) if own > 0 else None
            for (ys, forward, grads), own in zip(found, left, strict=True)
        ]

    def _run(
        self, program: Callable, needed: int, given: int, *args: Any, quick: bool
    ) -> tuple[int, Any, Host]:
        """The turns given, more where they are needed; the result; for each probe what is left of them."""
        start, timeout = time.process_time(), self.patience.seconds
        run = _program(program, np.int32(given), *args, quick=quick)
        while True:
            self.calls += 1
            begin, self.patience.lost = time.process_time(), 0
            answers, left = run(np.int32(given), *args)
            now = time.process_time()
            used = given - left[:needed].min(initial=given)
            enough = given >= min(GROWTH * used, _ENDLESS) if used < given else False
            late = 2 * (now - begin) > timeout or now - start > timeout
            if (left > 0).all() or enough or late or given == _ENDLESS:
                return given, answers, left
            more = int(np.clip(timeout / max(now - begin, 1e-3), 2, GROWTH))
            given = min(given * more if used == given else GROWTH * int(used), _ENDLESS)

    def slopes(
        self,
        flat: Callable,
        rest: Sequence[Any],
        xs: Any,
        pairs: Sequence[tuple[Any, Any]],
        eps: float,
        forward: bool,
        turns: int | None = None,
    ) -> tuple[list[Slope], Host]:
        """The slopes of ⟨ȳ, f⟩ along directions, and what forward mode says they are.

        Args:
            flat: `(rest, *xs) -> ys`, undecorated.
            rest: what is not differentiated.
            xs: the point.
            pairs: for each direction the upstream gradient, one array for each y, and v, one for each x.
            eps: the relative rounding of f's values.
            forward: whether forward mode can say it too; else it is NaN.
            turns: how many turns its loops take at the point, None if it has none that need not end; a slope
                is no number where they take more than twice as many.
        """
        at = functools.partial(_sides, flat, forward)
        metered_at = (
            metered(at, self.patience) if turns is not None else lambda left, *args: (at(*args), left)
        )
        given = FUEL + 4 * (len(STEPS) + 1) * (turns or 0)

        def program(left: Any, rest: Any, xs: Any, pairs: Any) -> Any:
            return jax.lax.map(lambda pair: metered_at(left, rest, xs, *pair), pairs)

        found, tangents = [], []
        for start in range(0, len(pairs), BATCH):
            batch = list(pairs[start : start + BATCH])
            count = len(batch)
            batch += batch[:1] * (BATCH - count)
            stacks = jax.tree.map(lambda *parts: np.stack(parts), *batch)
            _, (sides, forwards, size), left = self._run(
                program, 0, given, tuple(rest), tuple(xs), stacks, quick=True
            )
            for k in range(count):
                alive = 1.0 if left[k] > 0 else np.nan
                rises, falls, low, high = (alive * side[k] for side in sides)
                found.append(slope(rises, falls, low, high, eps * size[k] / STEPS))
                tangents.append(alive * forwards[k])
        self.probes += len(pairs)
        return found, np.array(tangents)


def _sides(flat: Callable, forward: bool, rest: Any, xs: Any, y_bars: Any, v: Any) -> Any:
    """For all steps the slopes to either side, summed and output by output; ⟨ȳ, J v⟩; Σ |ȳ y|."""
    at = functools.partial(flat, rest)
    ys = at(*xs)

    def total(parts: Any) -> Any:
        return sum(map(jnp.sum, parts), jnp.zeros(()))

    def paired(others: Any) -> list[Any]:
        return [(y_bar * y).real for y_bar, y in zip(y_bars, others, strict=True)]

    def side(h: Any) -> list[Any]:
        moved = at(*((x + h * part).astype(x.dtype) for x, part in zip(xs, v, strict=True)))
        return paired([(one - y) / h for one, y in zip(moved, ys, strict=True)])

    def step(h: Any) -> Any:
        rises, falls = side(h), side(-h)
        low, high = map(jnp.minimum, rises, falls), map(jnp.maximum, rises, falls)
        return total(rises), total(falls), total(low), total(high)

    tangent = total(paired(jax.jvp(at, tuple(xs), tuple(v))[1])) if forward else jnp.nan
    size = total([abs(y_bar * y) for y_bar, y in zip(y_bars, ys, strict=True)])
    return jax.lax.map(step, jnp.asarray(STEPS, jnp.result_type(float))), tangent, size
