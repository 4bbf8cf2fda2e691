"""Gradients that are 0 because terms cancel: right ones are accepted, wrong ones are not."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from funcnet import VJPCheckError, check_vjp
from tests.check.functions import FAST, ROWS, X
from tests.check.rows import custom

pytestmark = pytest.mark.in_turns(2)


def scores(q, k, bias):
    """Attention's weights do not change when the same vector is added to every key."""
    return jax.nn.softmax(q @ (k + bias).T)


def scores_gradient(args, y_bar):
    q, k, bias = args
    y = scores(q, k, bias)
    s_bar = y * (y_bar - (y * y_bar).sum(-1, keepdims=True))
    return s_bar @ (k + bias), s_bar.T @ q, (s_bar.T @ q).sum(0)


def ratio(w):
    return w / w


def normalized(x, bias):
    """Batch normalization forgets a bias before it."""
    z = x + bias
    return (z - z.mean(0)) / jnp.sqrt(z.var(0) + 1e-5)


def normalized_gradient(args, y_bar):
    x, bias = args
    y, s = normalized(x, bias), jnp.sqrt((x + bias).var(0) + 1e-5)
    z_bar = (y_bar - y_bar.mean(0) - y * (y_bar * y).mean(0)) / s
    return z_bar, z_bar.sum(0)


def contracted(w, start):
    return lax.fori_loop(0, 60, lambda _, z: jnp.tanh(0.3 * z + w), start)


def contracted_gradient(args, y_bar):
    z = contracted(*args)
    slope = 1 - jnp.tanh(0.3 * z + args[0]) ** 2
    return y_bar * slope / (1 - 0.3 * slope), jnp.zeros_like(args[1])


ZEROS = [
    ("the bias of keys", custom(scores, scores_gradient), (ROWS, ROWS[::-1] + 0.5, X)),
    ("the bias of keys, by JAX", scores, (ROWS, ROWS[::-1] + 0.5, X)),
    ("w / w", custom(ratio, lambda args, y_bar: (y_bar / args[0] - y_bar * args[0] / args[0] ** 2,)), (X,)),
    ("a bias before normalization", custom(normalized, normalized_gradient), (ROWS, X)),
    ("a bias before normalization, by JAX", normalized, (ROWS, X)),
    ("the start of an iteration", custom(contracted, contracted_gradient), (0.3 * X, 0 * X + 0.1)),
]


@pytest.mark.parametrize(("function", "args"), [row[1:] for row in ZEROS], ids=[row[0] for row in ZEROS])
def test_a_gradient_that_is_zero_because_terms_cancel_is_right(function, args):
    check_vjp(function, *args, **FAST)


def test_what_is_small_beside_what_cancels_is_wrong_all_the_same():
    def backward(args, y_bar):
        q_bar, k_bar, bias_bar = scores_gradient(args, y_bar)
        return q_bar, k_bar, bias_bar + 1e-7

    with pytest.raises(VJPCheckError, match=r"NONLINEAR|WRONG"):
        check_vjp(custom(scores, backward), ROWS, ROWS[::-1] + 0.5, X, **FAST)


def test_a_gradient_that_is_0_but_for_a_rounding_is_right():
    """At 0 the one-sided differences of |x|^2.75 are h^1.75, 1e-10 at the least, and the central one is 0."""

    def gradient(args, y_bar):
        (x,) = args
        return (y_bar * (2.75 * jnp.sign(x) * abs(x) ** 1.75 + 3e-17),)

    check_vjp(custom(lambda x: abs(x) ** 2.75, gradient), jnp.array([0.5, -1.25, 0.0, 2.0]), dtypes=())
