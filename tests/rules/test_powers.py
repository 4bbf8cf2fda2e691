"""The rules of powers and roots, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import RULES, grad, vjp
from tests.rules.rows import Row, check, check_low_precision, each, each_in_a_short_dtype, normal, positive


def complex_numbers(*shapes):
    """Away from 0 and from the cut along the negative numbers."""
    return lambda rng: tuple(rng.uniform(0.5, 2, shape) + 1j * rng.uniform(-1, 1, shape) for shape in shapes)


def array(*values):
    return np.array(values, np.float64)


def to_the(n):
    return lambda x: lax.integer_pow(x, n)


ROWS = [
    Row("square", lax.square, normal((3, 4))),
    Row("square", lax.square, complex_numbers(()), name="complex"),
    *(Row("integer_pow", to_the(n), positive((3,)), name=f"{n}") for n in (-3, -2, -1, 1, 3, 5)),
    Row("integer_pow", to_the(3), (array(0, -2, 2),), name="at 0"),
    Row("integer_pow", to_the(-1), complex_numbers((3,)), name="complex"),
    Row("integer_pow", to_the(3), normal((0,)), name="zero-size"),
    Row("pow", lax.pow, lambda rng: (rng.uniform(0.5, 2, (3, 4)), rng.normal(size=(3, 4)))),
    Row("pow", lambda x: x**0.3, positive((3,)), name="scalar"),
    Row("pow", lambda c, x: lax.pow(c, x), positive((), (3,)), name="of a scalar and an array"),
    Row("pow", lambda x, c: lax.pow(x, c), positive((3,), ()), name="of an array and a scalar"),
    Row("pow", lambda x, n: x**n, positive((3, 1), (3, 4)), name="an axis of size 1"),
    Row("pow", lax.pow, complex_numbers((3,), (3,)), name="complex"),
    Row(
        "pow",
        lambda x: lax.pow(x, np.array([-2, 0, 1, 3], np.int32)),
        positive((4,)),
        name="integer exponents",
    ),
    Row(
        "pow",
        lambda x: lax.pow(x, np.array([0, 1, 2, 3], np.uint8)),
        (array(-1, 0.5, -0.5, 0.25),),
        name="unsigned exponents",
    ),
    Row("pow", lambda x: lax.pow(x, np.int32(3)), complex_numbers((3,)), name="complex to an integer"),
    Row("pow", lambda x: lax.pow(x, array(2, 3, -1)), (array(-2, -0.5, -3),), name="negative base"),
    Row(
        "pow",
        lambda x: lax.pow(x, array(2, 3, 3.5)),
        (array(0, 0, 0),),
        name="base 0",
        differences=False,
        reason="0 is the end of the domain",
    ),
    Row("pow", lambda x: lax.pow(array(0, 0, 2), x), (array(1, 2.5, 0),), name="0 to a power"),
    Row("pow", lax.pow, (array(2, 0.5, 1e5), array(0.3, -4, 1e-9)), name="exponents below 1/2"),
    Row("sqrt", lax.sqrt, positive((3, 4))),
    Row("sqrt", lax.sqrt, complex_numbers((3,)), name="complex"),
    Row("rsqrt", lax.rsqrt, positive((3, 4))),
    Row("rsqrt", lax.rsqrt, complex_numbers((3,)), name="complex"),
    Row("cbrt", lax.cbrt, (array(-8, -0.1, 0.3, 27),)),
]
if hasattr(lax, "polynomial"):
    ROWS += [
        Row("one_minus_square", lax.one_minus_square, normal((3, 4))),
        Row("one_minus_square", lax.one_minus_square, complex_numbers((3,)), name="complex"),
        Row("polynomial", lambda x: lax.polynomial(x, [1.0, 5.0, 2.0, -0.5]), normal((3, 4))),
        Row(
            "polynomial",
            lambda x, *c: lax.polynomial(x, c),
            normal((3,), (3,), (3,), ()),
            name="in its coefficients",
        ),
        Row(
            "polynomial",
            lambda x, *c: lax.polynomial(x, c),
            normal((3, 4), (1, 4), (3, 1)),
            name="repeated coefficients",
        ),
        Row("polynomial", lambda x, *c: lax.polynomial(x, c), normal((), *[()] * 12), name="of degree 11"),
    ]


@each(ROWS)
def test_rule(row):
    check(row)


@each_in_a_short_dtype([row for row in ROWS if row.name in ("", "scalar", "-1")])
def test_rule_in_a_short_dtype(row, dtype):
    check_low_precision(row, dtype)


def test_the_zeroth_power_is_constant():
    assert grad(lambda x: 3 * lax.integer_pow(x, 0) + x)(0.0) == 1


def gradients(x1, x2):
    _, pullback = vjp(lax.pow, np.float32(x1), np.float32(x2))
    return tuple(map(float, pullback(np.float32(1))))


INFINITE = float("inf")
LIMITS = [  # x₁, x₂, x̄₁, x̄₂
    (0, 0, 0, 0),  # x⁰ is constant; x̄₂ as in JAX
    (0, 0.5, INFINITE, 0),
    (0, 1, 1, 0),
    (0, 2, 0, 0),
    (0, -1, -INFINITE, -INFINITE),  # x̄₂ is NaN in JAX
    (INFINITE, 0.25, 0, INFINITE),
    (INFINITE, 0, 0, INFINITE),
    (1, -3, -3, 0),
]


@pytest.mark.parametrize("row", LIMITS, ids=str)
def test_limits_of_a_power(row):
    x1, x2, *expected = row
    assert gradients(x1, x2) == tuple(expected)


@pytest.mark.parametrize(("x2", "mixed"), [(0.5, -INFINITE), (1.0, -INFINITE), (1.5, 0), (2.0, 0)])
def test_the_mixed_derivative_at_zero(x2, mixed):
    """The limit of x₁^(x₂−1) (1 + x₂ ln x₁) from the right."""
    assert grad(grad(lax.pow), 1)(0.0, x2) == mixed


def test_a_negative_base_has_no_gradient_in_its_exponent():
    x1_bar, x2_bar = gradients(-2, 3)
    assert x1_bar == 12
    assert np.isnan(x2_bar)


@pytest.mark.parametrize(
    ("x1", "x2"),
    [(2e-38, 1e-10), (1e38, -1e-7), (1e20, 1.93), (1e-20, 1.95), (1.0000004, 1e8), (2.0, -127.5)],
)
def test_the_gradient_of_a_power_outlasts_the_power(x1, x2):
    """Where x₂ − 1 rounds, and where y is out of range in float32 and the gradient is not."""
    x1, x2 = float(np.float32(x1)), float(np.float32(x2))
    assert gradients(x1, x2)[0] == pytest.approx(x2 * x1 ** (x2 - 1), rel=5e-7)


@pytest.mark.parametrize(
    ("function", "limit"), [(lax.sqrt, INFINITE), (lax.rsqrt, -INFINITE), (lax.cbrt, INFINITE)]
)
def test_roots_are_infinitely_steep_at_0(function, limit):
    assert vjp(function, np.float32(0))[1](np.float32(1))[0] == limit


def test_second_order_of_a_power_at_0():
    """(x³)″ = 6x, with the exponent a float."""
    second = jax.grad(lambda x: vjp(lambda x: lax.pow(x, np.float32(3)), x)[1](np.float32(1))[0])
    assert second(np.float32(0)) == 0


def test_ldexp():
    x, n = np.array([0.5, -3.0, 2.0]), np.array([2, -1, 0], np.int32)
    gradient = grad(lambda x: jnp.sum(jnp.ldexp(x, n) ** 2))
    np.testing.assert_allclose(gradient(x), 2 * x * 4.0**n, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(gradient)(x), 2 * x * 4.0**n, rtol=1e-6)


def test_the_rule_of_ldexp():
    """JAX 0.10 writes jnp.ldexp out in other primitives, so that the above does not meet it there."""

    class Ldexp:
        """As newer JAX names it."""

    y_bar, x, n = np.float32([1.0, -3.0]), np.float32([0.5, 2.0]), np.array([2, -1], np.int32)
    x_bar, n_bar = RULES["call_hi_primitive"]((y_bar,), None, x, n, _prim=Ldexp())
    np.testing.assert_array_equal(x_bar, y_bar * 2.0**n)
    assert n_bar is None
