"""Programs in equations, a loop's body and what runs on each device, with budgets of their own.

What a scan keeps of each step it keeps as often as it has steps, and what a step holds on its way back it
holds once: so the schedules of a body are measured by both, and those are offered that are the cheapest for
what they take.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from funcnet import _jax
from funcnet.backprop.activity import Mask, in_any_step
from funcnet.backprop.budget.chain import Again, Chain, Schedule
from funcnet.backprop.budget.checkpointing import Checkpointing
from funcnet.backprop.budget.cutting import chain_of
from funcnet.backprop.budget.writing import inlined, written
from funcnet.backprop.loops import through_the_loop
from funcnet.backprop.sweep import Engine

SHARES = (1.0, 0.6, 0.35, 0.15, 0.0)
"""Of the memory between the least and the most, for which a body is scheduled."""


@dataclass(frozen=True)
class Variant:
    """A body by a schedule: what a step keeps, holds on its way back, and adds."""

    kept: int
    back: float
    extra: float
    schedule: Schedule | None
    whole: bool = False


def variants(
    engine: Engine, eqn: _jax.Equation, given: Mask, asked: Mask
) -> list[tuple[_jax.Equation, float, int]]:
    """An equation with its program as it is, and changed: operations added, and bytes of a step."""
    if eqn.primitive.name not in ("scan", "shard_map"):
        return [(eqn, 0.0, 0)]
    steps = eqn.params.get("length", 1)
    flat, consts = inlined(*_jax.open_jaxpr(eqn.params["jaxpr"]), engine.rules)
    chain = _chain(engine, flat, eqn, given, asked)
    if not chain.stages or not chain.plan.pullbacks:
        return [(eqn, 0.0, 0)]
    plain = Variant(sum(option.kept for _, option in chain.keeping_all), chain.plain, 0.0, None)
    found = [(eqn, 0.0, chain.plain)]
    for one in cheapest([plain, *_scheduled(chain)], steps):
        if one.schedule is not None:
            body = written(chain, one.schedule, one.whole)
            changed = _jax.with_programs(eqn, functools.partial(_closed, body, consts))
            found.append((changed, steps * one.extra, round(one.back)))
    return found


def _closed(body: _jax.Jaxpr, consts: Sequence[Any], *_: Any) -> Any:
    return _jax.closed(body, consts)


def _chain(engine: Engine, jaxpr: _jax.Jaxpr, eqn: _jax.Equation, given: Mask, asked: Mask) -> Chain:
    """The chain of a loop's body; of its inputs only what is carried takes memory for each step."""
    if eqn.primitive.name != "scan":
        free = {*jaxpr.constvars, *jaxpr.invars}
        return chain_of(engine, jaxpr, asked, given, free, variants)
    n, carries = _jax.scan_counts(eqn)
    carry = slice(n, n + carries)
    _, given = through_the_loop(engine, jaxpr, asked, given, carry)
    asked, _ = in_any_step(jaxpr, asked, engine.rules, carry)
    free = {*jaxpr.constvars, *jaxpr.invars[:n], *jaxpr.invars[n + carries :]}
    return chain_of(engine, jaxpr, asked, given, free, variants)


def _scheduled(chain: Chain) -> list[Variant]:
    """The schedules of a body for several limits, as they are and as the second run of one segment."""
    checkpointing = Checkpointing(chain)
    least, most = checkpointing.tightest, chain.plain
    light = [chain.least_kept(option, s) for s, option in chain.keeping_all]
    held, extra = (
        max(max(option.ahead, option.back) for option in light),
        sum(option.extra for option in light),
    )
    found = [Variant(kept_by(chain, light), held + kept_by(chain, light), extra, light)]
    for limit in {least + round(share * (most - least)) for share in SHARES}:
        schedule = checkpointing.schedule(limit)
        extra, again = checkpointing.cost(limit), sum(stage.operations for stage in chain.stages)
        found.append(Variant(kept_by(chain, schedule), limit, extra, schedule))
        found.append(Variant(0, limit, again + extra, schedule, whole=True))
    return found


def kept_by(chain: Chain, schedule: Schedule) -> int:
    """Bytes that a schedule keeps from the way forward to the way back."""
    s, total = 0, 0
    for part in schedule:
        r = s + part.stages
        total += chain.held_more(s, r) if isinstance(part, Again) else part.kept
        s = r
    return total


def cheapest(found: Sequence[Variant], steps: int) -> list[Variant]:
    """Those that no other beats in both memory and operations, the cheapest first."""
    best: list[Variant] = []
    for one in sorted(found, key=lambda one: (one.extra, steps * one.kept + one.back)):
        if not best or steps * one.kept + one.back < 0.95 * (steps * best[-1].kept + best[-1].back):
            best.append(one)
    return best
