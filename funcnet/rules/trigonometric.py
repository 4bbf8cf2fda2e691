"""The trigonometric functions, and the inverses of those and of the hyperbolic ones.

    sin′ = cos     cos′ = −sin     tan′ = 1 + y²
    asin′ = 1/√(1 − x²)            acos′ = −asin′         atan′ = 1/(1 + x²)
    asinh′ = 1/√(1 + x²)           acosh′ = 1/√(x² − 1)   atanh′ = 1/(1 − x²)

1 − x² is written (1 − x)(1 + x), which does not cancel near ±1, and has the derivative −2x, for that of the
product cancels near 0. A complex 1 + x² is (1 − ix)(1 + ix), which does not cancel near ±i, and a complex
root of a product is the product of roots, which does not overflow and has its branch cuts where the
functions have theirs.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import like, rule, slope, stretch
from funcnet.rules.exponentials import sech2


@rule("sin", formula="x̄ = ȳ · cos x", source="NIST DLMF §4.20")
def sin(y_bar, y, x):
    return (y_bar * lax.cos(x),)


@rule("cos", formula="x̄ = −ȳ · sin x", source="NIST DLMF §4.20")
def cos(y_bar, y, x):
    return (-y_bar * lax.sin(x),)


@rule("tan", formula="x̄ = ȳ · (1 + y²)", source="NIST DLMF §4.20")
def tan(y_bar, y, x):
    """A complex tan x nears ±i away from the real axis, where 1 + y² cancels: sec² x is sech²(ix)."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return (y_bar * sech2(1j * x),)
    return (y_bar * (1 + y * y),)


@rule("asin", formula="x̄ = ȳ / √((1 − x)(1 + x))", source="NIST DLMF §4.24(ii)")
def asin(y_bar, y, x):
    return (y_bar / _sqrt_1_minus_square(x),)


@rule("acos", formula="x̄ = −ȳ / √((1 − x)(1 + x))", source="NIST DLMF §4.24(ii)")
def acos(y_bar, y, x):
    return (-y_bar / _sqrt_1_minus_square(x),)


@slope(lambda root, x: -x / root)
def _sqrt_1_minus_square(x):
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return lax.sqrt(1 - x) * lax.sqrt(1 + x)
    return lax.sqrt((1 - x) * (1 + x))


@rule("atan", formula="x̄ = ȳ / (1 + x²)", source="NIST DLMF §4.24(ii)")
def atan(y_bar, y, x):
    return (y_bar * _over_1_plus_square(x),)


@slope(lambda s, x: -2 * x * s * s)
def _over_1_plus_square(x):
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return 1 / (1 - 1j * x) / (1 + 1j * x)
    return 1 / (1 + x * x)


@rule("asinh", formula="x̄ = ȳ / √(1 + x²)", source="NIST DLMF §4.38(ii)")
def asinh(y_bar, y, x):
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return (y_bar / _sqrt_1_minus_square(1j * x),)
    return (y_bar / _sqrt_1_plus_square(x),)


@rule("acosh", formula="x̄ = ȳ / √((x − 1)(x + 1))", source="NIST DLMF §4.38(ii)")
def acosh(y_bar, y, x):
    return (y_bar / _sqrt_square_minus_1(x),)


@slope(lambda root, x: x / root)
def _sqrt_1_plus_square(x):
    return _unless_far(lax.abs(x), lax.sqrt(1 + x * x))


@slope(lambda root, x: x / root)
def _sqrt_square_minus_1(x):
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return lax.sqrt(x - 1) * lax.sqrt(x + 1)
    return _unless_far(x, lax.sqrt((x - 1) * (x + 1)))


def _unless_far(size, root):
    """√(x² ± 1), which is |x| where the 1 is below the last digit of x²; there x² may overflow."""
    return lax.select(size > 1 / jnp.finfo(size.dtype).eps, size, root)


@rule("atanh", formula="x̄ = ȳ / ((1 − x)(1 + x))", source="NIST DLMF §4.38(ii)")
def atanh(y_bar, y, x):
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return (y_bar * _over_1_plus_square(1j * x),)
    return (y_bar / _1_minus_square(x),)


@slope(lambda s, x: -2 * x)
def _1_minus_square(x):
    return (1 - x) * (1 + x)


@rule(
    "atan2",
    formula="x̄₁ = ȳ x₂ / (x₁² + x₂²),  x̄₂ = −ȳ x₁ / (x₁² + x₂²)",
    source="division as in Smith 1962, Algorithm 116",
)
def atan2(y_bar, y, x1, x2):
    wide = [stretch(x, y.shape) for x in (x1, x2)]
    first, second = _over_sum_of_squares(*wide)
    return like(x1, y_bar * second), like(x2, -y_bar * first)


def _over_sum_of_squares(x1: Any, x2: Any) -> Any:
    """x₁ and x₂, each over x₁² + x₂².

    Beside the form with squares, right between 1e-19 and 1e19 only, that is one division more.
    """
    steep, _, _, t, q = _by_size(x1, x2)
    first, second = lax.select(steep, q, q * t), lax.select(steep, q * t, q)
    return _with_derivative(x2, x1, first), _with_derivative(x1, x2, second)


def _by_size(x1, x2):
    """Which is larger, t = smaller/larger ≤ 1, and q = larger/(x₁² + x₂²) = 1/(larger + t·smaller)."""
    steep = lax.abs(x1) > lax.abs(x2)
    larger, smaller = lax.select(steep, x1, x2), lax.select(steep, x2, x1)
    t = smaller / larger
    return steep, larger, smaller, t, 1 / (larger + t * smaller)


@slope(
    lambda s, x1, x2, value: -2 * s * _over_sum_of_squares(x1, x2)[0],
    lambda s, x1, x2, value: _difference_of_squares(x1, x2),
    None,
)
def _with_derivative(x1, x2, value):
    """x₂ / (x₁² + x₂²), which has been computed."""
    return value


def _difference_of_squares(x1, x2):
    """(x₁² − x₂²) / (x₁² + x₂²)², with 1 − |t| as one quotient, which is small near the diagonals."""
    steep, larger, smaller, t, q = _by_size(x1, x2)
    size = lax.abs(larger)
    product = (size - lax.abs(smaller)) / size * q * ((1 + lax.abs(t)) * q)
    return lax.select(steep, product, -product)
