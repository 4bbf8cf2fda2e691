"""A trial: the function under test beside its oracles, each asked by the same probes."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax, backprop
from funcnet._errors import FuncnetError, ParameterError, VJPCheckError
from funcnet._types import Host
from funcnet.check import probes
from funcnet.check.criteria import DRAWS, cotangent, rounded, unit
from funcnet.check.differences import Slope, slow_vjp
from funcnet.check.primal import Primal, Subject, custom_rules, undecorated, wide
from funcnet.check.probes import Answer, Probe, double
from funcnet.check.report import Finding

_NO_AUTODIFF = (NotImplementedError, TypeError, ValueError, FuncnetError)


@dataclass(eq=False)
class Trial:
    """What a check works with.

    Attributes:
        subject: the function and its arguments.
        flat: the floats of its result, `(rest, *xs) -> ys`, with the gradient in question.
        undecorated: the same without custom rules, or the reference, to be traced in any dtype.
        primal: its program in float64.
        own_rules: how many custom rules the function has; without any its gradient is JAX's own.
        reference: whether an independent definition was given.
        autodiff: what differentiates the primal: `jax.vjp`, or `funcnet.vjp` where JAX is under test.
        forward: whether JAX has a forward mode for the primal.
        double: whether the function under test runs in float64.
        grain: the shortest dtype that the primal computes in when its arguments are float64.
        rng: where random numbers come from.
        slack: how many units of the rounding noise are allowed.
        again: the line that repeats the check.
        notes: what the report should say beside its numbers.
        calls: how many compiled programs ran.
        asked: how many probes were answered.
    """

    subject: Subject
    flat: Callable
    undecorated: Callable
    primal: Primal
    own_rules: int
    reference: bool
    autodiff: Callable
    forward: bool
    double: bool
    grain: Any
    rng: np.random.Generator
    slack: float
    again: str
    notes: list[str] = field(default_factory=list)
    calls: int = 0
    asked: int = 0

    @property
    def exact(self) -> float:
        """The relative error that float64 is held to, beside its noise."""
        return 1e-6 if self.autodiff is slow_vjp else 1e-9

    @property
    def base(self) -> Any:
        """The dtype of the exact comparison: float64, or None for the dtypes of the arguments."""
        return jnp.float64 if self.double else None

    def point(self, dtype: Any) -> tuple[Host, ...]:
        """The floats of the arguments in a dtype, None for their own."""
        return self.subject.at(dtype)

    def results(self, dtype: Any) -> Sequence[Any]:
        """Shape and dtype of each float of the result, for arguments of this dtype."""
        with setting(dtype):
            return jax.eval_shape(self.flat, self.subject.rest, *self.point(dtype))

    def types(self, dtype: Any) -> Sequence[Any]:
        """Shape and dtype of each gradient, for arguments of this dtype."""
        with setting(dtype):
            xs, ys = self.point(dtype), self.results(dtype)
            return jax.eval_shape(functools.partial(_x_bars, self.flat, jax.vjp), self.subject.rest, xs, ys)

    def refusal(self, dtype: Any) -> Exception | None:
        """The error under which the gradient cannot be traced in a dtype."""
        try:
            self.types(dtype)
        except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
            return error
        return None

    def probe(self, dtype: Any) -> Probe:
        """The arguments in a dtype, with a random upstream gradient."""
        return Probe(
            self.point(dtype),
            tuple(
                cotangent(np.zeros(y.shape, _wide(y.dtype)), self.rng).astype(y.dtype)
                for y in self.results(dtype)
            ),
        )

    def ask(self, asked: Sequence[Probe], dtype: Any, mapped: Callable = jax.lax.map) -> list[Answer]:
        """The answers of the function under test."""
        self._count(len(asked))
        with setting(dtype):
            return probes.pullbacks(self.flat, self.subject.rest, asked, mapped=mapped)

    def truth(self, asked: Sequence[Probe], second: bool = False) -> list[Answer]:
        """The answers of autodiff of the primal in float64, or of the second one that there is."""
        self._count(len(asked))
        vjp = (
            {jax.vjp: backprop.vjp, backprop.vjp: jax.vjp}.get(self.autodiff, slow_vjp)
            if second
            else self.autodiff
        )
        with double():
            return probes.pullbacks(self.primal, self.subject.rest, self.widened(asked), vjp, quick=True)

    def slopes(self, probe: Probe, directions: Sequence[Sequence[Host]]) -> tuple[list[Slope], Host]:
        """The slopes of the primal along directions, and what forward mode says they are."""
        self._count(len(directions), -(-len(directions) // probes.BATCH))
        (point,) = self.widened([probe])
        noise = float(jnp.finfo(self.grain).eps)
        with double():
            return probes.slopes(
                self.primal,
                self.subject.rest,
                point.xs,
                point.y_bars,
                directions,
                noise,
                self.forward,
            )

    def equal_values(self, probe: Probe) -> str:
        """What is equal at a point to half of the digits of the arguments: see `Primal.equal_values`."""
        (point,) = self.widened([probe])
        within = max(float(jnp.finfo(dtype).eps) for dtype in self.subject.dtypes) ** 0.5
        with double():
            return self.primal.equal_values(self.subject.rest, *point.xs, within=within)

    def draws(self, probe: Probe) -> list[Probe]:
        """The probe in float64, its numbers rounded at random as by its dtypes or the function's."""
        grain = unit(self.grain)
        x_units = [max(grain, unit(x.dtype)) for x in probe.xs]
        y_units = [max(grain, unit(y_bar.dtype)) for y_bar in probe.y_bars]
        (point,) = self.widened([probe])
        return [rounded(point, x_units, y_units, self.rng) for _ in range(DRAWS)]

    def widened(self, asked: Sequence[Probe]) -> list[Probe]:
        """The probes in double precision."""
        return [Probe(tuple(map(wide, probe.xs)), tuple(map(wide, probe.y_bars))) for probe in asked]

    def describe(self, i: int, dtype: Any = None) -> str:
        """The i-th float by name, dtype and shape."""
        x = self.point(dtype)[i]
        return f"{self.subject.names[i]}: {x.dtype}[{','.join(map(str, x.shape))}]"

    def fail(
        self, verdict: str, summary: str, *details: tuple[str, str], argument: str = ""
    ) -> VJPCheckError:
        """The error for something that is wrong."""
        return VJPCheckError(Finding(verdict, self.subject.name, argument, summary, details))

    def _count(self, asked: int, calls: int = 1) -> None:
        self.asked += asked
        self.calls += calls


