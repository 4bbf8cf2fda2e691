"""One hand-written gradient for each primitive of JAX that has one: `RULES`.

At kinks and ties they follow JAX, but |x|′(0) is 0 where JAX has 1; `JAX_KINKS` is the table with JAX's side:

    >>> import funcnet
    >>> float(funcnet.grad(abs)(0.0)), float(funcnet.grad(abs, rules=funcnet.JAX_KINKS)(0.0))
    (0.0, 1.0)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet import _jax
from funcnet.rules import (
    arithmetic,
    bessel,
    collectives,
    conversions,
    convolutions,
    cumulative,
    exponentials,
    factorizations,
    fourier,
    functions,
    gamma,
    incomplete,
    indexing,
    ordering,
    oscillating,
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
        bessel,
        collectives,
        conversions,
        convolutions,
        cumulative,
        exponentials,
        factorizations,
        fourier,
        functions,
        gamma,
        incomplete,
        indexing,
        ordering,
        oscillating,
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


def _absolute_from_the_right(y_bar: Any, y: Any, x: Any) -> Sequence[Any]:
    if jnp.iscomplexobj(x):
        return RULES["abs"]((x, y), y_bar)
    return (lax.select(x >= 0, y_bar, -y_bar),)


JAX_KINKS = RULES | {
    "abs": rule("abs", formula="x̄ = ȳ if x ≥ 0 else −ȳ;  complex: ȳ x* / |x|", source="JAX, lax.abs")(
        _absolute_from_the_right
    )
}
"""The same, but |x|′(0) = 1 as in JAX: for `rules=`, to get JAX's numbers at kinks."""


def rule_name(primitive: Any, params: Mapping[str, Any], rules: Table) -> str:
    """Under which name to look for the rule of an operation: of a function of JAX's, or of its primitive."""
    function = functions.DEFINED.get(_jax.called_function(primitive, params), "")
    whole = function not in functions.PAIRS or len(_jax.called_by(params)[0].outvars) == 2
    return function if function in rules and whole else _jax.rule_name(primitive, params)


__all__ = ["JAX_KINKS", "PIECEWISE_CONSTANT", "REFUSED", "RULES", "Rule", "Table", "rule", "rule_name"]
