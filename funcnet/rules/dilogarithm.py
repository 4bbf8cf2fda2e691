"""Spence's function, the dilogarithm Li₂(1 − x).

    Li₂(1 − x)′ = f(x) = log x / (1 − x) = −∫₀¹ ds / (1 + (x − 1) s)           (NIST DLMF §25.12.2)

Around 1 all derivatives of f are integrals of positive functions, and away from it they follow from
(1 − x) f(x) = log x:

    f⁽ⁿ⁾ = (−1)ⁿ⁺¹ n! ∫₀¹ sⁿ / (1 + (x − 1) s)ⁿ⁺¹ ds        (1 − x) f⁽ⁿ⁾ = (log x)⁽ⁿ⁾ + n f⁽ⁿ⁻¹⁾
"""

import math
from typing import Any

from jax import lax

from funcnet.rules._integrals import family, integral
from funcnet.rules._table import rule
from funcnet.rules.special import in_float32


@rule("jax.scipy.special.spence", formula="x̄ = ȳ · log x / (1 − x)", source="NIST DLMF §25.12(i)")
def spence(y_bar, y, x):
    """At 1 it is −1, where JAX puts in a constant."""
    return (y_bar * in_float32(spence_slope)(0, x),)


@family(lambda f, n, x: f(n + 1, x))
def spence_slope(n: int, x: Any) -> Any:
    """The n-th derivative of log x / (1 − x)."""
    near = (x >= 0.25) & (x <= 4)
    inside = lax.select(near, x - 1, lax.full_like(x, 0))
    mean = integral(lambda s: s**n / (1 + inside * s) ** (n + 1), lax.full_like(x, 1))
    away = lax.select(near, lax.full_like(x, 8), x)
    value = lax.log(away) / (1 - away)
    for k in range(1, n + 1):
        value = ((-1) ** (k + 1) * math.factorial(k - 1) / away**k + k * value) / (1 - away)
    return lax.select(near, (-1) ** (n + 1) * math.factorial(n) * mean, value)
