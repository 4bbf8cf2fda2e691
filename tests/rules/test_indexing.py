"""The rules of gather and the scatters: modes, windows, batches, places that repeat, ties."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet._errors import MissingRuleError
from tests.rules.rows import Row, check, check_low_precision, complex_normal, each, normal, squared

ROWS_OF_X = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
WINDOWS_OF_X = lax.GatherDimensionNumbers(offset_dims=(1, 2), collapsed_slice_dims=(), start_index_map=(0, 1))
ALONG_LAST = lax.GatherDimensionNumbers(
    offset_dims=(),
    collapsed_slice_dims=(1,),
    start_index_map=(1,),
    operand_batching_dims=(0,),
    start_indices_batching_dims=(0,),
)

TO_ROWS = lax.ScatterDimensionNumbers((1,), (0,), (0,))
TO_WINDOWS = lax.ScatterDimensionNumbers((1, 2), (), (0, 1))
TO_ALONG_LAST = lax.ScatterDimensionNumbers((), (1,), (1,), (0,), (0,))

APART = np.array([[0], [3]], np.int32)
REPEATED = np.array([[1], [3], [1], [1]], np.int32)
OUTSIDE = np.array([[1], [-2], [1], [4], [9]], np.int32)
NOWHERE = np.zeros((0, 1), np.int32)
OVERLAPPING = np.array([[0, 0], [1, 1], [2, 2], [1, 0]], np.int32)
PARTLY_OUTSIDE = np.array([[0, 0], [3, 1], [-1, 0], [1, 2]], np.int32)
PER_BATCH = np.array([[[1], [1]], [[3], [-1]]], np.int32)


def reads(places, i, sizes, **at):
    return squared(lambda x: lax.gather(x, i, places, sizes, **at))


def writes(scatter, places, i, **at):
    return squared(lambda x, u: scatter(x, i, u, places, **at))


GATHERS = [
    Row(
        "gather",
        reads(ROWS_OF_X, REPEATED, (1, 3), mode="promise_in_bounds"),
        normal((4, 3)),
        name="repeated",
    ),
    Row("gather", reads(ROWS_OF_X, OUTSIDE, (1, 3), mode="clip"), normal((4, 3)), name="clip"),
    Row("gather", reads(ROWS_OF_X, OUTSIDE, (1, 3), mode="fill", fill_value=7), normal((4, 3)), name="fill"),
    Row(
        "gather",
        reads(ROWS_OF_X, APART, (1, 3), unique_indices=True, indices_are_sorted=True, mode="clip"),
        complex_normal((4, 3)),
        name="unique, sorted, complex",
    ),
    Row(
        "gather",
        reads(WINDOWS_OF_X, OVERLAPPING, (2, 2), mode="clip"),
        normal((4, 4)),
        name="windows overlap",
    ),
    Row(
        "gather",
        reads(WINDOWS_OF_X, PARTLY_OUTSIDE, (2, 2), mode="fill", fill_value=0),
        normal((4, 4)),
        name="windows partly outside",
    ),
    Row(
        "gather",
        reads(ALONG_LAST, PER_BATCH, (1, 1), mode="fill", fill_value=0),
        normal((2, 4)),
        name="batch",
    ),
    Row("gather", reads(ROWS_OF_X, NOWHERE, (1, 3), mode="clip"), normal((4, 3)), name="nothing read"),
    Row(
        "gather",
        lambda x, i: jnp.take_along_axis(x, i, 1),
        lambda rng: (rng.normal(size=(2, 5)), rng.integers(-5, 5, (2, 3))),
        name="indices given",
    ),
]

SUMS = [
    Row(
        "scatter-add",
        writes(lax.scatter_add, TO_ROWS, OUTSIDE, mode="clip"),
        normal((4, 3), (5, 3)),
        name="clip",
    ),
    Row(
        "scatter-add",
        writes(lax.scatter_add, TO_ROWS, OUTSIDE, mode="drop"),
        normal((4, 3), (5, 3)),
        name="drop",
    ),
    Row(
        "scatter-add",
        writes(lax.scatter_add, TO_WINDOWS, PARTLY_OUTSIDE, mode="drop"),
        normal((4, 4), (4, 2, 2)),
        name="windows partly outside",
    ),
    Row(
        "scatter-add",
        writes(lax.scatter_add, TO_ALONG_LAST, PER_BATCH, mode="drop"),
        complex_normal((2, 4), (2, 2)),
        name="batch, complex",
    ),
    Row("scatter-sub", writes(lax.scatter_sub, TO_ROWS, OUTSIDE, mode="drop"), normal((4, 3), (5, 3))),
    Row("scatter-sub", lambda x, u: x.at[::2].subtract(u), normal((5,), (3,)), name="strided"),
]

REPLACEMENTS = [
    Row("scatter", writes(lax.scatter, TO_ROWS, OUTSIDE, mode="clip"), normal((4, 3), (5, 3)), name="clip"),
    Row("scatter", writes(lax.scatter, TO_ROWS, OUTSIDE, mode="drop"), normal((4, 3), (5, 3)), name="drop"),
    Row(
        "scatter",
        writes(lax.scatter, TO_ROWS, APART, unique_indices=True, mode="promise_in_bounds"),
        complex_normal((4, 3), (2, 3)),
        name="unique, complex",
    ),
    Row(
        "scatter",
        writes(lax.scatter, TO_WINDOWS, OVERLAPPING, mode="clip"),
        normal((4, 4), (4, 2, 2)),
        name="windows overlap",
    ),
    Row(
        "scatter",
        writes(lax.scatter, TO_ALONG_LAST, PER_BATCH, mode="drop"),
        normal((2, 4), (2, 2)),
        name="batch",
    ),
    Row(
        "scatter",
        lambda x, u, i: x.at[i].set(u),
        lambda rng: (rng.normal(size=(4, 2)), rng.normal(size=2), np.int32(rng.integers(4))),
        name="one window",
    ),
    Row(
        "scatter",
        writes(lax.scatter, TO_ROWS, NOWHERE, mode="drop"),
        normal((4, 3), (0, 3)),
        name="nothing written",
    ),
]

NON_UNIQUE = "jax.vjp refuses scatter_mul where indices may repeat"
PRODUCTS = [
    Row(
        "scatter-mul",
        writes(lax.scatter_mul, TO_ROWS, APART, unique_indices=True, mode="clip"),
        complex_normal((4, 3), (2, 3)),
        name="unique, complex",
    ),
    Row(
        "scatter-mul",
        lambda x, i, u: x.at[i].multiply(u, unique_indices=True, mode="drop"),
        lambda rng: (rng.normal(size=4), np.array([3, 7, 0], np.int32), rng.normal(size=3)),
        name="unique, drop",
    ),
    Row(
        "scatter-mul",
        writes(lax.scatter_mul, TO_ROWS, OUTSIDE, mode="clip"),
        normal((4, 3), (5, 3)),
        name="repeated, clip",
        jax=False,
        reason=NON_UNIQUE,
    ),
    Row(
        "scatter-mul",
        writes(lax.scatter_mul, TO_WINDOWS, PARTLY_OUTSIDE, mode="drop"),
        normal((4, 4), (4, 2, 2)),
        name="windows partly outside",
        jax=False,
        reason=NON_UNIQUE,
    ),
    Row(
        "scatter-mul",
        writes(lax.scatter_mul, TO_ALONG_LAST, PER_BATCH, mode="drop"),
        normal((2, 4), (2, 2)),
        name="batch",
        jax=False,
        reason=NON_UNIQUE,
    ),
    Row(
        "scatter-mul",
        writes(lax.scatter_mul, TO_ROWS, NOWHERE, mode="drop"),
        normal((4, 3), (0, 3)),
        name="nothing written",
        jax=False,
        reason=NON_UNIQUE,
    ),
]

TIES = "at a tie the derivative jumps"
EXTREMA = [
    Row("scatter-max", writes(lax.scatter_max, TO_ROWS, REPEATED, mode="clip"), normal((4, 3), (4, 3))),
    Row("scatter-min", writes(lax.scatter_min, TO_ROWS, REPEATED, mode="clip"), normal((4, 3), (4, 3))),
    Row(
        "scatter-max",
        writes(lax.scatter_max, TO_ROWS, OUTSIDE, mode="clip"),
        normal((4, 3), (5, 3)),
        name="outside, clip",
        jax=False,
        reason="jax.vjp looks for the winners in another mode than the forward pass",
    ),
    Row(
        "scatter-min",
        writes(lax.scatter_min, TO_WINDOWS, PARTLY_OUTSIDE, mode="drop"),
        normal((4, 4), (4, 2, 2)),
        name="windows partly outside",
    ),
    Row(
        "scatter-max",
        writes(lax.scatter_max, TO_ALONG_LAST, PER_BATCH, mode="drop"),
        normal((2, 4), (2, 2)),
        name="batch",
    ),
    Row(
        "scatter-max",
        squared(lambda x, u: x.at[np.array([0, 0, 1, 1, 2, 2, 3])].max(u)),
        lambda rng: (np.array([2.0, 1, 1, 1, 1]), np.array([2.0, 2, 1, 2, 3, 3, 0])),
        name="ties",
        differences=False,
        reason=TIES,
    ),
    Row(
        "scatter-min",
        squared(lambda x, u: x.at[np.array([0, 0, 1, 1, 2, 2, 3])].min(u)),
        lambda rng: (-np.array([2.0, 1, 1, 1, 1]), -np.array([2.0, 2, 1, 2, 3, 3, 0])),
        name="ties",
        differences=False,
        reason=TIES,
    ),
]

ROWS = [*GATHERS, *SUMS, *REPLACEMENTS, *PRODUCTS, *EXTREMA]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("row", [GATHERS[0], SUMS[0], REPLACEMENTS[0], PRODUCTS[1], EXTREMA[0]], ids=str)
def test_rule_in_short_dtypes(row, dtype):
    check_low_precision(row, dtype)


@pytest.mark.usefixtures("x64")
def test_scatter_mul_with_repeated_places_and_zeros():
    """None, one or two zeros among the factors of a place, and an infinite factor outside: both orders."""
    i = np.array([0, 1, 0, 2, 1, 2, 0, 3, 2, 9])
    x = jnp.array([2.0, 3.0, 5.0, 7.0, 11.0])
    u = jnp.array([1.5, 0.0, -2.0, 0.0, 3.0, 0.0, 0.5, 0.0, 4.0, jnp.inf])
    y_bar = jnp.array([1.0, -2.0, 3.0, -1.0, 2.0])

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def gradient(vjp, product, x, u):
        return vjp(product, x, u)[1](y_bar)

    @functools.partial(jax.jit, static_argnums=(0, 1))
    def second(vjp, product, x, u):
        first = functools.partial(gradient, vjp, product)
        return vjp(first, x, u)[1]((jnp.arange(1.0, 6.0), jnp.arange(1.0, 11.0)))

    def scatter(x, u):
        return x.at[i].multiply(u, mode="drop")

    def dense(x, u):
        """x · ∏ of the u at each place, written without a scatter."""
        return x * jnp.prod(jnp.where(i[:, None] == np.arange(x.shape[0]), u[:, None], 1.0), axis=0)

    np.testing.assert_array_equal(scatter(x, u), dense(x, u))
    for order in (gradient, second):
        ours, reference = order(funcnet.vjp, scatter, x, u), order(jax.vjp, dense, x, u)
        for a, b in zip(ours, reference, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-15)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9, 17])
def test_scatter_mul_of_many_factors_at_one_place(count):
    """Each x̄ is the product of all others: doubling steps must reach the first from the last."""
    u = np.arange(1.0, count + 1)
    _, pullback = funcnet.vjp(lambda u: jnp.ones(2).at[np.ones(count, int)].multiply(u), jnp.asarray(u))
    np.testing.assert_allclose(pullback(jnp.ones(2))[0], u.prod() / u, rtol=1e-6)


def test_scatter_mul_beyond_the_range_of_a_quotient():
    """∏ / u would be 0 / u: the product of all three underflows, that of two does not."""
    u = jnp.array([1e-20, 1e-20, 1e-10])
    _, pullback = funcnet.vjp(lambda u: jnp.ones(1).at[np.zeros(3, int)].multiply(u), u)
    np.testing.assert_allclose(pullback(jnp.ones(1))[0], [1e-30, 1e-30, 0.0], rtol=1e-6, atol=1e-38)


def test_repeated_writes_agree_with_their_gradient():
    """Whichever of the writes stays, the gradient goes to that one."""
    i = np.random.default_rng(0).integers(0, 50, 1000)
    u = jnp.arange(1000.0)
    y, pullback = funcnet.vjp(lambda u: jnp.zeros(50).at[i].set(u), u)
    (u_bar,) = pullback(jnp.ones(50))
    np.testing.assert_array_equal(np.sort(y), np.flatnonzero(u_bar))


def test_scatter_max_ignores_nan_elsewhere():
    """jax.vjp agrees: what is not written to passes its gradient, NaN or not."""
    x = jnp.array([jnp.nan, 1.0, 2.0])
    _, pullback = funcnet.vjp(lambda x: x.at[np.array([1, 1])].max(jnp.array([0.0, 3.0])), x)
    np.testing.assert_array_equal(pullback(jnp.ones(3))[0], [1.0, 0.0, 1.0])


def test_a_function_applied_at_indices_is_refused():
    with pytest.raises(MissingRuleError, match=r"x\.at\[i\]\.set\(f\(x\[i\]\)\)"):
        funcnet.vjp(lambda x: x.at[np.array([0, 0])].apply(jnp.sin), jnp.ones(3))


def backward(function, *xs):
    """The primitives in the backward pass of a function, in order."""
    y, pullback = funcnet.vjp(function, *xs)
    return [eqn.primitive.name for eqn in jax.make_jaxpr(pullback)(jnp.ones_like(y)).eqns]


def test_each_direction_is_one_equation():
    x, u = jnp.ones((4, 3)), jnp.ones((4, 3))
    read = backward(lambda x: lax.gather(x, REPEATED, ROWS_OF_X, (1, 3), mode="clip"), x)
    assert [name for name in read if name != "broadcast_in_dim"] == ["scatter-add"]
    assert backward(lambda x, u: lax.scatter_add(x, REPEATED, u, TO_ROWS, mode="clip"), x, u) == ["gather"]
