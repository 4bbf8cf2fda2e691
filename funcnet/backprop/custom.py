"""Functions with derivatives of their users' own: custom_jvp and custom_vjp.

The user's rule is the gradient, and it is run as JAX runs it: on the values that the function is run on,
when it is run. A custom_vjp brings both sweeps. Its forward is traced in the place of the function, and
what it puts aside may be anything; its backward is called on the way back with that and ȳ. A custom_jvp
brings a tangent ẏ = J(x)·ẋ, which is traced as a program of ẋ alone: it is linear, and the way back is
that program walked backward, x̄ = J(x)ᵀ·ȳ.

In a program such a call is one equation, `ruled`: of the arguments to which gradients go, the results,
which it hands through, and what the rule has put aside.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Any

import jax

from funcnet import _jax
from funcnet._errors import GradientError
from funcnet.backprop.activity import STOPPED, Mask, differentiable
from funcnet.backprop.alive import Lives
from funcnet.backprop.program import evaluate
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.standin import StandIn, Step
from funcnet.backprop.sweep import Engine
from funcnet.backprop.tracing import Trace, trace_function
from funcnet.backprop.user_rules import OPERAND, Backward, Tangent, UserRule, ruled
from funcnet.rules import Table, rule_name
from funcnet.rules.functions import DEFINED


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
        if any(map(self.is_active, tracers)) and not self.has_rule(fun):
            zero = _jax.symbolic_zero if params["symbolic_zeros"] else _jax.zero_tangent
            names = _jax.name_of(fun), _jax.name_of(jvp)
            return self.by_tangent(_halves(jvp.call_wrapped), tracers, zero, *names)
        if _jax.evaluates(self.around) and not any(map(self.is_active, tracers)):
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
            if not (params["symbolic_zeros"] or self.around is None or _jax.evaluates(self.around)):
                back, residuals = self.closed(back, residuals, ys, _jax.name_of(bwd))
            name = _jax.name_of(fun)
            rule = functools.partial(Backward, name=name, bwd=back, active=active, zero=zero)
            return self.call(rule, tracers, ys, residuals)
        if _jax.evaluates(self.around):
            with self.ruled(_jax.name_of(fun)):
                return self.within(fun, tracers)
        return super().process_custom_vjp_call(primitive, fun, fwd, bwd, tracers, **params)

    def closed(
        self, bwd: Callable, residuals: Sequence[Any], ys: Sequence[Any], name: str
    ) -> tuple[Callable, Sequence[Any]]:
        """A backward as a program of its own, and all that it reads beside ȳ.

        A backward may close over values of this trace to which no gradient goes (a mask, a bound). Where they
        have no value now, they are none any more when it runs, but as residuals they are.
        """
        kinds = list(map(jax.typeof, ys))
        flows = list(map(differentiable, kinds))

        def of_floats(*floats: Any) -> Any:
            bar = iter(floats)
            y_bars = [next(bar) if one else _jax.zero_tangent(y) for y, one in zip(kinds, flows, strict=True)]
            return list(bwd(*residuals, *y_bars))

        with self.ruled(name), _jax.set_current_trace(self):
            traced = trace_function(of_floats, list(compress(kinds, flows)), rules=self.rules, alone=True)
            any(map(self.is_active, traced.consts))
        jaxpr, x_bars = _jax.without_constants(traced.jaxpr), traced.out_tree
        places = [place for place, _ in traced.results]
        n, m = len(traced.consts), places.count(None)

        def run(*operands: Any) -> Sequence[Any]:
            consts, aside, y_bars = operands[:n], iter(operands[n : n + m]), operands[n + m :]
            outs = evaluate(jaxpr, (), [*compress(y_bars, flows), *consts])
            return x_bars.unflatten(next(aside) if place is None else outs[place] for place in places)

        return run, [*traced.consts, *(value for place, value in traced.results if place is None)]

    def has_rule(self, fun: Any) -> bool:
        """Whether a function has the name of one of JAX's for which there is a rule in the table."""
        names = DEFINED.get(_jax.defined_in(fun.debug_info.func_src_info), ())
        return any(name in self.rules for name in names)

    def by_tangent(
        self, rule: Callable, xs: Sequence[Any], zero: Callable, name: str, ruling: str
    ) -> list[Any]:
        """The results of a function with a tangent rule.

        Args:
            rule: `rule(xs, x_dots) -> (ys, y_dots)`.
            xs: the arguments.
            zero: what the rule gets for the tangent of an argument, of this type, without gradient.
            name: how the function is called.
            ruling: how the rule is called.
        """
        active = list(map(self.is_active, xs))
        count = []

        def tangent(*dots: Any) -> list[Any]:
            dot = iter(dots)
            x_dots = [next(dot) if one else zero(jax.typeof(x)) for x, one in zip(xs, active, strict=True)]
            ys, y_dots = rule(list(map(self.inactive, xs)), x_dots)
            count.append(len(ys))
            return [*ys, *y_dots]

        kinds = list(compress(map(jax.typeof, xs), active))
        with self.ruled(ruling), _jax.set_current_trace(self):
            linear = trace_function(tangent, kinds, kind=Linear, rules=self.rules)
            mixed = any(place is not None for place, _ in linear.results[: count[0]])
            zeros = list(map(_jax.zeros, kinds))
            made = evaluate(linear.jaxpr, linear.consts, zeros) if mixed else []
            ys = linear.leaves(made)[: count[0]] if mixed else [y for _, y in linear.results[: count[0]]]
            any(map(self.is_active, [*ys, *linear.consts]))
        moved = [place is not None for place, _ in linear.results[count[0] :]]
        places = [place for place, _ in linear.results[count[0] :] if place is not None]
        back = functools.partial(Tangent, name=name, jaxpr=linear.jaxpr, places=places)
        results = iter(self.call(back, xs, list(compress(ys, moved)), linear.consts))
        return [next(results) if one else self.stopped(y) for y, one in zip(ys, moved, strict=True)]

    def by_hijax(self, primitive: Any, xs: Sequence[Any]) -> list[Any]:
        """The results of an operation of hijax, which is a class with a forward and a backward."""
        active = tuple(map(self.is_active, xs))
        name = type(primitive).__name__
        with self.ruled(name), _jax.set_current_trace(self):
            ys, residuals, bwd = _jax.hijax_forward(primitive, list(map(self.inactive, xs)), active)
            any(map(self.is_active, ys))
        rule = functools.partial(Backward, name=name, bwd=bwd, active=active, zero=_jax.internal_zero)
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


