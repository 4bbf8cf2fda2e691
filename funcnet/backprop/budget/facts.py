"""What is known of a program's variables before it is cut into stages.

Of a value that cheap equations make and cheap equations use there is no array: XLA fuses them.
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from funcnet import _jax
from funcnet.backprop.activity import Mask
from funcnet.backprop.budget.cost import bytes_of, is_cheap
from funcnet.backprop.program import program
from funcnet.backprop.sweep import Engine, Plan
from funcnet.backprop.user_rules import ruled


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


def total(values: Iterable[_jax.Var]) -> int:
    """The bytes of all."""
    return sum(bytes_of(v.aval) for v in values)
