"""Tracing: what depends on the arguments becomes a program, the rest is computed as it comes.

A function is run once, on stand-ins for the arguments that matter. Each operation on a stand-in is
written into a program and gives a further stand-in. An operation on anything else (data, labels, shapes,
flags) is none of the program's business: it runs where it would have run without us, and its result is
an ordinary value, which Python may look at, branch on and index with. That holds inside jit, vmap, scan
and another gradient as well.

A stand-in has no value of its own, but where the arguments have values, so has all that is made of
them: it is computed when Python asks for it (`if x > 0`, `x[x > 0]`), from the operations that lead there.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.core

from funcnet import _jax
from funcnet.backprop.activity import differentiable, moved
from funcnet.backprop.standin import LocalRef, StandIn, Step, concrete
from funcnet.rules import RULES, Table, rule_name

PRINTS = frozenset({"debug_callback", "debug_print"})
"""Primitives that only tell of values: where these are known, they tell at once."""


@dataclass(frozen=True, eq=False)
class Traced:
    """The program of a function.

    Attributes:
        jaxpr: from the arguments that matter to those results that depend on them.
        consts: the values of its constants.
        results: for each leaf of the result its place among the program's outputs, or None and its value.
        out_tree: the structure of the result.
    """

    jaxpr: _jax.Jaxpr
    consts: Sequence[Any]
    results: Sequence[tuple[int | None, Any]]
    out_tree: Any

    def leaves(self, ys: Sequence[Any]) -> list[Any]:
        """The leaves of the result, from the outputs of the program."""
        return [value if place is None else ys[place] for place, value in self.results]


class Trace(jax.core.Trace):
    """Hands operations on stand-ins to the program that is being traced, and all others on.

    Custom derivatives stay with their functions: each is one operation of the program.

    Attributes:
        staging: JAX's trace that writes the program.
        around: the trace that was there before; None where there is none to hand on to.
        rules: the table of rules, which says where gradients flow.
        has_values: whether values can be known of what is traced: an outer jit has none to give.
    """

    __slots__ = ("around", "has_values", "rules", "staging")

    def __init__(self, staging: Any, around: Any, rules: Table):
        super().__init__()
        self.requires_low = False
        self.staging, self.around, self.rules = staging, around, rules
        self.has_values = not _jax.writes(around)

    def owns(self, x: Any) -> bool:
        """Whether this is a stand-in of this trace."""
        return type(x) is StandIn and x._trace is self

    def is_active(self, x: Any) -> bool:
        """Whether a gradient can flow through this."""
        return self.owns(x) and x.active

    def stand_in(self, staged: Any, active: bool, step: Step | None, place: int = 0) -> StandIn:
        """The stand-in for a value of the program."""
        return StandIn(self, staged, active, step, place)

    def stage_value(self, val: Any) -> Any:
        """JAX's question where a constant belongs."""
        if self.owns(val):
            return val
        if self.around is None:
            return self.stand_in(self.staging.stage_value(val), False, None)
        return self.around.stage_value(val)

    def cur_qdd(self, x: Any) -> Any:
        """JAX's question to values of types with a state."""
        return x.cur_qdd() if self.owns(x) else (self.around or _jax.eval_trace).cur_qdd(x)

    def process_primitive(self, primitive: Any, tracers: Sequence[Any], params: dict[str, Any], /) -> Any:
        """An operation."""
        if primitive.ref_allocating or any(type(x) is LocalRef and x._trace is self for x in tracers):
            return self._on_refs(primitive, tracers, params)
        if not self.takes(tracers):
            avals = [jax.typeof(x) for x in tracers]
            return primitive.bind_with_trace(self.around, tracers, avals, params)
        now = primitive.name in PRINTS and _jax.evaluates(self.around)
        results = self.computed(_step(primitive, tracers, params)) if now else None
        if results is None:
            results = self.staged_primitive(primitive, tracers, params)
        return results if primitive.multiple_results else results[0]

    def staged_primitive(
        self, primitive: Any, tracers: Sequence[Any], params: dict[str, Any]
    ) -> Sequence[Any]:
        """The results of an operation of the program: ordinary values where no gradient flows to them."""
        outs = _listed(primitive, self.staging.process_primitive(primitive, self.lowered(tracers), params))
        inputs = tuple(map(self.is_active, tracers))
        name = rule_name(primitive, params, self.rules)
        active = moved(name, params, inputs, [out.aval for out in outs], self.rules)
        if not (outs and self.has_values) or _jax.has_effects(primitive, params):
            return self.stand_ins(outs, active, None)
        step = _step(primitive, tracers, params)
        known = None if any(active) or not _jax.evaluates(self.around) else self.computed(step)
        return self.stand_ins(outs, active, step) if known is None else known

    def _on_refs(self, primitive: Any, tracers: Sequence[Any], params: dict[str, Any]) -> Any:
        """An operation on mutable arrays of the function's own: one on their values, which it replaces."""
        avals = [jax.typeof(x) for x in tracers]
        if primitive.ref_allocating:
            aval, _ = primitive.abstract_eval(*avals, **params)
            with _jax.set_current_trace(self):
                return LocalRef(self, aval, tracers[0] if tracers else _jax.zeros(aval.inner_aval))
        program, consts = _jax.without_refs(lambda *xs: primitive.bind(*xs, **params), avals)
        refs = [x for x in tracers if type(x) is LocalRef]
        with _jax.set_current_trace(self):
            values = [x.value if type(x) is LocalRef else x for x in tracers]
            results = jax.core.eval_jaxpr(program, consts, *values)
        n = len(results) - len(refs)
        for ref, value in zip(refs, results[n:], strict=True):
            ref.value = value
        return results[:n] if primitive.multiple_results else results[0]

    def process_call(self, call_primitive: Any, f: Any, tracers: Sequence[Any], params: Any, /) -> Any:
        """A function that is called under a name of JAX's."""
        process = self.staging.process_call
        return self.staged_function(lambda f, xs: process(call_primitive, f, xs, params), f, tracers)

    def process_shard_map(self, primitive: Any, f: Any, tracers: Sequence[Any], /, **params: Any) -> Any:
        """A function that runs on each device of a mesh."""
        process = self.staging.process_shard_map
        return self.staged_function(lambda f, xs: process(primitive, f, xs, **params), f, tracers)

    def process_custom_jvp_call(
        self, primitive: Any, fun: Any, jvp: Any, tracers: Sequence[Any], /, **params: Any
    ) -> Any:
        """A function with a tangent rule."""
        if not self.takes(tracers) and not _jax.writes(self.around):
            return self.around.process_custom_jvp_call(primitive, fun, jvp, tracers, **params)
        process = self.staging.process_custom_jvp_call
        return self.staged_function(
            lambda f, xs: process(primitive, f, jvp, xs, **params), fun, tracers, _jax.repeatable(fun)
        )

    def process_custom_vjp_call(
        self, primitive: Any, fun: Any, fwd: Any, bwd: Any, tracers: Sequence[Any], /, **params: Any
    ) -> Any:
        """A function with a forward and a backward."""
        if not self.takes(tracers) and not _jax.writes(self.around):
            return self.around.process_custom_vjp_call(primitive, fun, fwd, bwd, tracers, **params)
        process = self.staging.process_custom_vjp_call
        return self.staged_function(
            lambda f, xs: process(primitive, f, fwd, bwd, xs, **params), fun, tracers, _jax.repeatable(fun)
        )

    def staged_function(
        self, process: Callable, f: Any, tracers: Sequence[Any], run: Callable | None = None
    ) -> Any:
        """The stand-ins for the results of a function that becomes a program by itself.

        Args:
            process: what JAX makes of such a function and its operands.
            f: the function; it may refer to stand-ins of ours.
            tracers: the operands.
            run: how it is run on values; None where that cannot be known before the program runs.
        """
        inner = Inner(self)
        operands = list(map(_jax.canonical, self.lowered(tracers)))
        outs = process(_jax.like(f, functools.partial(inner.program, f)), operands)
        active = any(map(self.is_active, [*tracers, *inner.closed_over]))
        step = Step(run, tracers) if run and not inner.closed_over else None
        places = itertools.count()
        return _jax.mapped(
            lambda out: self.stand_in(out, active and differentiable(out.aval), step, next(places)), outs
        )

    def within(self, f: Any, tracers: Sequence[Any]) -> Any:
        """The operations of a function of JAX's, in this trace."""
        with _jax.set_current_trace(self):
            return f.call_wrapped(*tracers)

    def takes(self, tracers: Sequence[Any]) -> bool:
        """Whether an operation on these belongs to the program."""
        return self.around is None or any(map(self.owns, tracers))

    def lowered(self, tracers: Iterable[Any]) -> list[Any]:
        """The same values as the program knows them."""
        return list(map(self.known, tracers))

    def known(self, x: Any) -> Any:
        """The same value as the program knows it."""
        return x.staged if self.owns(x) else x

    def stand_ins(self, outs: Sequence[Any], active: Sequence[bool], step: Step | None) -> list[StandIn]:
        """The stand-ins for the outputs of one operation."""
        flags = zip(outs, active, strict=True)
        return [self.stand_in(out, one, step, i) for i, (out, one) in enumerate(flags)]

    def value(self, stand_in: StandIn) -> Any:
        """The value of a stand-in, or None: an outer jit, vmap or scan has none to give."""
        values = self.computed(stand_in.step)
        return None if values is None else concrete(values[stand_in.place])

    def computed(self, step: Step | None) -> list[Any] | None:
        """The values of a step, without what a transformation around adds; None if they are not known now."""
        steps = self._steps_to(step) if self.has_values else None
        if step is None or steps is None:
            return None
        with _jax.set_current_trace(_jax.eval_trace):
            for one in steps:
                assert one.run is not None
                one.values = list(one.run(*map(self._value_of, one.inputs)))
        return step.values

    def _value_of(self, x: Any) -> Any:
        return concrete(x.step.values[x.place] if self.owns(x) else x)

    def _steps_to(self, last: Step | None) -> list[Step] | None:
        """The steps still to run, in order; None if one of their inputs has no value."""
        order: dict[Step, None] = {}
        pending: list[tuple[Step | None, bool]] = [(last, False)]
        while pending:
            step, is_ready = pending.pop()
            if step is None:
                return None
            if is_ready:
                order[step] = None
            elif step.values is None and step not in order:
                if any(not self.owns(x) and concrete(x) is None for x in step.inputs):
                    return None
                pending.append((step, True))
                pending.extend((x.step, False) for x in step.inputs if self.owns(x))
        return list(order)


