"""Powers and roots: x², xⁿ, x₁ to the x₂, √x, 1/√x, ∛x, 1 − x², polynomials.

    (xⁿ)′ = n xⁿ⁻¹        (√x)′ = 1 / 2y        (1/√x)′ = −y / 2x        (∛x)′ = 1 / 3y²

Roots have an infinite slope at 0, as in JAX. Where y serves, the rule reads y, which costs no second root.
"""

import itertools
import math

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import like, rule, stretch


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
    return (y_bar * (n * lax.integer_pow(x, n - 1)),)


@rule("pow", formula="x̄₁ = ȳ · x₂ x₁^(x₂−1),  x̄₂ = ȳ · y ln x₁", source="NIST DLMF §4.7(ii)")
def power(y_bar, y, x1, x2):
    """The limits at 0: x⁰ is constant in x, so x̄₁ = 0 there; y ln x₁ is 0 at 0ʸ for x₂ ≥ 0 (at 0⁰ as in JAX).

    A negative base has no derivative in x₂: NaN, as in JAX.
    """
    x, n = stretch(x1, y.shape), stretch(x2, y.shape) if x2.ndim else x2
    if not jnp.issubdtype(n.dtype, jnp.inexact):
        return like(x1, y_bar * _slope_of_whole_power(x, n)), None
    flat = (x == 0) & (lax.real(n) >= 0 if _is_complex(n) else n >= 0)
    log = lax.log(lax.select(flat, lax.full_like(x, 1), x))
    return like(x1, y_bar * _slope_of_power(x, n)), like(x2, y_bar * (y * log))


def _slope_of_whole_power(x, n):
    """n xⁿ⁻¹, and 0 for n = 0."""
    lower = lax.pow(x, n - lax.convert_element_type(n != 0, n.dtype))
    return lax.convert_element_type(n, x.dtype) * lower


def _slope_of_power(x1, x2):
    """x₂ x₁^(x₂−1), and 0 at 0⁰.

    Where x₂ − 1 rounds, its error is multiplied by ln x₁, up to 44 ulp of the result: there it is
    x₂ x₁^x₂ / x₁. That form in turn fails at 0 and ∞, and where x₁^x₂ is out of range and x₁^(x₂−1) is not.
    """
    if _is_complex(x2):
        return x2 * lax.pow(x1, x2 - lax.convert_element_type((x1 != 0) | (x2 != 0), x2.dtype))
    exact = (x2 >= 0.5) & (x2 <= 1 / jnp.finfo(x2.dtype).eps)
    at_end = (x1 == 0) | (lax.abs(x1) == math.inf)
    direct = exact | (at_end & (x2 != 0))
    divisor = lax.select(direct | at_end, lax.full_like(x1, 1), x1)
    return x2 * lax.pow(x1, x2 - lax.convert_element_type(direct, x2.dtype)) / divisor


def _is_complex(x):
    return jnp.issubdtype(x.dtype, jnp.complexfloating)


@rule("sqrt", formula="x̄ = ȳ / 2y", source="NIST DLMF §4.7(ii)")
def sqrt(y_bar, y, x):
    return (0.5 * y_bar / y,)


@rule("rsqrt", formula="x̄ = −ȳ y / 2x", source="NIST DLMF §4.7(ii)")
def rsqrt(y_bar, y, x):
    return (y_bar * (-0.5 * y / x),)


@rule("cbrt", formula="x̄ = ȳ / 3y²", source="NIST DLMF §4.7(ii)")
def cbrt(y_bar, y, x):
    return (y_bar / (3 * (y * y)),)


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
