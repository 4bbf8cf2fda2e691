"""The rules of trigonometric functions and of inverse trigonometric and hyperbolic ones, row by row."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import grad, vjp
from tests.rules.rows import Row, check, check_low_precision, each, each_in_a_short_dtype


def between(low, high, *shape):
    return lambda rng: (rng.uniform(low, high, shape),)


def complex_numbers(rng):
    """Away from the cuts, which lie on the axes."""
    return (rng.uniform(0.3, 1.2, 3) * np.exp(1j * rng.uniform(0.3, 1.2, 3)),)


DOMAINS = {
    lax.sin: (-4, 4),
    lax.cos: (-4, 4),
    lax.tan: (-1.2, 1.2),
    lax.asin: (-0.9, 0.9),
    lax.acos: (-0.9, 0.9),
    lax.atan: (-3, 3),
    lax.asinh: (-3, 3),
    lax.acosh: (1.1, 3),
    lax.atanh: (-0.9, 0.9),
}

ROWS = [
    *(Row(f.__name__, f, between(low, high, 3, 4)) for f, (low, high) in DOMAINS.items()),
    *(Row(f.__name__, f, complex_numbers, name="complex") for f in DOMAINS),
    Row("sin", lax.sin, between(-4, 4), name="rank 0"),
    Row("cos", lax.cos, between(-4, 4, 0), name="zero-size"),
    Row(
        "asinh",
        lax.asinh,
        (np.array([0, 1e-9, -1e9, 1e15]),),
        name="small and large",
        differences=False,
        reason="steps of 1e-3 are lost beside 1e15",
    ),
    Row("atan2", lax.atan2, lambda rng: (rng.normal(size=(3, 4)), rng.uniform(0.5, 1, (3, 4)))),
    Row(
        "atan2",
        jnp.arctan2,
        lambda rng: (rng.normal(size=(3, 1)), rng.uniform(0.5, 1, (3, 4))),
        name="an axis of size 1",
    ),
    Row(
        "atan2", lax.atan2, (np.array([1, 1, -1, -1.0]), np.array([1, -1, -1, 1.0])), name="on the diagonals"
    ),
    Row("atan2", lax.atan2, (np.array([0, 1, -1, -0.0]), np.array([2, 0, -0.0, 3])), name="on the axes"),
    Row(
        "atan2",
        lambda x, c: lax.atan2(x, c),
        lambda rng: (rng.normal(size=3), np.float64(0.7)),
        name="of an array and a scalar",
    ),
    Row(
        "atan2",
        lambda c, x: lax.atan2(c, x),
        lambda rng: (np.float64(0.7), rng.normal(size=3)),
        name="of a scalar and an array",
    ),
]


@each(ROWS)
def test_rule(row):
    check(row)


@each_in_a_short_dtype([row for row in ROWS if row.name == "" and row.primitive != "tan"])
def test_rule_in_a_short_dtype(row, dtype):
    check_low_precision(row, dtype)


@pytest.mark.parametrize("function", [lax.asin, lax.atanh], ids=lambda f: f.__name__)
def test_the_slope_at_plus_and_minus_1_is_infinite(function):
    assert grad(function)(1.0) == grad(function)(-1.0) == np.inf
    assert grad(lax.acos)(1.0) == -np.inf
    assert grad(lax.acosh)(1.0) == np.inf


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1e25, 1e37])
def test_atan2_of_numbers_whose_squares_are_out_of_range(scale):
    _, pullback = vjp(lax.atan2, np.float32(3 * scale), np.float32(-4 * scale))
    np.testing.assert_allclose(
        np.float64(pullback(np.float32(1))), np.array([-4, -3]) / (25 * scale), rtol=1e-6
    )


@pytest.mark.parametrize("function", [lax.asinh, lax.acosh], ids=lambda f: f.__name__)
def test_the_slope_is_1_over_x_where_the_square_of_x_is_infinite(function):
    assert grad(function)(1e30) == pytest.approx(1e-30, rel=1e-6)


@pytest.mark.parametrize(
    ("function", "x", "slope"),
    [  # in 60 digits by mpmath
        (lax.tan, 1 + 20j, -7.07175673548e-18 + 1.54520703703e-17j),
        (lax.atan, 1e-6 + 1j, 0.25 - 500000j),
        (lax.asinh, 1e-12 + 1j, 500000 - 500000j),
        (lax.asin, 1 - 1e-12j, 500000 - 500000j),
        (lax.acosh, 1e25 + 1e25j, 5e-26 - 5e-26j),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_complex_slopes_keep_their_digits_near_branch_points_and_far_out(function, x, slope):
    found = vjp(function, np.complex64(x))[1](np.complex64(1))[0]
    assert abs(found - slope) <= 1e-5 * abs(slope)


@pytest.mark.parametrize(
    ("function", "second"),
    [
        (lax.atan, lambda x: -2 * x),
        (lax.atanh, lambda x: 2 * x),
        (lax.acosh, lambda x: 1j * x),
        (lax.sinh, lambda x: x),
    ],
    ids=["atan", "atanh", "acosh", "sinh"],
)
def test_complex_second_derivatives_keep_their_digits_near_0(function, second):
    """The first terms of their series; of acosh below the real axis."""
    x = np.complex64(1e-5 - 2e-5j)
    found = grad(grad(function, holomorphic=True), holomorphic=True)(x)
    assert abs(found - second(x)) <= 1e-6 * abs(x)