class Inner(Trace):
    """The trace of a function that becomes a program by itself, within the program of another trace.

    Attributes:
        outer: the other trace.
        closed_over: the stand-ins of the other trace that the function has used.
    """

    __slots__ = ("closed_over", "outer")

    def __init__(self, outer: Trace):
        super().__init__(None, None, outer.rules)
        self.outer, self.closed_over = outer, []

    def program(self, f: Any, *operands: Any) -> Any:
        """Run the function on these operands of the program that is now being traced."""
        self.staging = _jax.current_trace()
        with _jax.set_current_trace(self):
            outs = _jax.call(f, *(self.stand_in(x, False, None) for x in operands))
        return _jax.mapped(self.known, outs)

    def owns(self, x: Any) -> bool:
        """Whether this is a stand-in of this trace, or of one around it."""
        return super().owns(x) or self.outer.owns(x)

    def known(self, x: Any) -> Any:
        """The same value as the program knows it."""
        if not self.outer.owns(x):
            return super().known(x)
        self.closed_over.append(x)
        return self.outer.known(x)


def trace_function(
    f: Callable,
    xs: Sequence[Any],
    active: Sequence[bool] | None = None,
    kind: type[Trace] = Trace,
    rules: Table = RULES,
    complete: bool = False,
    alone: bool = False,
) -> Traced:
    """Trace `f(*xs)`.

    Args:
        f: a function of arrays to a pytree.
        xs: the arguments that matter, or types in their place.
        active: which of them a gradient is asked for; all by default.
        kind: what becomes of custom derivatives.
        rules: the table of rules, which says where gradients flow.
        complete: whether results that do not depend on the arguments are outputs of the program too.
        alone: whether all operations belong to the program: it may then be run anywhere.
    """
    around = None if alone else _jax.current_trace()
    found: list[Any] = []

    def program(*tracers: Any) -> list[Any]:
        trace = kind(_jax.current_trace(), around, rules)
        asked = [True] * len(tracers) if active is None else active
        steps = [None if concrete(x) is None else Step(None, (), [x]) for x in xs]
        arguments = map(trace.stand_in, tracers, asked, steps)
        with _jax.set_current_trace(trace):
            leaves, out_tree = jax.tree.flatten(f(*arguments))
        outs = [y for y in leaves if complete or trace.owns(y)]
        places = iter(range(len(outs)))
        found.append([(next(places), None) if complete or trace.owns(y) else (None, y) for y in leaves])
        found.append(out_tree)
        trace.invalidate()
        return trace.lowered(outs)

    return Traced(*_jax.staged(program, list(map(_jax.type_of, xs)), _jax.function_info(f)), *found)


def _step(primitive: Any, tracers: Sequence[Any], params: dict[str, Any]) -> Step:
    """How the values of an operation come about, on the mesh that is set now."""
    mesh = jax.sharding.get_abstract_mesh()

    def run(*xs: Any) -> list[Any]:
        with jax.sharding.use_abstract_mesh(mesh):
            return _listed(primitive, primitive.bind(*xs, **params))

    return Step(run, tracers)


def _listed(primitive: Any, outs: Any) -> list[Any]:
    return list(outs) if primitive.multiple_results else [outs]
