"""Gradients that are no numbers, and the way from them to the gate that sent the first back.

The gradient at a value is the sum of what its uses send back (CS231n 2019, lecture 4, slide 88). From one
that is not finite the search goes to the uses that sent such a thing, and from these gates to their outputs
if the gradient was none there already. It ends at a gate that got finite gradients and sent back others, or
at a sum of finite ones that overflows. Calls, branches and steps of loops are searched alike, and the
backward of a user's custom_vjp is a program whose values are searched.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet import _jax
from funcnet.backprop.activity import TRANSPARENT, Mask
from funcnet.backprop.alive import Lives
from funcnet.backprop.custom import Differentiated
from funcnet.backprop.engine import PULLBACKS, engine
from funcnet.backprop.foreign import by_their_rule
from funcnet.backprop.loops import like, through_the_loop
from funcnet.backprop.program import all_values, read
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.sweep import Engine
from funcnet.backprop.tracing import trace_function
from funcnet.nonfinite.finding import Gate, Operand, Where
from funcnet.nonfinite.forward import Values, has, not_finite, opened
from funcnet.nonfinite.loops import LOOPS, Loop
from funcnet.rules import Table, rule_name


class Unmasked(Engine):
    """An engine that multiplies a zero which a select has sent with an infinite slope, as JAX does."""

    def pullback(self, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """The way back through one equation for all cotangents alike."""
        return dataclasses.replace(super().pullback(eqn, given, asked), masked=None)


def engines(rules: Table) -> tuple[Engine, Engine]:
    """funcnet's engine, and the one that does as JAX does."""
    return engine(rules), Unmasked(rules, PULLBACKS, by_their_rule)


