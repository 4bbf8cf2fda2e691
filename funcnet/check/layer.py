"""Where in a network a gradient goes wrong: the gate behind which it is right, and before which it is not.

Cut the program of a loss between two of its equations. What crosses the cut are the values z that the rest of
the program is a function of, and z̄ is right if ⟨z̄, v⟩ is the slope of that rest along v. At the end of the
program it is, at its beginning it is not, so bisection over the cuts finds the one equation at which right
turns wrong in as many steps as their number has binary digits. In a loop the same search goes on in its body,
at its first turn.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet.backprop.program import CALLS, Program, all_values, evaluate, live, read
from funcnet.bounded.rows import FUEL, GROWTH, Runner
from funcnet.check.case import Case
from funcnet.check.comparisons import Along
from funcnet.check.noise import cast, signs, unit, wide
from funcnet.check.primal import Primal, program
from funcnet.check.probes import REVERSE, Probe, answers, slopes
from funcnet.numerical.slopes import sizes

DIRECTIONS = 4
"""How many directions decide whether a cut is right; one that crosses a kink decides nothing."""


def wrong_gate(case: Case, runner: Runner) -> str:
    """The gate at which the gradient goes wrong, with its source line; "" where none is found."""
    rest, xs = case.subject.rest, case.subject.at(case.base)
    with case.at(case.base):
        whole = program(case.flat, rest, xs)
        known = [*jax.tree.leaves(tuple(rest)), *xs]
        eqn = _Search(case, runner, whole.jaxpr, whole.consts, known).gate()
    return "" if eqn is None else _named(eqn)


def _named(eqn: _jax.Equation) -> str:
    name = _jax.function_name(eqn) or eqn.primitive.name
    scope, line = _jax.scope(eqn), _jax.source_line(eqn)
    return f"{name}{f' in {scope}' if scope else ''}{f' at {line}' if line else ''}"


def _flat(jaxpr: _jax.Jaxpr, consts: Sequence[Any], xs: Sequence[Any]) -> Primal:
    """The program with its calls written out, custom rules as they are."""

    def written(eqn: _jax.Equation, inputs: Sequence[Any]) -> Sequence[Any]:
        if eqn.primitive.name in CALLS and not eqn.primitive.name.startswith("custom_"):
            return evaluate(*_jax.called(eqn), inputs, written)
        return _jax.bind(eqn, inputs)

    return program(lambda rest, *xs: evaluate(jaxpr, consts, xs, written), (), xs)


@dataclass(frozen=True)
class _Search:
    """A program, its inputs, and the search for the gate in it."""

    case: Case
    runner: Runner
    jaxpr: _jax.Jaxpr
    consts: Sequence[Any]
    xs: Sequence[Any]

    def gate(self) -> _jax.Equation | None:
        """The equation at which right turns wrong."""
        flat = _flat(self.jaxpr, self.consts, self.xs)
        eqns, values = flat.jaxpr.eqns, all_values(flat.jaxpr, flat.consts, self.xs, _jax.bind)

        if self._is_right(flat, values, 0):
            return None
        right = bisect_left(range(len(eqns)), True, lo=1, key=lambda cut: self._is_right(flat, values, cut))
        eqn = eqns[right - 1]
        return self._inside(eqn, values) or eqn

    def _inside(self, eqn: _jax.Equation, values: dict[Any, Any]) -> _jax.Equation | None:
        """The gate in the body of a loop, or in the branch that was taken."""
        xs = [read(values, atom) for atom in eqn.invars]
        if eqn.primitive.name == "scan":
            before = sum(_jax.scan_counts(eqn))
            first = -1 if eqn.params["reverse"] else 0
            xs = [*xs[:before], *(x[first] for x in xs[before:])]
            body = eqn.params["jaxpr"]
        elif eqn.primitive.name == "cond":
            body, xs = eqn.params["branches"][int(xs[0])], xs[1:]
        else:
            return None
        return _Search(self.case, self.runner, *_jax.open_jaxpr(body), xs).gate()

    def _is_right(self, flat: Primal, values: dict[Any, Any], cut: int) -> bool:
        """Whether the gradient of what crosses the cut is that of the rest of the program."""
        results = flat.jaxpr.outvars
        eqns, needed = live(flat.jaxpr.eqns[cut:], results)
        made = {v for eqn in eqns for v in eqn.outvars}
        crossing = [v for v in values if v in needed and v not in made]
        floats = [v for v in crossing if jnp.issubdtype(v.aval.dtype, jnp.floating)]
        fixed = [v for v in crossing if v not in floats]
        if not floats:
            return True

        after = Program([*fixed, *floats], {}, eqns, results, (True,) * len(crossing))

        def tail(rest: Sequence[Any], *xs: Any) -> tuple[Any, ...]:
            ys = after([*rest, *xs])
            return tuple(y for y in ys if jnp.issubdtype(jnp.result_type(y), jnp.inexact))

        rest, xs = [values[v] for v in fixed], tuple(np.asarray(values[v]) for v in floats)
        rng = self.case.rng("cut")
        ys = jax.eval_shape(tail, rest, *xs)
        given = tuple(np.asarray(rng.uniform(0.5, 1.5, y.shape), y.dtype) for y in ys)
        (found,) = answers(self.runner, REVERSE.answer(tail), rest, [Probe(xs, given)], quick=True)
        if found is None:
            return True
        moves = [cast((sizes(wide(x)) * signs(x, rng) for x in xs), xs) for _ in range(DIRECTIONS)]
        pairs, eps = [(given, v) for v in moves], 2 * unit(self.case.grain)
        found_slopes = slopes(self.runner, tail, rest, xs, pairs, eps, turns=GROWTH * FUEL)
        along = [Along(self.case, v, found.found, v, one) for v, one in zip(moves, found_slopes, strict=True)]
        return all(np.isfinite(one.rule) and one.agrees() for one in along)
