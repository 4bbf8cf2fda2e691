"""A program as a chain of stages, with what each holds, keeps and costs.

The boundaries lie behind expensive equations, each where as few bytes as possible go across until the next;
what may keep more than its variables say (a loop) is a stage by itself. Of a value that cheap equations make
and cheap equations use there is no array: XLA fuses them.
"""

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from funcnet import _jax
from funcnet.backprop.activity import Mask, active, is_in
from funcnet.backprop.budget.cost import bytes_of, is_cheap, operations
from funcnet.backprop.budget.cut import smallest_kept
from funcnet.backprop.program import live, program
from funcnet.backprop.sweep import Engine, Plan
from funcnet.backprop.user_rules import ruled

MOST = 60
"""Stages of a chain; in longer ones neighbours are merged."""


@dataclass(frozen=True, eq=False)
class Option:
    """What a stage, or a few in a row, may keep for the way back.

    Attributes:
        stages: how many in a row.
        kept: bytes that are kept beyond what is held before the stage.
        extra: operations that it takes to make the rest again.
        ahead: the most bytes at once as it runs forward, beyond what is held before it.
        back: the same on the way back.
        variables: what is kept of a stage whose cheap equations run again; None for all that is read.
        equation: in a stage of one equation that holds a program, that equation with the program changed.
    """

    stages: int
    kept: int
    extra: float
    ahead: int
    back: int
    variables: Collection[_jax.Var] | None = None
    equation: _jax.Equation | None = None