class Gradients:
    """Every gradient of a program that has run forward and backward.

    Attributes:
        engine: the rules.
        plan: the way back.
        values: the value of each variable.
        bars: the gradient at each variable, and where it is alive.
        sent: by the number of an equation, what it sends back to each of its operands.
        where: what is around the program.
        names: how its operands are called.
    """

    def __init__(
        self,
        engine: Engine,
        program: tuple[_jax.Jaxpr, Sequence[Any]],
        xs: Sequence[Any],
        asked: Mask,
        y_bars: Sequence[Any],
        lives: Lives,
        where: Where,
        names: Sequence[str],
    ):
        jaxpr, consts = program
        jaxpr, xs = _jax.without_constants(jaxpr), [*xs, *consts]
        asked, names = asked + (False,) * len(consts), [*names, *[""] * len(consts)]
        self.engine, self.where = engine, where
        self.plan = engine.plan(jaxpr, asked, tuple(y_bar is not None for y_bar in y_bars))
        self.jaxpr = self.plan.jaxpr
        self.names = dict(zip(self.jaxpr.invars, names, strict=True))
        self.values = all_values(self.jaxpr)((), xs)

        @jax.jit
        def swept(values: list[Any], y_bars: Sequence[Any], lives: Lives) -> Any:
            known, bars = dict(zip(self.values, values, strict=True)), self.plan.start(y_bars, lives)
            stashes = []
            for i, pullback in self.plan.pullbacks.items():
                atoms = self.jaxpr.eqns[i].invars
                ahead = pullback.forward and pullback.forward([read(known, atom) for atom in atoms])
                stashes.append(ahead[1] if ahead else self.plan.stash(i, known))
            sent = dict(self.plan.steps(stashes, bars))
            return [bars.get(v, (None, None)) for v in known], sent

        bars, self.sent = swept(list(self.values.values()), list(y_bars), list(lives))
        self.bars = dict(zip(self.values, bars, strict=True))

    def source(self, k: int) -> Gate | None:
        """The gate from which the gradient at operand k is not finite; None if it came with the results."""
        gates: list[tuple[int, Gate]] = []
        pending, seen = [self.jaxpr.invars[k]], set()
        while pending:
            v = pending.pop()
            if v in seen or not has(not_finite, self.bar(v)):
                continue
            seen.add(v)
            uses = [
                (i, j)
                for i, x_bars in self.sent.items()
                for j, (atom, x_bar) in enumerate(zip(self.jaxpr.eqns[i].invars, x_bars, strict=True))
                if atom is v and has(not_finite, x_bar)
            ]
            if not uses and v not in self.jaxpr.outvars:
                gates.append(self.summed(v))
            for i, j in uses:
                above = [y for y in self.jaxpr.eqns[i].outvars if has(not_finite, self.bar(y))]
                pending += above
                if not above:
                    gates.append((i, self.inside(i, j) or self.gate(i, j)))
        return max(gates, key=lambda found: found[0])[1] if gates else None

    def inside(self, i: int, j: int) -> Gate | None:
        """The gate in the program of equation i that sends this back to operand j; None for a gate."""
        eqn, pullback = self.jaxpr.eqns[i], self.plan.pullbacks[i]
        name, xs = eqn.primitive.name, [read(self.values, atom) for atom in eqn.invars]
        names, where = list(map(self.name, eqn.invars)), self.where.into(eqn)
        y_bars = [
            self.bar(v) if one else None for v, one in zip(eqn.outvars, self.plan.given_to[i], strict=True)
        ]
        if rule_name(eqn.primitive, eqn.params, self.engine.rules) in self.engine.rules:
            return None
        if name in LOOPS:
            loop = LOOPS[name](eqn, xs)
            return search_loop(self.engine, loop, pullback.gives, y_bars, where, loop.names(names))
        if name == "custom_vjp_call" and not _jax.is_gate(eqn):
            return self.in_backward(eqn, xs, y_bars, pullback.gives, j, where)
        if name == "custom_jvp_call":
            return self.in_jvp(eqn, xs, j, where)
        if name not in TRANSPARENT and name != "cond":
            return None
        found = opened(eqn, xs)
        assert found is not None
        program, first = found
        lives = [self.bars[v][1] if pullback.masked else None for v in eqn.outvars]
        inner = Gradients(
            self.engine, program, xs[first:], pullback.gives[first:], y_bars, lives, where, names[first:]
        )
        return inner.source(j - first)

    def in_backward(
        self, eqn: _jax.Equation, xs: Sequence[Any], y_bars: Sequence[Any], asked: Mask, j: int, where: Where
    ) -> Gate | None:
        """The gate in the backward of a user's custom_vjp, which is run here once more for its own lines."""
        avals = [v.aval for v in eqn.invars]
        call = functools.partial(_jax.bind, eqn)
        traced = trace_function(
            lambda *xs: call(xs), avals, asked, Differentiated, self.engine.rules, alone=True
        )
        values = all_values(traced.jaxpr)(traced.consts, xs)
        (ruled,) = (one for one in traced.jaxpr.eqns if one.primitive.name == "ruled")
        given = tuple(y_bar is not None for y_bar in y_bars)
        pullback = ruled.params["rule"].pullback(self.engine, ruled, given, (True,) * len(ruled.invars))
        _, stash = pullback.forward([read(values, atom) for atom in ruled.invars])
        place = sum(asked[:j])

        def backward(stash: Any, y_bars: Any) -> Any:
            return pullback.backward(stash, y_bars)[place]

        jaxpr, consts = _jax.open_jaxpr(jax.make_jaxpr(backward)(stash, y_bars))
        where = dataclasses.replace(where, within=(*where.within[:-1], f"the backward of {where.within[-1]}"))
        xs = jax.tree.leaves((stash, y_bars))
        return _first_of(Values(jaxpr, consts, xs, where, [""] * len(xs)))

    def in_jvp(self, eqn: _jax.Equation, xs: Sequence[Any], j: int, where: Where) -> Gate | None:
        """The gate in the jvp of a user's custom_jvp that makes the slope by operand j, without its line.

        JAX traces a jvp once, in the place of its call.
        """

        def slopes(x: Any) -> Any:
            return jax.jvp(lambda x: _jax.bind(eqn, [*xs[:j], x, *xs[j + 1 :]]), (x,), (jnp.ones_like(x),))[1]

        jaxpr, consts = _jax.open_jaxpr(jax.make_jaxpr(slopes)(xs[j]))
        jvp = ", ".join(filter(None, (f"the jvp of {where.within[-1]}", _jax.jvp_place(eqn))))
        where = dataclasses.replace(where, within=(*where.within[:-1], jvp))
        return _first_of(Values(jaxpr, consts, [xs[j]], where, [""]))

    def gate(self, i: int, j: int) -> Gate:
        """What is known of a gate that sends this back to its operand j."""
        eqn = self.jaxpr.eqns[i]
        operands = tuple(Operand(self.name(atom), read(self.values, atom)) for atom in eqn.invars)
        upstream = tuple(self.bar(v) for v in eqn.outvars)
        formula = formula_of(eqn, self.engine.rules)
        return self.where.gate("backward", eqn, operands, self.sent[i][j], upstream=upstream, formula=formula)

    def summed(self, v: Any) -> tuple[int, Gate]:
        """The uses of a value, each of which sends back finite numbers, but their sum is not finite."""
        places = [
            (i, x_bar)
            for i, x_bars in self.sent.items()
            for atom, x_bar in zip(self.jaxpr.eqns[i].invars, x_bars, strict=True)
            if atom is v and x_bar is not None
        ]
        i = min(place for place, _ in places)
        gate = self.where.gate(
            "backward",
            self.jaxpr.eqns[i],
            (Operand(self.name(v), self.values[v]),),
            self.bar(v),
            upstream=tuple(x_bar for _, x_bar in places),
            formula="x̄ = Σ of what the uses of x send back",
        )
        return i, dataclasses.replace(gate, name="the sum of the gradients", primitive="copy")

    def bar(self, v: Any) -> Any:
        """The gradient at a variable, or None."""
        return self.bars[v][0]

    def name(self, atom: Any) -> str:
        """How an operand is called, if it is one of the program's own."""
        return "" if _jax.is_literal(atom) else self.names.get(atom, "")


