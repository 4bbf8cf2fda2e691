"""The two sweeps over a jaxpr: forward, which keeps a stash, and backward, which adds up gradients.

A plan is made before either runs. Walking the equations from the last to the first, it asks the rule
of each equation on a path from a wanted input to an output with a cotangent for its pullback, and so
knows which values the forward sweep must keep and which cotangents will be symbolic zeros: those are
None and never become arrays. Then the forward sweep runs every equation once, and the backward sweep
runs the pullbacks in reverse:

    v̄ = Σ over the uses of v of the x̄ that each use sends back          (CS231n 2019, lecture 4, slide 88)
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jax import lax

from funcnet import _jax
from funcnet._errors import MissingRuleError
from funcnet.backprop.pullback import Mask, Pullback, by_rule, differentiable
from funcnet.rules import PIECEWISE_CONSTANT, REFUSED, Table


@dataclass(frozen=True, eq=False)
class Engine:
    """A table of rules, and the pullbacks of equations that hold programs of their own (jit, scan, …)."""

    rules: Table
    calls: Mapping[str, Callable[["Engine", _jax.Equation, Mask, Mask], Pullback]]

    def pullback(self, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """The way back through one equation, from the given cotangents to the gradients asked for."""
        name = eqn.primitive.name
        with _jax.context_of(eqn):
            if name in self.rules:
                return by_rule(eqn, given, asked, self.rules)
            if name in self.calls:
                return self.calls[name](self, eqn, given, asked)
        raise MissingRuleError(_missing(eqn))

    @functools.lru_cache(maxsize=512)  # noqa: B019 — an engine lives as long as its table of rules
    def plan(self, jaxpr: _jax.Jaxpr, asked: Mask, given: Mask) -> "Plan":
        """The sweeps over a jaxpr, from the inputs asked for to the outputs that have a cotangent."""
        active = self._active(jaxpr, asked)
        reached = {v for v, has in zip(jaxpr.outvars, given, strict=True) if has and _in(active, v)}
        pullbacks = {}
        for i, eqn in reversed(list(enumerate(jaxpr.eqns))):
            has = tuple(v in reached for v in eqn.outvars)
            if any(has):
                wanted = tuple(_in(active, atom) for atom in eqn.invars)
                pullbacks[i] = self.pullback(eqn, has, wanted)
                reached.update(v for v, one in zip(eqn.invars, pullbacks[i].gives, strict=True) if one)
        return Plan(jaxpr, pullbacks, tuple(v in reached for v in jaxpr.invars))

    def _active(self, jaxpr: _jax.Jaxpr, asked: Mask) -> set[_jax.Var]:
        """The variables through which an input asked for can change an output."""
        active = {v for v, one in zip(jaxpr.invars, asked, strict=True) if one}
        for eqn in jaxpr.eqns:
            name = eqn.primitive.name
            if any(_in(active, atom) for atom in eqn.invars):
                if name in self.rules or name not in PIECEWISE_CONSTANT:
                    active.update(v for v in eqn.outvars if differentiable(v.aval))
        return active


@dataclass(frozen=True, eq=False)
class Plan:
    """The two sweeps over one jaxpr, for certain inputs and outputs.

    Attributes:
        jaxpr: the program.
        pullbacks: by the number of the equation, in the order of the way back.
        gives: which inputs get a gradient.
    """

    jaxpr: _jax.Jaxpr
    pullbacks: Mapping[int, Pullback]
    gives: Mask

    def forward(self, consts: Sequence[Any], xs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Run every equation: the outputs, and a stash for each pullback."""
        values = dict(zip([*self.jaxpr.constvars, *self.jaxpr.invars], [*consts, *xs], strict=True))
        stashes = []
        for i, eqn in enumerate(self.jaxpr.eqns):
            inputs = [_read(values, atom) for atom in eqn.invars]
            with _jax.context_of(eqn):
                if i in self.pullbacks:
                    outputs, stash = self.pullbacks[i].forward(inputs)
                    stashes.append(stash)
                else:
                    outputs = _jax.bind(eqn, inputs)
            values.update(zip(eqn.outvars, outputs, strict=True))
            for v in self._last_used[i]:
                del values[v]
        return [_read(values, atom) for atom in self.jaxpr.outvars], stashes

    def backward(self, stashes: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
        """Run the pullbacks from the last to the first: a gradient for each input, or None."""
        bars: dict[_jax.Var, Any] = {}
        for v, y_bar in zip(self.jaxpr.outvars, y_bars, strict=True):
            _accumulate(bars, v, y_bar)
        for (i, pullback), stash in zip(self.pullbacks.items(), reversed(stashes), strict=True):
            eqn = self.jaxpr.eqns[i]
            with _jax.context_of(eqn):
                x_bars = pullback.backward(stash, [bars.pop(v, None) for v in eqn.outvars])
                for atom, x_bar in zip(eqn.invars, x_bars, strict=True):
                    _accumulate(bars, atom, x_bar)
        return [bars.get(v) if one else None for v, one in zip(self.jaxpr.invars, self.gives, strict=True)]

    @functools.cached_property
    def _last_used(self) -> list[list[_jax.Var]]:
        """For each equation, the variables that nothing after it reads."""
        seen = {v for v in self.jaxpr.outvars if not _jax.is_literal(v)}
        last: list[list[_jax.Var]] = []
        for eqn in reversed(self.jaxpr.eqns):
            atoms = [v for v in [*eqn.outvars, *eqn.invars] if not _jax.is_literal(v)]
            last.append([v for v in dict.fromkeys(atoms) if v not in seen])
            seen.update(atoms)
        return last[::-1]


def _in(variables: set[_jax.Var], atom: Any) -> bool:
    return not _jax.is_literal(atom) and atom in variables


def _read(values: Mapping[_jax.Var, Any], atom: Any) -> Any:
    return atom.val if _jax.is_literal(atom) else values[atom]


def _accumulate(bars: dict[_jax.Var, Any], atom: Any, x_bar: Any) -> None:
    """Add what one use of a variable sends back to what the others have sent."""
    if x_bar is not None:
        bars[atom] = lax.add(bars[atom], x_bar) if atom in bars else x_bar


def _missing(eqn: _jax.Equation) -> str:
    name = eqn.primitive.name
    where = f"used at {_jax.source_line(eqn)}"
    if name in REFUSED:
        return f"{name!r} has no gradient: {REFUSED[name]}; {where}"
    return (
        f"no rule for the primitive {name!r}, {where}; write one with "
        f"`@funcnet.rule({name!r}, formula=…)` and pass it as `rules=funcnet.RULES | {{{name!r}: …}}`, "
        f"or put `jax.lax.stop_gradient` around its inputs if no gradient should flow"
    )
