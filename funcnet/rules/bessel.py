"""Modified Bessel functions, Iₙ(x) and iₙₑ(x) = exp(−|x|) Iₙ(x), for n = 0 and 1.

    I₀′ = I₁        I₁′ = (I₀ + I₂)/2        Iₙ′ = (Iₙ₋₁ + Iₙ₊₁)/2        (NIST DLMF §10.29.1)

No two terms cancel here, where I₁′ = I₀ − I₁/x does, and 0 is a point like others. Slopes of i₀ₑ and
i₁ₑ would: i₁ₑ − i₀ₑ has no digit for x > 10⁷. As integrals (§10.32.1, §10.32.3), for x > 0,

    i₀ₑ⁽ᵏ⁾(x) = (−1)ᵏ/π ∫₀^π (1 − cos θ)ᵏ exp(−x (1 − cos θ)) dθ        i₁ₑ⁽ᵏ⁾: with a factor cos θ

they keep theirs. At 0, where both have kinks, the slope of i₀ₑ is 0, the middle of its sides, ±1, and the
other derivatives are those from the right, as of |x|. So smooth functions made of them have theirs:
e^|x| i₀ₑ(x), which is I₀(x), has 0, ½, 0, ⅜ there.
"""

import math
from typing import Any

from jax import lax

from funcnet.rules._integrals import family, integral, longest
from funcnet.rules._table import rule
from funcnet.rules.arithmetic import signed, size
from funcnet.rules.special import in_float32


def bessel_i0e_forward(x):
    return scaled_bessel_0(0, x), x


@rule(
    "bessel_i0e",
    formula="x̄ = ȳ · (i₁ₑ(x) − sign(x) · y)",
    source="NIST DLMF §10.29.3, §10.32.1",
    forward=bessel_i0e_forward,
)
def bessel_i0e(x, y_bar):
    return (signed(y_bar * in_float32(scaled_bessel_0)(1, size(x)), x),)


@rule("bessel_i1e", formula="x̄ = ȳ · (i₀ₑ(x) − |y| − y/x)", source="NIST DLMF §10.29.2, §10.32.3")
def bessel_i1e(y_bar, y, x):
    return (y_bar * in_float32(scaled_bessel_1)(1, x),)


@rule("jax.numpy.i0", formula="x̄ = ȳ · I₁(x)", source="NIST DLMF §10.29.3")
def i0(y_bar, y, x):
    return (y_bar * in_float32(bessel_i)(1, x),)


@rule("jax.scipy.special.i1", formula="x̄ = ȳ · (I₀(x) + I₂(x))/2", source="NIST DLMF §10.29.1")
def i1(y_bar, y, x):
    return (y_bar * in_float32(bessel_i_slope)(x),)


@family(lambda f, n, x: (f(abs(n - 1), x) + f(n + 1, x)) / 2)
def bessel_i(n: int, x: Any) -> Any:
    """Iₙ(x) = (x/2)ⁿ / (√π Γ(n + ½)) ∫₀^π exp(x cos θ) sin²ⁿ θ dθ (NIST DLMF §10.32.2).

    exp(x) overflows before Iₙ(x) does: from 8 on it is e⁴ · exp(x − 4).
    """
    shift = lax.select(lax.abs(x) > 8, lax.full_like(x, 4), lax.full_like(x, 0))
    mean = _over_angles(x, lambda u: (u * (2.0 - u)) ** n) / (math.sqrt(math.pi) * math.gamma(n + 0.5))
    scaled = mean * (x / 2) ** n
    return (
        scaled
        * lax.exp(lax.abs(x) - shift)
        * lax.select(shift > 0, lax.full_like(x, math.exp(4)), lax.full_like(x, 1))
    )


def bessel_i_slope(x: Any) -> Any:
    return (bessel_i(0, x) + bessel_i(2, x)) / 2


@family(lambda f, k, x: in_float32(f)(k + 1, x))
def scaled_bessel_0(k: int, x: Any) -> Any:
    """The k-th derivative of i₀ₑ."""
    if k == 0:
        return lax.bessel_i0e(x)
    value = (-1) ** k / math.pi * _over_angles(x, lambda u: u**k)
    return lax.select(x < 0, -value, value) if k % 2 else value


@family(lambda f, k, x: f(k + 1, x))
def scaled_bessel_1(k: int, x: Any) -> Any:
    """The k-th derivative of i₁ₑ."""
    value = (-1) ** k / math.pi * _over_angles(x, lambda u: (1.0 - u) * u**k)
    return value if k % 2 else lax.select(x < 0, -value, value)


def _over_angles(x: Any, of: Any) -> Any:
    """∫₀^π of(u) exp(−|x| u) dθ with u = 1 − cos θ = 2 sin²(θ/2)."""
    size = lax.abs(x)
    top = lax.min(longest(x) / lax.max(size, lax.full_like(x, 1.0)), lax.full_like(x, 2.0))
    end = 2.0 * lax.asin(lax.sqrt(top / 2))
    size = lax.expand_dims(size, (0,))

    def integrand(theta: Any) -> Any:
        sine = lax.sin(theta / 2)
        u = 2.0 * (sine * sine)
        return of(u) * lax.exp(-size * u)

    return integral(integrand, end)
