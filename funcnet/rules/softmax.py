"""softmax, log_softmax and logsumexp over some axes, without the cancellation in the likeliest class.

With p = exp(x) / Σ exp(x), and C = diag(p) − p pᵀ, the covariance of one draw from p (Bridle 1990):

    softmax        y = p                x̄ = C ȳ
    log_softmax    y = log p            x̄ = ȳ − p Σ ȳ
    logsumexp      y = log Σ exp(x)     x̄ = p ȳ,          and dp = C dx

Only the likeliest class k can have p near 1, where 1 − p loses all digits. With s = Σ_{j ≠ k} p_j, the sum of
the others, C_kk is p_k s; all else in C is right as it stands. The same stands in the derivatives of p and s,
so that each order is as good as the first.

The rules read x, not y: in exp(x − max x) a wide difference has been rounded, which costs up to 50 ulp.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import rule
from funcnet.rules.special import in_float32

Axes = Sequence[int]


def below_best(x: Any, axes: Axes) -> tuple[Any, Any, Any, Any]:
    """d = x − max x, exp(d), where the maximum is, and Σ exp(d) of all but that, whose term is 1.

    What a wide difference lost in rounding (Møller 1965, Knuth 1969) is given back to first order.
    """
    is_best = best_place(x, axes)
    best = jnp.sum(x, axis=tuple(axes), keepdims=True, where=is_best)
    d = x - best
    minus_best = d - x
    lost = (x - (d - minus_best)) - (best + minus_best)
    exp_d = jnp.exp(d) * (1 + jnp.where(d > -200, lost, 0))
    return d, exp_d, is_best, jnp.sum(exp_d, axis=tuple(axes), keepdims=True, where=~is_best)


def best_place(x: Any, axes: Axes) -> Any:
    """Where the first maximum is, as bools."""
    last = [*(axis for axis in range(x.ndim) if axis not in axes), *axes]
    sizes = [x.shape[axis] for axis in last]
    outer = sizes[: x.ndim - len(axes)]
    flat = lax.reshape(lax.transpose(x, last), [*outer, math.prod(sizes[len(outer) :])])
    places = jnp.argmax(flat, axis=-1, keepdims=True) == jnp.arange(flat.shape[-1])
    return lax.transpose(lax.reshape(places, sizes), [last.index(axis) for axis in range(x.ndim)])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def probabilities(axes: Axes, x: Any) -> tuple[Any, Any]:
    """p, and s, the sum of all but the largest."""
    _, exp_d, _, others = below_best(x, axes)
    return exp_d / (1 + others), others / (1 + others)


@probabilities.defjvp
def _tangents(axes: Axes, xs: tuple[Any], dots: tuple[Any]) -> tuple[Any, Any]:
    """dp = C dx and ds = −dp_k."""
    p, s = probabilities(axes, *xs)
    is_best = best_place(*xs, axes)
    p_dot = covariance_times(dots[0], p, s, is_best, axes)
    return (p, s), (p_dot, -jnp.sum(p_dot, axis=tuple(axes), keepdims=True, where=is_best))


def covariance_times(v: Any, p: Any, s: Any, is_best: Any, axes: Axes) -> Any:
    """C v: p_j (v_j − Σ_i p_i v_i) for j ≠ k, and p_k (s v_k − Σ_{i ≠ k} p_i v_i).

    It is its own transpose, operation by operation.
    """
    others = jnp.sum(p * v, axis=tuple(axes), keepdims=True, where=~is_best)
    best = jnp.sum(p * v, axis=tuple(axes), keepdims=True, where=is_best)
    return p * jnp.where(is_best, s * v - others, v - (others + best))


@rule("jax.nn.softmax", formula="x̄ = p ∘ (ȳ − Σ p ȳ)", source="Bridle 1990, eq. 9")
def softmax(y_bar, y, x, *, axes):
    def x_bar(y_bar, x):
        p, s = probabilities(axes, x)
        return covariance_times(y_bar, p, s, best_place(x, axes), axes)

    return (in_float32(x_bar)(y_bar, x),)


@rule("jax.nn.log_softmax", formula="x̄ = ȳ − p Σ ȳ", source="Bridle 1990, eq. 9")
def log_softmax(y_bar, y, x, *, axes):
    def x_bar(y_bar, x):
        p, s = probabilities(axes, x)
        is_best = best_place(x, axes)
        others = jnp.sum(y_bar, axis=axes, keepdims=True, where=~is_best)
        best = jnp.sum(y_bar, axis=axes, keepdims=True, where=is_best)
        return jnp.where(is_best, s * y_bar - p * others, y_bar - p * (others + best))

    return (in_float32(x_bar)(y_bar, x),)


@rule("jax.nn.logsumexp", formula="x̄ = p ȳ", source="Boyd and Vandenberghe 2004, §3.1.5")
def logsumexp(y_bar, y, x, *, axes):
    return (in_float32(lambda y_bar, x: probabilities(axes, x)[0] * y_bar)(y_bar, x),)
