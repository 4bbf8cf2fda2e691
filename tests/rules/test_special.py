"""The rules of the special functions, row by row, and what a row cannot say."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax
from jax.scipy import special

import funcnet
from funcnet.rules import RULES
from tests.rules.rows import Row, check, check_low_precision, each


def normal(scale=1.0, shape=(3,)):
    return lambda rng: (rng.normal(size=shape) * scale,)


def uniform(low, high, shape=(3,)):
    return lambda rng: (rng.uniform(low, high, size=shape),)


def orders_and(low, high, shape=(3,)):
    """Orders in [0.3, 30] beside arguments."""
    return lambda rng: (np.exp(rng.uniform(-1.2, 3.4, size=shape)), rng.uniform(low, high, size=shape))


def shape_parameters(rng):
    return np.exp(rng.uniform(-1.0, 3.0, size=3)), np.exp(rng.uniform(-1.0, 3.0, size=3))


ONE_ORDER = "JAX has no second derivative in the order"
ORDERS = np.array([20.0, 45.0, 1.5])

ROWS = [
    Row("erf", lax.erf, normal(2.0)),
    Row("erf", lax.erf, (np.array([0.0, -0.0, 1e-300, 5.9, -26.0, 40.0]),), name="points"),
    Row("erf", lax.erf, (np.zeros((0, 2)),), name="empty"),
    Row("erfc", lax.erfc, normal(2.0)),
    Row("erfc", lax.erfc, (np.float64(3.0),), name="scalar"),
    Row("erf_inv", lax.erf_inv, uniform(-0.9, 0.9)),
    Row(
        "erf_inv",
        lax.erf_inv,
        (np.array([0.0, 0.99, -0.9999, 1 - 1e-9]),),
        name="tails",
        differences=False,
        reason="the steps leave the domain",
    ),
    Row("lgamma", lax.lgamma, uniform(0.1, 20.0)),
    Row("lgamma", lax.lgamma, (np.array([-0.5, -3.7, 1.4616, 1e8]),), name="points"),
    Row("digamma", lax.digamma, uniform(0.1, 20.0)),
    Row(
        "digamma",
        lax.digamma,
        (np.array([-0.4, -2.7, -3.2]),),
        name="mirrored",
        tolerance=1e-8,
        reason="ψ″ by JAX's polygamma left of 0, whose sum cancels",
    ),
    Row("digamma", lax.digamma, (np.array([2e5, 1e8]),), name="far"),
    Row("polygamma", lambda x: lax.polygamma(jnp.array([0.0, 1.0, 4.0]), x), uniform(0.5, 9.0)),
    Row("polygamma", lambda x: lax.polygamma(2.0, x), uniform(0.5, 9.0), name="one order"),
    Row("bessel_i0e", lax.bessel_i0e, normal(8.0)),
    Row("bessel_i0e", lax.bessel_i0e, (np.array([29.0, -31.0, 200.0]),), name="far"),
    Row("bessel_i1e", lax.bessel_i1e, normal(8.0)),
    Row("bessel_i1e", lax.bessel_i1e, (np.array([29.0, -31.0, 200.0]),), name="far"),
    Row(
        "bessel_i1e",
        lax.bessel_i1e,
        (np.array([0.0, 1.0]),),
        name="zero",
        differences=False,
        second=False,
        reason="i₁ₑ has no second derivative at 0",
    ),
    Row("igamma", lax.igamma, orders_and(0.1, 40.0), second=False, reason=ONE_ORDER),
    Row("igamma", lambda x: lax.igamma(3.5, x), uniform(0.1, 9.0), name="x, one order"),
    Row("igamma", lambda x: lax.igamma(ORDERS, x * ORDERS), uniform(0.7, 1.3), name="x, Loader's form"),
    Row(
        "igammac",
        lax.igammac,
        (np.float64(2.5), np.array([0.1, 3.0, 9.0])),
        name="one order",
        second=False,
        reason=ONE_ORDER,
    ),
    Row("igammac", lambda x: lax.igammac(3.5, x), uniform(0.1, 9.0), name="x"),
    Row(
        "random_gamma",
        lambda a: jax.random.gamma(jax.random.key(7), a, (3,)),
        (np.array([0.4, 1.0, 9.0]),),
        differences=False,
        second=False,
        reason="a step in a may change which proposals are accepted; " + ONE_ORDER,
    ),
    Row("regularized_incomplete_beta", lambda x: lax.betainc(2.5, 0.7, x), uniform(0.1, 0.9), name="x"),
    Row(
        "regularized_incomplete_beta",
        lambda x: lax.betainc(ORDERS, ORDERS[::-1], x),
        lambda rng: (np.array([0.9, 0.45, 0.03]) + 0.05 * rng.random(3),),
        name="x, Loader's form",
    ),
    Row(
        "regularized_incomplete_beta",
        lambda a, b: lax.betainc(a, b, jnp.array([0.03, 0.5, 0.9])),
        shape_parameters,
        name="a and b",
        jax=False,
        reason="JAX refuses",
    ),
    Row(
        "regularized_incomplete_beta",
        lambda a, x: lax.betainc(a, 3.0, x),
        (np.float64(2.0), np.array([0.1, 0.4, 0.8])),
        name="one order",
        jax=False,
        reason="JAX refuses",
    ),
]


@each(ROWS)
def test_rule(row):
    check(row)


LOW_PRECISION = [
    Row("erf", lax.erf, (np.array([0.3, -1.7, 2.5]),)),
    Row("erf_inv", lax.erf_inv, (np.array([0.3, -0.75, 0.875]),)),
    Row("digamma", lax.digamma, (np.array([0.5, 3.0, -1.25]),)),
    Row("bessel_i1e", lax.bessel_i1e, (np.array([0.0, 3.0, -20.0]),)),
    Row("igamma", lax.igamma, (np.array([0.5, 3.0, 20.0]), np.array([0.25, 4.0, 18.0]))),
    Row(
        "regularized_incomplete_beta",
        lambda x: lax.betainc(lax.full_like(x, 2.5), lax.full_like(x, 0.5), x),
        (np.array([0.25, 0.5, 0.875]),),
    ),
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", LOW_PRECISION, ids=str)
def test_float16(row):
    check_low_precision(row, jnp.float16)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_other_short_floats(dtype):
    check_low_precision(LOW_PRECISION[0], dtype)


def gradient(function, *xs, argnums: int = 0):
    """Of each element, in float64."""
    summed = jax.jit(funcnet.grad(lambda *xs: function(*xs).sum(), argnums))
    return summed(*(np.asarray(x, np.float64) for x in xs))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("function", "xs", "argnums", "truth"),
    [
        (lax.erf, [np.inf, -np.inf], 0, [0.0, 0.0]),
        (lax.erf_inv, [1.0, -1.0], 0, [np.inf, np.inf]),
        (lax.digamma, [-20.7, 1e200], 0, [15.0322526307167, 1e-200]),
        (lax.bessel_i0e, [0.0, 1e12], 0, [0.0, -1e-18 / math.sqrt(8 * math.pi)]),
        (lax.igamma, ([1.0, 2.0, 0.5], [0.0, 0.0, 0.0]), 1, [1.0, 0.0, np.inf]),
        (lax.igamma, ([1.0, 2.0], [0.0, np.inf]), 0, [0.0, 0.0]),
        (lax.betainc, ([1.0, 3.0, 20.0], [4.0, 1.0, 1.0], [0.0, 1.0, 1.0]), 2, [4.0, 3.0, 20.0]),
        (lax.betainc, ([1.0, 3.0], [4.0, 1.0], [0.0, 1.0]), 0, [0.0, 0.0]),
        (lax.betainc, ([1.0, 3.0], [4.0, 1.0], [0.0, 1.0]), 1, [0.0, 0.0]),
    ],
)
def test_ends_and_far_values(function, xs, argnums, truth):
    """JAX has NaN or a wrong number at most of these."""
    xs = xs if isinstance(xs, tuple) else (xs,)
    np.testing.assert_allclose(gradient(function, *xs, argnums=argnums), truth, rtol=1e-12)


def test_float32_trigamma_where_x_squared_overflows():
    assert float(funcnet.grad(lax.digamma)(jnp.float32(1e25))) == pytest.approx(1e-25, rel=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_polygamma_left_of_0(n):
    """Next to poles, half between them, and far; JAX has −5.7e18 for ψ′ at −9.72, which is 16.5."""
    xs = np.array([-1e-9, -0.5, -0.51, -1.0001, -2.4999, -9.72, -19.99, -20.0009765625, -30.5, -1000.25])
    with mpmath.workdps(40):
        first, second = ([float(mpmath.psi(n + order, x)) for x in xs] for order in (1, 2))
    f = lambda x: jax.scipy.special.polygamma(n, x)  # noqa: E731
    np.testing.assert_allclose(jax.vmap(funcnet.grad(f))(xs), first, rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(funcnet.grad(funcnet.grad(f)))(xs), second, rtol=1e-13)


def test_the_order_of_polygamma_has_no_derivative():
    assert math.isnan(funcnet.grad(lax.polygamma)(2.0, 1.5))


def test_incomplete_gamma_with_large_orders_in_float32():
    """JAX's gradient in x is off by 6e-3, that in a by 1e-3."""
    a, x = jnp.float32(10000), jnp.float32(10100)
    by_a, by_x = jax.jit(funcnet.grad(lax.igamma, (0, 1)))(a, x)
    density = mpmath.exp(9999 * mpmath.log(10100) - 10100 - mpmath.loggamma(10000))
    by_order = mpmath.diff(lambda a: mpmath.gammainc(a, 0, 10100, regularized=True), 10000)
    np.testing.assert_allclose([by_a, by_x], [float(mpmath.re(by_order)), float(density)], rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_a_sample_in_log_space_far_below_the_smallest_float():
    """For x → 0, P(a, x) = xᵃ/Γ(a+1), hence ∂ log x/∂a = (ψ(a+1) − log x)/a."""
    a, log_x = jnp.float64(0.01), jnp.float64(-5000.0)
    _, slope = RULES["random_gamma"](jnp.float64(1.0), log_x, None, a, log_space=True)
    np.testing.assert_allclose(slope, float((mpmath.digamma(1.01) + 5000) / 0.01), rtol=1e-13)


@pytest.mark.usefixtures("x64")
def test_a_sample_of_zero_stays_there():
    _, slope = RULES["random_gamma"](
        jnp.float64(1.0), jnp.float64(0.0), None, jnp.float64(0.001), log_space=False
    )
    assert slope == 0.0


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("a", "x"), [(0.3, 0.01), (4.0, 9.0), (50.0, 47.0)])
def test_a_sample_in_log_space(a, x):
    """∂ log x/∂a = (∂x/∂a)/x."""
    a, x = jnp.float64(a), jnp.float64(x)
    _, slope = RULES["random_gamma"](x, jnp.log(x), None, a, log_space=True)
    np.testing.assert_allclose(slope, lax.random_gamma_grad(a, x), rtol=1e-12)  # pyright: ignore[reportCallIssue]


