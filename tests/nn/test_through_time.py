"""Steps whose number is known only when the program runs, beside a scan of that length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import nn

KEY = jax.random.key(231)


def step(params, carry, x):
    h = jnp.tanh(carry["h"] @ params["w"] + x["a"])
    return {"h": h, "sum": carry["sum"] + jnp.sum(h) * x["b"]}, (h, h[0] * x["b"])


def arguments():
    keys = jax.random.split(KEY, 4)
    params = {"w": jax.random.normal(keys[0], (3, 3))}
    carry = {"h": jax.random.normal(keys[1], (3,)), "sum": jnp.zeros(())}
    return params, carry, {"a": jax.random.normal(keys[2], (5, 3)), "b": jax.random.normal(keys[3], (5,))}


def one_number(run):
    """A loss in which the last carry and every output count."""

    def loss(params, carry, xs, length):
        after, (h, y) = run(params, carry, xs, length)
        t = 1 + jnp.arange(len(y), dtype=h.dtype)
        return after["sum"] + jnp.sum(after["h"] ** 2) + t @ h[:, 1] + jnp.sum(t * y**2)

    return loss


def scanned(params, carry, xs, length):
    xs = jax.tree.map(lambda x: x[:length], xs)
    return jax.lax.scan(lambda carry, x: step(params, carry, x), carry, xs)


@pytest.mark.parametrize("grad", [jax.value_and_grad, funcnet.value_and_grad])
def test_it_is_a_scan_of_that_length(grad, x64):
    given = arguments()
    run = lambda *args: nn.through_time(step, *args)  # noqa: E731
    ours = jax.jit(grad(one_number(run), argnums=(0, 1, 2)))
    for length in (0, 1, 4, 5):
        expected = jax.value_and_grad(one_number(scanned), argnums=(0, 1, 2))(*given, length)
        got = ours(*given, jnp.int32(length))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), got, expected)
        assert not got[1][2]["a"][length:].any()


def test_sequences_of_several_lengths_run_together():
    params, carry, xs = arguments()
    lengths = jnp.array([5, 0, 2])
    run = lambda *args: nn.through_time(step, *args)  # noqa: E731
    gradient = jax.jit(jax.vmap(jax.grad(one_number(run)), in_axes=(None, None, None, 0)))
    for length, got in zip(lengths, gradient(params, carry, xs, lengths)["w"], strict=True):
        expected = jax.grad(one_number(run))(params, carry, xs, length)["w"]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
