"""What σ, tanh, eˣ, erf, Φ and softmax leave of 1, and who divides by it.

    1 − σ(x) = σ(−x)     1 ∓ tanh x = 2 σ(∓2x)     1 − eˣ = −expm1(x)     1 + expm1(x) = eˣ
    1 − Φ(x) = Φ(−x)     1 ∓ erf x = erfc(±x)      1 − softmax(x)ₖ = Σ softmax(x)ⱼ over j ≠ k

Some functions take what they are given from 1 themselves. Their slope is 1/d as that of a logarithm, with

    log(1 + u), xlog1py(k, u)    d = 1 + u
    artanh u                     d = (1 − u)(1 + u)
    logit u                      d = u (1 − u)
    arcsin u, arccos u           d = ± √((1 − u)(1 + u))
    Φ⁻¹ u                        d = exp(−z²/2) / √(2π),     Φ(z) = u
    erf⁻¹ u                      d = 2/√π exp(−z²/2),         Φ(z) = (1 − |u|) / 2
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import ndtri

from funcnet.rules.softmax import others

LEFT: dict[str, Callable[[Any], Any]] = {
    "logistic": lambda x: lax.logistic(-x),
    "tanh": lambda x: 2 * lax.logistic(-2 * x),
    "exp": lambda x: -lax.expm1(x),
    "erf": lax.erfc,
    "jax.nn.soft_sign": lambda x: _soft_sign_and_one(-x),
    "jax.scipy.special.ndtr": lambda x: 0.5 * lax.erfc(2**-0.5 * x),
}
"""What each leaves of 1."""

ADDED: dict[str, Callable[[Any], Any]] = {
    "tanh": lambda x: 2 * lax.logistic(2 * x),
    "erf": lambda x: lax.erfc(-x),
    "expm1": lax.exp,
    "jax.nn.soft_sign": lambda x: _soft_sign_and_one(x),
    "jax.nn.celu": lambda x: _elu_and_one(x),
    "nn.functions.elu": lambda x: _elu_and_one(x),
}
"""What 1 and each are together, where that is small."""

ROOTS = frozenset({"div", "log", "log2", "pow", "integer_pow", "sqrt", "rsqrt", "cbrt"})

DIVIDING = ROOTS | {
    "lgamma",
    "digamma",
    "jax.scipy.special.betaln",
    "jax.scipy.special.xlogy",
    "jax.nn.log1mexp",
    "jax.numpy.log(1-exp)",
    "jax.numpy.log1p(-exp)",
}
"""Rules that divide by what they read or by a difference to it, or have a pole at 0."""

VALUES: dict[str, Callable[[Any], Any]] = {
    "jax.numpy.log(sigmoid)": lambda x: -jax.nn.softplus(-x),
    "jax.numpy.log(1-sigmoid)": lambda x: -jax.nn.softplus(x),
    "jax.numpy.log1p(-sigmoid)": lambda x: -jax.nn.softplus(x),
    "jax.numpy.log(1-exp)": lambda x: jax.nn.log1mexp(-x),
    "jax.numpy.log1p(-exp)": lambda x: jax.nn.log1mexp(-x),
}
"""Functions that are known by what they compute, as they are without its rounding."""

SERVED = {
    "log1p": "log",
    "atanh": "log",
    "asin": "log",
    "acos": "log",
    "erf_inv": "log",
    "jax.scipy.special.logit": "log",
    "jax.scipy.special.ndtri": "log",
    "jax.scipy.special.xlog1py": "jax.scipy.special.xlogy",
}
"""Functions that take what they are given from 1, and whose rule serves for them with another divisor."""

OF_POSITIVE = frozenset({"jax.scipy.special.logit", "jax.scipy.special.ndtri"})
"""Those that take u from 1, and not from −1."""

DIVISORS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "log1p": lambda u, rest, other: other,
    "atanh": lambda u, rest, other: rest * other,
    "asin": lambda u, rest, other: lax.sqrt(rest * other),
    "acos": lambda u, rest, other: -lax.sqrt(rest * other),
    "erf_inv": lambda u, rest, other: 8**0.5 * _density(ndtri(0.5 * lax.min(rest, other))),
    "jax.scipy.special.logit": lambda u, rest, other: u * rest,
    "jax.scipy.special.ndtri": lambda u, rest, other: _density(ndtri(lax.min(u, rest))),
    "jax.scipy.special.xlog1py": lambda u, rest, other: other,
}
"""Their divisors, of u, 1 − u and 1 + u."""


def _elu_and_one(x: Any) -> Any:
    left = x < 0
    return jnp.where(left, lax.exp(jnp.where(left, x, 0)), 1 + x)


def _soft_sign_and_one(x: Any) -> Any:
    size = lax.abs(x)
    return jnp.where(x < 0, 1, 1 + 2 * size) / (1 + size)


def _density(z: Any) -> Any:
    """Φ′(z)."""
    return (2 * math.pi) ** -0.5 * lax.exp(-0.5 * z * z)


def left_by_softmax(p: Any, axes: Sequence[int]) -> Any:
    """1 − p of the probabilities over some axes; whoever is likely is surely none of the others."""
    return jnp.where(p > 0.6, others(p, axes), 1 - p)


def log_of_softmax(y: Any, axes: Sequence[int]) -> Any:
    """y = log p once more: as it comes it is rounded as 1 is where p is near 1."""
    return jnp.where(y > -0.5, jnp.log1p(-others(lax.exp(y), axes)), y)


def log_of_sum(u: Any, other: Any) -> Any:
    """log(1 + u), of 1 + u too where u may be near −1."""
    near = u < -0.5
    return jnp.where(near, lax.log(other), lax.log1p(jnp.where(near, 0, u)))
