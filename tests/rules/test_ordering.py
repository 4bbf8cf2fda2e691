"""The rules of sorting: one order for all operands, keys that tie, the k largest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from tests.rules.rows import Row, check, check_low_precision, each, normal, squared

TIE = "at a tie the derivative jumps"

ROWS = [
    Row("sort", squared(lambda x: lax.sort(x, dimension=0)), normal((4, 3))),
    Row("sort", lambda x: lax.sort(x, dimension=1, is_stable=False), normal((2, 5)), name="unstable"),
    Row("sort", lambda x: lax.sort(x), normal((0, 3)), name="no elements"),
    Row(
        "sort",
        lambda *xs: lax.sort(xs, dimension=1, num_keys=1)[::2],
        normal((2, 4), (2, 4), (2, 4)),
        name="payload, not all used",
    ),
    Row(
        "sort",
        squared(lambda *xs: lax.sort(xs, num_keys=2)),
        lambda rng: (rng.integers(0, 3, 9), rng.normal(size=9), rng.normal(size=9)),
        name="integer key first",
    ),
    Row(
        "sort",
        lambda x: lax.sort((x, x * x, lax.iota(int, 4)), num_keys=1)[1],
        normal((4,)),
        name="integer payload",
    ),
    Row(
        "sort",
        lambda x, y: lax.sort((x, y), num_keys=1),
        lambda rng: (np.array([1.0, 0, 1, 0, 1]), rng.normal(size=5)),
        name="ties",
        differences=False,
        reason=TIE,
    ),
    Row(
        "sort",
        lambda z: lax.sort(z),
        lambda rng: [rng.normal(size=5) + 1j * rng.normal(size=5)],
        name="complex",
    ),
    Row("top_k", squared(lambda x: lax.top_k(x, 2)[0]), normal((3, 5))),
    Row("top_k", lambda x: lax.top_k(x, 3, axis=0), normal((4, 2)), name="axis"),
    Row("top_k", lambda x: lax.top_k(x, 0)[0], normal((3,)), name="none"),
    Row(
        "top_k",
        lambda x: lax.top_k(x, 3)[0],
        lambda rng: (np.array([1.0, 2, 1, 2, 1]),),
        name="ties",
        differences=False,
        reason=TIE,
    ),
    Row("approx_top_k", squared(lambda x: lax.approx_max_k(x, 2)[0]), normal((3, 5))),
    Row("approx_top_k", lambda x: lax.approx_min_k(x, 2, 0), normal((4, 2)), name="smallest, axis"),
]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("row", [ROWS[0], ROWS[8]], ids=str)
def test_rule_in_short_dtypes(row, dtype):
    check_low_precision(row, dtype)


def test_of_equal_elements_the_first_gets_the_first_cotangent():
    _, pullback = funcnet.vjp(jnp.sort, jnp.array([2.0, 1.0, 2.0, 1.0]))
    np.testing.assert_array_equal(pullback(jnp.arange(1.0, 5.0))[0], [3.0, 1.0, 4.0, 2.0])


def test_a_median_and_a_quantile():
    x = jnp.array([3.0, 1.0, 2.0, 7.0, 5.0])
    np.testing.assert_array_equal(funcnet.grad(jnp.median)(x), [1.0, 0.0, 0.0, 0.0, 0.0])
    eighth = funcnet.grad(lambda x: jnp.quantile(x, 0.125))(x)
    np.testing.assert_array_equal(eighth, [0.0, 0.5, 0.5, 0.0, 0.0])


def test_an_order_is_all_that_a_sort_keeps():
    _, pullback = funcnet.vjp(jnp.sort, jnp.ones(8))
    kept = jax.make_jaxpr(pullback)(jnp.ones(8)).consts
    assert [c.dtype for c in kept if c.shape] == [jnp.int32]
