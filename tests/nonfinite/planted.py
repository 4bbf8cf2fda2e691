"""Losses that go wrong at one known gate each: the line that says so ends in `# here`."""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from funcnet import nn


def log_of_0(p):
    probabilities = p / jnp.sum(p)
    return -jnp.mean(jnp.log(probabilities))  # here


def sqrt_at_0(p):
    distance = jnp.sum((p - lax.stop_gradient(p)) ** 2)
    return jnp.sqrt(distance)  # here


def softmax_in_float16(p):
    e = jnp.exp(p.astype(jnp.float16))  # here
    return jnp.mean((e / jnp.sum(e)).astype(jnp.float32))


def exploding_scan(p):
    def grow(h, x):
        h = h * h * x  # here
        return h, h

    return jnp.sum(lax.scan(grow, jnp.float32(2), p * jnp.ones(20))[0])


def exploding_gradient_of_a_scan(p):
    def turn(h, x):
        h = 1000.0 * h  # here
        return jnp.sin(h) + x, None

    return jnp.sum(lax.scan(turn, p, jnp.zeros((30, 2)))[0])


def division_in_an_untaken_branch(p):
    return jnp.sum(jnp.where(p != 0, jnp.sin(p) / p, 1.0))  # here


def nan_in_the_data(p, x, y):
    return jnp.mean((x @ p - y) ** 2)  # here


def infinite_learning_rate(p, rate):
    p = p - rate * jax.grad(lambda p: jnp.sum(p**2))(p)  # here
    return jnp.sum(p**2)


def zero_by_zero(p):
    weight = jnp.where(p > 10, 1.0, 0.0)
    return jnp.sum(weight * p) / jnp.sum(weight)  # here


def nan_written_in_the_code(p):
    def known(x, ok):
        return jnp.where(ok, x, jnp.nan)  # here

    return jnp.sum(known(p, jnp.arange(2) < 1))


def label_that_is_no_class(p):
    return nn.softmax_loss(p, jnp.argmin(p) + 2)  # here


def inf_minus_inf(p):
    scores = jnp.where(jnp.arange(2) > 5, p, -jnp.inf)
    shifted = scores - jnp.max(scores)  # here
    return jnp.sum(jnp.exp(shifted))


def arccos_above_1(p):
    cosine = p[0] / p[1]
    return jnp.arccos(cosine)  # here


def negative_to_a_power(p):
    return jnp.sum((p - 3) ** 1.5)  # here


def std_of_a_constant(p):
    x = p[0] * jnp.ones(4)
    return jnp.std(x)  # here


def norm_at_0(p):
    return jnp.linalg.norm(p)  # here


def log1p_of_minus_1(p):
    return jnp.sum(jnp.log1p(-p))  # here


def exp_in_a_loss(p):
    @jax.checkpoint
    def poisson(rate):
        return jnp.exp(rate) - rate  # here

    return jnp.mean(poisson(50 * p))


def unit_vector_of_0(p):
    return jnp.sum(p / jnp.sqrt(p @ p))  # here


def logsumexp_of_a_masked_row(p):
    scores = jnp.where(jnp.array([[True, False], [False, False]]), p, -jnp.inf)
    return jnp.mean(jax.nn.logsumexp(scores, axis=-1))  # here


@jax.custom_vjp
def cumprod(x):
    return jnp.cumprod(x)


def cumprod_backward(stash, y_bar):
    x, y = stash
    return (lax.cumsum(y * y_bar, reverse=True) / x,)  # here


cumprod.defvjp(lambda x: (jnp.cumprod(x), (x, jnp.cumprod(x))), cumprod_backward)


def cumprod_at_0(p):
    return jnp.sum(cumprod(p))


@jax.custom_vjp
def clipped(x):
    return jnp.clip(x, -1, 1)


def clipped_backward(x, y_bar):
    return (y_bar * jnp.nan,)  # here


clipped.defvjp(lambda x: (clipped(x), x), clipped_backward)


def nan_from_a_custom_vjp(p):
    return jnp.sum(clipped(jnp.sin(p)))


def nan_parameter(p):
    return jnp.sum(jnp.tanh(p["layer1"] @ p["layer2"]))  # here


def cond_that_divides(p):
    return lax.cond(p[0] > 0, jnp.sum, lambda p: jnp.sum(1 / (p + 1)), p)  # here


def while_that_overflows(p):
    def square(state):
        x, i = state
        return x * x, i + 1  # here

    return lax.while_loop(lambda state: state[1] < 9, square, (p[0], 0))[0]


def vmapped_while(p):
    def fraction(x):
        def invert(state):
            y, i = state
            return 1 / (y - 1), i + 1  # here

        return lax.while_loop(lambda state: state[1] < 2 * x, invert, (x + 1, 0))[0]

    return jnp.sum(jax.vmap(fraction)(p))


def vmapped_root(p):
    return jnp.sum(jax.vmap(lambda x: checkpoint_name(jnp.sqrt(x), "root"))(p))  # here


def sum_of_gradients_in_float16(p):
    h = p.astype(jnp.float16)
    return jnp.sum(40000 * h + 40000 * h).astype(jnp.float32)  # here


def masked_root_under_a_zero(p):
    return jnp.sum(jnp.sqrt(p) ** 2)  # here


def running_maximum_that_starts_at_minus_inf(p):
    def online(carry, x):
        m, total = carry
        larger = jnp.maximum(m, x)
        total = total * jnp.exp(m - larger) + jnp.exp(x - larger) / (x - 3)  # here
        return (larger, total), None

    return lax.scan(online, (-jnp.inf, 0.0), p)[0][1]


def second_derivative(p):
    return jnp.sum(jax.grad(lambda p: jnp.sum(p**1.5))(p))  # here


def log_prob_outside_the_support(p):
    return -jnp.mean(jax.scipy.stats.gamma.logpdf(jnp.array([1.0, -1.0]), p[0]))  # here


def softmax_written_out(p):
    e = jnp.exp(p)  # here
    return jnp.sum(p * e / e.sum(-1, keepdims=True))


def cholesky_of_an_indefinite_matrix(p):
    return jnp.sum(jnp.linalg.cholesky(jnp.outer(p, p) - jnp.eye(2)))  # here


def cosine_in_a_library(p):
    return optax.cosine_similarity(0 * p, p)  # here
