"""Functions that are integrals of positive functions, with all their derivatives.

A sum of numbers of one sign loses no digits. So a slope that would cancel in its closed form is computed here
as an integral whose integrand has one sign, by Gauss's quadrature (NIST DLMF §3.5(v)); its derivatives are
integrals of the same kind. They form families: f(n, x) for n = 0, 1, 2, … with the derivative of each in
terms of the others, which holds at every order.

    M(n, z) = ∫₀^∞ tⁿ exp(−2zt − t²) dt,  z ≥ 0         M′(n) = −2 M(n + 1)
    G(n, x) = ∫₀ˣ tⁿ exp(−2xt + t²) dt                  G′(n) = xⁿ exp(−x²) − 2 G(n + 1)

Where an integrand e⁻ᵘ falls below what a float can add to 1, at u = L, the interval ends.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.rules._table import slope


def family(derivative: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: functions f(n, x), n known beforehand, and f(n, ·)′(x) = derivative(f, n, x)."""

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.cache
        def member(n: int) -> Callable[[Any], Any]:
            return slope(lambda s, x: derivative(f, n, x))(functools.partial(function, n))

        def f(n: int, x: Any) -> Any:
            return member(n)(x)

        return f

    return decorate


def integral(integrand: Callable[[Any], Any], end: Any, nodes: int = 16) -> Any:
    """∫ integrand(t) dt from 0 to `end`, for each element of it.

    `nodes` is how many it takes in float32; twice as many in float64.
    """
    rule = gauss_legendre(nodes * (2 if is_double(end) else 1))
    places, weights = (each.reshape(-1, *(1,) * end.ndim).astype(end.dtype) for each in rule)
    terms = weights * integrand(lax.expand_dims(end, (0,)) * places)
    while len(terms) > 1:  # in pairs, which rounds less often than one after the other
        half = len(terms) // 2
        terms = terms[:half] + terms[half:]
    return end * terms[0]


@functools.cache
def gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nodes and weights on [0, 1]: numpy's 13 digits, and three steps of Newton's in more."""
    x, slope = np.polynomial.legendre.leggauss(count)[0].astype(np.longdouble), np.longdouble(0)
    for _ in range(3):
        before, p = np.ones_like(x), x
        for k in range(2, count + 1):
            before, p = p, ((2 * k - 1) * x * p - (k - 1) * before) / k
        slope = count * (before - x * p) / ((1 - x) * (1 + x))
        x = x - p / slope
    return (1 + x) / 2, 1 / ((1 - x) * (1 + x) * slope**2)


def longest(x: Any) -> float:
    """L: eᴸ is what a float of this dtype cannot tell from eᴸ + 1, and a little more."""
    return 42.0 if is_double(x) else 21.0


def is_double(x: Any) -> bool:
    return jnp.finfo(x.dtype).bits == 64


@family(lambda f, n, z: -2.0 * f(n + 1, z))
def moment(n: int, z: Any) -> Any:
    """M(n, z), which is √π/2 · exp(z²) erfc(z) for n = 0 (NIST DLMF §7.7.1).

    A complex z has Re z ≥ 0, and is none too small. Its path is turned by a quarter of −arg(z), or far out by
    half of it, so that the integrand neither grows nor turns fast.
    """
    length = longest(z) + 2 * n
    if not jnp.iscomplexobj(z):
        return integral(lambda t: t**n * lax.exp(-t * (2.0 * z + t)), _reach(length, z, 1.0))
    argument = lax.atan2(lax.imag(z), lax.real(z))
    angle = argument * lax.select(lax.abs(z) > 6, lax.full_like(argument, 0.5), lax.full_like(argument, 0.25))
    end = _reach(
        length, lax.abs(z) * lax.cos(argument - angle), lax.max(lax.cos(2 * angle), lax.full_like(angle, 0))
    )
    turned = lax.complex(end * lax.cos(angle), -end * lax.sin(angle))
    return integral(lambda t: t**n * lax.exp(-t * (2.0 * z + t)), turned, 32)


def _reach(length: float, z: Any, a: Any) -> Any:
    """Where 2zt + at² is this long."""
    near = lax.min(z, lax.full_like(z, 1e6))
    return length / (z + lax.max(z, lax.sqrt(near * near + length * a)))


@family(lambda f, n, x: x**n * lax.exp(-x * x) - 2.0 * f(n + 1, x))
def growth(n: int, x: Any) -> Any:
    """G(n, x), which is Dawson's integral for n = 0 (NIST DLMF §7.2.5): with t = x − s there."""
    length = longest(x) + 2 * n
    part = length / lax.max(x * x, lax.full_like(x, length))
    return integral(lambda t: t**n * lax.exp(t * (t - 2.0 * x)), x * part / (1.0 + lax.sqrt(1.0 - part)), 32)
