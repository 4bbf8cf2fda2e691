"""Who reads what on the way back: an engine whose pullbacks leave their names on what they read.

A rule reads its stash when a cotangent has come. This engine marks each array of that stash with the name of
the rule, by an equation `read` of the program that the way back becomes. So it is known which rule reads a
value that the forward pass has kept, from within calls, branches and loops too.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.core

from funcnet import _jax
from funcnet.backprop.activity import Mask
from funcnet.backprop.engine import PULLBACKS, engine
from funcnet.backprop.foreign import by_their_rule
from funcnet.backprop.pullback import Pullback
from funcnet.backprop.sweep import Engine
from funcnet.backprop.user_rules import UserRule
from funcnet.rules import Table, rule_name

READ = _jax.Mark("read")
"""What is read of the forward pass.

Its parameters are the name of the rule, the line of the operation, and whether that calls a function of
JAX's, whose operations have the line of whoever called it first.
"""


class Marking(Engine):
    """An engine that marks what its pullbacks read."""

    def pullback(self, eqn: _jax.Equation, given: Mask, asked: Mask) -> Pullback:
        """The way back through one equation."""
        if self.linear:  # a tangent is all of the rule of one function
            return super().pullback(eqn, given, asked)
        params = {
            "rule": reader(eqn, self.rules),
            "line": _jax.source_line(eqn),
            "of_jax": _jax.is_of_jax(eqn),
        }

        def marked(x: Any) -> Any:
            return READ.bind(x, **params) if isinstance(x, jax.Array) else x

        if eqn.primitive.name == "ruled":
            eqn = eqn.replace(params={"rule": _with_data_marked(eqn.params["rule"], marked)})
        found = super().pullback(eqn, given, asked)

        def backward(stash: Any, *rest: Any) -> Any:
            return found.backward(jax.tree.map(marked, stash), *rest)

        def masked(stash: Any, *rest: Any) -> Any:
            assert found.masked is not None
            return found.masked(jax.tree.map(marked, stash), *rest)

        return dataclasses.replace(found, backward=backward, masked=found.masked and masked)


def _with_data_marked(rule: UserRule, marked: Callable[[Any], Any]) -> UserRule:
    """A user's rule whose residuals are marked that are no operands: what it has put aside of mere data."""
    return dataclasses.replace(
        rule, aside=[marked(x) if isinstance(x, jax.core.Tracer) else x for x in rule.aside]
    )


def marking(rules: Table) -> Engine:
    """The engine for a table of rules.

    Raises:
        ParameterError: that is no table.
    """
    return Marking(engine(rules).rules, PULLBACKS, by_their_rule)


def reader(eqn: _jax.Equation, rules: Table) -> str:
    """How whatever goes back through an equation is called: its rule's name, or that of the function."""
    name = rule_name(eqn.primitive, eqn.params, rules)
    if name in rules:
        return name
    if name == "ruled":
        return eqn.params["rule"].name
    function = _jax.function_name(eqn)
    return RUNS_AGAIN.get(name) or (name if function in ("", "lambda") else function)


RUNS_AGAIN = {"remat2": "checkpoint", "segment": "second run"}
"""What runs forward once more on the way back: by the user's word, or because of a budget."""
