"""Where a program is cut into stages.

The boundaries lie behind expensive equations, each where as few bytes as possible go across until the next;
what may keep more than its variables say (a loop) is a stage by itself.
"""

import itertools
from collections.abc import Callable, Collection, Sequence

from funcnet import _jax
from funcnet.backprop.activity import Mask, active, those_in
from funcnet.backprop.budget.chain import Chain
from funcnet.backprop.budget.cost import bytes_of
from funcnet.backprop.budget.facts import Facts, total
from funcnet.backprop.budget.holding import options_of, stage_of
from funcnet.backprop.sweep import Engine

MOST = 60
"""Stages of a chain; in longer ones neighbours are merged."""


def chain_of(
    engine: Engine,
    jaxpr: _jax.Jaxpr,
    asked: Mask,
    given: Mask,
    free: Collection[_jax.Var],
    variants: Callable[[Engine, _jax.Equation, Mask, Mask], Sequence[tuple[_jax.Equation, float, int]]],
) -> Chain:
    """The chain of a program.

    Args:
        engine: with its table of rules.
        jaxpr: the program.
        asked: which inputs want a gradient.
        given: which outputs have a cotangent.
        free: variables that take no memory here.
        variants: an equation that holds a program, with changes of that: each with the operations that it
            adds and the bytes that the way back holds at once, beside what it keeps.
    """
    plan = engine.plan(jaxpr, asked, given)
    moved = active(plan.jaxpr, asked, engine.rules)
    wants = [those_in(moved, eqn.invars) for eqn in plan.jaxpr.eqns]
    facts = Facts(engine, plan, wants, free)
    ends = boundaries(facts)
    across = [facts.across(p) for p in ends]
    spans = list(itertools.pairwise(ends))
    sets = list(map(set, across))
    stages = [
        stage_of(facts, s, ends, sets, options_of(facts, s, s + 1, ends, sets, variants))
        for s in range(len(spans))
    ]
    for s, r in between_narrows(facts, ends, sets):
        stages[s].options.extend(options_of(facts, s, r, ends, sets, variants))
    home = {i: s for s, (begin, end) in enumerate(spans) for i in range(begin, end)} | {-1: -1}
    sizes = [[(v, home[facts.made[v]], bytes_of(v.aval)) for v in values] for values in across]
    cotangents = [total(v for v in values if v in facts.has_bar) for values in across]
    readers: dict[_jax.Var, list[int]] = {}
    for s, (begin, end) in enumerate(spans):
        for v in set().union(*facts.ins[begin:end]):
            readers.setdefault(v, []).append(s)
    return Chain(plan, stages, sizes, cotangents, readers)


def boundaries(facts: Facts) -> list[int]:
    """Before which equations the stages begin, and where the last one ends."""
    n = len(facts.plan.jaxpr.eqns)
    read = set().union(*facts.reads.values())
    change, unread = [0] * (n + 2), [0] * (n + 2)
    for v, i in facts.made.items():
        if (last := facts.used.get(v, -2)) > i:
            change[i + 1] += bytes_of(v.aval)
            change[last + 1] -= bytes_of(v.aval)
            unread[i + 1] += bytes_of(v.aval) * (v not in read)
            unread[last + 1] -= bytes_of(v.aval) * (v not in read)
    width = list(zip(itertools.accumulate(change), itertools.accumulate(unread), strict=True))
    opaque = [i for i in range(n) if facts.is_opaque(i)]
    fixed = {0, n, *opaque, *(i + 1 for i in opaque)}
    expensive = [i for i in range(n) if not facts.cheap[i]]
    ranges = (range(i + 1, j + 1) for i, j in itertools.pairwise([*expensive, n]))
    found = {min(places, key=width.__getitem__) for places in ranges}
    chosen = sorted({p for p in found if p < n} | fixed)
    while len(chosen) > MOST + 1 and (loose := [k for k, p in enumerate(chosen) if p not in fixed]):
        widest = max(width[chosen[k]] for k in loose)
        narrow = (k for k in loose if width[chosen[k]] == widest)
        del chosen[min(narrow, key=lambda k: chosen[k + 1] - chosen[k - 1])]
    return chosen


def between_narrows(facts: Facts, ends: Sequence[int], sets: Sequence[set]) -> list[tuple[int, int]]:
    """From which boundary to which there are wider ones between two, and no loop."""
    widths = list(map(total, sets))
    narrow = [
        k
        for k in range(len(ends))
        if widths[k] <= min(widths[max(k - 1, 0) : k + 2], default=0) or k == len(ends) - 1
    ]
    runs = ((s, r) for s, r in itertools.pairwise(narrow) if r > s + 1)
    return [(s, r) for s, r in runs if not any(map(facts.is_opaque, range(ends[s], ends[r])))]
