"""Powers and roots: x², xⁿ, x₁ to the x₂, √x, 1/√x, ∛x, 1 − x², polynomials.

    (xⁿ)′ = n xⁿ⁻¹        (√x)′ = 1 / 2y        (1/√x)′ = −y / 2x        (∛x)′ = y / 3x

Roots have an infinite slope at 0, as in JAX. Where y serves, the rule reads y, which costs no second root.
"""

import itertools
import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import like, rule, slope, stretch


@rule("square", formula="x̄ = ȳ · 2x", source="NIST DLMF §4.7(ii)")
def square(y_bar, y, x):
    return (y_bar * (2 * x),)


@rule("one_minus_square", formula="x̄ = −ȳ · 2x", source="NIST DLMF §4.7(ii)")
def one_minus_square(y_bar, y, x):
    return (y_bar * (-2 * x),)


@rule("integer_pow", formula="x̄ = ȳ · n xⁿ⁻¹", source="NIST DLMF §4.7(ii)")
def integer_pow(y_bar, y_, x, *, y):
    """The exponent is called y in JAX. The reciprocal reads y alone: (1/x)′ = −y²."""
    n = y
    if n == 0:
        return (None,)
    if n == -1:
        return (-y_bar * (y_ * y_),)
    return (y_bar * _times_power(float(n), n - 1, x),)


