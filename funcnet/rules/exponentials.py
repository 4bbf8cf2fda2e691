"""Exponentials, logarithms and the hyperbolic functions made of them.

    (eˣ)′ = y       (eˣ − 1)′ = eˣ       (ln x)′ = 1/x       tanh′ = sech²       σ′ = σ(x) σ(−x)

The usual forms 1 − y² for tanh, y (1 − y) for σ and y + 1 for eˣ − 1 are exactly 0 in float32 where the
truth is still 1e-8 or smaller. The forms here lose nothing there, and read x:

    σ′(x) = q (1 − q),           q = σ(−|x|)
    sech²(x) = q (1 − q/4),      q = 4 / (1 + e^2|x|)
    cosh, sinh(x) = (e/2) E ± 1 / (2e E),        E = e^(|x| − 1)

The first two are even in x through |x|, so their derivatives are given and not derived: σ″ = −σ′ tanh(x/2),
(sech²)′ = −2 tanh sech². The shift by 1 keeps E finite as long as cosh x is, and costs no rounding where
|x| ≥ 1; lax.cosh and lax.sinh round their exponent x − ln 2 and are off by 24 ulp.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import rule, slope


@rule("exp", formula="x̄ = ȳ · y", source="NIST DLMF §4.7(ii)")
def exp(y_bar, y, x):
    return (y_bar * y,)


@rule("exp2", formula="x̄ = ȳ · 2ˣ ln 2", source="NIST DLMF §4.7(ii)")
def exp2(y_bar, y, x):
    """From x, not y: lax.exp2 rounds its exponent x ln 2, and is off by 67 ulp."""
    return (y_bar * exp2_slope(x),)


@slope(lambda s, x: math.log(2) * s)
def exp2_slope(x):
    """2ˣ ln 2, with the whole part of x taken to the exponent of the float."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return math.log(2) * lax.exp2(x)
    most = lax.full_like(x, 2 * jnp.finfo(x.dtype).maxexp)
    whole = lax.clamp(-most, lax.floor(x), most)
    return jnp.ldexp(math.log(2) * lax.exp(math.log(2) * (x - whole)), whole.astype(jnp.int32))


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
    return (y_bar * logistic_slope(x),)


@rule("tanh", formula="x̄ = ȳ · sech²(x)", source="NIST DLMF §4.34")
def tanh(y_bar, y, x):
    """From x, not 1 − y², which is 0 for |x| > 9 in float32."""
    return (y_bar * sech2(x),)


@slope(lambda y, x: -lax.tanh(0.5 * x) * y)
def logistic_slope(x):
    q = lax.logistic(-_size(x))
    return q * (1 - q)


@slope(lambda y, x: -2 * lax.tanh(x) * y)
def twice_sech2(x):
    """2 sech²(x) as far as it is a normal number, where e²ˣ overflows already."""
    e = lax.exp(-_size(x))
    ratio = e / (1 + e * e)
    return 8 * ratio * ratio


@slope(lambda y, x: -lax.tanh(x) * twice_sech2(x))
def sech2(x):
    q = 4 / (1 + lax.exp(2 * _size(x)))
    return q * (1 - 0.25 * q)


def _size(x):
    """|x|; of a complex number itself or its negative, whose real part is not negative."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return lax.select(lax.real(x) < 0, -x, x)
    return lax.abs(x)


@rule("sinh", formula="x̄ = ȳ · cosh(x)", source="NIST DLMF §4.34")
def sinh(y_bar, y, x):
    return (y_bar * hyperbolic_cosine(x),)


@rule("cosh", formula="x̄ = ȳ · sinh(x)", source="NIST DLMF §4.34")
def cosh(y_bar, y, x):
    return (y_bar * hyperbolic_sine(x),)


@slope(lambda s, x: hyperbolic_sine(x))
def hyperbolic_cosine(x: Any) -> Any:
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        a, b = lax.real(x), lax.imag(x)
        return lax.complex(hyperbolic_cosine(a) * lax.cos(b), hyperbolic_sine(a) * lax.sin(b))
    e = lax.exp(lax.abs(x) - 1)
    far = math.e / 2 * e + 0.5 / math.e / e
    return lax.select(lax.abs(x) < 1, _series(x, first=2), far)


@slope(lambda s, x: hyperbolic_cosine(x))  # pyright: ignore[reportGeneralTypeIssues]
def hyperbolic_sine(x: Any) -> Any:
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        a, b = lax.real(x), lax.imag(x)
        return lax.complex(hyperbolic_sine(a) * lax.cos(b), hyperbolic_cosine(a) * lax.sin(b))
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
