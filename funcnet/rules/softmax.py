"""softmax, log_softmax and logsumexp over some axes, without the cancellation in the likeliest class.

With p = exp(x) / Σ exp(x), and C = diag(p) − p pᵀ, the covariance of one draw from p (Bridle 1990):

    softmax        y = p                x̄ = C ȳ
    log_softmax    y = log p            x̄ = ȳ − p Σ ȳ
    logsumexp      y = log Σ exp(x)     x̄ = p ȳ,          and dp = C dx

Only a class k that is likelier than all others can have p near 1, where 1 − p loses all digits. With
s = Σ_{j ≠ k} p_j, the sum of the others, C_kk is p_k s; all else in C is right as it stands. C ȳ is
p ∘ (ȳ − Σ p ȳ), where the mean is taken off until none is left. The same stands in the derivatives of p and
s, so that each order is as good as the first.

The rules of the logarithms read x: in exp(x − max x) a wide difference has been rounded, which costs up to
50 ulp. That of softmax reads y, and is as good as that.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.rules._table import rule
from funcnet.rules.special import in_float32

Axes = Sequence[int]


def below_best(x: Any, axes: Axes) -> tuple[Any, Any]:
    """d = x − max x, and exp(d)."""
    return below(x, jnp.max(x, axis=tuple(axes), keepdims=True))


def below(x: Any, best: Any) -> tuple[Any, Any]:
    """d = x − best, and exp(d).

    What a wide difference lost in rounding (Møller 1965, Knuth 1969) is given back to first order.
    """
    d = x - best
    minus_best = d - x
    lost = (x - (d - minus_best)) - (best + minus_best)
    return d, jnp.exp(d) * (1 + jnp.where(d > -200, lost, 0))


def total(terms: Any, axes: Axes, where: Any = None) -> Any:
    return jnp.sum(terms, axis=tuple(axes), keepdims=True, where=where)


def _of_scores(p: Callable[[Axes, Any], Any]) -> Callable[[Axes, Any], Any]:
    """Decorator: probabilities p(axes, x) have the derivative dp = C dx."""
    value: Any = jax.custom_jvp(p, nondiff_argnums=(0,))

    def tangent(axes: Axes, xs: tuple[Any], dots: tuple[Any]) -> tuple[Any, Any]:
        p = value(axes, *xs)
        return p, covariance_times(dots[0], p, axes)

    value.defjvp(tangent)
    return value


@_of_scores
def probabilities(axes: Axes, x: Any) -> Any:
    """The sum is that of the value, so that XLA finds it there and holds no array of exp(d)."""
    best = jnp.max(x, axis=tuple(axes), keepdims=True)
    _, exp_d = below(x, jnp.where(jnp.isfinite(best), best, 0))
    return exp_d / total(jnp.exp(x - best), axes)


def _is_likely(axes: Axes, x: Any) -> Any:
    """The class with p > 1/1.7, for which Σ exp(d) < 1.7: all others have d < log 0.7 = −0.36.

    It is not asked for d = 0: XLA may compute x and its maximum apart, and otherwise.
    """
    d = x - jnp.max(x, axis=tuple(axes), keepdims=True)
    return (d > -0.25) & (total(jnp.exp(d), axes) < 1.7)


@_of_scores
def _shares(axes: Axes, x: Any) -> Any:
    """p of x that are not far from 0."""
    exp_x = jnp.exp(x)
    return exp_x / total(exp_x, axes)


def covariance_times(v: Any, p: Any, axes: Axes) -> Any:
    """C v, with what the sum over all classes, 0, has of rounding taken out in k.

    So C is its own transpose, operation by operation.
    """
    return _balanced(_x_bar(axes, v, p), p, axes)


def _balanced(u: Any, p: Any, axes: Axes) -> Any:
    return u - jnp.where(p > 0.5, total(u, axes), 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _x_bar(axes: Axes, y_bar: Any, p: Any) -> Any:
    """C ȳ = p ∘ w, with w = ȳ − Σ p ȳ."""
    return p * _from_mean(y_bar, p, axes)


@_x_bar.defjvp
def _x_bar_tangent(axes: Axes, xs: tuple[Any, Any], dots: tuple[Any, Any]) -> tuple[Any, Any]:
    """Of derivatives the sums are balanced, as what is transposed in them needs."""
    (y_bar, p), (y_bar_dot, p_dot) = xs, dots
    w = _from_mean(y_bar, p, axes)
    of_p = p_dot * w - p * total(p_dot * w, axes)
    return p * w, covariance_times(y_bar_dot, p, axes) + _balanced(of_p, p, axes)


def _from_mean(y_bar: Any, p: Any, axes: Axes) -> Any:
    """ȳ − Σ p ȳ, less its own mean, which is what rounding has left of that, and this once more.

    So a variance is corrected (Chan, Golub and LeVeque 1983). Where a class has p near 1 all of the first
    difference there is rounding; the second time that is taken off it is right to the last digits.
    """
    w = y_bar
    for _ in range(3):
        w = w - total(p * w, axes)
    return w


def others(p: Any, axes: Axes) -> Any:
    """Σ_{j ≠ k} p_j, if there is a k with more than half of it."""
    return total(p, axes, p <= 0.5)


@rule("jax.nn.softmax", formula="x̄ = p ∘ (ȳ − Σ p ȳ)", source="Bridle 1990, eq. 9")
def softmax(y_bar, y, x, *, axes):
    return (in_float32(lambda y_bar, p: _x_bar(axes, _where_likely(y_bar, p), p))(y_bar, y),)


@jax.jit  # so that jax_debug_infs, which looks at results, does not stop at its infinity
def _where_likely(y_bar: Any, p: Any) -> Any:
    """ȳ, and 0 where p has underflowed to 0: there not even an infinite slope counts, such as −p log p has.

    It is cut off at ± m/(1 − m), which is 0 there, and infinite where p is a normal number, and m is 1. XLA
    takes that into the sums, and no select.
    """
    m = jnp.minimum(jax.lax.stop_gradient(p) * 2.0 ** (jnp.finfo(p.dtype).maxexp - 1), 1)
    most = m / (1 - m)
    return jnp.minimum(jnp.maximum(y_bar, -most), most)


@rule("jax.nn.log_softmax", formula="x̄ = ȳ − p Σ ȳ", source="Bridle 1990, eq. 9")
def log_softmax(y_bar, y, x, *, axes):
    """Σ x̄ = 0, so that of the likeliest class is what the others lack."""

    def x_bar(y_bar, x):
        is_likely = _is_likely(axes, jax.lax.stop_gradient(x))
        u = jnp.where(is_likely, 0, y_bar - probabilities(axes, x) * total(y_bar, axes))
        return jnp.where(is_likely, -total(u, axes), u)

    return (in_float32(x_bar)(y_bar, x),)


@rule("jax.nn.logsumexp", formula="x̄ = p ȳ", source="Boyd and Vandenberghe 2004, §3.1.5")
def logsumexp(y_bar, y, x, *, axes):
    return (in_float32(lambda y_bar, x: probabilities(axes, x) * y_bar)(y_bar, x),)


def _logsumexp_written_out(y_bar, y, x, *, axes):
    """Of x as it is: exp(x) and Σ exp(x) are those of the value, and where they overflow, so does that."""
    return (in_float32(lambda y_bar, x: _shares(axes, x) * y_bar)(y_bar, x),)


WRITTEN_OUT = {logsumexp: dataclasses.replace(logsumexp, backward=_logsumexp_written_out)}
"""For rules of functions that a call names: those that do where a program has them written out."""
