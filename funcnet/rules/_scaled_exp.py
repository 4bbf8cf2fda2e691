"""The exponential of what is not positive, as the slopes in the tails need it: in two factors.

    eˣ = 2ⁿ (1 + m),   x = n ln 2 + r,   m = r + r²/2! + …       |r| ≤ ½ ln 2; Cody and Waite 1980, chapter 6
    2ˣ = 2ⁿ (1 + m),   x = n + f,        m = f ln 2 + …           |f| ≤ ½

A product a eˣ = (a + a m) 2ⁿ rounds once. It may be a normal number where eˣ is none and flushed to 0; so
what is handed out is 2ⁿ⁺²⁴, and the 2²⁴ are taken back at the end. On a CPU this takes half the time of
lax.exp, which looks after what is positive, infinite or below 2⁻¹²⁶. The exponent may come as a sum of two
numbers, the second with the digits that the first has no room for.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.polynomial import Chebyshev, Polynomial

SCALE = 2.0**24
ONE = SCALE, 0.0
"""The factors of e⁰."""
_LN2 = 0.693359375, -2.1219444005469057e-4
"""ln 2 in two parts; n times the first is exact."""


def lowest(dtype: Any) -> float:
    """The lowest exponent for which `scaled_exp` holds: eˣ is 2⁻²⁰ of the smallest normal number there."""
    return (float(jnp.finfo(dtype).minexp) - 20) * math.log(2)


def scaled_exp(x: Any, rest: Any = 0.0) -> tuple[Any, Any]:
    """2ⁿ⁺²⁴ and m with exp(x + rest) = 2ⁿ (1 + m), in float32 or float64, from `lowest` to 0."""
    info = jnp.finfo(x.dtype)
    n = lax.round(lax.stop_gradient(x + rest) * math.log2(math.e), lax.RoundingMethod.TO_NEAREST_EVEN)
    r = (x - n * _LN2[0]) + (rest - n * _LN2[1])
    value = 1 / math.factorial(7 if info.bits == 32 else 14)
    for k in range(6 if info.bits == 32 else 13, 1, -1):
        value = 1 / math.factorial(k) + r * value
    return _scaled_power_of_2(n), r + r * r * value


def scaled_exp2(x: Any, rest: Any) -> tuple[Any, Any]:
    """2ⁿ⁺²⁴ and m with 2^(x + rest) = 2ⁿ (1 + m), from `lowest` / ln 2 to 0.

    n is taken off as it is, without the products with ln 2, and what is left has no error but that of rest.
    """
    n = lax.round(lax.stop_gradient(x + rest), lax.RoundingMethod.TO_NEAREST_EVEN)
    f = (x - n) + rest
    *lower, value = _OF_FRACTION[6 if jnp.finfo(x.dtype).bits == 32 else 14]
    for c in reversed(lower):
        value = c + f * value
    return _scaled_power_of_2(n), f * value


def _of_fraction(terms: int) -> Sequence[float]:
    """The coefficients of (2ᶠ − 1)/f for |f| ≤ 0.55, of the interpolant at so many Chebyshev nodes."""
    nodes = Chebyshev.interpolate(lambda f: np.expm1(f * math.log(2)) / f, terms - 1, domain=[-0.55, 0.55])
    return nodes.convert(kind=Polynomial).coef.tolist()


_OF_FRACTION = {terms: _of_fraction(terms) for terms in (6, 14)}


def _scaled_power_of_2(n: Any) -> Any:
    """2ⁿ⁺²⁴ of a whole number in a float: added to 1.5 · 2²³ or 1.5 · 2⁵² its digits are the last ones."""
    info = jnp.finfo(n.dtype)
    integer = np.dtype(f"int{info.bits}")
    digits = lax.bitcast_convert_type(n + (1.5 * 2.0**info.nmant + (info.maxexp - 1) + 24), integer)
    return lax.bitcast_convert_type(lax.shift_left(digits, integer.type(info.nmant)), n.dtype)


def times(a: Any, factors: tuple[Any, Any], divisor: Any = 1) -> Any:
    """a eˣ / divisor, with the factors of eˣ by `scaled_exp`.

    The quotient comes last, and is read once: XLA keeps it for all that read the result, and works out again
    for each of them what comes after.
    """
    return times_scaled(a, factors) / (divisor * SCALE)


def times_scaled(a: Any, factors: tuple[Any, Any]) -> Any:
    """2²⁴ a eˣ."""
    power, m = factors
    return (a + a * m) * power