def setting(dtype: Any) -> contextlib.AbstractContextManager:
    """Float64 where that is what runs; else as it is outside."""
    return jax.enable_x64(True) if dtype == jnp.float64 else contextlib.nullcontext()


def _wide(dtype: Any) -> Any:
    return np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64


def trial(
    fun: Callable,
    subject: Subject,
    reference: Callable | None = None,
    key: Any = 0,
    slack: float = 8.0,
    call: str = "check_vjp({}, *args{})",
) -> Trial:
    """Set up a trial: trace the function, find its oracles, and see whether it runs in float64.

    Raises:
        ParameterError: the function has no float result, or no oracle can be made of it.
        VJPCheckError: the function runs, but its gradient does not.
    """
    flat = subject.floats(fun)
    program = _program(subject, flat)
    if not program.outvars:
        raise ParameterError(
            f"check of {subject.name}: its result has no floats, expected one at least to differentiate"
        )
    primal = _primal(subject, reference or fun)
    own_rules = custom_rules(program)
    autodiff = _autodiff(subject, primal, bool(own_rules or reference))
    rng = np.random.default_rng(_seed(key))
    again = "funcnet." + call.format(subject.name, f", key={key}" if isinstance(key, int) else ", key=key")
    made = Trial(
        subject=subject,
        flat=flat,
        undecorated=_without_rules(subject, reference or fun),
        primal=primal,
        own_rules=own_rules,
        reference=reference is not None,
        autodiff=autodiff,
        forward=_has_forward_mode(subject, primal),
        double=True,
        grain=primal.narrowest(),
        rng=rng,
        slack=slack,
        again=again,
    )
    if autodiff is slow_vjp:
        made.notes.append("its primal cannot be differentiated: differences alone are the oracle, to 1e-6")
    refusal = made.refusal(jnp.float64)
    if refusal is not None:
        made.double = False
        made.notes.append(f"not checked in float64, where it does not run: {words(refusal)}")
    return made


def _program(subject: Subject, flat: Callable) -> _jax.Jaxpr:
    with setting(None):
        try:
            return _jax.open_jaxpr(jax.make_jaxpr(flat)(subject.rest, *subject.at(None)))[0]
        except jax.errors.ConcretizationTypeError as error:
            raise ParameterError(
                f"check of {subject.name}: it needs the value of an argument while it is traced: "
                f"{words(error)}. Bind numbers that are settings: functools.partial(f, rate=0.1)"
            ) from error


def _primal(subject: Subject, function: Callable) -> Primal:
    with double():
        try:
            return undecorated(subject.floats(function), subject.rest, subject.at(jnp.float64))
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ParameterError(
                f"check of {subject.name}: its primal does not run in float64, which the oracles need: "
                f"{words(error)}. Pass reference=, a plain JAX function of the same signature that does"
            ) from error


def _without_rules(subject: Subject, function: Callable) -> Callable:
    return lambda rest, *xs: undecorated(subject.floats(function), rest, xs)(rest, *xs)


def _autodiff(subject: Subject, primal: Primal, decorated: bool) -> Callable:
    """JAX for a function with rules of its own; funcnet where the rules of JAX are the ones under test.

    What neither can differentiate, a callback or a call of foreign code, is left to differences.
    """
    with double():
        xs = subject.at(jnp.float64)
        y_bars = jax.eval_shape(primal, subject.rest, *xs)
        for vjp in (jax.vjp, backprop.vjp) if decorated else (backprop.vjp, jax.vjp):
            with contextlib.suppress(*_NO_AUTODIFF):
                jax.eval_shape(functools.partial(_x_bars, primal, vjp), subject.rest, xs, y_bars)
                return vjp
    return slow_vjp


def _has_forward_mode(subject: Subject, primal: Primal) -> bool:
    with double(), contextlib.suppress(*_NO_AUTODIFF):
        xs = subject.at(jnp.float64)
        jax.eval_shape(lambda rest, xs: jax.jvp(functools.partial(primal, rest), xs, xs), subject.rest, xs)
        return True
    return False


def _x_bars(flat: Callable, vjp: Callable, rest: Any, xs: Any, y_bars: Any) -> Any:
    return probes.pullback(flat, rest, xs, y_bars, vjp)[2]


def words(error: Exception) -> str:
    """The first sentence of an error."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _seed(key: Any) -> Any:
    if isinstance(key, jax.Array):
        data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
        return np.asarray(data).ravel().tolist()
    if isinstance(key, int) and key >= 0:
        return key
    raise ParameterError(f"key={key!r}: expected a number, 0 or more, or a key of jax.random")