@dataclass(frozen=True, eq=False)
class Stage:
    """The equations from `begin` up to `end`.

    Attributes:
        begin: the first one.
        end: the one behind the last.
        operations: what it takes to run them.
        tail: what of that only those behind need.
        ahead: the most bytes at once when they run and keep nothing, beyond what is held before them.
        options: what they may keep, alone or with those behind them; the first of as many stages is all that
            is read.
    """

    begin: int
    end: int
    operations: float
    tail: float
    ahead: int
    options: list[Option]


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain of stages.

    Attributes:
        plan: both sweeps over the program, without a budget.
        stages: the stages.
        across: for each boundary the values that go across, the stage that makes each, and its bytes.
        cotangents: for each boundary the bytes of the cotangents that come back across.
    """

    plan: Plan
    stages: Sequence[Stage]
    across: Sequence[Sequence[tuple[_jax.Var, int, int]]]
    cotangents: Sequence[int]

    @functools.cached_property
    def _more(self) -> list[list[int]]:
        n = len(self.stages)
        more = [[0] * (n + 1) for _ in range(n + 1)]
        for r, values in enumerate(self.across):
            for s in range(r + 1):
                more[s][r] = sum(size for _, made, size in values if made >= s)
        return more

    def held_more(self, s: int, r: int) -> int:
        """Bytes across boundary r that do not go across boundary s before it."""
        return self._more[s][r]

    @functools.cached_property
    def keeping_all(self) -> list[tuple[int, Option]]:
        """What there is to keep if nothing runs again, and from which stage on."""
        options, s = [], 0
        while s < len(self.stages):
            without = [option for option in self.stages[s].options if not option.extra]
            options.append((s, max(without, key=lambda option: option.stages)))
            s += options[-1][1].stages
        return options

    def least_kept(self, option: Option, s: int) -> Option:
        """The option that keeps the fewest bytes of the same stages, from s on."""
        same = (one for one in self.stages[s].options if one.stages == option.stages)
        return min(same, key=lambda one: one.kept)

    @property
    def plain(self) -> int:
        """The most bytes at once if nothing runs again."""
        kept, most = 0, 0
        for _, option in self.keeping_all:
            most = max(most, kept + max(option.ahead, option.back))
            kept += option.kept
        return most


@dataclass(eq=False)
class Facts:
    """What is known of a program's variables before it is cut into stages.

    Attributes:
        engine: with its table of rules.
        plan: both sweeps over the program.
        asked: for each equation which inputs want a gradient.
        free: variables that take no memory here: their arrays are there anyway.
        cheap: for each equation whether it is cheap to run again.
        same: variables that are others by another name, with the first name.
        ins: for each equation the variables that it takes memory to have.
        outs: likewise for what it makes.
        made: by which equation a variable is made; −1 for an input.
        used: which is the last that uses it.
        reads: for each equation on the way back what its rule reads.
        hidden: bytes that it keeps beside variables.
        sent: to which variables it sends a cotangent.
        came: for which of its results one comes.
        arrays: the variables of which there is an array: an expensive equation makes or uses them.
        has_bar: the variables that have a cotangent.
    """

    engine: Engine
    plan: Plan
    asked: Sequence[Mask]
    free: Collection[_jax.Var]
    cheap: list[bool] = field(init=False)
    same: dict[_jax.Var, _jax.Var] = field(init=False)
    ins: list[list[_jax.Var]] = field(init=False)
    outs: list[list[_jax.Var]] = field(init=False)
    made: dict[_jax.Var, int] = field(init=False)
    used: dict[_jax.Var, int] = field(init=False)
    reads: dict[int, set[_jax.Var]] = field(init=False)
    hidden: dict[int, int] = field(init=False)
    sent: dict[int, set[_jax.Var]] = field(init=False)
    came: dict[int, set[_jax.Var]] = field(init=False)
    arrays: set[_jax.Var] = field(init=False)
    has_bar: set[_jax.Var] = field(init=False)

    def __post_init__(self) -> None:
        eqns, pullbacks = self.plan.jaxpr.eqns, self.plan.pullbacks
        self.cheap = [is_cheap(eqn, self.engine.rules) for eqn in eqns]
        self.same = {}
        for eqn in filter(is_ruled, eqns):
            ys, _ = eqn.params["rule"].split(eqn.invars)
            self.same.update((y, self.same.get(v, v)) for y, v in zip(eqn.outvars, ys, strict=True))
        self.outs = [[] if is_ruled(eqn) else list(eqn.outvars) for eqn in eqns]
        self.made = {v: i for i, outs in enumerate(self.outs) for v in outs}
        self.made |= {v: -1 for v in self.plan.jaxpr.invars if v not in self.free}
        self.ins = [self.counted(eqn.invars[eqn.params["rule"].xs if is_ruled(eqn) else 0 :]) for eqn in eqns]
        self.used = {v: i for i, ins in enumerate(self.ins) for v in ins}
        self.reads, self.hidden, self.sent, self.came = {}, {}, {}, {}
        for i, pullback in pullbacks.items():
            forward = pullback.forward
            read, hidden = stash_of(forward, eqns[i]) if forward else (self.plan.kept_for(i), 0)
            self.reads[i], self.hidden[i] = set(self.counted(read)), hidden
            self.sent[i] = set(self.counted(itertools.compress(eqns[i].invars, pullback.gives)))
            self.came[i] = set(self.counted(itertools.compress(eqns[i].outvars, self.plan.given_to[i])))
        expensive = (i for i, cheap in enumerate(self.cheap) if not cheap)
        self.arrays = {v for i in expensive for v in (*self.outs[i], *self.ins[i])}
        self.has_bar = set().union(*self.sent.values(), *self.came.values())

    def counted(self, atoms: Iterable) -> list[_jax.Var]:
        """Those operands that are variables and take memory, each by its first name."""
        named = (self.same.get(v, v) for v in _jax.variables(atoms))
        return [v for v in named if v in self.made]

    def is_opaque(self, i: int) -> bool:
        """Whether an equation keeps more than variables."""
        return self.hidden.get(i, 0) > 0 or self.plan.jaxpr.eqns[i].primitive.name == "scan"

    def across(self, p: int) -> list[_jax.Var]:
        """The values that equations before p make and others use."""
        return [v for v, i in self.made.items() if i < p <= self.used.get(v, -2)]


def is_ruled(eqn: _jax.Equation) -> bool:
    """Whether this is a call that has been run by the rule of its user: its results are operands."""
    return eqn.primitive is ruled


def stash_of(forward: Callable, eqn: _jax.Equation) -> tuple[set[_jax.Var], int]:
    """What an equation keeps that runs in its own way: operands and results, and bytes beside them."""
    ahead, (ys, _) = program(lambda *xs: forward(xs), *(v.aval for v in eqn.invars))
    n = len(ys)
    known = dict(zip(ahead.inputs, eqn.invars, strict=True))
    known |= {v: y for v, y in zip(ahead.results[:n], eqn.outvars, strict=True) if not _jax.is_literal(v)}
    kept = {v for v in ahead.results[n:] if not _jax.is_literal(v) and v not in ahead.consts}
    return {known[v] for v in kept if v in known}, sum(bytes_of(v.aval) for v in kept if v not in known)


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
    wants = [tuple(is_in(moved, atom) for atom in eqn.invars) for eqn in plan.jaxpr.eqns]
    facts = Facts(engine, plan, wants, free)
    ends = boundaries(facts)
    across = [facts.across(p) for p in ends]
    spans = list(itertools.pairwise(ends))
    sets = list(map(set, across))
    stages = [
        _stage(facts, s, ends, sets, _options(facts, s, s + 1, ends, sets, variants))
        for s in range(len(spans))
    ]
    for s, r in between_narrows(facts, ends, sets):
        stages[s].options.extend(_options(facts, s, r, ends, sets, variants))
    stage_of = {i: s for s, (begin, end) in enumerate(spans) for i in range(begin, end)} | {-1: -1}
    sizes = [[(v, stage_of[facts.made[v]], bytes_of(v.aval)) for v in values] for values in across]
    cotangents = [_bytes(v for v in values if v in facts.has_bar) for values in across]
    return Chain(plan, stages, sizes, cotangents)


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
    widths = list(map(_bytes, sets))
    narrow = [
        k
        for k in range(len(ends))
        if widths[k] <= min(widths[max(k - 1, 0) : k + 2], default=0) or k == len(ends) - 1
    ]
    runs = ((s, r) for s, r in itertools.pairwise(narrow) if r > s + 1)
    return [(s, r) for s, r in runs if not any(map(facts.is_opaque, range(ends[s], ends[r])))]


def _stage(facts: Facts, s: int, ends: Sequence[int], sets: Sequence[set], options: list[Option]) -> Stage:
    """Stage s, with what it may keep."""
    begin, end = ends[s], ends[s + 1]
    eqns = facts.plan.jaxpr.eqns[begin:end]
    cost = float(sum(map(operations, eqns)))
    read = [v for i in range(begin, end) for v in facts.reads.get(i, ())]
    opaque = [v for i in range(begin, end) if facts.hidden.get(i) for v in facts.plan.jaxpr.eqns[i].outvars]
    tail = cost - sum(map(operations, live(eqns, [*read, *opaque])[0]))
    return Stage(begin, end, cost, tail, _peak_ahead(facts, begin, end, sets[s + 1], set()), options)


def _options(
    facts: Facts, s: int, r: int, ends: Sequence[int], sets: Sequence[set], variants: Callable
) -> list[Option]:
    """What stages s … r−1 may keep together."""
    begin, end, before, behind = ends[s], ends[r], sets[s], sets[r]
    eqns = facts.plan.jaxpr.eqns[begin:end]
    read = set().union(*(facts.reads.get(i, ()) for i in range(begin, end)))
    kept = _bytes((read | behind) - before)
    ahead = _peak_ahead(facts, begin, end, behind, read)
    back = _peak_back(facts, begin, end, before, behind, read)
    if facts.is_opaque(begin) and begin in facts.plan.pullbacks:
        return _changed(facts, begin, kept, ahead, back, before | behind, variants)
    options = [Option(r - s, kept, 0.0, ahead, back)]
    if read:
        steps = list(zip(facts.outs, facts.ins, facts.cheap, strict=True))[begin:end]
        fewest = smallest_kept(steps, read, before | behind)
        if (less := _bytes(fewest | (behind - before))) < kept:
            again = float(sum(map(operations, itertools.compress(eqns, facts.cheap[begin:end]))))
            passed = _peak_ahead(facts, begin, end, behind, fewest)
            back = max(back, ahead + _bars(facts, behind))
            options.append(Option(r - s, less, again, passed, back, fewest))
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
        more = hidden + _bytes(read - facts.reads[i] - around)
        options.append(
            Option(
                1,
                kept + more,
                extra,
                ahead + more,
                back + more + inside,
                equation=None if changed is eqn else changed,
            )
        )
    return options


def _peak_ahead(facts: Facts, begin: int, end: int, behind: set, kept: Collection) -> int:
    """The most bytes at once as some equations run forward."""
    now = most = 0
    stays = behind.union(kept)
    for i in range(begin, end):
        now += _bytes(v for v in facts.outs[i] if v in stays or v in facts.arrays)
        most = max(most, now)
        done = {v for v in facts.ins[i] if facts.made[v] >= begin and facts.used[v] == i}
        now -= _bytes(v for v in done - stays if v in facts.arrays)
    return most


def _peak_back(facts: Facts, begin: int, end: int, before: set, behind: set, read: set) -> int:
    """The most bytes at once on the way back through some equations.

    A cheap equation writes its gradient over the cotangent. What another reads may stay until the next one
    is through: XLA may take the gradient of the weights later than that of the values.
    """
    last_reader: dict[_jax.Var, int] = {}
    for i in reversed(range(begin, end)):
        last_reader.update(dict.fromkeys(facts.reads.get(i, ()), i))
    now = most = _bytes(read - before) + _bars(facts, behind)
    bars, late = set(behind & facts.has_bar), 0
    for i in reversed(range(begin, end)):
        if i not in facts.plan.pullbacks:
            continue
        new = _bytes(v for v in facts.sent[i] - bars if v in facts.arrays or v in before)
        came = _bytes(v for v in bars & facts.came[i] if v in facts.arrays or v in behind)
        again = _bytes(facts.plan.made_again_for(i))
        bars = (bars | facts.sent[i]) - facts.came[i]
        now += new + again - (came if facts.cheap[i] else 0)
        most = max(most, now)
        now -= late
        late = (0 if facts.cheap[i] else came) + again
        now -= _bytes(v for v in facts.reads[i] if last_reader[v] == i and v not in before)
    return most


def _bars(facts: Facts, values: set) -> int:
    return _bytes(v for v in values if v in facts.has_bar)


def _bytes(values: Iterable[_jax.Var]) -> int:
    return sum(bytes_of(v.aval) for v in values)
