"""What stages hold as they run forward and on the way back, and what they may keep between."""

import itertools
from collections.abc import Callable, Collection, Sequence

from funcnet import _jax
from funcnet.backprop.budget.chain import Option, Stage
from funcnet.backprop.budget.cost import operations
from funcnet.backprop.budget.cut import smallest_kept
from funcnet.backprop.budget.facts import Facts, stash_of, total
from funcnet.backprop.program import live


def stage_of(facts: Facts, s: int, ends: Sequence[int], sets: Sequence[set], options: list[Option]) -> Stage:
    """Stage s, with what it may keep."""
    begin, end = ends[s], ends[s + 1]
    eqns = facts.plan.jaxpr.eqns[begin:end]
    cost = float(sum(map(operations, eqns)))
    read = [v for i in range(begin, end) for v in facts.reads.get(i, ())]
    opaque = [v for i in range(begin, end) if facts.hidden.get(i) for v in facts.plan.jaxpr.eqns[i].outvars]
    tail = cost - sum(map(operations, live(eqns, [*read, *opaque])[0]))
    return Stage(begin, end, cost, tail, _peak_ahead(facts, begin, end, sets[s + 1], set()), options)


def options_of(
    facts: Facts, s: int, r: int, ends: Sequence[int], sets: Sequence[set], variants: Callable
) -> list[Option]:
    """What stages s … r−1 may keep together."""
    begin, end, before, behind = ends[s], ends[r], sets[s], sets[r]
    eqns = facts.plan.jaxpr.eqns[begin:end]
    read = set().union(*(facts.reads.get(i, ()) for i in range(begin, end)))
    kept = total((read | behind) - before)
    ahead = _peak_ahead(facts, begin, end, behind, read)
    back = _peak_back(facts, begin, end, before, behind, read)
    if facts.is_opaque(begin) and begin in facts.plan.pullbacks:
        return _changed(facts, begin, kept, ahead, back, before | behind, variants)
    options = [Option(r - s, kept, 0.0, ahead, back, stash=frozenset(read))]
    if read:
        steps = list(zip(facts.outs, facts.ins, facts.cheap, strict=True))[begin:end]
        fewest = smallest_kept(steps, read, before | behind)
        if (less := total(fewest | (behind - before))) < kept:
            again = float(sum(map(operations, itertools.compress(eqns, facts.cheap[begin:end]))))
            passed = _peak_ahead(facts, begin, end, behind, fewest)
            back = max(back, ahead + _bars(facts, behind))
            sources = before & set().union(*facts.ins[begin:end])
            stash = frozenset(fewest | behind | sources)
            options.append(Option(r - s, less, again, passed, back, fewest, stash=stash))
    return options


def _changed(
    facts: Facts, i: int, kept: int, ahead: int, back: int, around: set, variants: Callable
) -> list[Option]:
    """The options of an equation that holds a program: to change that."""
    eqn, given = facts.plan.jaxpr.eqns[i], facts.plan.given_to[i]
    options = []
    for changed, extra, inside in variants(facts.engine, eqn, given, facts.asked[i]):
        if changed is eqn:
            hidden, read = facts.hidden[i], facts.reads[i]
        else:
            forward = facts.engine.pullback(changed, given, facts.asked[i]).forward
            assert forward is not None
            found, hidden = stash_of(forward, changed)
            read = set(facts.counted(found))
        more = hidden + total(read - facts.reads[i] - around)
        options.append(
            Option(
                1,
                kept + more,
                extra,
                ahead + more,
                back + more + inside,
                equation=None if changed is eqn else changed,
                stash=frozenset(facts.reads[i]),
                beside=more,
            )
        )
    return options


def _peak_ahead(facts: Facts, begin: int, end: int, behind: set, kept: Collection) -> int:
    """The most bytes at once as some equations run forward."""
    now = most = 0
    stays = behind.union(kept)
    for i in range(begin, end):
        now += total(v for v in facts.outs[i] if v in stays or v in facts.arrays)
        most = max(most, now)
        done = {v for v in facts.ins[i] if facts.made[v] >= begin and facts.used[v] == i}
        now -= total(v for v in done - stays if v in facts.arrays)
    return most


def _peak_back(facts: Facts, begin: int, end: int, before: set, behind: set, read: set) -> int:
    """The most bytes at once on the way back through some equations.

    A cheap equation writes its gradient over the cotangent. What another reads may stay until the next one
    is through: XLA may take the gradient of the weights later than that of the values.
    """
    last_reader: dict[_jax.Var, int] = {}
    for i in reversed(range(begin, end)):
        last_reader.update(dict.fromkeys(facts.reads.get(i, ()), i))
    now = most = total(read - before) + _bars(facts, behind)
    bars, late = set(behind & facts.has_bar), 0
    for i in reversed(range(begin, end)):
        if i not in facts.plan.pullbacks:
            continue
        new = total(v for v in facts.sent[i] - bars if v in facts.arrays or v in before)
        came = total(v for v in bars & facts.came[i] if v in facts.arrays or v in behind)
        again = total(facts.plan.made_again_for(i))
        bars = (bars | facts.sent[i]) - facts.came[i]
        now += new + again - (came if facts.cheap[i] else 0)
        most = max(most, now)
        now -= late
        late = (0 if facts.cheap[i] else came) + again
        now -= total(v for v in facts.reads[i] if last_reader[v] == i and v not in before)
    return most


def _bars(facts: Facts, values: set) -> int:
    return total(v for v in values if v in facts.has_bar)
