"""The gradient of the gradient: beside JAX's, and orders one to four where forms join.

One row of every rule is compared with JAX, and in turns the others. How accurate the second order is in
float32 stands in test_accuracy.py.
"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax

from funcnet import grad
from tests.rules.rows import check_second_order
from tests.rules.test_completeness import ROWS

BOTH = [row for row in ROWS if row.jax and row.second]


@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("row", [row for row in BOTH if not row.name], ids=str)
def test_second_order(row):
    check_second_order(row)


@pytest.mark.in_turns(8)
@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("row", [row for row in BOTH if row.name], ids=str)
def test_second_order_of_what_is_special(row):
    check_second_order(row)


AROUND_0 = (0.0, 1e-30, -1e-30, 1e-6, -1e-6)
AROUND_1 = (1.0, -1.0, float(np.nextafter(np.float32(1), 0)), float(np.nextafter(np.float32(1), 2)))

# A function, what mpmath calls it, and points: those of rules in several forms are where these join.
SMOOTH = {
    "exp": (lax.exp, mpmath.exp, AROUND_0),
    "exp2": (lax.exp2, lambda x: mpmath.mpf(2) ** x, AROUND_0),
    "expm1": (lax.expm1, mpmath.expm1, AROUND_0),
    "log": (lax.log, mpmath.log, (1.0, 2.0)),
    "log1p": (lax.log1p, mpmath.log1p, AROUND_0),
    "sinh": (lax.sinh, mpmath.sinh, AROUND_0 + AROUND_1),
    "cosh": (lax.cosh, mpmath.cosh, AROUND_0 + AROUND_1),
    "tanh": (lax.tanh, mpmath.tanh, AROUND_0 + AROUND_1),
    "logistic": (lax.logistic, lambda x: 1 / (1 + mpmath.exp(-x)), AROUND_0 + AROUND_1),
    "sin": (lax.sin, mpmath.sin, AROUND_0),
    "cos": (lax.cos, mpmath.cos, AROUND_0),
    "tan": (lax.tan, mpmath.tan, AROUND_0),
    "asin": (lax.asin, mpmath.asin, AROUND_0),
    "acos": (lax.acos, mpmath.acos, AROUND_0),
    "atan": (lax.atan, mpmath.atan, AROUND_0 + AROUND_1),
    "asinh": (lax.asinh, mpmath.asinh, (*AROUND_0, 2.0**23, 2.0**23 + 2)),
    "acosh": (lax.acosh, mpmath.acosh, (2.0, 2.0**23, 2.0**23 + 2)),
    "atanh": (lax.atanh, mpmath.atanh, AROUND_0),
    "erf": (lax.erf, mpmath.erf, AROUND_0 + AROUND_1),
    "erfc": (lax.erfc, mpmath.erfc, AROUND_0 + AROUND_1),
    "erf_inv": (lax.erf_inv, mpmath.erfinv, (*AROUND_0, 0.84270084, 0.84270096)),  # where y is 1
    "sqrt": (lax.sqrt, mpmath.sqrt, (1.0, 2.0)),
    "rsqrt": (lax.rsqrt, lambda x: 1 / mpmath.sqrt(x), (1.0, 2.0)),
    "cbrt": (lax.cbrt, mpmath.cbrt, (1.0, 2.0)),
    "square": (lax.square, lambda x: x**2, AROUND_0),
    "integer_pow": (lambda x: lax.integer_pow(x, 3), lambda x: x**3, AROUND_0),
    "integer_pow 5": (lambda x: lax.integer_pow(x, 5), lambda x: x**5, AROUND_0),
    "integer_pow -2": (lambda x: lax.integer_pow(x, -2), lambda x: x**-2, AROUND_1),
    "pow x1": (lambda x: lax.pow(x, jnp.float32(3)), lambda x: x**3, (*AROUND_0, -2.0)),
    "pow x1 below 1/2": (
        lambda x: lax.pow(x, jnp.float32(0.25)),
        lambda x: x ** mpmath.mpf(0.25),
        (1.0, 2.0),
    ),
    "pow x2": (lambda x: lax.pow(jnp.float32(3), x), lambda x: mpmath.mpf(3) ** x, AROUND_0),
    "div x2": (lambda x: lax.div(jnp.float32(3), x), lambda x: 3 / x, AROUND_1),
    "atan2 x1": (lambda x: lax.atan2(x, jnp.float32(1)), lambda x: mpmath.atan(x), AROUND_0 + AROUND_1),
    "atan2 x2": (lambda x: lax.atan2(jnp.float32(1), x), lambda x: mpmath.acot(x), (2.0, *AROUND_1[2:])),
}


@pytest.mark.in_turns(3)
@pytest.mark.parametrize(("function", "true", "points"), SMOOTH.values(), ids=SMOOTH)
def test_orders_one_to_four_at_0_near_it_and_where_forms_join(function, true, points):
    """What is 0 at 0 is exactly 0; elsewhere the higher orders are right beside the largest of them."""
    derivatives = [function]
    for _ in range(4):
        derivatives.append(grad(derivatives[-1]))
    all_four = jax.jit(jax.vmap(lambda x: jnp.stack([derivative(x) for derivative in derivatives[1:]])))
    for x, founds in zip(points, all_four(np.float32(points)), strict=True):
        with mpmath.workdps(100):
            trues = [mpmath.diff(true, mpmath.mpf(float(np.float32(x))), n) for n in (1, 2, 3, 4)]
            trues = [float(mpmath.chop(one, 1e-20 if x == 0 else 0)) for one in trues]
        scale = 0 if x == 0 else max(map(abs, trues))
        np.testing.assert_allclose(founds, trues, rtol=2e-6, atol=2e-6 * scale)


@pytest.mark.parametrize("orders", [(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 0, 1), (0, 0, 1, 1)])
@pytest.mark.parametrize("x", [(1.0, 1.0), (2.0, -2.0), (1.0, 0.0), (0.0, 1.0)])
def test_orders_three_and_four_of_atan2_on_the_axes_and_the_diagonals(orders, x):
    derivative = lax.atan2
    for argument in orders:
        derivative = grad(derivative, argument)
    true = mpmath.diff(mpmath.atan2, x, (orders.count(0), orders.count(1)))
    assert float(derivative(*map(jnp.float32, x))) == pytest.approx(float(true), abs=1e-5)
