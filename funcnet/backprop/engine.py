"""The engine with every kind of equation that it knows: the table's rules, calls, branches and loops."""

import functools

from funcnet._errors import ParameterError
from funcnet.backprop import control, custom, foreign, linear, loops, remat, sharding, user_rules
from funcnet.backprop.budget.segment import segment
from funcnet.backprop.program import CALLS
from funcnet.backprop.sweep import Engine
from funcnet.rules import Table
from funcnet.rules.folds import WRITTEN_OUT

PULLBACKS = {
    **dict.fromkeys(CALLS, control.call),
    "cond": control.cond,
    "segment": segment,
    "remat2": remat.remat,
    "saved": remat.saved,
    "custom_jvp_call": custom.custom,
    "custom_vjp_call": custom.custom,
    "ruled": user_rules.by_rule_of_user,
    "linear_call": linear.linear_call,
    "custom_linear_solve": linear.custom_linear_solve,
    "scan": loops.scan,
    "while": loops.while_loop,
    "shard_map": sharding.shard_map,
    **{name: control.written_out(function) for name, function in WRITTEN_OUT.items()},
}


def engine(rules: Table) -> Engine:
    """The engine for a table of rules; one for each table, so that its plans are found again.

    Raises:
        ParameterError: that is no table.
    """
    if not isinstance(rules, Table):
        raise ParameterError(
            f"rules: got {type(rules).__name__}, expected a table of rules; write "
            f"`rules=funcnet.RULES | {{'tanh': my_rule}}`"
        )
    return _engine(rules)


@functools.lru_cache(maxsize=64)
def _engine(rules: Table) -> Engine:
    return Engine(rules, PULLBACKS, foreign.by_their_rule)
