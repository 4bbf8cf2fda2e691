"""A case: a function at its arguments, and the oracles that know nothing of its rule. It does not change.

The function runs as it is, with the gradient in question. Beside it stands the undecorated program of it, or
of a reference, in float64; its derivative by autodiff; and its differences.
"""

import contextlib
import functools
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet._compiled import double
from funcnet._types import Host
from funcnet.backprop.undecorated import custom_rules
from funcnet.check.noise import cast, cotangent, signs, unit, wide
from funcnet.check.options import Options
from funcnet.check.primal import Primal, longest_sum
from funcnet.check.probes import Mode, Probe
from funcnet.check.subject import Subject
from funcnet.check.thresholds import BY_COARSE_DIFFERENCES, DRAWS, EXACT, SUMMED, SUMS
from funcnet.numerical.slopes import BY_DIFFERENCES, sizes


class Traced(NamedTuple):
    """A derivative as JAX traces it in some dtype: the types of y and of what is found, and its longest sum.

    `refusal` is the error under which it cannot be traced.
    """

    ys: Sequence[Any] = ()
    found: Sequence[Any] = ()
    refusal: Exception | None = None
    longest: int = 1


@dataclass(frozen=True, eq=False)
class Case:
    """What a check is about.

    Attributes:
        subject: the function and its arguments.
        options: what the caller chose.
        reference: what is the same function without rules of its own, if it is not that function.
        order: how often it is differentiated: the function under test may be a gradient itself.
        mode: which derivative of it, reverse or forward.
        flat: the floats of its result, `(rest, *xs) -> ys`, with the gradient in question.
        program: the program of that, with its custom rules.
        primal: the program without custom rules, or that of the reference, in the dtype of the oracles.
        oracles: that dtype: float64, or None for the dtypes of the arguments.
        base: the dtype of the exact comparison, likewise.
        autodiff: what differentiates the primal.
        forward: whether JAX has a forward mode for the primal.
        notes: what the report should say beside its numbers.
    """

    subject: Subject
    options: Options
    reference: Callable | None
    order: int
    mode: Mode
    flat: Callable
    program: Primal
    primal: Primal
    oracles: Any
    base: Any
    autodiff: Callable
    forward: bool = False
    notes: tuple[str, ...] = ()

    @property
    def own_rules(self) -> int:
        """How many custom rules the function has; without any its gradient is JAX's own."""
        return len(custom_rules(self.program.jaxpr))

    @property
    def line(self) -> str:
        """File and line of the rule, its own or the only one that it calls; else of the function."""
        fun, calls = self.subject.fun, custom_rules(self.program.jaxpr)
        called = {_jax.backward_function(eqn) if "bwd" in eqn.params else None for eqn in calls}
        is_own = hasattr(fun, "bwd") or hasattr(fun, "jvp") or len(called) != 1
        return _jax.definition(fun if is_own else called.pop() or fun) or _jax.definition(fun)

    @property
    def slack(self) -> float:
        """How many units of the rounding noise are allowed: of a gradient's gradient twice as many.

        The noise is that of the arguments; the operations after them, which round too, are twice as many.
        """
        return float(self.options.slack) * self.order

    def slack_in(self, dtype: Any) -> float:
        """The same in a short dtype, where a dot product rounds its partial sums too."""
        return self.slack * max(1.0, math.sqrt(self.traced(dtype).longest / SUMMED))

    @functools.cached_property
    def grain(self) -> Any:
        """The shortest dtype that the primal computes in: what its values are good to."""
        return self.primal.narrowest()

    @functools.cached_property
    def u(self) -> float:
        """The rounding of the exact comparison."""
        return max(map(unit, (self.grain, *(x.dtype for x in self.subject.at(self.base)))))

    @functools.cached_property
    def answer(self) -> Callable:
        """What the function under test says, see `Mode.answer`."""
        return self.mode.answer(self.flat)

    @functools.cached_property
    def oracle(self) -> Callable:
        """What autodiff of the primal says."""
        return self.mode.answer(self.primal, self.autodiff)

    @property
    def by_differences(self) -> bool:
        """Whether differences are the only oracle."""
        return self.autodiff is self.mode.slow

    @property
    def exact(self) -> float:
        """The relative error that the exact comparison allows beside the noise."""
        if self.oracles is None:
            return BY_COARSE_DIFFERENCES if self.by_differences else SUMS * unit(self.grain)
        return BY_DIFFERENCES if self.by_differences else EXACT

    def coarser(self, dtype: Any) -> Any:
        """This dtype, or the grain if its numbers are shorter."""
        return max((self.grain, jnp.dtype(dtype)), key=unit)

    def rng(self, use: str) -> np.random.Generator:
        """The random numbers for one use."""
        return np.random.default_rng([*self.options.seed, zlib.crc32(use.encode())])

    def gradient(self, function: Callable, y_bars: Sequence[Any]) -> Callable:
        """x̄ for one upstream gradient, as a function of all arguments."""

        def gradient(*args: Any) -> tuple[Any, ...]:
            rest, xs = self.subject.split(args)
            ys, back = jax.vjp(functools.partial(function, rest), *xs)
            return back(tuple(y_bar.astype(y.dtype) for y_bar, y in zip(y_bars, ys, strict=True)))

        return functools.wraps(self.subject.fun)(gradient)

    def at(self, dtype: Any) -> contextlib.AbstractContextManager:
        """Float64 where that is what runs; else as it is outside."""
        return _jax.in_float64() if dtype == jnp.float64 else contextlib.nullcontext()

    def precise(self) -> contextlib.AbstractContextManager:
        """Where the oracles run."""
        return double() if self.oracles is not None else contextlib.nullcontext()

    def traced(self, dtype: Any) -> Traced:
        """The derivative for arguments of this dtype, None for their own."""
        with self.at(dtype):
            return self._traced(self.flat, self.answer, self.mode, dtype)

    def differentiates(self, mode: Mode, autodiff: Callable) -> bool:
        """Whether this autodiff takes the primal."""
        with self.precise():
            answer = mode.answer(self.primal, autodiff)
            return self._traced(self.primal, answer, mode, self.oracles).refusal is None

    def _traced(self, function: Callable, answer: Callable, mode: Mode, dtype: Any) -> Traced:
        rest, xs = self.subject.rest, self.subject.at(dtype)
        try:
            ys = jax.eval_shape(function, rest, *xs)
            given = ys if mode.is_reverse else xs
            program, (_, _, found) = jax.make_jaxpr(answer, return_shape=True)(rest, xs, given)
            if any(eqn.primitive.name == "custom_lin" for eqn in _jax.all_equations(program.jaxpr)):
                raise TypeError("forward mode does not go through a custom_vjp")  # or JAX does, compiling it
        except Exception as error:
            return Traced(refusal=error)
        return Traced(ys, found, longest=longest_sum(program.jaxpr))

    def probe(self, dtype: Any) -> Probe:
        """The arguments in a dtype, with a random upstream gradient, or a tangent of their size."""
        rng, xs = self.rng("given"), self.subject.at(dtype)
        like = self.traced(dtype).ys if self.mode.is_reverse else xs
        given = [cotangent(y, rng) for y in like]
        if not self.mode.is_reverse:
            given = [v * sizes(x) for v, x in zip(given, map(wide, xs), strict=True)]
        return Probe(xs, cast(given, like))

    def draws(self, probe: Probe, use: str) -> list[Probe]:
        """The probe as the oracles see it, its numbers rounded at random by its dtypes or the function's.

        What computes eigenvalues or singular values is exact for a matrix whose elements are off by roundings
        of its norm (LAPACK Users' Guide, 3rd edition, sections 4.7 and 4.9). And a gradient is summed in the
        dtype of its argument, also where that is shorter than the result.
        """
        rng, point, decomposes = self.rng(f"draws {use}"), self.widened(probe), self.primal.decomposes()
        least = min(unit(x.dtype) for x in probe.xs)

        def rounded(x: Host, kind: Any) -> Host:
            whole = np.linalg.norm(x, axis=(-2, -1), keepdims=True) if x.ndim > 1 and decomposes else 0
            steps = max(least, unit(self.coarser(kind.dtype))) * np.maximum(np.abs(x), whole)
            return np.asarray(x + steps * signs(x, rng), x.dtype)

        pairs = (point.xs, probe.xs), (point.given, probe.given)
        return [Probe(*(tuple(map(rounded, *pair)) for pair in pairs)) for _ in range(DRAWS)]

    def widened(self, probe: Probe) -> Probe:
        """The probe in the precision of the oracles."""
        if self.oracles is None:
            return probe
        return Probe(tuple(map(wide, probe.xs)), tuple(map(wide, probe.given)))

    def types(self, dtype: Any) -> Sequence[Any]:
        """What the found arrays must be like: the arguments, or the results."""
        return self.subject.at(dtype) if self.mode.is_reverse else self.traced(dtype).ys

    def name(self, i: int) -> str:
        """The argument, or the result, that the i-th found array belongs to."""
        if self.mode.is_reverse:
            return self.subject.names[i]
        return "y" if len(self.traced(None).ys or self.traced(self.base).ys) == 1 else f"y[{i}]"

    def counts(self) -> set[int]:
        """The lengths of all axes there are, and their products: what a mean may be over."""
        shapes = [x.shape for x in (*self.subject.xs, *self.traced(self.base).ys)]
        rest = [np.shape(x) for x in self.subject.rest]
        return {n for shape in (*shapes, *rest) for n in (*shape, int(np.prod(shape, dtype=int))) if n > 1}
