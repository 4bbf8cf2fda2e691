"""Losses as users of other libraries write them: each goes wrong at one known gate, at the line `# here`."""

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import optax
from jax.experimental.ode import odeint


def label_outside_in_optax(p, labels):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(p, labels))  # here


def token_outside_in_flax(p, tokens):
    return jnp.sum(linen.Embed(4, 2).apply({"params": {"embedding": p}}, tokens))  # here


def product_in_equinox(p, x):
    layer = eqx.tree_at(lambda layer: layer.weight, eqx.nn.Linear(2, 2, key=jax.random.key(0)), p)
    return jnp.sum(jax.vmap(layer)(x))  # here


def jitted_in_equinox(p, x):
    norm = eqx.nn.RMSNorm(2, eps=0.0, use_weight=False, use_bias=False)
    return jnp.sum(p * eqx.filter_jit(norm)(x))  # here


def nan_behind_a_select(p, x):
    density = -jnp.sum((x * p["w"]) ** 2)  # here
    return -jnp.where(jnp.isnan(density), -jnp.inf, density)


def infinite_example(p, x):
    hidden = jax.nn.relu(x @ p)
    return jnp.sum(hidden - 0.5 * hidden)  # here


def equation_that_ends(p):
    def field(y, t):
        return -(jnp.log(y) ** 2)  # here

    return jnp.sum(odeint(field, p, jnp.array([0.0, 0.5]), mxstep=9))


def singular_determinant(p):
    return -jnp.linalg.slogdet(jnp.outer(p, p))[1]  # here


def variance_of_one(p):
    return jnp.var(p[:1], ddof=1)  # here


def equal_singular_values(p):
    return jnp.linalg.svd(p)[0][0, 0] ** 3  # here


def angle_of_nothing(p):
    return jnp.arctan2(p[0], p[1])  # here


def focal(p):
    return -jnp.sqrt(1 - jax.nn.sigmoid(p)) * jnp.log(jax.nn.sigmoid(p))  # here


@jax.custom_jvp
def length(x):
    return jnp.sqrt(jnp.sum(x * x))


@length.defjvp
def length_jvp(x, x_dot):
    y = length(*x)
    return y, jnp.sum(x[0] * x_dot[0]) / y


def length_with_a_jvp(p):
    return length(p)  # here


def positions_of_iota(p):
    rows = jnp.take(jnp.ones((3, 2)) * p, jnp.arange(2), axis=0)  # a call whose operand is made of nothing
    return jnp.sqrt(jnp.sum(rows * 0))  # here
