"""The same program with every custom rule taken out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.backprop.undecorated import custom_rules, undecorated
from tests.check.rows import array, custom

X = array(0.5, -1.25, 2.0)

three = custom(jnp.sin, lambda args, y_bar: (3.0 * jnp.ones_like(y_bar),))


@jax.custom_jvp
def four(x):
    return jnp.sin(x)


four.defjvps(lambda x_dot, y, x: 4.0 * x_dot)


def without_rules(function):
    traced = jax.make_jaxpr(function)(X)
    bare = undecorated(traced.jaxpr, traced.consts)
    return lambda x: jax.core.eval_jaxpr(bare.jaxpr, bare.consts, x)[0]


# function, how many custom rules
DEPTHS = [
    ("none", jnp.sin, 0),
    ("a custom_vjp", three, 1),
    ("a custom_jvp", four, 1),
    ("two", lambda x: three(x) + four(x) - jnp.sin(x), 2),
    ("one in another", custom(lambda x: three(x), lambda args, y_bar: (5 * y_bar,)), 1),
    ("under jit", jax.jit(three), 1),
    ("under jit twice", jax.jit(lambda x: jax.jit(four)(x)), 1),
    ("under vmap", jax.vmap(three), 1),
    ("under remat", jax.checkpoint(three), 1),
    ("in scan", lambda x: lax.scan(lambda c, _: (three(c), None), x, length=1)[0], 1),
    (
        "in while",
        lambda x: lax.while_loop(lambda c: c[1] < 1, lambda c: (four(c[0]), c[1] + 1), (x, 0))[0],
        1,
    ),
    ("in cond", lambda x: lax.cond(x.sum() > -9, three, four, x), 2),
    ("in map", lambda x: lax.map(three, x), 1),
    (
        "in scan under jit in cond",
        lambda x: lax.cond(
            True, jax.jit(lambda x: lax.scan(lambda c, _: (three(c), None), x, length=1)[0]), jnp.cos, x
        ),
        1,
    ),
]


@pytest.mark.parametrize(("function", "count"), [row[1:] for row in DEPTHS], ids=[row[0] for row in DEPTHS])
def test_custom_rules_are_counted_and_taken_out(function, count):
    assert len(custom_rules(jax.make_jaxpr(function)(X).jaxpr)) == count
    y, tangent = jax.jvp(without_rules(function), (X,), (jnp.ones_like(X),))
    np.testing.assert_allclose(y, np.sin(X), rtol=1e-6)
    np.testing.assert_allclose(tangent, np.cos(X), rtol=1e-6)


def test_what_a_function_closes_over_stays():
    weights = jnp.asarray([1.0, 2.0, 3.0])
    bare = without_rules(lambda x: three(weights * x))
    np.testing.assert_allclose(bare(X), np.sin(weights * X), rtol=1e-6)
