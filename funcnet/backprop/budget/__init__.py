"""A memory budget for backpropagation: what to keep of the forward run, and what to run again.

A program is cut (`cutting`) into a chain of stages (`chain`), each with what it may keep and what it holds
(`holding`). The recurrence of Beaumont et al. finds the schedule of least cost within the budget
(`checkpointing`), of which the tightest is measured value by value (`holds`), and what runs again is written
into the program as segments (`segment`, `writing`), which the engine walks back like any call.
"""

import functools
import re
from collections.abc import Sequence
from typing import Any

from funcnet import _jax
from funcnet._errors import ParameterError
from funcnet._memory import amount
from funcnet.backprop.activity import Mask
from funcnet.backprop.budget.bodies import variants
from funcnet.backprop.budget.chain import Chain, Schedule
from funcnet.backprop.budget.checkpointing import Checkpointing
from funcnet.backprop.budget.cutting import chain_of
from funcnet.backprop.budget.facts import is_ruled
from funcnet.backprop.budget.holds import fullest
from funcnet.backprop.budget.writing import inlined, written
from funcnet.backprop.sweep import Engine

Budget = float | str | None
"""A share of the plain way's memory, "auto", or bytes as "8 GiB"; None for the plain way."""

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_FREE = 0.01
"""Of the operations: what "auto" may add."""


def within(
    budget: Budget,
    engine: Engine,
    jaxpr: _jax.Jaxpr,
    consts: Sequence[Any],
    asked: Mask,
    given: Mask,
    name: str,
) -> tuple[_jax.Jaxpr, Sequence[Any]]:
    """The same program, and its constants, with segments that run again so that a budget suffices.

    Args:
        budget: the budget.
        engine: with its table of rules.
        jaxpr: the program.
        consts: its constants.
        asked: which inputs want a gradient.
        given: which outputs have a cotangent.
        name: how the function is called in messages.

    Raises:
        ParameterError: that is no budget, or one that is too small.
    """
    limit = parsed(budget)
    if limit is None or limit == 1:
        return jaxpr, consts
    flat, consts = inlined(_jax.without_local_refs(jaxpr), consts, engine.rules)
    chain = _chain(engine, flat, asked, given)
    if not chain.plan.pullbacks:
        return jaxpr, consts
    if isinstance(limit, str):
        return written(chain, costless(chain)), consts
    size = round(chain.plain * limit) if isinstance(limit, float) else limit
    if size >= chain.plain:
        return jaxpr, consts
    checkpointing = Checkpointing(chain)
    if size < checkpointing.tightest and size < checkpointing.least:
        raise ParameterError(_too_small(budget, checkpointing, name))
    return written(chain, checkpointing.schedule(size)), consts


@functools.lru_cache(maxsize=64)
def _chain(engine: Engine, jaxpr: _jax.Jaxpr, asked: Mask, given: Mask) -> Chain:
    free = {*jaxpr.constvars, *jaxpr.invars}
    return chain_of(engine, jaxpr, asked, given, free, variants)


def parsed(budget: Budget) -> float | int | str | None:
    """A budget: a share as a float, bytes as an int, "auto" or None.

    Raises:
        ParameterError: it is none of these.

    >>> parsed(0.5), parsed("1.5 GiB"), parsed("auto")
    (0.5, 1610612736, 'auto')
    """
    if budget is None or budget == "auto":
        return budget
    if isinstance(budget, str) and (found := re.fullmatch(r"\s*([\d.]+)\s*([a-zA-Z]+)\s*", budget)):
        number, unit = found.groups()
        if unit in _UNITS and re.fullmatch(r"\d+\.?\d*|\.\d+", number):
            return round(float(number) * _UNITS[unit])
    elif isinstance(budget, (int, float)) and not isinstance(budget, bool) and 0 < budget <= 1:
        return float(budget)
    raise ParameterError(
        f"budget: got {budget!r}, expected a share of the plain way's memory, 0 < budget ≤ 1, a number of "
        f"bytes such as '8 GiB' or '500 MB', or 'auto' for what costs nothing"
    )


def costless(chain: Chain) -> Schedule:
    """Keep less where that adds next to no operations, the most bytes for the fewest first."""
    left = _FREE * 3 * sum(stage.operations for stage in chain.stages)
    chosen = dict(chain.keeping_all)
    less = {s: chain.least_kept(option, s) for s, option in chosen.items()}
    saved = {s: (chosen[s].kept - option.kept) / (option.extra + 1) for s, option in less.items()}
    for s in sorted(saved, key=saved.__getitem__, reverse=True):
        if less[s].extra <= left:
            chosen[s], left = less[s], left - less[s].extra
    return list(chosen.values())


def _too_small(budget: Budget, checkpointing: Checkpointing, name: str) -> str:
    """What to say of a budget for which there is no schedule."""
    chain, least = checkpointing.chain, checkpointing.least
    holds, s, r = fullest(chain, checkpointing.schedule(least))
    run = chain.plan.jaxpr.eqns[chain.stages[s].begin : chain.stages[r - 1].end]
    biggest = max(run, key=lambda eqn: max([getattr(v.aval, "size", 0) for v in eqn.outvars], default=0))
    called = biggest.params["rule"].name if is_ruled(biggest) else biggest.primitive.name
    place = _jax.source_line(biggest)
    return (
        f"budget={budget!r} of {name}: the smallest possible one is {-(-1000 * least // chain.plain) / 1000} "
        f"({amount(least)} of {amount(chain.plain)}); the way back through {called!r}"
        f"{f', at {place},' if place else ''} holds {amount(holds)} at once, with what must be kept until "
        f"then. Take a larger budget, or smaller batches there"
    )