def _times_power(c: float, n: int, x: Any) -> Any:
    """c xⁿ, in two halves with c between them: xⁿ may leave the range of floats where c xⁿ is still in it."""
    if n == 0:
        return lax.full_like(x, c)

    @slope(lambda s, x: _times_power(c * n, n - 1, x))
    def value(x: Any) -> Any:
        return c * lax.integer_pow(x, n // 2) * lax.integer_pow(x, n - n // 2)

    return value(x)


@rule("pow", formula="x̄₁ = ȳ · x₂ x₁^(x₂−1),  x̄₂ = ȳ · y ln x₁", source="NIST DLMF §4.7(ii)")
def power(y_bar, y, x1, x2):
    """The limits at 0: x⁰ is constant in x, so x̄₁ = 0 there; y ln x₁ is 0 at 0ʸ for x₂ ≥ 0 (at 0⁰ as in JAX).

    A negative base has no derivative in x₂: NaN, as in JAX.
    """
    x, n = stretch(x1, y.shape), stretch(x2, y.shape) if x2.ndim else x2
    if not jnp.issubdtype(n.dtype, jnp.inexact):
        return like(x1, y_bar * _slope_of_whole_power(x, n)), None
    if _is_complex(n):
        return like(x1, y_bar * _slope_of_complex_power(x, n)), like(x2, y_bar * (y * _log(x, n)))
    return like(x1, y_bar * _slope_in_base(x, n)), like(x2, y_bar * _slope_in_exponent(y, x, n))


def _slope_of_whole_power(x, n):
    """n xⁿ⁻¹, and 0 for n = 0."""
    lower = lax.pow(x, n - lax.convert_element_type(n != 0, n.dtype))
    return lax.convert_element_type(n, x.dtype) * lower


def _log(x, n):
    """ln x, and 0 at 0 for n ≥ 0."""
    flat = (x == 0) & (lax.real(n) >= 0 if _is_complex(n) else n >= 0)
    return lax.log(lax.select(flat, lax.full_like(x, 1), x))


def _slope_of_complex_power(x1, x2):
    return x2 * lax.pow(x1, x2 - lax.convert_element_type((x1 != 0) | (x2 != 0), x2.dtype))


def _times_lower_power(c: Any, k: int, x1: Any, x2: Any) -> Any:
    """c x₁^(x₂−k), and 0 where c is; where x₂ − k would round, it is x₁^x₂ / x₁ᵏ.

    With c between two halves, as the power alone may leave the range of floats.
    """

    @slope(
        lambda s, c, x1, x2: _times_lower_power(lax.full_like(c, 1), k, x1, x2),
        lambda s, c, x1, x2: _times_lower_power(c * (x2 - k), k + 1, x1, x2),
        lambda s, c, x1, x2: _times_lower_power(c * _log(x1, x2 - k), k, x1, x2),
    )
    def value(c: Any, x1: Any, x2: Any) -> Any:
        size = lax.abs(x1)
        exact = (x2 >= 0.5 * k) & (x2 <= 1 / jnp.finfo(x2.dtype).eps)
        direct = exact | (x1 == 0) | (size == math.inf)
        root = lax.pow(size, 0.5 * (x2 - k * lax.convert_element_type(direct, x2.dtype)))
        divisor = lax.select(direct, lax.full_like(x1, 1), size)
        more, fewer = (lax.integer_pow(divisor, n) for n in (k - k // 2, k // 2))
        product = c * root / fewer * root / more
        sign = lax.select(x1 < 0, (-1) ** k * lax.pow(lax.full_like(x1, -1), x2), lax.full_like(x1, 1))
        return lax.select(c == 0, lax.full_like(product, 0), sign * product)

    return value(c, x1, x2)


@slope(
    lambda s, x1, x2: _times_lower_power(x2 * (x2 - 1), 2, x1, x2),
    lambda s, x1, x2: _slope_in_both(x1, x2),
)
def _slope_in_base(x1, x2):
    """x₂ x₁^(x₂−1), and 0 at 0⁰.

    Where x₂ − 1 rounds, its error is multiplied by ln x₁, up to 44 ulp of the result: there it is
    x₂ x₁^x₂ / x₁. That form in turn fails at 0 and ∞, and where x₁^x₂ is out of range and x₁^(x₂−1) is not.
    """
    exact = (x2 >= 0.5) & (x2 <= 1 / jnp.finfo(x2.dtype).eps)
    at_end = (x1 == 0) | (lax.abs(x1) == math.inf)
    direct = exact | (at_end & (x2 != 0))
    divisor = lax.select(direct | at_end, lax.full_like(x1, 1), x1)
    return x2 * lax.pow(x1, x2 - lax.convert_element_type(direct, x2.dtype)) / divisor


@slope(
    None,
    lambda s, y, x1, x2: _slope_in_both(x1, x2),
    lambda s, y, x1, x2: s * _log(x1, x2),
)
def _slope_in_exponent(y, x1, x2):
    """x₁^x₂ ln x₁."""
    return y * _log(x1, x2)


def _slope_in_both(x1, x2):
    """x₁^(x₂−1) (1 + x₂ ln x₁); at 0¹ that is −∞, the limit from the right."""
    log = lax.select((x1 == 0) & (x2 == 1), lax.full_like(x1, -math.inf), _log(x1, x2 - 1))
    return _times_lower_power(1 + x2 * log, 1, x1, x2)


def _is_complex(x):
    return jnp.issubdtype(x.dtype, jnp.complexfloating)


@rule("sqrt", formula="x̄ = ȳ / 2y", source="NIST DLMF §4.7(ii)")
def sqrt(y_bar, y, x):
    return (0.5 * y_bar / y,)


@rule("rsqrt", formula="x̄ = −ȳ y / 2x", source="NIST DLMF §4.7(ii)")
def rsqrt(y_bar, y, x):
    return (y_bar * _rsqrt_slope(y, x),)


@slope(None, lambda s, y, x: -1.5 * s / x)
def _rsqrt_slope(y, x):
    return -0.5 * y / x


@rule("cbrt", formula="x̄ = ȳ y / 3x", source="NIST DLMF §4.7(ii)")
def cbrt(y_bar, y, x):
    """Not ȳ / 3y², which has the error of y twice, and its derivative five times."""
    return (y_bar * _cbrt_slope(y, x),)


@slope(None, lambda s, y, x: (-2 / 3) * s / x)
def _cbrt_slope(y, x):
    """y / 3x; at 0 and ∞, where y is x, 1 / 3y²."""
    same = x == y
    return lax.select(same, 1 / (y * y), y / lax.select(same, lax.full_like(x, 1), x)) / 3


@rule("call_hi_primitive", formula="ldexp: x̄ = ȳ · 2ⁿ", source="NIST DLMF §4.7(ii)")
def ldexp(y_bars, ys, x, n, *, _prim):
    """Newer JAX makes functions with derivatives of their own primitives without a name; jnp.ldexp is one."""
    return jnp.ldexp(y_bars[0], n), None


@rule("polynomial", formula="x̄ = ȳ · Σ k cₖ xᵏ⁻¹,  c̄ₖ = ȳ · xᵏ", source="Horner's rule: Knuth 1997, §4.6.4")
def polynomial(y_bar, y, x, *coefficients, unroll=None):
    slope = lax.full_like(x, 0)
    for k, c in reversed(list(enumerate(coefficients))[1:]):
        slope = slope * x + k * c
    y_bar_powers = itertools.accumulate(coefficients[1:], lambda p, _: p * x, initial=y_bar)
    c_bars = [like(c, p) for c, p in zip(coefficients, y_bar_powers, strict=True)]
    return like(x, y_bar * slope), *c_bars