def custom(engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
    """A call within a program: run by its rule, and walked back through what that has written."""
    if eqn.primitive.name == "custom_vjp_call" and any(asked[: eqn.params["num_consts"]]):
        raise GradientError(
            f"{_jax.function_name(eqn)} is a custom_vjp that closes over a value whose gradient is asked "
            f"for, at {_jax.source_line(eqn)}; its rule speaks of its arguments only: pass the value as one"
        )
    by_name = _jax.called_function(eqn.primitive, eqn.params) in DEFINED
    if by_name and _is_of_table(_jax.called(eqn)[0], engine.rules):
        return engine.calls["closed_call"](engine, eqn, given, asked)
    call = _jax.nameless(eqn) if by_name else eqn
    return written_out(lambda *xs: _jax.bind(call, xs), engine, eqn, given, asked)


def _is_of_table(jaxpr: _jax.Jaxpr, rules: Table) -> bool:
    """Whether a program is one call for which the table has a rule, as `expn` is with its n written in."""
    if len(jaxpr.eqns) != 1 or jaxpr.eqns[0].primitive.name not in _jax.NAMED_CALLS:
        return False
    return rule_name(jaxpr.eqns[0].primitive, jaxpr.eqns[0].params, rules) in rules


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

    def of_outputs(values: Sequence[Any]) -> list[Any]:
        return [value for value, place in zip(values, places, strict=True) if place is not None]

    def backward(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        return plan.backward(stash, of_outputs(y_bars))

    def masked(stash: Any, y_bars: Sequence[Any], lives: Lives) -> tuple[list[Any], Lives]:
        return plan.masked_backward(stash, of_outputs(y_bars), of_outputs(lives))

    return Pullback(plan.gives, backward, forward=forward, masked=masked)


def _halves(jvp: Callable) -> Callable:
    """A tangent rule on flat arguments, `(*xs, *x_dots) -> (*ys, *y_dots)`, as one on pairs."""

    def rule(xs: Sequence[Any], x_dots: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        results = jvp(*xs, *x_dots)
        return results[: len(results) // 2], results[len(results) // 2 :]

    return rule
