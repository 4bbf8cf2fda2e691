"""Where in a network a gradient goes wrong: the gate behind which it is right, and before which it is not.

Move the arguments along a direction in which the gradient is wrong. Every value z of the program moves with
them, at a rate ż that differences tell, and so does the loss. Cut the program between two of its equations:
if the gradients behind the cut are right, the loss moves by ⟨z̄, ż⟩ of what crosses it, wherever the cut is.
At the end of the program that holds, at its beginning it does not, so bisection over the cuts finds the one
equation at which right turns wrong in as many steps as their number has binary digits. In a loop the same
search goes on in its body, at its first turn, along a random direction.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet._types import Host
from funcnet.backprop.program import CALLS, Program, all_values, evaluate, live, read
from funcnet.check.answers import Answers
from funcnet.check.noise import signs, wide
from funcnet.check.primal import Primal, program
from funcnet.check.probes import REVERSE, Direction, Probe
from funcnet.numerical.slopes import sizes

_LATE = "at which gate it goes wrong"


def wrong_gate(seen: Answers, move: Direction) -> str:
    """The gate at which the gradient goes wrong along a direction, with its source line, in words.

    When the time for a check is over, all that it is among.
    """
    case = seen.case
    if seen.is_late(_LATE):
        return "not looked for, since to compile the rest took long: a larger timeout= gives more time"
    rest, xs = jax.tree.leaves(tuple(case.subject.rest)), case.subject.at(case.base)
    with case.at(case.base):
        whole = program(case.flat, case.subject.rest, xs)
        gate = _Search(seen, whole.jaxpr, whole.consts, [*rest, *xs], [None] * len(rest) + list(move)).gate()
    return f"{gate}: behind it the gradient is right, before it wrong" if gate else "none found"


def _named(eqn: _jax.Equation) -> str:
    name = _jax.function_name(eqn) or eqn.primitive.name
    scope, line = _jax.scope(eqn), _jax.source_line(eqn)
    return f"{name}{f' in {scope}' if scope else ''}{f' at {line}' if line else ''}"


def _is_float(x: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(x), jnp.inexact))


@dataclass(frozen=True, eq=False)
class _Search:
    """A program, its inputs, how they move, None for those that stay, and the search for the gate in it."""

    seen: Answers
    jaxpr: _jax.Jaxpr
    consts: Sequence[Any]
    xs: Sequence[Any]
    moves: Sequence[Any]

    def gate(self) -> str:
        """The equation at which right turns wrong."""
        eqns = self._flat.jaxpr.eqns
        slope = self._slope_behind(len(eqns))

        def error(cut: int) -> float:
            return float(np.nan_to_num(abs(self._slope_behind(cut) - slope), nan=np.inf))

        whole = error(0)
        if not np.isfinite(slope) or whole <= self._step * abs(slope):
            return ""
        moves = self._rates.keys()
        moving = [k for k, eqn in enumerate(eqns) if not moves.isdisjoint(_jax.variables(eqn.invars))]
        wrong, right = 0, len(moving)
        while right - wrong > 1 and not self.seen.is_late(_LATE):
            middle = (wrong + right) // 2
            is_right = error(moving[middle]) <= whole / 2
            wrong, right = (wrong, middle) if is_right else (middle, right)
        first, last = eqns[moving[wrong]], eqns[moving[right - 1]]
        if first is last:
            return self._inside(first) or _named(first)
        return f"one of those from {_named(first)} to {_named(last)}"

    @functools.cached_property
    def _flat(self) -> Primal:
        """The program with its calls written out, custom rules as they are."""

        def written(eqn: _jax.Equation, inputs: Sequence[Any]) -> Sequence[Any]:
            if eqn.primitive.name in CALLS and not eqn.primitive.name.startswith("custom_"):
                return evaluate(*_jax.called(eqn), inputs, written)
            return _jax.bind(eqn, inputs)

        return program(lambda rest, *xs: evaluate(self.jaxpr, self.consts, xs, written), (), self.xs)

    @property
    def _step(self) -> float:
        """Where the rounding of values and the curvature of the function spoil differences alike."""
        return float(jnp.finfo(self.seen.case.grain).eps) ** (1 / 3)

    @functools.cached_property
    def _beside(self) -> list[dict[_jax.Var, Any]]:
        """The value of every variable: at the inputs, a step ahead of them, and one behind."""
        at, pairs = all_values(self._flat.jaxpr, _jax.bind), list(zip(self.xs, self.moves, strict=True))

        def moved(h: float) -> list[Any]:
            return [x if v is None else np.asarray(wide(x) + h * v, x.dtype) for x, v in pairs]

        return [at(self._flat.consts, moved(h)) for h in (0.0, self._step, -self._step)]

    @functools.cached_property
    def _rates(self) -> dict[_jax.Var, Host]:
        """How fast the variables move, those that do."""
        values, ahead, behind = self._beside
        floats = [z for z, value in values.items() if _is_float(value)]
        rates = {z: (wide(ahead[z]) - wide(behind[z])) / (2 * self._step) for z in floats}
        return {z: rate for z, rate in rates.items() if rate.any()}

    def _slope_behind(self, cut: int) -> float:
        """⟨z̄, ż⟩ of what crosses the cut."""
        values, ys = self._beside[0], self._flat.jaxpr.outvars
        ends = [y for y in ys if not _jax.is_literal(y) and _is_float(y.aval)]
        eqns, needed = live(self._flat.jaxpr.eqns[cut:], ends)
        made = {v for eqn in eqns for v in eqn.outvars}
        crossing = [v for v in values if v in needed and v not in made]
        moving = [v for v in crossing if v in self._rates]
        fixed = [v for v in crossing if v not in self._rates]
        if not moving:
            return 0.0
        after = Program([*fixed, *moving], {}, eqns, ends, (True,) * len(crossing))

        def tail(rest: Sequence[Any], *zs: Any) -> tuple[Any, ...]:
            return tuple(after([*rest, *zs]))

        rng = self.seen.case.rng("cut")
        y_bars = tuple(np.asarray(rng.uniform(0.5, 1.5, y.aval.shape), y.aval.dtype) for y in ends)
        probe = Probe(tuple(np.asarray(values[v]) for v in moving), y_bars)
        (found,) = self.seen.run(REVERSE.answer(tail), [values[v] for v in fixed], [probe], quick=True)
        z_bars = found.found if found.ends else [np.full((), np.nan)] * len(moving)
        terms = (wide(z_bar) * self._rates[v] for z_bar, v in zip(z_bars, moving, strict=True))
        return float(sum(term.sum().real for term in terms))

    def _inside(self, eqn: _jax.Equation) -> str:
        """The gate in the body of a loop, or in the branch that was taken."""
        xs = [read(self._beside[0], atom) for atom in eqn.invars]
        moves = [not _jax.is_literal(atom) and atom in self._rates for atom in eqn.invars]
        if eqn.primitive.name == "scan":
            consts, carried = _jax.scan_counts(eqn)
            before, first = consts + carried, -1 if eqn.params["reverse"] else 0
            xs = [*xs[:before], *(x[first] for x in xs[before:])]
            for i, v in enumerate(eqn.outvars[:carried], consts):
                moves[i] |= v in self._rates
            body = eqn.params["jaxpr"]
        elif eqn.primitive.name == "cond":
            body, xs, moves = eqn.params["branches"][int(xs[0])], xs[1:], moves[1:]
        else:
            return ""
        rng = self.seen.case.rng("body")
        ways = [
            sizes(wide(x)) * signs(x, rng) if moving else None for x, moving in zip(xs, moves, strict=True)
        ]
        return _Search(self.seen, *_jax.open_jaxpr(body), xs, ways).gate()
