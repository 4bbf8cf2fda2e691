"""The rules of arithmetic, row by row: sums, products, quotients, and what selects by size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import JAX_KINKS, RULES, grad, hessian, vjp
from tests.rules.rows import (
    Row,
    check,
    check_low_precision,
    complex_normal,
    each,
    each_in_a_short_dtype,
    normal,
)


def away_from(*points, size=12):
    """Numbers between −3 and 3 at a distance of at least 0.05 from these points."""

    def sample(rng):
        x = rng.uniform(-3, 3, 50 * size)
        return (x[np.min([abs(x - p) for p in points], axis=0) > 0.05][:size],)

    return sample


def array(*values):
    return np.array(values, np.float64)


AT_A_KINK = {"differences": False, "reason": "at a kink, where differences see both sides"}
ROWS = [
    Row("add", lax.add, normal((3, 4), (3, 4))),
    Row("add", lambda x, c: x + c, normal((3, 4), ()), name="scalar"),
    Row("add", lax.add, complex_normal((3,), (3,)), name="complex"),
    Row("add", lax.add, normal((0, 2), (0, 2)), name="zero-size"),
    Row("add_any", lambda x: jax.vjp(lambda x: (x, x), x)[1]((x, 2 * x))[0], normal((3,))),
    Row("sub", lax.sub, normal((3, 4), (3, 4))),
    Row("sub", lambda c, x: c - x, normal((), (3,)), name="scalar"),
    Row("sub", lambda x, c: x - c, complex_normal((3,), ()), name="complex"),
    Row("neg", lax.neg, normal((3, 4))),
    Row("neg", lax.neg, complex_normal(()), name="complex"),
    Row("mul", lax.mul, normal((3, 4), (3, 4))),
    Row("mul", lambda c, x: c * x, normal((), (3,)), name="scalar"),
    Row("mul", lambda c, x: c * x, normal((3, 1), (3, 4)), name="an axis of size 1"),
    Row("sub", lambda c, x: c - x, normal((3, 1), (3, 4)), name="an axis of size 1"),
    Row("div", lambda x, c: x / (3 + c * c), normal((3, 4), (1, 4)), name="an axis of size 1"),
    Row("max", lambda c, x: jnp.maximum(c, x), normal((3, 1), (1, 4)), name="axes of size 1"),
    Row("mul", lambda x: x * x, complex_normal((3,)), name="complex"),
    Row("mul", lambda x: x * x * x, normal((0,)), name="zero-size"),
    Row("div", lax.div, lambda rng: (rng.normal(size=(3, 4)), rng.uniform(1, 2, (3, 4)))),
    Row(
        "div",
        lambda x, c: x / c,
        lambda rng: (rng.normal(size=3), np.float64(rng.uniform(1, 2))),
        name="scalar",
    ),
    Row("div", lambda x: 1 / x, lambda rng: (rng.uniform(1, 2, 3),), name="reciprocal"),
    Row("div", lax.div, lambda rng: (rng.normal(size=3) + 1j, rng.uniform(1, 2, 3) - 1j), name="complex"),
    Row("div", lax.div, (array(0, -0.0, 3), array(2, 3, -4)), name="zero over something"),
    Row("rem", lax.rem, lambda rng: (rng.uniform(7.1, 7.9, 3), rng.uniform(1.01, 1.1, 3))),
    Row("rem", lax.rem, (array(7.5, -7.5, 7.5, -7.5, 0.5), array(2, 2, -2, -2, 2)), name="signs"),
    Row(
        "rem", lambda x, c: lax.rem(x, lax.full_like(x, 2) * c), (array(7.5, 1), np.float64(2)), name="scalar"
    ),
    Row("rem", lax.rem, (array(6, -6), array(2, 3)), name="whole quotient", **AT_A_KINK),
    Row("max", lax.max, normal((3, 4), (3, 4))),
    Row("max", lambda x: jnp.maximum(x, 0.0), away_from(0), name="scalar"),
    Row(
        "max",
        lambda x, c: lax.max(x, c),
        lambda rng: (rng.normal(size=4), np.float64(0.1)),
        name="of an array and a scalar",
    ),
    Row("max", lax.max, (array(1, -0.0, 2), array(1, 0.0, 3)), name="tie", **AT_A_KINK),
    Row("min", lax.min, normal((3, 4), (3, 4))),
    Row(
        "min",
        lambda c, x: lax.min(c, x),
        lambda rng: (np.float64(0.1), rng.normal(size=4)),
        name="of a scalar and an array",
    ),
    Row("min", lax.min, (array(1, -0.0, 2), array(1, 0.0, 3)), name="tie", **AT_A_KINK),
    Row(
        "clamp",
        lambda low, x, high: lax.clamp(low, x, high),
        (array(-1, -1, -1), array(-2, 0.5, 4), array(1, 1, 1)),
    ),
    Row("clamp", lambda x: lax.clamp(x.dtype.type(-1), x, x.dtype.type(1)), away_from(-1, 1), name="scalar"),
    Row(
        "clamp",
        lax.clamp,
        (np.float64(-1), array(-2, 0.5, 4, 5), np.float64(1)),
        name="scalar bounds",
        jax=False,
        reason="jax.vjp fails",
    ),
    Row("clamp", lax.clamp, (array(-1, -1), array(-1, 1), array(1, 1)), name="at a bound", **AT_A_KINK),
    Row("clamp", lax.clamp, (array(2, 2), array(1, 3), array(-1, -1)), name="low above high", **AT_A_KINK),
    Row("abs", lax.abs, away_from(0)),
    Row(
        "abs",
        lax.abs,
        (array(0, -0.0),),
        name="kink",
        jax=False,
        reason="0, the middle of the two sides as in differences, where JAX takes the right one",
    ),
    Row("abs", lax.abs, complex_normal((3,)), name="complex"),
    Row("abs", lax.abs, (np.zeros(2, complex),), name="complex 0", **AT_A_KINK | {"second": False}),
    Row("abs", lax.abs, normal((0,)), name="zero-size"),
    Row(
        "sign",
        lambda x: lax.real((1 - 2j) * lax.sign(x)),
        complex_normal((3,)),
        name="complex",
        jax=jax.__version_info__ >= (0, 12),
        reason="before 0.12, JAX gives 0",
    ),
]


@each(ROWS)
def test_rule(row):
    check(row)


@each_in_a_short_dtype([row for row in ROWS if row.name == "scalar"])
def test_rule_in_a_short_dtype(row, dtype):
    check_low_precision(row, dtype)


@pytest.mark.parametrize(
    ("x1", "x2"), [(3e38, 1e38), (1e38, 1e35), (3e-38, 1e-5), (1e20, 1e28), (1e-30, 1e-20)]
)
def test_the_gradient_of_a_divisor_needs_no_square(x1, x2):
    """In float32 the squares of these divisors are out of range, or 1/x₂ is; the gradient is not."""
    _, pullback = vjp(lax.div, np.float32(x1), np.float32(x2))
    assert float(pullback(np.float32(1))[1]) == pytest.approx(-x1 / x2 / x2, rel=1e-6)


def test_the_divisor_of_a_remainder_counts_how_often_it_fits():
    """718.19995 / 0.7 is 1025.99995, which rounds to 1026 in float32."""
    x1, x2 = np.float32(718.19995), np.float32(0.7)
    assert np.floor(x1 / x2) == 1026
    assert vjp(lax.rem, x1, x2)[1](np.float32(1))[1] == -1025


@pytest.mark.parametrize("select", [lax.max, lax.min])
def test_nan_gets_no_gradient_from_a_choice(select):
    """As in JAX: neither x > NaN nor x = NaN holds."""
    _, pullback = vjp(select, np.float32([np.nan, 1]), np.float32([1, np.nan]))
    np.testing.assert_array_equal(pullback(np.ones(2, np.float32)), np.zeros((2, 2)))


def test_a_product_in_a_wider_dtype_hands_back_gradients_in_the_dtypes_of_its_inputs():
    x1, x2 = np.float16([1.5, 2]), np.float16([3, 4])
    y, pullback = vjp(lambda a, b: lax.mul(a, b, out_dtype=np.float32), x1, x2)
    x1_bar, x2_bar = pullback(np.float32([1, 2]))
    assert y.dtype == np.float32
    assert x1_bar.dtype == x2_bar.dtype == np.float16
    np.testing.assert_array_equal(x1_bar, [3, 8])
    np.testing.assert_array_equal(x2_bar, [1.5, 4])


def test_the_sign_of_a_real_number_has_gradient_0():
    assert grad(lambda x: 3 * lax.sign(x) + x)(2.0) == 1


def logistic_loss(x, z=1.0):
    return lax.max(x, 0.0) - x * z + lax.log1p(lax.exp(-lax.abs(x)))


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lax.abs, 0.0),
        (logistic_loss, -0.5),
        (lambda x: lax.max(x, 0.0) + lax.max(-x, 0.0) - lax.abs(x), 0.0),
        (lambda x: lax.max(x, 0.0) - lax.abs(x) / 2, 0.5),
    ],
    ids=["|x|", "logistic loss", "x⁺ + x⁻ − |x|", "x⁺ − |x|/2"],
)
@pytest.mark.parametrize("x", [0.0, -0.0])
def test_kinks_that_cancel_in_a_function_cancel_in_its_gradient(function, slope, x):
    """The limit of the slopes at ±h; |x| itself has none, and 0 is the element of least norm."""
    h = 1e-6
    sides = [(function(h) - function(0.0)) / h, (function(0.0) - function(-h)) / h]
    assert sum(map(float, sides)) / 2 == pytest.approx(slope, abs=0.1)
    assert float(grad(function)(x)) == slope


def test_a_net_that_starts_at_zero_gets_the_gradient_of_its_logistic_loss():
    """All logits are 0: the gradient in them is σ(0) − z."""
    x, z = np.random.default_rng(231).normal(size=(8, 3)), np.arange(8) % 2
    w_bar = grad(lambda w: logistic_loss(x @ w, z).sum())(jnp.zeros(3))
    np.testing.assert_allclose(w_bar, x.T @ (0.5 - z), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("x", [0.0, -0.0, 2.0, -2.0, 0j, 3 - 4j])
def test_the_kinks_of_jax_are_a_table(x):
    size = lambda x: lax.abs(x) * 3  # noqa: E731
    assert complex(grad(size, rules=JAX_KINKS)(x)) == complex(jax.grad(size)(x))
    assert set(JAX_KINKS) == set(RULES)


def test_the_logistic_loss_of_jax_with_its_kinks():
    assert float(grad(logistic_loss, rules=JAX_KINKS)(0.0)) == float(jax.grad(logistic_loss)(0.0)) == -1


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_the_second_derivative_of_a_modulus_of_any_size(scale):
    """(y², −xy; −xy, x²) / |x + iy|³, where JAX has NaN at 1e-200 and a multiple of 1 at 1e200."""
    second = hessian(lambda x: abs(x[0] + 1j * x[1]))(scale * np.array([3.0, 4.0]))
    np.testing.assert_allclose(scale * second, [[0.128, -0.096], [-0.096, 0.072]], rtol=1e-14)