@pytest.mark.usefixtures("x64")
def test_incomplete_beta_in_its_orders_in_closed_form():
    """I(a, 1, x) = xᵃ and I(1, b, x) = 1 − (1 − x)ᵇ, for orders from 0.001 to 10⁴."""
    order, x = (v.ravel() for v in np.meshgrid(10.0 ** np.arange(-3, 5), [1e-9, 0.01, 0.3, 0.7, 0.999]))
    by_a = gradient(lax.betainc, order, np.ones_like(x), x)
    by_b = gradient(lax.betainc, np.ones_like(x), order, x, argnums=1)
    np.testing.assert_allclose(by_a, x**order * np.log(x), rtol=1e-11, atol=1e-300)
    np.testing.assert_allclose(by_b, -((1 - x) ** order) * np.log1p(-x), rtol=1e-11)


@pytest.mark.usefixtures("x64")
def test_incomplete_beta_in_its_orders_by_mpmath():
    """On both sides of the mean, up to orders whose distribution is narrow."""
    points = [(0.01, 0.02, 0.4), (300, 500, 0.37), (2.5, 4000, 1e-3), (0.3, 7, 0.9)]

    def slope(point, place):
        def distribution(order):
            a, b = (order, point[1]) if place == 0 else (point[0], order)
            return mpmath.betainc(a, b, 0, point[2], regularized=True)

        with mpmath.workdps(50):
            return float(mpmath.diff(distribution, point[place]))

    for place in (0, 1):
        found = gradient(lax.betainc, *zip(*points, strict=True), argnums=place)
        np.testing.assert_allclose(found, [slope(point, place) for point in points], rtol=1e-11)


