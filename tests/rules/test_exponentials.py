"""The rules of exponentials, logarithms and hyperbolic functions, row by row."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import grad, vjp
from tests.rules.rows import Row, check, check_low_precision, each, each_in_a_short_dtype, normal, positive


def complex_numbers(*shape):
    """In the right half of the plane, away from the poles of tanh and σ."""
    return lambda rng: (rng.uniform(0.5, 2, shape) + 1j * rng.uniform(-1, 1, shape),)


ENTIRE = [lax.exp, lax.exp2, lax.expm1, lax.tanh, lax.logistic, lax.sinh, lax.cosh]
LOGARITHMS = [getattr(lax, name) for name in ("log", "log1p", "log2") if hasattr(lax, name)]

ROWS = [
    *(Row(f.__name__, f, normal((3, 4))) for f in ENTIRE),
    *(Row(f.__name__, f, positive((3, 4))) for f in LOGARITHMS),
    *(Row(f.__name__, f, complex_numbers(3), name="complex") for f in ENTIRE + LOGARITHMS),
    *(
        Row(f.__name__, f, (np.array([0, -3e-9, 1e-5, -1, 1, 3, -5.0]),), name="near 0 and beyond 1")
        for f in (lax.tanh, lax.logistic, lax.sinh, lax.cosh)
    ),
    Row("tanh", lax.tanh, lambda rng: (complex_numbers(3)(rng)[0] * -2,), name="complex, on the left"),
    Row(
        "logistic", lax.logistic, lambda rng: (complex_numbers(3)(rng)[0] * -2,), name="complex, on the left"
    ),
    Row("exp", lax.exp, normal((0,)), name="zero-size"),
    Row("log1p", lax.log1p, positive(()), name="rank 0"),
]


@each(ROWS)
def test_rule(row):
    check(row)


@each_in_a_short_dtype([row for row in ROWS if row.name == ""])
def test_rule_in_a_short_dtype(row, dtype):
    check_low_precision(row, dtype)


SATURATED = [lax.tanh, lax.logistic]


@pytest.mark.parametrize("function", SATURATED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32], ids=lambda d: d.__name__)
def test_saturation_is_exactly_0_in_every_order(function, dtype):
    first = grad(lambda x: function(x).astype(jnp.float32))
    for order in (first, grad(lambda x: first(x).astype(jnp.float32))):
        for x in (6e4, -6e4, 200, -200, jnp.inf, -jnp.inf):
            assert order(dtype(x)) == 0


@pytest.mark.parametrize("function", SATURATED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("x", [300, -300, 300 + 2j, -300 - 2j])
def test_a_complex_argument_far_from_0_does_not_overflow(function, x):
    assert vjp(function, np.complex64(x))[1](np.complex64(1))[0] == 0


@pytest.mark.parametrize("function", SATURATED, ids=lambda f: f.__name__)
def test_nan_is_not_hidden(function):
    assert np.isnan(grad(function)(jnp.nan))


def test_the_second_derivative_of_tanh_keeps_its_digits_near_0():
    """tanh″(x) = −2x + O(x³); a difference of exponentials would keep two digits here."""
    assert grad(grad(lax.tanh))(1e-5) == pytest.approx(-2e-5, rel=2e-6)


def test_logarithms_are_infinitely_steep_at_their_ends():
    assert grad(lax.log)(0.0) == np.inf
    assert grad(lax.log1p)(-1.0) == np.inf
