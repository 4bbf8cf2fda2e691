"""A schedule written into a program: what runs again becomes segments, in segments."""

from collections.abc import Sequence
from typing import Any

from funcnet import _jax
from funcnet.backprop.budget.chain import Again, Chain, Schedule
from funcnet.backprop.budget.segment import segment_of
from funcnet.backprop.program import evaluate, live
from funcnet.backprop.user_rules import ruled
from funcnet.rules import Table, rule_name

INLINED = frozenset({"jit", "closed_call"})


def written(chain: Chain, schedule: Schedule, whole: bool = False) -> _jax.Jaxpr:
    """The program of a chain by a schedule.

    Args:
        chain: the chain.
        schedule: how it is walked back.
        whole: whether it is one segment, of which the schedule is the second run.
    """
    jaxpr = chain.plan.jaxpr
    parts: Schedule = [Again(schedule)] if whole else schedule
    return jaxpr.replace(eqns=_equations(chain, parts, 0, set(_jax.variables(jaxpr.outvars))))


def _equations(chain: Chain, schedule: Schedule, s: int, needed: set[_jax.Var]) -> list[_jax.Equation]:
    """The equations of a schedule.

    Args:
        chain: the chain.
        schedule: the schedule.
        s: its first stage.
        needed: the results of the whole.
    """
    eqns: list[_jax.Equation] = []
    all_of_it = chain.plan.jaxpr.eqns
    for part in schedule:
        begin, end = chain.stages[s].begin, chain.stages[s + part.stages - 1].end
        later = needed.union(*(_jax.variables(eqn.invars) for eqn in all_of_it[end:]))
        run = all_of_it[begin:end]
        if isinstance(part, Again):
            goes_back = any(i in chain.plan.pullbacks for i in range(begin, end))
            inner = _equations(chain, part.parts, s, needed)
            eqns += [_segment(inner, (), later)] if goes_back else run
        elif part.variables is not None:
            eqns.append(_segment(run, part.variables, later))
        else:
            eqns += run if part.equation is None else [part.equation]
        s += part.stages
    return eqns


def _segment(run: Sequence[_jax.Equation], kept: Any, later: set[_jax.Var]) -> _jax.Equation:
    """A segment of some equations; what has effects does not run again."""
    made = [v for eqn in run for v in eqn.outvars]
    there = set(made)
    inputs = [v for eqn in run for v in _jax.variables(eqn.invars) if v not in there]
    once = (v for eqn in run if eqn.effects for v in eqn.outvars)
    return segment_of(
        run, list(dict.fromkeys(inputs)), [v for v in made if v in later], dict.fromkeys([*kept, *once])
    )


def inlined(jaxpr: _jax.Jaxpr, consts: Sequence[Any], rules: Table) -> tuple[_jax.Jaxpr, Sequence[Any]]:
    """The same program with the equations of the functions that it calls, and its constants.

    What the table has a rule for stays a call, and so does what says where its arguments lie. Rules of users
    have all arrays that they put aside as operands, so that those can wait for the way back too.
    """

    def is_written_out(eqn: _jax.Equation) -> bool:
        named = rule_name(eqn.primitive, eqn.params, rules) in rules
        return eqn.primitive.name in INLINED and not named and not _jax.is_placed(eqn)

    def run(eqn: _jax.Equation, xs: Sequence[Any]) -> Sequence[Any]:
        if is_written_out(eqn):
            return evaluate(*_jax.called(eqn), xs, run)
        if isinstance(eqn.primitive, _jax.Transparent):
            types, params = [v.aval for v in eqn.outvars], eqn.params
            if eqn.primitive is ruled:
                rule, xs = params["rule"].with_all(xs)
                params = {"rule": rule}
            return _jax.emit(_jax.current_trace(), eqn.primitive, xs, types, params)
        return _jax.bind(eqn, xs)

    if not any(is_written_out(eqn) or eqn.primitive is ruled for eqn in jaxpr.eqns):
        return jaxpr, consts
    n = len(jaxpr.constvars)
    avals = [v.aval for v in (*jaxpr.constvars, *jaxpr.invars)]
    flat, more = _jax.staged(lambda *xs: evaluate(jaxpr, xs[:n], xs[n:], run), avals, "a program")
    eqns, _ = live(flat.eqns, flat.outvars)
    constants = [*consts, *more]
    return _jax.with_constants(flat, n, eqns, constants), constants