@pytest.mark.parametrize("b", [0.02, 1.0, 77.0])
def test_incomplete_beta_in_its_second_order_next_to_zero_in_float32(b):
    """1 − x rounds to 1 there, whose density is infinite."""
    with mpmath.workdps(50):
        at = (mpmath.mpf(np.float32(0.001).item()), mpmath.mpf(np.float32(b).item()), np.float32(1e-8).item())
        of = lambda b: mpmath.betainc(at[0], b, 0, at[2], regularized=True)  # noqa: E731
        truth = float(mpmath.diff(of, at[1]))
    np.testing.assert_allclose(funcnet.grad(lax.betainc, 1)(*map(np.float32, at)), truth, rtol=1e-4)


@pytest.mark.usefixtures("x64")
def test_mixed_second_derivatives_in_order_and_argument():
    """∂²P/∂a∂x = f(x) · (log x − ψ(a)), ∂²I/∂a∂x = f(x) · (log x − ψ(a) + ψ(a+b)): JAX has neither."""
    a, b, x = 2.5, 1.5, 0.6
    density = funcnet.grad(lax.igamma, 1)(a, x)
    mixed = jax.jit(funcnet.grad(funcnet.grad(lax.igamma, 0), 1))(a, x)
    np.testing.assert_allclose(mixed, density * (math.log(x) - float(lax.digamma(a))), rtol=1e-10)
    density = funcnet.grad(lax.betainc, 2)(a, b, x)
    mixed = jax.jit(funcnet.grad(funcnet.grad(lax.betainc, 0), 2))(a, b, x)
    shift = float(lax.digamma(a + b) - lax.digamma(a))
    np.testing.assert_allclose(mixed, density * (math.log(x) + shift), rtol=1e-10)


