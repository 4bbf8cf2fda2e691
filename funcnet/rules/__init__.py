"""One hand-written gradient for each primitive of JAX that has one: `RULES`."""

from funcnet.rules import arithmetic
from funcnet.rules._table import Rule, Table, rule, table
from funcnet.rules._without import PIECEWISE_CONSTANT, REFUSED

RULES = table([arithmetic])
"""The rules of the house, by primitive."""

__all__ = ["PIECEWISE_CONSTANT", "REFUSED", "RULES", "Rule", "Table", "rule"]
