"""Functions with derivatives of their users' own: custom_jvp, custom_vjp, linear_call, custom_linear_solve.

The user's rule is the gradient, and it is run as JAX runs it: on the values that the function is run on,
when it is run. A custom_vjp brings both sweeps. Its forward is traced in the place of the function, and
what it puts aside may be anything; its backward is called on the way back with that and ȳ. A custom_jvp
brings a tangent ẏ = J(x)·ẋ, which is traced as a program of ẋ alone: it is linear, and the way back is
that program walked backward, x̄ = J(x)ᵀ·ȳ.

In a program such a call is one equation, `ruled`: of the arguments to which gradients go, the results,
which it hands through, and what the rule has put aside.

A linear_call y = A(r)·x brings a function for Aᵀ: x̄ = A(r)ᵀ·ȳ. A custom_linear_solve x = A(c)⁻¹·b brings
a solver for Aᵀ: b̄ = A⁻ᵀ·x̄ and c̄ = −(∂(A(c)·x)/∂c)ᵀ·b̄. The solution does not depend on how it is
found: the constants of the solvers have no gradient.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax import lax

from funcnet import _jax
from funcnet._errors import GradientError
from funcnet.backprop.activity import STOPPED, Mask, differentiable
from funcnet.backprop.control import only
from funcnet.backprop.program import evaluate
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.sweep import Engine
from funcnet.backprop.tracing import StandIn, Step, Trace, trace_function
from funcnet.rules import Table


class Linear(Trace):
    """The trace of a tangent: linear, so that a rule within it adds nothing to the function it is for."""

    __slots__ = ()

    def process_custom_jvp_call(self, primitive: Any, fun: Any, *rest: Any, **params: Any) -> Any:
        """A function with a tangent rule."""
        if any(map(self.owns, rest[-1])):
            return self.within(fun, rest[-1])
        return super().process_custom_jvp_call(primitive, fun, *rest, **params)

    def process_custom_vjp_call(self, primitive: Any, fun: Any, *rest: Any, **params: Any) -> Any:
        """A function with a forward and a backward."""
        if any(map(self.owns, rest[-1])):
            return self.within(fun, rest[-1])
        return super().process_custom_vjp_call(primitive, fun, *rest, **params)


class Differentiated(Trace):
    """A trace in which functions with rules of their users' own are run by them where a gradient flows."""

    __slots__ = ("ruling",)

    def __init__(self, staging: Any, around: Any, rules: Table):
        super().__init__(staging, around, rules)
        self.ruling = ""

    def is_active(self, x: Any) -> bool:
        """Whether a gradient can flow through this.

        Raises:
            GradientError: it does, into a rule that closes over it.
        """
        active = super().is_active(x)
        if active and self.ruling:
            raise GradientError(
                f"{self.ruling} belongs to a function with a rule and closes over a value whose gradient is "
                f"asked for; the rule speaks of its arguments only: pass the value as one"
            )
        return active

    def process_primitive(self, primitive: Any, tracers: Sequence[Any], params: dict[str, Any], /) -> Any:
        """An operation; one of hijax that holds a rule is run by it."""
        if primitive.name == "call_hi_primitive" and any(map(self.is_active, tracers)):
            operation = params["_prim"]
            if _jax.holds_a_rule(operation):
                return self.by_hijax(operation, tracers)
        return super().process_primitive(primitive, tracers, params)

    def process_custom_jvp_call(
        self, primitive: Any, fun: Any, jvp: Any, tracers: Sequence[Any], /, **params: Any
    ) -> Any:
        """A function with a tangent rule."""
        if any(map(self.is_active, tracers)):
            zero = _jax.symbolic_zero if params["symbolic_zeros"] else _jax.zero_tangent
            return self.by_tangent(_halves(jvp.call_wrapped), tracers, zero, _jax.name_of(jvp))
        if _jax.evaluates(self.around):
            with self.ruled(_jax.name_of(fun)):
                return self.within(fun, tracers)
        return super().process_custom_jvp_call(primitive, fun, jvp, tracers, **params)

    def process_custom_vjp_call(
        self, primitive: Any, fun: Any, fwd: Any, bwd: Any, tracers: Sequence[Any], /, **params: Any
    ) -> Any:
        """A function with a forward and a backward."""
        active = tuple(map(self.is_active, tracers))
        if any(active):
            xs = list(map(self.inactive, tracers))
            with self.ruled(_jax.name_of(fwd)), _jax.set_current_trace(self):
                made = fwd.call_wrapped(*(part for pair in zip(xs, active, strict=True) for part in pair))
                residuals, ys = _jax.residuals(made, xs, params["out_trees"])
                any(map(self.is_active, ys))
            zero = _jax.symbolic_zero if params["symbolic_zeros"] else _jax.zero_tangent
            back = functools.partial(_jax.call_backward, bwd)
            rule = functools.partial(Backward, bwd=back, active=active, zero=zero)
            return self.call(rule, tracers, ys, residuals)
        if _jax.evaluates(self.around):
            with self.ruled(_jax.name_of(fun)):
                return self.within(fun, tracers)
        return super().process_custom_vjp_call(primitive, fun, fwd, bwd, tracers, **params)

    def by_tangent(self, rule: Callable, xs: Sequence[Any], zero: Callable, name: str) -> list[Any]:
        """The results of a function with a tangent rule.

        Args:
            rule: `rule(xs, x_dots) -> (ys, y_dots)`.
            xs: the arguments.
            zero: what the rule gets for the tangent of an argument, of this type, without gradient.
            name: how the rule is called.
        """
        active = list(map(self.is_active, xs))
        count = []

        def tangent(*dots: Any) -> list[Any]:
            dot = iter(dots)
            x_dots = [next(dot) if one else zero(jax.typeof(x)) for x, one in zip(xs, active, strict=True)]
            ys, y_dots = rule(list(map(self.inactive, xs)), x_dots)
            count.append(len(ys))
            return [*ys, *y_dots]

        kinds = only_true(map(jax.typeof, xs), active)
        with self.ruled(name), _jax.set_current_trace(self):
            linear = trace_function(tangent, kinds, kind=Linear, rules=self.rules)
            mixed = any(place is not None for place, _ in linear.results[: count[0]])
            zeros = list(map(_jax.zeros, kinds))
            made = evaluate(linear.jaxpr, linear.consts, zeros) if mixed else []
            ys = linear.leaves(made)[: count[0]] if mixed else [y for _, y in linear.results[: count[0]]]
            any(map(self.is_active, [*ys, *linear.consts]))
        places = [place for place, _ in linear.results[count[0] :]]
        moved = [place is not None for place in places]
        back = functools.partial(Tangent, jaxpr=linear.jaxpr, places=only_true(places, moved))
        results = iter(self.call(back, xs, only_true(ys, moved), linear.consts))
        return [next(results) if one else self.stopped(y) for y, one in zip(ys, moved, strict=True)]

    def by_hijax(self, primitive: Any, xs: Sequence[Any]) -> list[Any]:
        """The results of an operation of hijax, which is a class with a forward and a backward."""
        active = tuple(map(self.is_active, xs))
        name = type(primitive).__name__
        with self.ruled(name), _jax.set_current_trace(self):
            ys, residuals, bwd = _jax.hijax_forward(primitive, list(map(self.inactive, xs)), active)
            any(map(self.is_active, ys))
        rule = functools.partial(Backward, bwd=bwd, active=active, zero=_jax.internal_zero)
        return self.call(rule, xs, ys, residuals)

    def call(
        self, rule: Callable[..., "UserRule"], xs: Sequence[Any], ys: Sequence[Any], residuals: Sequence[Any]
    ) -> list[StandIn]:
        """The results `ys` of a call as values with this way back to its arguments."""
        sources = [x for x in xs if self.is_active(x)]
        aside = [OPERAND if self.owns(r) else r for r in residuals]
        made = rule(xs=len(sources), ys=tuple(map(jax.typeof, ys)), aside=aside)
        operands = self.lowered([*sources, *ys, *filter(self.owns, residuals)])
        outs = _jax.emit(self.staging, ruled, operands, made.ys, {"rule": made})
        return self.stand_ins(outs, [differentiable(y) for y in made.ys], Step(lambda *ys: ys, ys))

    def stopped(self, y: Any) -> Any:
        """A result that has no gradient because its rule says so."""
        if not self.owns(y):
            return y
        (staged,) = _jax.emit(self.staging, STOPPED, [y.staged], [y.aval], {})
        return StandIn(self, staged, False, y.step, y.place)

    def inactive(self, x: Any) -> Any:
        """The same value without its gradient: as an ordinary one, if it has one now."""
        if not self.owns(x):
            return x
        value = self.value(x) if _jax.evaluates(self.around) else None
        return StandIn(self, x.staged, False, x.step, x.place) if value is None else value

    @contextlib.contextmanager
    def ruled(self, name: str) -> Iterator[None]:
        """A rule runs inside."""
        before, self.ruling = self.ruling, name
        try:
            yield
        finally:
            self.ruling = before