SMALL_ORDERS = [(0.3, 63.27749), (1.0, 8.321923), (2.5, 81.1933), (7.0, 98.70378), (15.5, 40.0), (15.9, 0.03)]


@pytest.mark.parametrize(("a", "x"), SMALL_ORDERS)
def test_the_density_of_the_gamma_distribution_for_small_orders(a, x):
    """Within 4 ulp, where the exponential of a sum of logarithms is off by 60 and more."""
    a, x = np.float32(a), np.float32(x)
    with mpmath.workdps(30):
        order, argument = mpmath.mpf(float(a)), mpmath.mpf(float(x))
        density = argument ** (order - 1) * mpmath.exp(-argument) / mpmath.gamma(order)
        slope = density * ((order - 1) / argument - 1)
    first = funcnet.grad(special.gammainc, 1)
    assert float(first(a, x)) == pytest.approx(float(density), rel=4 * 2.0**-23)
    assert float(funcnet.grad(first, 1)(a, x)) == pytest.approx(float(slope), rel=8 * 2.0**-23)


@pytest.mark.parametrize(
    ("a", "b", "x"), [(0.3, 12.5, 0.9), (2.5, 3.5, 0.03), (15.0, 15.5, 0.5), (14.0, 0.02, 1e-3)]
)
def test_the_density_of_the_beta_distribution_for_small_orders(a, b, x):
    a, b, x = map(np.float32, (a, b, x))
    with mpmath.workdps(30):
        p, q, t = (mpmath.mpf(float(one)) for one in (a, b, x))
        density = t ** (p - 1) * (1 - t) ** (q - 1) / mpmath.beta(p, q)
    assert float(funcnet.grad(special.betainc, 2)(a, b, x)) == pytest.approx(float(density), rel=6 * 2.0**-23)
