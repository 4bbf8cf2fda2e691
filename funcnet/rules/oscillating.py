"""Integrals of oscillating functions: sinc, the integrals of sine and cosine, Fresnel's; and of exponentials.

    sinc(x) = sin(πx)/(πx)      Si′ = sin(x)/x,  Ci′ = cos(x)/x      S′ = sin(πx²/2),  C′ = cos(πx²/2)
    Ei′ = eˣ/x                  Eₙ′ = −Eₙ₋₁

Slopes of such quotients cancel near 0. There sin(x)/x = ∫₀¹ cos(xt) dt has the derivatives
∫₀¹ tⁿ cos(xt + nπ/2) dt (NIST DLMF §6.2.9), and away from 0 those that follow from x · f(x) = sin(x):
x f⁽ⁿ⁾(x) + n f⁽ⁿ⁻¹⁾(x) = sin(x + nπ/2). Of πx and πx²/2 whole turns are taken off before they are rounded.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet.rules._integrals import family, integral
from funcnet.rules._table import rule, slope
from funcnet.rules.special import in_float32


@rule("jax.numpy.sinc", formula="x̄ = ȳ · (cos(πx) − y)/x", source="NIST DLMF §10.49(ii), §10.51(i)")
def sinc(y_bar, y, x):
    return (y_bar * in_float32(sinc_slope)(1, x),)


@rule("jax.scipy.special.sici", formula="x̄ = s̄ · sin(x)/x + c̄ · cos(x)/x", source="NIST DLMF §6.2.9, §6.2.11")
def sici(y_bar, y, x):
    return (_of_both(y_bar, in_float32(sine_slope)(0, x), in_float32(cosine_slope)(0, x)),)


@rule(
    "jax.scipy.special.fresnel",
    formula="x̄ = s̄ · sin(πx²/2) + c̄ · cos(πx²/2)",
    source="NIST DLMF §7.2.7, §7.2.8",
)
def fresnel(y_bar, y, x):
    return (_of_both(y_bar, in_float32(fresnel_slope)(0, x), in_float32(fresnel_slope)(1, x)),)


@rule("jax.scipy.special.expi", formula="x̄ = ȳ · eˣ/x", source="NIST DLMF §6.2.5")
def expi(y_bar, y, x):
    return (y_bar * in_float32(expi_slope)(x),)


@rule("jax.scipy.special.expn", formula="x̄ = −ȳ · Eₙ₋₁(x)", source="NIST DLMF §8.19.13")
def expn(y_bar, y, n, x):
    return None, -y_bar * in_float32(exponential_integral)(lax.convert_element_type(n, x.dtype) - 1, x)


@slope(None, lambda s, n, x: -exponential_integral(n - 1, x))  # pyright: ignore[reportGeneralTypeIssues]
def exponential_integral(n: Any, x: Any) -> Any:
    """Eₙ(x): JAX's for n > 0, and below x Eₙ = e⁻ˣ − n Eₙ₊₁ (NIST DLMF §8.19.12), where no terms cancel."""
    e, one = lax.exp(-x), lax.full_like(n, 1)

    def step(k: Any, below: Any) -> Any:
        k = lax.convert_element_type(k, x.dtype)
        return lax.select(n < -k, (e + (k + 1) * below) / x, below)

    least = lax.convert_element_type(-jnp.min(n, initial=0), jnp.int32)
    below = lax.fori_loop(0, least, step, e / x)
    return lax.select(n < one, below, jax.scipy.special.expn(lax.max(n, one).astype(int), x))


def _of_both(y_bars: Any, *slopes: Any) -> Any:
    """Σ ȳ · slope over the two results; what nothing depends on has None."""
    products = [bar * slope for bar, slope in zip(y_bars, slopes, strict=True) if bar is not None]
    return sum(products[1:], products[0]) if products else None


@family(lambda f, n, x: f(n + 1, x))
def sinc_slope(n: int, x: Any) -> Any:
    """The n-th derivative of sinc."""
    return _quotient(n, x, math.pi, lambda n, x: _quarter_turns(n, 2 * _rest_of_two(x)))


