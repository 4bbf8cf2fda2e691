"""Box and Cox's power transformation, which is log x at λ = 0, as a function of L = log x and λ.

    y = (x^λ − 1) / λ = L φ(λL),     φ(z) = (e^z − 1) / z = ∫ e^{tz} dt over 0 ≤ t ≤ 1

    ∂y/∂L = e^{λL}     ∂y/∂λ = L² φ′(λL),     φ⁽ⁿ⁾(z) = ∫ tⁿ e^{tz} dt

As JAX composes it, by a choice at λ = 0, ∂y/∂λ is 0 there, and next to it a difference of two terms that are
large by 1/λ. Far from 0 the integrals follow from each other by parts, z φ⁽ⁿ⁾ = e^z − n φ⁽ⁿ⁻¹⁾, and near it
they are the power series Σ zᵏ / (k! (k + n + 1)).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import rule, slope
from funcnet.rules.special import in_float32


@rule(
    "jax.scipy.special.boxcox",
    formula="L̄ = ȳ e^{λL},  λ̄ = ȳ L² φ′(λL),  L = log x",
    source="Box and Cox 1964, eq. 1",
)
def boxcox(y_bar, y, log, lmbda, one, is_zero):
    return _in_log(y_bar, log, lmbda), _in_lambda(y_bar, log, lmbda), None, None


@in_float32
def _in_log(y_bar: Any, log: Any, lmbda: Any) -> Any:
    return y_bar * lax.exp(lmbda * log)


@in_float32
def _in_lambda(y_bar: Any, log: Any, lmbda: Any) -> Any:
    return y_bar * _lambda_slope(log, lmbda)


@slope(
    lambda s, log, lmbda: lax.exp(lmbda * log) * log, lambda s, log, lmbda: log**3 * moment(2)(lmbda * log)
)
def _lambda_slope(log: Any, lmbda: Any) -> Any:
    """∂y/∂λ, of log x and λ."""
    return log * log * moment(1)(lmbda * log)


@functools.cache
def moment(n: int) -> Callable[[Any], Any]:
    """φ⁽ⁿ⁾, the n-th derivative of (e^z − 1)/z."""
    return slope(lambda s, z: moment(n + 1)(z))(functools.partial(_moment, n))


def _moment(n: int, z: Any) -> Any:
    near = lax.abs(z) < 2 + n
    inside, outside = jnp.where(near, z, 0), jnp.where(near, 9, z)
    terms = 20 if z.dtype == jnp.float32 else 36
    series = functools.reduce(
        lambda sum_, k: sum_ * inside + 1 / (math.factorial(k) * (k + n + 1)), reversed(range(terms)), 0.0
    )
    far = lax.expm1(outside) / outside
    for k in range(1, n + 1):
        far = (lax.exp(outside) - k * far) / outside
    return jnp.where(near, series, far)
