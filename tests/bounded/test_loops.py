"""Loops within a number of turns, and callbacks that are not waited for for ever."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet.bounded.callbacks import Patience
from funcnet.bounded.loops import is_endless, metered


def until(most):
    """1 + 1 + … up to a number: as many turns as it says."""
    return lambda x: lax.while_loop(lambda c: c < most, lambda c: c + 1, x)


def in_a_loop(x):
    """Three turns, of two turns each."""
    return lax.while_loop(lambda c: c < 6, lambda c: until(c + 2)(c), x)


# function, how many turns its loops take from 0
TURNS = [
    ("no loop", jnp.sin, 0),
    ("a loop", until(5.0), 5),
    ("a loop in a loop", lambda x: in_a_loop(x), 3 + 6),
    ("under jit", jax.jit(until(5.0)), 5),
    ("in scan", lambda x: lax.scan(lambda c, most: (until(most)(c), c), x, jnp.array([2.0, 5.0]))[0], 5),
    ("in cond", lambda x: lax.cond(x < 1, until(4.0), until(9.0), x), 4),
    ("until the last of a batch", lambda x: jax.vmap(until(3.0))(jnp.stack([x, x - 2])), 5),
]


@pytest.mark.parametrize(("function", "turns"), [row[1:] for row in TURNS], ids=[row[0] for row in TURNS])
def test_turns_are_counted_and_the_result_is_the_same(function, turns):
    y, left = jax.jit(metered(function, Patience(1.0)))(jnp.int32(100), jnp.float32(0.0))
    assert 100 - left == turns
    np.testing.assert_array_equal(y, function(jnp.float32(0.0)))
    assert is_endless(jax.make_jaxpr(function)(0.0).jaxpr) == bool(turns)


def test_a_loop_without_end_leaves_none():
    _, left = jax.jit(metered(until(jnp.inf), Patience(1.0)))(jnp.int32(100), jnp.float32(0.0))
    assert left == 0


@pytest.mark.parametrize(("refuses", "seconds"), [(False, 0.2), (True, 20.0)])
def test_a_callback_that_does_not_come_back_or_refuses_gives_nan(refuses, seconds):
    def python(x):
        if refuses:
            raise ValueError("not here")
        while True:
            time.sleep(0.01)

    def function(x):
        return jax.pure_callback(python, jax.ShapeDtypeStruct((), jnp.float32), x)

    patience, begin = Patience(seconds), time.monotonic()
    y, _ = jax.jit(metered(function, patience))(jnp.int32(1), jnp.float32(0.0))
    assert np.isnan(y)
    assert time.monotonic() - begin < 10
    assert patience.lost == (not refuses)
    assert isinstance(patience.refusal, ValueError) == refuses
