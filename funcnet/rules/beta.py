"""The logarithm of the beta function, B(a, b) = Γ(a) Γ(b) / Γ(a + b).

    ∂ log B/∂a = ψ(a) − ψ(a + b)

Where b is small beside a, the two have the same digits. For a, b > 0 their difference is here the sum

    ψ(a + b) − ψ(a) = Σ b / ((a + k) (a + b + k))              k = 0, 1, 2, …    (NIST DLMF §5.7.6)

of which the first terms are added up and those behind follow from the asymptotic series of ψ (§5.11.2), each
power less its like as a product. Its derivatives are sums of the same kind (`hurwitz_drop`).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

from jax import lax

from funcnet.rules._table import rule, slope
from funcnet.rules.gamma import BERNOULLI, TERMS, hurwitz_drop, polygamma_of_order
from funcnet.rules.special import in_float32


@rule(
    "jax.scipy.special.betaln",
    formula="ā = ȳ · (ψ(a) − ψ(a + b)),  b̄ = ȳ · (ψ(b) − ψ(a + b))",
    source="NIST DLMF §5.12.1",
)
def betaln(y_bar, y, a, b):
    step = in_float32(polygamma_step(0))
    return -y_bar * step(a, b), -y_bar * step(b, a)


@functools.cache
def polygamma_step(n: int) -> Callable[[Any, Any], Any]:
    """ψ⁽ⁿ⁾(x + h) − ψ⁽ⁿ⁾(x) as a function of x and h."""

    def in_x(s: Any, x: Any, h: Any) -> Any:
        return polygamma_step(n + 1)(x, h)

    def in_h(s: Any, x: Any, h: Any) -> Any:
        return polygamma_of_order(n + 1, x + h)

    return slope(in_x, in_h)(functools.partial(_polygamma_step, n))


def _polygamma_step(n: int, x: Any, h: Any) -> Any:
    positive, one = (x > 0) & (h > 0), lax.full_like(x, 1)
    inside = lax.select(positive, x, one), lax.select(positive, h, one)
    near = _digamma_step(*inside) if n == 0 else (-1) ** n * hurwitz_drop(n + 1, *inside, math.factorial(n))
    return lax.select(positive, near, polygamma_of_order(n, x + h) - polygamma_of_order(n, x))


def _digamma_step(x: Any, h: Any) -> Any:
    """With u = 1/(x + K) and v = 1/(x + h + K): log(u/v) + (u − v)/2 + Σ B₂ⱼ (u²ʲ − v²ʲ)/(2j) behind."""
    u = 1 / (x + TERMS)
    log = lax.log1p(h * u)
    powers = [-lax.expm1(-2 * j * log) * u ** (2 * j) for j in range(1, len(BERNOULLI) + 1)]
    series = sum(b / (2 * j) * power for j, (b, power) in enumerate(zip(BERNOULLI, powers, strict=True), 1))
    behind = log + (series + h * u / (x + h + TERMS) / 2)
    return behind + sum(h / (x + k) / (x + h + k) for k in reversed(range(TERMS)))
