"""Exponentials, logarithms and the hyperbolic functions made of them.

    (eˣ)′ = y       (eˣ − 1)′ = eˣ       (ln x)′ = 1/x       tanh′ = sech²       σ′ = σ(x) σ(−x)

The usual forms 1 − y² for tanh, y (1 − y) for σ and y + 1 for eˣ − 1 are exactly 0 in float32 where the
truth is still 1e-8 or smaller. The forms here add, multiply and divide numbers of one sign, and read x:

    σ(x) σ(−x) = 1 / (eˣ + 2 + e⁻ˣ) = 1 / (4 + m²/(1 + m)),      m = e^|x| − 1
    sech²(x) = 4 σ(2x) σ(−2x)
    cosh, sinh(x) = (e/2) E ± 1 / (2e E),                        E = e^(|x| − 1)

With m, the second derivatives do not cancel near 0 either. The shift by 1 keeps E finite as long as cosh x
is, and costs no rounding where |x| ≥ 1; lax.cosh and lax.sinh round their exponent x − ln 2 and are off by
24 ulp. The price is one exponential for tanh, σ and expm1, and a short polynomial for sinh and cosh.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import rule, slope


@rule("exp", formula="x̄ = ȳ · y", source="NIST DLMF §4.7(ii)")
def exp(y_bar, y, x):
    return (y_bar * y,)


@rule("exp2", formula="x̄ = ȳ · y ln 2", source="NIST DLMF §4.7(ii)")
def exp2(y_bar, y, x):
    return (y_bar * (math.log(2) * y),)


@rule("expm1", formula="x̄ = ȳ · eˣ", source="NIST DLMF §4.7(ii)")
def expm1(y_bar, y, x):
    """Not y + 1, which is 0 for x < −17 in float32."""
    return (y_bar * lax.exp(x),)


@rule("log", formula="x̄ = ȳ / x", source="NIST DLMF §4.7(i)")
def log(y_bar, y, x):
    return (y_bar / x,)


@rule("log2", formula="x̄ = ȳ / (x ln 2)", source="NIST DLMF §4.7(i)")
def log2(y_bar, y, x):
    return (math.log2(math.e) * y_bar / x,)


@rule("log1p", formula="x̄ = ȳ / (1 + x)", source="NIST DLMF §4.7(i)")
def log1p(y_bar, y, x):
    return (y_bar / (1 + x),)


@rule("logistic", formula="x̄ = ȳ · σ(x) σ(−x)", source="CS231n 2019, lecture 4, slide 76")
def logistic(y_bar, y, x):
    """From x, not y (1 − y), which is 0 for x > 17 in float32."""
    return (y_bar * _bell(x, 1),)


@rule("tanh", formula="x̄ = ȳ · sech²(x)", source="NIST DLMF §4.34")
def tanh(y_bar, y, x):
    """From x, not 1 − y², which is 0 for |x| > 9 in float32."""
    return (y_bar * sech2(x),)


def sech2(x):
    return _bell(2 * x, 4)


def _bell(x, height):
    """height / (eˣ + 2 + e⁻ˣ), exactly 0 where eˣ overflows."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        e = lax.exp(lax.select(lax.real(x) > 0, -x, x))
        return height * e / ((1 + e) * (1 + e))
    limit = _log_max(x.dtype)
    size = lax.abs(x)
    m = lax.expm1(lax.min(size, lax.full_like(x, limit)))
    return lax.select(size > limit, lax.full_like(x, 0), height / (4 + m * (m / (1 + m))))


def _log_max(dtype):
    """The largest number of this dtype whose exponential is finite, or the one below it."""
    info = jnp.finfo(dtype)
    return math.log(float(info.max)) * (1 - float(info.eps))


@rule("sinh", formula="x̄ = ȳ · cosh(x)", source="NIST DLMF §4.34")
def sinh(y_bar, y, x):
    return (y_bar * _cosh(x),)


@rule("cosh", formula="x̄ = ȳ · sinh(x)", source="NIST DLMF §4.34")
def cosh(y_bar, y, x):
    return (y_bar * _sinh(x),)


@slope(lambda s, x: _sinh(x))
def _cosh(x: Any) -> Any:
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return lax.cosh(x)
    e = lax.exp(lax.abs(x) - 1)
    far = math.e / 2 * e + 0.5 / math.e / e
    return lax.select(lax.abs(x) < 1, _series(x, first=2), far)


@slope(lambda s, x: _cosh(x))  # pyright: ignore[reportGeneralTypeIssues]
def _sinh(x: Any) -> Any:
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return lax.sinh(x)
    e = lax.exp(lax.abs(x) - 1)
    far = math.e / 2 * e - 0.5 / math.e / e
    return lax.select(lax.abs(x) < 1, x * _series(x, first=3), lax.select(x < 0, -far, far))


def _series(x, first):
    """1 + x²/(first (first − 1)) (1 + x²/((first + 2)(first + 1)) (1 + …)) for |x| < 1: the Taylor series."""
    square = lax.min(x * x, lax.full_like(x, 1))
    last = first + (10 if jnp.finfo(x.dtype).bits <= 32 else 18)
    total = lax.full_like(x, 1)
    for n in range(last, first - 1, -2):
        total = 1 + square * total * (1 / (n * (n - 1)))
    return total