OPERAND = object()
"""In the place of a residual that is an operand of the equation."""


@dataclass(frozen=True, eq=False, kw_only=True)
class UserRule:
    """The way back through one call, whose equation has the operands [*xs, *ys, *residuals].

    Attributes:
        xs: how many arguments have gradients.
        ys: the types of the results.
        aside: what the rule has put aside, with `OPERAND` for what is an operand.
    """

    xs: int
    ys: tuple[Any, ...]
    aside: Sequence[Any]

    def split(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The results and the residuals among the operands."""
        end = self.xs + len(self.ys)
        return list(operands[self.xs : end]), list(operands[end:])

    def residuals(self, operands: Sequence[Any]) -> list[Any]:
        """All that the rule has put aside."""
        operand = iter(operands)
        return [next(operand) if one is OPERAND else one for one in self.aside]

    def reads(self, operands: Sequence[Any]) -> Mask:
        """What of [*results, *operands] is read when it runs: all but the arguments."""
        rest = len(operands) - self.xs
        return (False,) * (len(self.ys) + self.xs) + (True,) * rest

    def pullback(self, engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """The way back."""
        raise NotImplementedError


ruled = _jax.Transparent("ruled")
ruled.run = lambda *operands, rule: rule.split(operands)[0]
ruled.def_abstract_eval(lambda *operands, rule: list(rule.ys))


@dataclass(frozen=True, eq=False, kw_only=True)
class Backward(UserRule):
    """The way back that a custom_vjp brings.

    Attributes:
        bwd: `bwd(*residuals, *y_bars) -> x_bars`, with the checks that JAX makes of it.
        active: which of its arguments are the xs.
        zero: what it gets for the cotangent of a result of this type that is zero.
    """

    bwd: Any
    active: Mask
    zero: Callable[[Any], Any]

    def pullback(self, engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """Call it."""
        gives = tuple(one and i < self.xs for i, one in enumerate(asked))

        def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
            bars = [self.zero(y) if bar is None else bar for y, bar in zip(self.ys, y_bars, strict=True)]
            x_bars = only_true(self.bwd(*self.residuals(stash), *bars), self.active)
            x_bars = [_jax.as_cotangent(x_bar, v.aval) for x_bar, v in zip(x_bars, eqn.invars, strict=False)]
            return only([*x_bars, *[None] * (len(asked) - self.xs)], gives)

        return Pullback(gives, backward, self.reads(asked), self.split)


@dataclass(frozen=True, eq=False, kw_only=True)
class Tangent(UserRule):
    """The way back that a custom_jvp brings: its tangent, a program of (*ẋ,) that is linear.

    Attributes:
        jaxpr: the program.
        places: where the ẏ of the results are among its outputs.
    """

    jaxpr: _jax.Jaxpr
    places: Sequence[int]

    def pullback(self, engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """Walk the program backward, at ẋ = 0."""
        outs = len(self.jaxpr.outvars)
        has = dict(zip(self.places, given, strict=True))
        y_bars_given = tuple(has.get(i, False) for i in range(outs))
        plan = engine.of_tangents.plan(self.jaxpr, asked[: self.xs], y_bars_given, (False,) * outs)
        rest = len(asked) - self.xs

        def forward(operands: Sequence[Any]) -> tuple[list[Any], Any]:
            ys, residuals = self.split(operands)
            dots = [_jax.zero_tangent(v.aval) for v in self.jaxpr.invars]
            return ys, plan.forward(self.residuals(residuals), dots)[1]

        def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
            bars = dict(zip(self.places, y_bars, strict=True))
            return [*plan.backward(stash, [bars.get(i) for i in range(outs)]), *[None] * rest]

        return Pullback((*plan.gives, *(False,) * rest), backward, self.reads(asked), forward)


def by_rule_of_user(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A call that has been run by its rule."""
    return eqn.params["rule"].pullback(engine, eqn, given, asked)


def custom(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A call within a program: run by its rule, and walked back through what that has written."""
    if eqn.primitive.name == "custom_vjp_call" and any(asked[: eqn.params["num_consts"]]):
        raise GradientError(
            f"{_jax.function_name(eqn)} is a custom_vjp that closes over a value whose gradient is asked "
            f"for, at {_jax.source_line(eqn)}; its rule speaks of its arguments only: pass the value as one"
        )
    return written_out(lambda *xs: _jax.bind(eqn, xs), engine, eqn, given, asked)


def written_out(function: Callable, engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """The way back through an equation as it is written out by a function that runs rules."""
    traced = trace_function(
        function, [v.aval for v in eqn.invars], asked, Differentiated, engine.rules, alone=True
    )
    places = [place for place, _ in traced.results]
    has = tuple(given[places.index(i)] for i in range(len(traced.jaxpr.outvars)))
    plan = engine.plan(traced.jaxpr, asked, has)

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        ys, stashes = plan.forward(traced.consts, xs)
        return traced.leaves(ys), stashes

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        kept = [bar for bar, place in zip(y_bars, places, strict=True) if place is not None]
        return plan.backward(stash, kept)

    return Pullback(plan.gives, backward, forward=forward)


def linear_call(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A linear function with its transpose: called as a linear function whose transpose is the first."""
    n = eqn.params["num_callee_consts"] + eqn.params["num_res"]
    if any(asked[:n]):
        raise GradientError(
            f"linear_call at {_jax.source_line(eqn)}: the gradient of what it is not linear in is asked for, "
            f"expected that of its linear arguments alone; put stop_gradient around the others"
        )

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        return _jax.bind(eqn, xs), xs[:n]

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        bars = [
            _jax.zeros(v.aval) if bar is None else bar for bar, v in zip(y_bars, eqn.outvars, strict=True)
        ]
        return only([*[None] * n, *_jax.transposed_call(eqn, stash, bars)], asked)

    return Pullback(asked, backward, forward=forward)


def custom_linear_solve(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A linear solve whose operator is a function of its constants."""
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    if jaxprs.transpose_solve is None:
        raise GradientError(
            f"custom_linear_solve at {_jax.source_line(eqn)} has no transpose_solve, expected the solver of "
            f"Aᵀ·b̄ = x̄; pass transpose_solve= or symmetric=True"
        )
    matvec, consts = _jax.open_jaxpr(jaxprs.matvec)
    k, n = lengths.matvec, len(matvec.outvars)
    m = len(eqn.invars) - n
    if any(given[n:]):
        raise GradientError(
            f"custom_linear_solve at {_jax.source_line(eqn)}: what the solver returns beside the solution "
            f"has no gradient, expected a loss of the solution alone; put stop_gradient around the rest"
        )
    plan = engine.plan(matvec, asked=asked[:k] + (False,) * n, given=(True,) * n, wanted=(False,) * n)

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        ys = _jax.bind(eqn, xs)
        return ys, (xs[:m], ys[:n] if any(plan.gives) else None)

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        of_operator, solution = stash
        x_bars = [_jax.zeros(v.aval) if y is None else y for y, v in zip(y_bars, eqn.outvars, strict=True)]
        b_bars = _jax.transposed_solve(eqn, of_operator, x_bars[:n])[:n]
        c_bars = [None] * k
        if solution is not None:
            _, stashes = plan.forward(consts, [*of_operator[:k], *solution])
            c_bars = plan.backward(stashes, [lax.neg(b_bar) for b_bar in b_bars])[:k]
        return only([*c_bars, *[None] * (m - k), *b_bars], gives)

    gives = plan.gives[:k] + (False,) * (m - k) + asked[m:]
    return Pullback(gives, backward, forward=forward)


def only_true(values: Iterable[Any], wanted: Sequence[bool]) -> list[Any]:
    """Those of the values that are wanted."""
    return [value for value, one in zip(values, wanted, strict=True) if one]


def _halves(jvp: Callable) -> Callable:
    """A tangent rule on flat arguments, `(*xs, *x_dots) -> (*ys, *y_dots)`, as one on pairs."""

    def rule(xs: Sequence[Any], x_dots: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        results = jvp(*xs, *x_dots)
        return results[: len(results) // 2], results[len(results) // 2 :]

    return rule
