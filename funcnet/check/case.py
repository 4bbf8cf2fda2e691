"""A case: a function at its arguments, and the oracles that know nothing of its rule. It does not change.

The function runs as it is, with the gradient in question. Beside it stands the undecorated program of it, or
of a reference, in float64; its derivative by autodiff; and its differences.
"""

import contextlib
import functools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import FuncnetError
from funcnet.check.differences import slow_jvp, slow_vjp
from funcnet.check.directions import sizes
from funcnet.check.fuel import is_endless
from funcnet.check.modes import Mode
from funcnet.check.noise import cotangent, signs, unit, wide
from funcnet.check.options import Options
from funcnet.check.primal import Primal, custom_rules
from funcnet.check.probes import Probe
from funcnet.check.programs import double
from funcnet.check.subject import Subject
from funcnet.check.thresholds import BY_DIFFERENCES, DRAWS, EXACT

REFUSES = (NotImplementedError, TypeError, ValueError, AttributeError, RecursionError, FuncnetError)


class Traced(NamedTuple):
    """A derivative as JAX traces it in some dtype.

    Attributes:
        ys: shape and dtype of each float of the result.
        found: shape and dtype of each gradient, or tangent of the result.
        refusal: the error under which it cannot be traced.
        endless: whether it has loops or callbacks that need not end.
    """

    ys: Sequence[Any]
    found: Sequence[Any]
    refusal: Exception | None
    endless: bool


@dataclass(frozen=True, eq=False)
class Case:
    """What a check is about.

    Attributes:
        subject: the function and its arguments.
        mode: which derivative of it, reverse or forward.
        options: what the caller chose.
        flat: the floats of its result, `(rest, *xs) -> ys`, with the gradient in question.
        program: the program of that, with its custom rules.
        undecorated: the same without custom rules, or the reference, to be traced in any dtype.
        primal: its program in the dtype of the oracles.
        autodiff: what differentiates the primal.
        forward: whether JAX has a forward mode for the primal.
        base: the dtype of the exact comparison: float64, or None for the dtypes of the arguments.
        oracles: the dtype of the oracles, likewise.
        seed: where random numbers come from.
        call: how the check is called.
        notes: what the report should say beside its numbers.
    """

    subject: Subject
    mode: Mode
    options: Options
    flat: Callable
    program: Primal
    undecorated: Callable
    primal: Primal
    autodiff: Callable
    forward: bool
    base: Any
    oracles: Any
    seed: tuple[int, ...]
    call: str
    notes: tuple[str, ...] = ()

    @property
    def own_rules(self) -> int:
        """How many custom rules the function has; without any its gradient is JAX's own."""
        return custom_rules(self.program.jaxpr)

    @property
    def slack(self) -> float:
        """How many units of the rounding noise are allowed."""
        return float(self.options.slack)

    @functools.cached_property
    def grain(self) -> Any:
        """The shortest dtype that the primal computes in: what its values are good to."""
        return self.primal.narrowest()

    @property
    def by_differences(self) -> bool:
        """Whether differences are the only oracle."""
        return self.autodiff in (slow_vjp, slow_jvp)

    @property
    def exact(self) -> float:
        """The relative error that the exact comparison allows beside the noise."""
        if self.oracles is None:
            return 1e-2 if self.by_differences else 16 * unit(self.grain)
        return BY_DIFFERENCES if self.by_differences else EXACT

    def rng(self, use: str) -> np.random.Generator:
        """The random numbers for one use."""
        return np.random.default_rng([*self.seed, zlib.crc32(use.encode())])

    def at(self, dtype: Any) -> contextlib.AbstractContextManager:
        """Float64 where that is what runs; else as it is outside."""
        return jax.enable_x64(True) if dtype == jnp.float64 else contextlib.nullcontext()

    def precise(self) -> contextlib.AbstractContextManager:
        """Where the oracles run."""
        return double() if self.oracles is not None else contextlib.nullcontext()

    @functools.cached_property
    def _traces(self) -> dict[Any, Traced]:
        return {}

    def traced(self, dtype: Any) -> Traced:
        """The derivative for arguments of this dtype, None for their own."""
        if dtype not in self._traces:
            self._traces[dtype] = self._trace(dtype)
        return self._traces[dtype]

    def _trace(self, dtype: Any) -> Traced:
        rest, xs = self.subject.rest, self.subject.at(dtype)
        with self.at(dtype):
            try:
                ys = jax.eval_shape(self.flat, rest, *xs)
                given = ys if self.mode.is_reverse else xs
                answer = self.mode.answer(self.flat)
                jaxpr, (_, _, found) = jax.make_jaxpr(answer, return_shape=True)(rest, xs, given)
            except REFUSES as error:
                return Traced((), (), error, False)
        return Traced(ys, found, None, is_endless(jaxpr.jaxpr))

    def probe(self, dtype: Any) -> Probe:
        """The arguments in a dtype, with a random upstream gradient, or a tangent of their size."""
        rng, xs = self.rng("given"), self.subject.at(dtype)
        like = self.traced(dtype).ys if self.mode.is_reverse else xs
        given = [cotangent(y, rng) for y in like]
        if not self.mode.is_reverse:
            given = [v * sizes(x) for v, x in zip(given, map(wide, xs), strict=True)]
        return Probe(xs, tuple(v.astype(y.dtype) for v, y in zip(given, like, strict=True)))

    def draws(self, probe: Probe, use: str) -> list[Probe]:
        """The probe as the oracles see it, its numbers rounded at random by its dtypes or the function's."""
        rng, grain, (point,) = self.rng(f"draws {use}"), unit(self.grain), self.widened([probe])

        def moved(arrays: Sequence[Any], kinds: Sequence[Any]) -> tuple[Any, ...]:
            units = [max(grain, unit(a.dtype)) for a in kinds]
            return tuple(
                np.asarray(a * (1 + u * signs(a, rng)), a.dtype) for a, u in zip(arrays, units, strict=True)
            )

        return [Probe(moved(point.xs, probe.xs), moved(point.given, probe.given)) for _ in range(DRAWS)]

    def widened(self, probes: Sequence[Probe]) -> list[Probe]:
        """The probes in the precision of the oracles."""
        if self.oracles is None:
            return list(probes)
        return [Probe(tuple(map(wide, one.xs)), tuple(map(wide, one.given))) for one in probes]

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


def words(error: Exception) -> str:
    """The first sentence of an error."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
