"""One hand-written gradient for each primitive of JAX that has one: `RULES`."""

from funcnet.rules import (
    arithmetic,
    collectives,
    conversions,
    convolutions,
    cumulative,
    exponentials,
    factorizations,
    fourier,
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
"""The rules of the house, by primitive."""

__all__ = ["PIECEWISE_CONSTANT", "REFUSED", "RULES", "Rule", "Table", "rule"]
