"""What is asked of the program of a function: what it depends on, how precise it is, whether it is random."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from funcnet.check.primal import undecorated
from funcnet.check.subject import subject
from tests.check.rows import array

pytestmark = pytest.mark.in_turns(2)

X = array(0.5, -1.25, 2.0)


def traced(function, *args):
    asked = subject(function, args)
    with jax.enable_x64(True):
        return undecorated(asked.floats(function), asked.rest, asked.at(jnp.float64))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, y: x * y, (True, True)),
        (lambda x, y: jnp.sin(x), (True, False)),
        (lambda x, y: x + jnp.floor(y), (True, False)),
        (lambda x, y: jnp.where(y > 0, x, -x), (True, False)),
        (lambda x, y: lax.cond(True, jnp.multiply, jnp.add, x, y), (True, True)),
    ],
)
def test_which_arguments_the_result_depends_on_other_than_by_steps(function, expected):
    assert traced(function, X, X).depends() == expected


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (jnp.sin, "float64"),
        (lambda x: x.astype("float32").sum(), "float32"),
        (lambda x: x.astype("bfloat16").astype("float32").sum(), "bfloat16"),
        (jax.jit(lambda x: jnp.tanh(x.astype("float16"))), "float16"),
        (
            lambda x: lax.scan(lambda c, _: (c.astype("float16").astype(c.dtype), None), x, length=2)[0],
            "float16",
        ),
        (lambda x: x + jnp.float32(1.0).astype(x.dtype), "float64"),
    ],
)
def test_the_shortest_dtype_on_the_way_from_arguments_to_result(function, dtype):
    assert traced(function, X).narrowest() == dtype


def test_a_function_that_draws_random_numbers_is_known_as_one():
    assert traced(lambda x, key: x * jax.random.normal(key, x.shape), X, jax.random.key(0)).draws()
    assert traced(lambda x, key: x * jax.random.normal(key, x.shape), X, jax.random.PRNGKey(0)).draws()
    assert not traced(jnp.sin, X).draws()