@family(lambda f, n, x: f(n + 1, x))
def sine_slope(n: int, x: Any) -> Any:
    """The n-th derivative of sin(x)/x."""
    return _quotient(n, x, 1.0, _turned)


@family(lambda f, n, x: f(n + 1, x))
def cosine_slope(n: int, x: Any) -> Any:
    """The n-th derivative of cos(x)/x."""
    value = lax.cos(x) / x
    for k in range(1, n + 1):
        value = (_turned(k + 1, x) - k * value) / x
    return value


@family(lambda f, n, x: math.pi * x * f(n + 1, x))
def fresnel_slope(n: int, x: Any) -> Any:
    """sin(πx²/2 + nπ/2) with x² in three parts, each exact; of large numbers it is a multiple of 4."""
    info = jnp.finfo(x.dtype)
    x = lax.select(lax.abs(x) < 2.0 ** (info.nmant + 2), x, lax.full_like(x, 0))
    head = lax.reduce_precision(x, info.nexp, info.nmant // 2)
    tail = x - head
    small = lax.abs(x) < 0.5  # then there is nothing to take off
    zero = lax.full_like(x, 0)
    whole = lax.select(small, x * x, head * head)
    parts = [whole, *(lax.select(small, zero, part) for part in (2 * head * tail, tail * tail))]
    rests = [lax.rem(part, lax.full_like(x, 4)) for part in parts]
    wholes = [lax.round(rest) for rest in rests]
    a, b, c = (rest - whole for rest, whole in zip(rests, wholes, strict=True))
    both = a + b
    lost = (a - (both - (both - a))) + (b - (both - a))
    return _quarter_turns(n, both, lost + c, sum(wholes))


@slope(lambda s, x: s * ((x - 1) / x))
def expi_slope(x: Any) -> Any:
    """eˣ in two parts, as it overflows before eˣ/x does."""
    half = lax.exp(x / 2)
    return half * (half / x)


def _quotient(n: int, x: Any, scale: float, wave: Callable[[int, Any], Any]) -> Any:
    """The n-th derivative of sin(cx)/(cx) for this scale c, where wave(k, x) is sin(cx + kπ/2)."""
    near = lax.abs(x) < 3.0 / scale if n else x == 0
    away = lax.select(near, lax.full_like(x, 1), x)
    value = wave(0, away) / (scale * away)
    for k in range(1, n + 1):
        value = (scale ** (k - 1) * wave(k, away) - k * value) / away
    inside = lax.expand_dims(scale * lax.select(near, x, lax.full_like(x, 0)), (0,))
    mean = integral(lambda t: t**n * _turned(n + 1, inside * t), lax.full_like(x, 1))
    return lax.select(near, scale**n * mean, value)


def _turned(n: int, x: Any) -> Any:
    """sin(x + nπ/2)."""
    value = lax.cos(x) if n % 2 else lax.sin(x)
    return value if n % 4 < 2 else -value


def _rest_of_two(x: Any) -> Any:
    """x − 2k, exactly."""
    if not jnp.iscomplexobj(x):
        return lax.rem(x, lax.full_like(x, 2))
    return lax.complex(_rest_of_two(lax.real(x)), lax.imag(x))


def _quarter_turns(n: int, x: Any, rest: Any = 0, turns: Any = 0) -> Any:
    """sin((x + rest + turns + n) π/2) for a small rest, and turns that are a whole number."""
    whole = lax.round(lax.real(x) if jnp.iscomplexobj(x) else x)
    angle = x - whole + rest
    more = lax.round(lax.real(angle) if jnp.iscomplexobj(x) else angle)
    angle = (angle - more) * (math.pi / 2)
    turns = lax.rem(whole + more + turns + (n % 4 + 16), lax.full_like(whole, 4))
    odd = lax.rem(turns, lax.full_like(turns, 2)) == 1
    value = lax.select(odd, lax.cos(angle), lax.sin(angle))
    return lax.select(turns < 2, value, -value)
