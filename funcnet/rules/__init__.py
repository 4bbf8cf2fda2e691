"""One hand-written gradient for each primitive of JAX that has one: `RULES`."""

from collections.abc import Mapping
from typing import Any

from funcnet import _jax
from funcnet.rules import (
    arithmetic,
    collectives,
    conversions,
    convolutions,
    cumulative,
    exponentials,
    factorizations,
    fourier,
    functions,
    incomplete,
    indexing,
    ordering,
    placement,
    powers,
    products,
    reductions,
    shapes,
    solves,
    sparse,
    special,
    spectral,
    trigonometric,
    windows,
)
from funcnet.rules._table import Rule, Table, rule, table
from funcnet.rules._without import PIECEWISE_CONSTANT, REFUSED

RULES = table(
    [
        arithmetic,
        collectives,
        conversions,
        convolutions,
        cumulative,
        exponentials,
        factorizations,
        fourier,
        functions,
        incomplete,
        indexing,
        ordering,
        placement,
        powers,
        products,
        reductions,
        shapes,
        solves,
        sparse,
        special,
        spectral,
        trigonometric,
        windows,
    ]
)
"""The rules of the house, by primitive, and by the name of a function of JAX's."""


def rule_name(primitive: Any, params: Mapping[str, Any], rules: Table) -> str:
    """Under which name to look for the rule of an operation: of a function of JAX's, or of its primitive."""
    function = functions.DEFINED.get(_jax.called_function(primitive, params), "")
    return function if function in rules else _jax.rule_name(primitive, params)


__all__ = ["PIECEWISE_CONSTANT", "REFUSED", "RULES", "Rule", "Table", "rule", "rule_name"]
