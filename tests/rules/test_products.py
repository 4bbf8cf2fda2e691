"""The rules of products, row by row, and what a row cannot say: what they cost."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import RULES
from tests.rules.rows import Row, check, check_low_precision, complex_normal, each, normal


def fixed(*shapes):
    """As `normal`, but `check` leaves vmap out: JAX has none of ragged products with shared group sizes."""
    return normal(*shapes)(np.random.default_rng(0))


def product(contract, batch=((), ()), **options):
    return lambda x, w: lax.dot_general(x, w, (contract, batch), **options)


def ragged(contract, batch, cut, group, sizes):
    numbers = lax.RaggedDotDimensionNumbers((contract, batch), [cut], group)
    return lambda x, w: lax.ragged_dot_general(x, w, jnp.asarray(sizes, jnp.int32), numbers)


ROWS = [
    Row("dot_general", lax.dot, normal((3, 4), (4, 2)), name="matrices"),
    Row("dot_general", lax.dot, normal((4,), (4,)), name="vectors"),
    Row("dot_general", lax.dot, complex_normal((3, 4), (4,)), name="complex"),
    Row(
        "dot_general",
        product(([3, 1], [0, 3]), ([4, 0], [1, 2])),
        normal((2, 3, 1, 4, 2), (4, 2, 2, 3, 2)),
        name="axes in any order",
    ),
    Row("dot_general", product(((), ()), ((), ())), normal((2, 1), (3,)), name="outer"),
    Row("dot_general", product(((), ()), ((0, 1), (1, 0))), normal((2, 3), (3, 2)), name="batch axes only"),
    Row("dot_general", product(((0, 1), (1, 0))), normal((2, 3), (3, 2)), name="contracted axes only"),
    Row("dot_general", product(((), ())), normal((), ()), name="rank 0"),
    Row("dot_general", lax.dot, normal((3, 0), (0, 2)), name="nothing to sum"),
    Row("dot_general", lax.dot, normal((0, 3), (3, 2)), name="no rows"),
    Row("dot_general", lambda x: lax.dot(x, x), normal((3, 3)), name="both operands the same"),
    Row(
        "dot_general",
        lambda x, w: lax.dot(x, w),
        lambda rng: (rng.normal(size=(2, 3)), rng.normal(size=(3, 2)) + 1j),
        name="real times complex",
    ),
    Row(
        "dot_general",
        product(((1,), (0,)), precision=(lax.Precision.HIGHEST, lax.Precision.DEFAULT)),
        normal((2, 3), (3, 2)),
        name="a precision for each operand",
    ),
    Row(
        "ragged_dot_general",
        lambda x, w: lax.ragged_dot(x, w, jnp.array([2, 0, 1], jnp.int32)),
        fixed((5, 2), (3, 2, 4)),
        name="rows in groups, an empty group, rows in none",
        second=False,
        reason="JAX has no gradient where a contracted axis is cut, as it is in w̄",
    ),
    Row(
        "ragged_dot_general",
        ragged(((3, 0), (0, 3)), ((1,), (1,)), 2, [2], [[1, 3], [2, 0]]),
        fixed((3, 2, 5, 2), (2, 2, 2, 3, 2)),
        name="sizes for each member of a batch",
        second=False,
        reason="JAX has no gradient where a contracted axis is cut, as it is in w̄",
    ),
    Row(
        "ragged_dot_general",
        ragged(((2, 1), (0, 2)), ((0,), (1,)), 1, [], [[[1, 2], [0, 4], [3, 0]], [[1, 1], [2, 2], [0, 1]]]),
        fixed((2, 4, 3), (3, 2, 4, 2)),
        name="cut along a contracted axis",
        jax=False,
        reason="JAX has no gradient of it",
    ),
    Row(
        "ragged_dot_general",
        ragged(((2,), (0,)), ((0,), (2,)), 0, [], [2, 1]),
        fixed((3, 2, 4), (4, 2, 3)),
        name="cut along a batch axis",
        jax=False,
        reason="JAX has no gradient of it",
    ),
]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.in_turns(3)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("wide", [None, jnp.float32])
def test_low_precision(dtype, wide):
    check_low_precision(
        Row("dot_general", lambda x, w: lax.dot(x, w, preferred_element_type=wide), normal((3, 4), (4, 2))),
        dtype,
    )


@pytest.mark.parametrize("x_dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("w_dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("y_dtype", [None, jnp.bfloat16, jnp.float32])
def test_operands_of_different_dtypes(x_dtype, w_dtype, y_dtype):
    """As exact as the gradient's dtype and the wider factor allow; JAX rounds to a narrow y's dtype first."""
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=(3, 5)), x_dtype), jnp.asarray(rng.normal(size=(5, 4)), w_dtype)
    y, pullback = funcnet.vjp(lambda x, w: lax.dot(x, w, preferred_element_type=y_dtype), x, w)
    y_bar = jnp.asarray(rng.normal(size=(3, 4)), y.dtype)
    x_bar, w_bar = pullback(y_bar)
    for found, of, (left, right) in [(x_bar, x, (y_bar, w.T)), (w_bar, w, (x.T, y_bar))]:
        assert found.dtype == of.dtype
        factors = min(jnp.finfo(left.dtype).eps, jnp.finfo(right.dtype).eps)
        exact = np.asarray(left, np.float64) @ np.asarray(right, np.float64)
        atol = 4 * float(max(jnp.finfo(of.dtype).eps, factors))
        np.testing.assert_allclose(np.asarray(found, np.float64), exact, rtol=0, atol=atol)


@pytest.mark.usefixtures("x64")
def test_second_order_of_a_ragged_product():
    """JAX has none, but it has one of the dense product over all groups with a mask."""
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=(5, 2))), jnp.asarray(rng.normal(size=(3, 2, 4)))
    member = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], float)

    def ragged(x, w):
        return lax.ragged_dot(x, w, jnp.array([2, 0, 1], jnp.int32))

    def dense(x, w):
        return jnp.einsum("mk,gkn,mg->mn", x, w, member)

    def second(vjp, function):
        def first(x, w):
            y, pullback = vjp(function, x, w)
            return pullback(jnp.cos(y))

        x_bars, pullback = vjp(first, x, w)
        return pullback(jax.tree.map(jnp.sin, x_bars))

    chex.assert_trees_all_close(second(funcnet.vjp, ragged), second(jax.vjp, dense), rtol=1e-12)


def products_of_the_rule(n=2, **params):
    """The two products that the rule makes of one, x of 3 by w of n columns: their parameters."""
    x, w = jnp.ones((2, 3)), jnp.ones((3, n))
    numbers = (((1,), (0,)), ((), ()))
    back = jax.make_jaxpr(
        lambda y_bar, x, w: RULES["dot_general"](
            y_bar, None, x, w, dimension_numbers=numbers, preferred_element_type=None, **params
        )
    )(jnp.ones((2, n)), x, w)
    return [eqn.params for eqn in back.eqns if eqn.primitive.name == "dot_general"]


def test_y_bar_takes_the_precision_of_the_operand_it_replaces():
    of_x, of_w = lax.Precision.HIGHEST, lax.Precision.DEFAULT
    for_x, for_w = products_of_the_rule(precision=(of_x, of_w))
    assert for_x["precision"] == (of_x, of_w)
    assert for_w["precision"] == (of_w, of_x)
    algorithm = lax.DotAlgorithm(jnp.bfloat16, jnp.float32, jnp.float32, lhs_component_count=3)
    for_x, for_w = products_of_the_rule(precision=algorithm)
    assert for_x["precision"] == algorithm
    assert for_w["precision"] == lax.DotAlgorithm(
        jnp.float32, jnp.bfloat16, jnp.float32, rhs_component_count=3
    )
    _, for_w = products_of_the_rule(n=4, precision=(of_x, of_w))
    assert for_w["precision"] == (of_x, of_w)  # the smaller factor is the first one
    preset = lax.DotAlgorithmPreset.BF16_BF16_F32_X3
    assert [params["precision"] for params in products_of_the_rule(precision=preset)] == [preset, preset]


def attention(x, w):
    """Products by weights, of queries with keys, of attention with values; without its softmax."""
    q, k, v = (lax.dot_general(x, w[i], (((2,), (0,)), ((), ()))) for i in range(3))
    a = lax.dot_general(q, k, (((2,), (2,)), ((0,), (0,))))
    return lax.dot_general(a, v, (((2,), (1,)), ((0,), (0,))))


def test_gradients_compile_to_the_products_of_jax():
    def compiled(vjp):
        def gradients(x, w, y_bar):
            return vjp(attention, x, w)[1](y_bar)

        return jax.jit(gradients).lower(x, w, x).compile()

    x, w = jnp.ones((4, 16, 8)), tuple(jnp.ones((8, 8)) for _ in range(3))
    ours, theirs = compiled(funcnet.vjp), compiled(jax.vjp)
    assert ours.cost_analysis()["flops"] <= theirs.cost_analysis()["flops"]
    assert ours.cost_analysis()["bytes accessed"] <= theirs.cost_analysis()["bytes accessed"]
    assert ours.memory_analysis().temp_size_in_bytes <= theirs.memory_analysis().temp_size_in_bytes
