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
    activations,
    arithmetic,
    bessel,
    beta,
    boxcox,
    collectives,
    conversions,
    convolutions,
    cumulative,
    determinants,
    dilogarithm,
    exponentials,
    factorizations,
    fourier,
    functions,
    gamma,
    incomplete,
    indexing,
    logarithms,
    ordering,
    oscillating,
    placement,
    powers,
    products,
    reductions,
    selfgated,
    shapes,
    softmax,
    solves,
    sparse,
    special,
    spectral,
    trigonometric,
    windows,
)
from funcnet.rules._formula import Formula, parse_formula
from funcnet.rules._named import for_call, function_of
from funcnet.rules._routing import ROUTING, SELECTING
from funcnet.rules._sparing import with_strong_zero
from funcnet.rules._table import Rule, Table, rule, table
from funcnet.rules._without import PIECEWISE_CONSTANT, REFUSED

RULES = table(
    [
        activations,
        arithmetic,
        bessel,
        beta,
        boxcox,
        collectives,
        conversions,
        convolutions,
        cumulative,
        determinants,
        dilogarithm,
        exponentials,
        factorizations,
        fourier,
        functions,
        gamma,
        incomplete,
        indexing,
        logarithms,
        ordering,
        oscillating,
        placement,
        powers,
        products,
        reductions,
        selfgated,
        shapes,
        softmax,
        solves,
        sparse,
        special,
        spectral,
        trigonometric,
        windows,
    ]
)
"""The rules of the house, by primitive, and by the name of a function of JAX's."""


ELEMENTWISE = frozenset(
    table(
        [
            activations,
            arithmetic,
            bessel,
            beta,
            boxcox,
            dilogarithm,
            exponentials,
            functions,
            gamma,
            incomplete,
            logarithms,
            oscillating,
            powers,
            selfgated,
            special,
            trigonometric,
        ]
    )
) - {"random_gamma", "call_hi_primitive"}
"""Names of the rules that act on each element by itself."""

STRONG_ZERO = RULES | {name: with_strong_zero(RULES[name]) for name in sorted(ELEMENTWISE - ROUTING)}
"""The same, but where ȳ is 0 an elementwise rule sends back 0, also against an infinite slope.

For `rules=`: sqrt(x)² has the gradient 0 at 0 then, where its own is NaN (0 · ∞). What a select has set to 0
needs no such table. Enzyme calls this a strong zero (Moses and Churavy 2020).

>>> import jax.numpy as jnp, funcnet
>>> float(funcnet.grad(lambda x: jnp.sqrt(x) ** 2, rules=funcnet.STRONG_ZERO)(0.0))
0.0
"""


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
    of_function = primitive.name in _jax.NAMED_CALLS and function_of(primitive, params, rules)
    return of_function or _jax.rule_name(primitive, params)


__all__ = [
    "ELEMENTWISE",
    "JAX_KINKS",
    "PIECEWISE_CONSTANT",
    "REFUSED",
    "ROUTING",
    "RULES",
    "SELECTING",
    "STRONG_ZERO",
    "Formula",
    "Rule",
    "Table",
    "for_call",
    "parse_formula",
    "rule",
    "rule_name",
]