def _first_of(made: Values) -> Gate | None:
    """The gate that makes the first NaN or infinity in what a user's rule sends back."""
    for test in (jnp.isnan, jnp.isinf):
        bad = [atom for atom in made.jaxpr.outvars if has(test, made.value(atom))]
        if bad:
            gate = made.source(bad, test).gate
            return gate and dataclasses.replace(gate, direction="backward")
    return None


def formula_of(eqn: _jax.Equation, rules: Table) -> str:
    """The formula of a gate's way back, as far as it is on record."""
    name = rule_name(eqn.primitive, eqn.params, rules)
    if name in rules:
        return rules[name].formula
    if eqn.primitive.name != "custom_vjp_call":
        return ""
    gate = getattr(_jax.backward_function(eqn), "gate", None)
    return gate.formula if gate else ""


def search_loop(
    engine: Engine, loop: Loop, asked: Mask, y_bars: Sequence[Any], where: Where, names: Sequence[str]
) -> Gate | None:
    """The gate in the last step of a loop that sends back what is not finite.

    Args:
        engine: the rules.
        loop: it.
        asked: which of its operands want a gradient.
        y_bars: the gradients of its results, all finite; None for zero.
        where: what is around its steps.
        names: how the operands of a step are called.
    """
    n, c, given = loop.consts, loop.carries, tuple(y_bar is not None for y_bar in y_bars)
    plan, given = through_the_loop(engine, loop.body, asked, given, slice(n, n + c))
    last = [
        (_jax.zeros(v.aval) if bar is None else bar) if one else None
        for bar, v, one in zip(y_bars[:c], loop.body.outvars[:c], given[:c], strict=True)
    ]
    outs = [loop.turned(bar) if one else None for bar, one in zip(y_bars[c:], given[c:], strict=True)]

    @jax.jit
    def swept(last: Any, carried: Any, slices: Any, outs: Any) -> Any:
        def back(bars: Any, step: Any) -> Any:
            carry, slices, outs = step
            _, stashes = plan.forward(loop.values, [*loop.xs[:n], *carry, *slices])
            x_bars = plan.backward(stashes, [*bars, *outs])
            bad = [False if x is None else jnp.any(not_finite(x)) for x in x_bars]
            return like(bars, x_bars[n : n + c]), (bars, jnp.array(bad, bool))

        return lax.scan(back, last, (carried, slices, outs), length=loop.length, reverse=True)[1]

    bars, bad = swept(last, loop.carried, loop.slices, outs)
    if not bad.any():
        return None
    t = int(jnp.argwhere(bad.any(axis=1))[-1, 0])
    at_t = [None if bar is None else bar[t] for bar in (*bars, *outs)]
    inner = Gradients(
        engine,
        (loop.body, loop.values),
        loop.operands(t),
        plan.gives,
        at_t,
        [None] * len(at_t),
        where.step(t, loop.length),
        names,
    )
    return inner.source(int(bad[t].argmax()))
