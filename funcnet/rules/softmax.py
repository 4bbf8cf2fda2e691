"""softmax, log_softmax and logsumexp over some axes, without the cancellation in the likeliest class.

With p = exp(x) / Σ exp(x), and C = diag(p) − p pᵀ, the covariance of one draw from p (Bridle 1990):

    softmax        y = p                x̄ = C ȳ
    log_softmax    y = log p            x̄ = ȳ − p Σ ȳ
    logsumexp      y = log Σ exp(x)     x̄ = p ȳ,          and dp = C dx

Only a class k that is likelier than all others can have p near 1, where 1 − p loses all digits. With
s = Σ_{j ≠ k} p_j, the sum of the others, C_kk is p_k s; all else in C is right as it stands. The same stands
in the derivatives of p and s, so that each order is as good as the first.

The rules of the logarithms read x: in exp(x − max x) a wide difference has been rounded, which costs up to
50 ulp. That of softmax reads y, and is as good as that.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet.rules._table import rule
from funcnet.rules.special import in_float32

Axes = Sequence[int]


def below_best(x: Any, axes: Axes) -> tuple[Any, Any, Any, Any]:
    """d = x − max x, exp(d), where the only maximum is, and Σ exp(d) − 1.

    What a wide difference lost in rounding (Møller 1965, Knuth 1969) is given back to first order.
    """
    best = jnp.max(x, axis=tuple(axes), keepdims=True)
    d = x - best
    minus_best = d - x
    lost = (x - (d - minus_best)) - (best + minus_best)
    exp_d = jnp.exp(d) * (1 + jnp.where(d > -200, lost, 0))
    winners = total(exp_d, axes, d == 0)
    return d, exp_d, (d == 0) & (winners == 1), (winners - 1) + total(exp_d, axes, d != 0)


def total(terms: Any, axes: Axes, where: Any = None) -> Any:
    return jnp.sum(terms, axis=tuple(axes), keepdims=True, where=where)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def probabilities(axes: Axes, x: Any) -> tuple[Any, Any, Any]:
    """p; 1 − p of the largest; and where that is, if it is the only one, as bools."""
    _, exp_d, is_best, others = below_best(x, axes)
    return exp_d / (1 + others), others / (1 + others), is_best


@probabilities.defjvp
def _tangents(axes: Axes, xs: tuple[Any], dots: tuple[Any]) -> tuple[Any, Any]:
    """dp = C dx and ds = −dp_k."""
    p, s, is_best = probabilities(axes, *xs)
    p_dot = covariance_times(dots[0], p, s, is_best, axes)
    no_dot = np.zeros(is_best.shape, jax.dtypes.float0)
    return (p, s, is_best), (p_dot, -total(p_dot, axes, is_best), no_dot)


def covariance_times(v: Any, p: Any, s: Any, is_best: Any, axes: Axes) -> Any:
    """C v: p_j (v_j − Σ_i p_i v_i) for j ≠ k, and p_k (s v_k − Σ_{i ≠ k} p_i v_i).

    It is its own transpose, operation by operation.
    """
    others = total(p * v, axes, ~is_best)
    best = total(p * v, axes, is_best)
    return p * jnp.where(is_best, s * v - others, v - (others + best))


@rule("jax.nn.softmax", formula="x̄ = p ∘ (ȳ − Σ p ȳ)", source="Bridle 1990, eq. 9")
def softmax(y_bar, y, x, *, axes):
    def x_bar(y_bar, p):
        largest = p == jnp.max(p, axis=axes, keepdims=True)
        is_best = largest & (total(largest.astype(p.dtype), axes) == 1)
        return covariance_times(y_bar, p, total(p, axes, ~is_best), is_best, axes)

    return (in_float32(x_bar)(y_bar, y),)


@rule("jax.nn.log_softmax", formula="x̄ = ȳ − p Σ ȳ", source="Bridle 1990, eq. 9")
def log_softmax(y_bar, y, x, *, axes):
    def x_bar(y_bar, x):
        p, s, is_best = probabilities(axes, x)
        others = total(y_bar, axes, ~is_best)
        best = total(y_bar, axes, is_best)
        return jnp.where(is_best, s * y_bar - p * others, y_bar - p * (others + best))

    return (in_float32(x_bar)(y_bar, x),)


@rule("jax.nn.logsumexp", formula="x̄ = p ȳ", source="Boyd and Vandenberghe 2004, §3.1.5")
def logsumexp(y_bar, y, x, *, axes):
    return (in_float32(lambda y_bar, x: probabilities(axes, x)[0] * y_bar)(y_bar, x),)
