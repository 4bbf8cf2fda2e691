"""The two sweeps over a jaxpr: forward, which keeps a stash, and backward, which adds up gradients.

A plan is made before either runs. Walking the equations from the last to the first, it asks the rule
of each equation on a path from a wanted input to an output with a cotangent for its pullback, and so
knows which values the forward sweep must keep and which cotangents will be symbolic zeros: those are
None and never become arrays. Then the forward sweep runs every live equation once, and the backward
sweep runs the pullbacks in reverse:

    v̄ = Σ over the uses of v of the x̄ that each use sends back          (CS231n 2019, lecture 4, slide 88)
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from funcnet import _jax
from funcnet._errors import FuncnetError, MissingRuleError
from funcnet.backprop.activity import Mask, active, is_in, those_in
from funcnet.backprop.again import Made, computed_again, made_by
from funcnet.backprop.alive import Alive, Lives, parted
from funcnet.backprop.carried import with_gates_beside
from funcnet.backprop.composed import with_calls
from funcnet.backprop.program import read, step
from funcnet.backprop.pullback import Pullback, at_once, by_rule
from funcnet.backprop.rests import Rests
from funcnet.rules import REFUSED, Table, rule_name

Bars = dict[_jax.Var, tuple[Any, Alive | None]]
"""Gradients, and where each is alive."""

_NONE = (None, None)


@dataclass(frozen=True, eq=False)
class Engine:
    """A table of rules, and the pullbacks of equations that hold programs of their own (jit, scan, …).

    Attributes:
        rules: the table.
        calls: by the name of the primitive, how to make a pullback of its equation.
        others: likewise for primitives that are in neither; it may answer None.
        linear: whether the programs are tangents.
    """

    rules: Table
    calls: Mapping[str, Callable[["Engine", _jax.Equation, Mask, Mask], Pullback]]
    others: Callable[["Engine", _jax.Equation, Mask, Mask], Pullback | None]
    linear: bool = False

    @functools.cached_property
    def of_tangents(self) -> "Engine":
        """The engine for tangents: they are linear, and so walked through without rules of users' own."""
        through = self.calls["closed_call"]
        calls = {**self.calls, "custom_jvp_call": through, "custom_vjp_call": through}
        return dataclasses.replace(self, calls=calls, linear=True)

    def pullback(self, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """The way back through one equation, from the given cotangents to the gradients asked for."""
        name = rule_name(eqn.primitive, eqn.params, self.rules)
        if name in self.rules:
            try:
                return by_rule(name, eqn, given, asked, self.rules)
            except FuncnetError as error:
                with _jax.planning(eqn):
                    raise type(error)(f"{error}; used at {_jax.blamed_line(eqn)}") from error
        with _jax.planning(eqn):
            found = self.calls[name](self, eqn, given, asked) if name in self.calls else None
            found = found or self.others(self, eqn, given, asked)
        if found is None:
            raise MissingRuleError(_missing(eqn))
        return found

    def plan(
        self,
        jaxpr: _jax.Jaxpr,
        asked: Mask,
        given: Mask,
        wanted: Mask | None = None,
        known: Sequence[_jax.Var] | None = None,
        as_written: bool = False,
    ) -> "Plan":
        """The sweeps over a jaxpr.

        Args:
            jaxpr: the program.
            asked: which inputs want a gradient.
            given: which outputs have a cotangent.
            wanted: which outputs the forward sweep must return; all of them by default.
            known: where the program has run before, the variables whose values were kept.
            as_written: whether its equations stay where they are, as those of a graph, with their values.
        """
        jaxpr = with_calls(_jax.without_local_refs(jaxpr), self.rules)
        jaxpr = jaxpr if as_written else with_gates_beside(jaxpr, self.rules)
        moved = active(jaxpr, asked, self.rules)
        reached = {v for v, has in zip(jaxpr.outvars, given, strict=True) if has and is_in(moved, v)}
        pullbacks, given_to, remade = {}, {}, {}
        rests = Rests(jaxpr, self.rules)
        for i, eqn in reversed(list(enumerate(jaxpr.eqns))):
            has = tuple(map(reached.__contains__, eqn.outvars))
            if any(has):
                serving, made = rests.rereading(eqn)
                pullback, given_to[i] = self.pullback(serving, has, those_in(moved, eqn.invars)), has
                pullbacks[i] = at_once(pullback, made) if any(made) and pullback.forward else pullback
                read = compress(enumerate(made), pullbacks[i].reads)
                remade |= {(i, k): part.whole for k, part in read if part}
                reached.update(compress(eqn.invars, pullbacks[i].gives))
        gives = tuple(one and v in reached for v, one in zip(jaxpr.invars, asked, strict=True))
        wanted = wanted or (True,) * len(jaxpr.outvars)
        again = computed_again(jaxpr, pullbacks, wanted) if _jax.is_writing() else {}
        return Plan(jaxpr, pullbacks, given_to, gives, given, wanted, again, known, remade)

    @functools.lru_cache(maxsize=512)  # noqa: B019 — an engine lives as long as its table of rules
    def kept_plan(self, jaxpr: _jax.Jaxpr, asked: Mask, given: Mask) -> "Plan":
        """The plan of a program that may come again: a jitted function's, a loop's body, a branch."""
        plan = self.plan(jaxpr, asked, given)
        return dataclasses.replace(plan, again=computed_again(plan.jaxpr, plan.pullbacks, plan.wanted))


@dataclass(frozen=True, eq=False)
class Plan:
    """The two sweeps over one jaxpr, for certain inputs and outputs.

    Attributes:
        jaxpr: the program.
        pullbacks: by the number of their equation, in the order of the way back.
        given_to: for each of them, which outputs of its equation have a cotangent.
        gives: which inputs get a gradient.
        given: which outputs have a cotangent.
        wanted: which outputs the forward sweep returns; the others may be None.
        again: the values that are not kept for rules that read them, with the equations that make them again.
        known: for a program that runs once more, the variables whose values were kept of its first run. What
            has an effect does not have it again. None for the first run.
        rests: by the numbers of an equation and of one of its outputs and inputs: how that is made for its
            rule, which must not read what rounding has left of it.
    """

    jaxpr: _jax.Jaxpr
    pullbacks: Mapping[int, Pullback]
    given_to: Mapping[int, Mask]
    gives: Mask
    given: Mask
    wanted: Mask
    again: Mapping[_jax.Var, _jax.Equation]
    known: Sequence[_jax.Var] | None = None
    rests: Mapping[tuple[int, int], Made] = dataclasses.field(default_factory=dict)

    def forward(
        self, consts: Sequence[Any], xs: Sequence[Any], known: Sequence[Any] = ()
    ) -> tuple[list[Any], list[Any]]:
        """Run every live equation: the outputs, and the stashes of the pullbacks, last one first.

        Args:
            consts: the values of the jaxpr's constants.
            xs: its inputs; those that it does not read may be None.
            known: the values that were kept of its first run.
        """
        givens = [*self.jaxpr.constvars, *self.jaxpr.invars, *(self.known or ())]
        values = dict(zip(givens, [*consts, *xs, *known], strict=True))
        stashes = []
        eqns = self.jaxpr.eqns
        for i, live, dead in self.schedule:
            eqn, pullback = eqns[i], self.pullbacks.get(i)
            if live:
                if pullback and pullback.forward:
                    atoms = zip(eqn.invars, pullback.reads_inputs(eqn), strict=True)
                    inputs = [read(values, v) if one else None for v, one in atoms]
                    with _jax.context_of(eqn):
                        outputs, stash = pullback.forward(inputs)
                    stashes.append(stash)
                    values.update(zip(eqn.outvars, outputs, strict=True))
                else:
                    step(values, eqn)
            if pullback and not pullback.forward:
                stashes.append(self.stash(i, values))
            for v in dead:
                values.pop(v, None)
        ys = [
            read(values, v) if one else None for v, one in zip(self.jaxpr.outvars, self.wanted, strict=True)
        ]
        return ys, stashes[::-1]

    def backward(self, stashes: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
        """Run the pullbacks from the last to the first: a gradient for each input, or None."""
        return self.masked_backward(stashes, y_bars, [None] * len(y_bars))[0]

    def masked_backward(
        self, stashes: Sequence[Any], y_bars: Sequence[Any], lives: Lives
    ) -> tuple[list[Any], Lives]:
        """The same for cotangents that are alive in places only, and where the gradients are alive."""
        bars = self.start(y_bars, lives)
        for _ in self.steps(stashes, bars, dict.pop):
            pass
        asked = zip(self.jaxpr.invars, self.gives, strict=True)
        ends = [bars.get(v, _NONE) if one else _NONE for v, one in asked]
        return [x_bar for x_bar, _ in ends], [live for _, live in ends]

    def start(self, y_bars: Sequence[Any], lives: Lives | None = None) -> Bars:
        """The gradients before the first step back: those of the results."""
        bars: Bars = {}
        for atom, y_bar, live in zip(self.jaxpr.outvars, y_bars, lives or [None] * len(y_bars), strict=True):
            if not _jax.is_literal(atom):
                accumulate(bars, atom, y_bar, live)
        return bars

    def steps(
        self, stashes: Sequence[Any], bars: Bars, take: Callable = dict.get
    ) -> Iterator[tuple[int, Sequence[Any]]]:
        """Run the pullbacks, adding what they send back to `bars`.

        Yields the number of each equation and what it sends back to its inputs. In the end `bars` has the
        gradient at every variable or, where `take` pops them, at the inputs only.
        """
        eqns = self.jaxpr.eqns
        for (i, pullback), stash in zip(self.pullbacks.items(), stashes, strict=True):
            eqn = eqns[i]
            with _jax.context_of(eqn):
                came = [take(bars, v, _NONE) for v in eqn.outvars]
                x_bars, lives = self._sent(i, eqn, pullback, stash, came)
                for atom, x_bar, live in zip(eqn.invars, x_bars, lives, strict=True):
                    accumulate(bars, atom, x_bar, live)
            yield i, x_bars

    def _sent(
        self,
        i: int,
        eqn: _jax.Equation,
        pullback: Pullback,
        stash: Any,
        came: Sequence[tuple[Any, Alive | None]],
    ) -> tuple[Sequence[Any], Lives]:
        """What one equation sends back, and where that is alive.

        A result that no gradient goes through may have a cotangent nevertheless, which its user gives. And
        a rule of a user's may say late that a gradient is zero.
        """
        y_bars = [bar if one else None for one, (bar, _) in zip(self.given_to[i], came, strict=True)]
        lives = [live for _, live in came]
        nowhere = [None] * len(eqn.invars)
        if not pullback.always and all(bar is None for bar in y_bars):
            return nowhere, nowhere
        if pullback.dense:
            late = zip(y_bars, self.given_to[i], eqn.outvars, strict=True)
            y_bars = [_jax.zeros(v.aval) if one and bar is None else bar for bar, one, v in late]
        if i in self._made_again:
            stash = self._with_values_again(i, stash, y_bars)
        if pullback.masked is not None:
            return pullback.masked(stash, y_bars, lives)
        x_bars = pullback.backward(stash, y_bars)
        return parted(eqn, y_bars, lives, x_bars, nowhere) if pullback.dense else (x_bars, nowhere)

    def stash(self, i: int, values: Mapping[_jax.Var, Any]) -> list[Any]:
        """What the rule of an equation reads of its outputs and inputs, or what these are made of again."""

        def kept(atom: Any) -> Any:
            return [read(values, v) for v in atom] if isinstance(atom, tuple) else read(values, atom)

        return [None if atom is None else kept(atom) for atom in self.kept[i]]

    @functools.cached_property
    def kept(self) -> dict[int, list[Any]]:
        """What is kept for the rule of each equation, for each of its outputs and inputs.

        Of what is made again it is all that this is made of.
        """
        kept = {i: self._read_by(i) for i, pullback in self.pullbacks.items() if not pullback.forward}
        for i, again in self._made_again.items():
            kept[i] = [made.inputs if made else v for made, v in zip(again, kept[i], strict=True)]
        return kept

    @functools.cached_property
    def _made_again(self) -> dict[int, list[Made | None]]:
        """How the values that a rule reads are made again, for the rules that read any such value."""
        found = {}
        for i, pullback in self.pullbacks.items():
            if (self.again or self.rests) and not pullback.forward:
                made = [self._how_made(i, k, v) for k, v in enumerate(self._read_by(i))]
                found |= {i: made} if any(made) else {}
        return found

    def _how_made(self, i: int, k: int, v: Any) -> Made | None:
        if (i, k) in self.rests:
            return self.rests[i, k]
        return made_by(self.again[v]) if is_in(self.again, v) else None

    def kept_for(self, i: int) -> set[_jax.Var]:
        """The variables that are kept for the rule of an equation."""
        atoms = [v for atom in self.kept[i] for v in (atom if isinstance(atom, tuple) else [atom])]
        return {v for v in atoms if v is not None and not _jax.is_literal(v)}

    def made_again_for(self, i: int) -> list[_jax.Var]:
        """The variables that are made again for the rule of an equation."""
        made = self._made_again.get(i)
        return [v for one, v in zip(made, self._read_by(i), strict=True) if one] if made else []

    def _read_by(self, i: int) -> list[Any]:
        """The outputs and inputs of an equation that its rule reads, and None for the others."""
        eqn, reads = self.jaxpr.eqns[i], self.pullbacks[i].reads
        return [v if one else None for v, one in zip([*eqn.outvars, *eqn.invars], reads, strict=True)]

    def _with_values_again(self, i: int, stash: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
        """The stash, with values in it that are made again now that a cotangent has come."""
        y_bar = next(bar for bar in y_bars if bar is not None)
        return [made.of(x, y_bar) if made else x for made, x in zip(self._made_again[i], stash, strict=True)]

    @property
    def schedule(self) -> list[tuple[int, bool, set[_jax.Var]]]:
        """For each equation: its number, whether it must run, and what nothing needs after it."""
        return self._liveness[0]

    @property
    def needed(self) -> set[_jax.Var]:
        """What the forward sweep reads, keeps or returns."""
        return self._liveness[1]

    @functools.cached_property
    def _liveness(self) -> tuple[list[tuple[int, bool, set[_jax.Var]]], set[_jax.Var]]:
        outs = zip(self.jaxpr.outvars, self.wanted, strict=True)
        needed = {v for v, one in outs if one and not _jax.is_literal(v)}
        first, known = self.known is None, frozenset(self.known or ())
        schedule = []
        for i, eqn in reversed(list(enumerate(self.jaxpr.eqns))):
            pullback = self.pullbacks.get(i)
            fresh = {*eqn.outvars, *_jax.variables(eqn.invars)} - needed
            if pullback and not pullback.forward:
                needed |= self.kept_for(i)
            runs = (bool(eqn.effects) and first) or bool(pullback and pullback.forward)
            live = runs or not needed.isdisjoint([v for v in eqn.outvars if v not in known])
            if live:
                reads = pullback.reads_inputs(eqn) if pullback else [True] * len(eqn.invars)
                needed.update(_jax.variables(compress(eqn.invars, reads)))
            schedule.append((i, live, fresh))
        return schedule[::-1], needed


def accumulate(bars: Bars, atom: Any, x_bar: Any, live: Alive | None) -> None:
    """Add what one use of a variable sends back to what the others have sent."""
    if x_bar is None:
        return
    if atom in bars:
        others, before = bars[atom]
        x_bar, live = _jax.add(others, x_bar), before and live and before | live
    bars[atom] = x_bar, live


def _missing(eqn: _jax.Equation) -> str:
    name = eqn.primitive.name
    where = f"used at {_jax.blamed_line(eqn)}"
    if name in REFUSED:
        return f"{name!r} has no gradient, {where}: {REFUSED[name]}"
    return (
        f"no rule for the primitive {name!r}, {where}; write one with "
        f"`@funcnet.rule({name!r}, formula=…)` and pass it as `rules=funcnet.RULES | {{{name!r}: …}}`, "
        f"or put `jax.lax.stop_gradient` around its inputs if no gradient should flow"
    )
