"""The rules of JAX's functions that have a name, row by row, and where JAX's own rules go wrong."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax
from jax.scipy import special
from jax.scipy.special import xlog1py, xlogy
from jax.scipy.stats import bernoulli, poisson

import funcnet
from funcnet import RULES, grad, value_and_grad
from funcnet.rules import Table
from funcnet.rules._forms import LOGARITHMS
from funcnet.rules.functions import DEFINED
from tests.rules.rows import Row, check, check_low_precision, each, each_in_a_short_dtype, normal, positive


def logarithms(name):
    """The arguments of a logarithm of this name."""
    x = np.array([-1.7, -0.3, -0.9] if "exp)" in name else [-1.7, 0.3, 0.9])
    more = {
        "eps": [np.array(0.01)],
        "clip": [np.array(0.2), np.array(0.7)],
        "sigmoid-sigmoid": [x - 0.6],
        "xlog": [x],
    }
    return (x, *next((numbers for part, numbers in more.items() if part in name), []))


STEPS = np.array([-7.0, -0.3, 0.4, 2.0, 5.9, 8.0])

ROWS = [
    Row("jax.nn.relu", jax.nn.relu, normal((3, 4))),
    Row("jax.nn.relu", jax.nn.relu, normal(()), name="rank 0"),
    Row("jax.nn.relu6", jax.nn.relu6, (STEPS,)),
    Row("jax.nn.softplus", jax.nn.softplus, normal((3, 4))),
    Row("jax.numpy.logaddexp", jnp.logaddexp, normal((3, 4), (3, 4))),
    Row("jax.numpy.logaddexp", jnp.logaddexp, normal((3, 4), (4,)), name="broadcast"),
    Row("jax.numpy.logaddexp", jnp.logaddexp, normal((3, 4), ()), name="with a scalar"),
    Row("jax.numpy.logaddexp2", jnp.logaddexp2, normal((3, 4), (3, 4))),
    Row("jax.numpy.hypot", jnp.hypot, normal((3, 4), (3, 4))),
    Row("jax.numpy.hypot", jnp.hypot, normal((3, 4), (4,)), name="broadcast"),
    Row("jax.scipy.special.poch", special.poch, positive((3, 4), (3, 4))),
    Row("jax.scipy.special.xlogy", xlogy, positive((3, 4), (3, 4))),
    Row("jax.scipy.special.xlogy", xlogy, positive((4,), (3, 4)), name="broadcast"),
    Row("jax.scipy.special.xlog1py", xlog1py, positive((3, 4), (3, 4))),
    Row("jax.scipy.special.xlog1py", xlog1py, positive((3, 1), (3, 4)), name="broadcast"),
    Row("jax.nn.softplus", jax.nn.log_sigmoid, normal((3, 4)), name="log_sigmoid"),
    Row("jax.nn.hard_silu", jax.nn.hard_silu, (STEPS,)),
    Row("jax.nn.selu", jax.nn.selu, normal((3, 4))),
    Row("jax.nn.soft_sign", jax.nn.soft_sign, normal((3, 4))),
    Row("jax.nn.squareplus", jax.nn.squareplus, normal((3, 4))),
    Row(
        "jax.nn.squareplus", jax.nn.squareplus, lambda rng: (rng.normal(size=(3, 4)), np.array(0.7)), name="b"
    ),
    Row("jax.nn.silu", jax.nn.silu, normal((3, 4))),
    Row("jax.nn.gelu", jax.jit(jax.nn.gelu), normal((3, 4))),
    Row("jax.nn.gelu(approximate=False)", jax.jit(partial(jax.nn.gelu, approximate=False)), normal((3, 4))),
    Row("jax.nn.mish", jax.nn.mish, normal((3, 4))),
    Row("jax.nn.celu", jax.nn.celu, normal((3, 4))),
    Row("jax.nn.celu", jax.nn.celu, lambda rng: (rng.normal(size=(3, 4)), np.array(0.7)), name="α"),
    Row(
        "jax.nn.celu",
        jax.nn.celu,
        lambda rng: (rng.normal(size=(3, 4)), 0.5 + rng.uniform(size=4)),
        name="αs",
    ),
    Row("jax.nn.log1mexp", jax.nn.log1mexp, (np.array([1e-3, 0.3, 2.0, 9.0]),)),
    Row("jax.numpy.i0", jnp.i0, (np.array([0.7, -2.0, 1.1, 3.0]),)),
    Row("jax.numpy.sinc", jnp.sinc, (np.array([0.3, -0.9, 1.7, 6.2]),)),
    Row("jax.numpy.sinc", jnp.sinc, (np.array([0.3 + 0.2j, -1.7 - 0.4j]),), name="complex"),
    Row("jax.numpy.ldexp", lambda x: jnp.ldexp(x, np.array([3, 2, -5])), (np.array([0.3, 1.7, -6.2]),)),
    Row(
        "jax.numpy.ldexp",
        lambda x: jnp.ldexp(x, np.array([3, 2, -5, 0])),
        (np.array([0.3, 0.0, 0.0, -6.2]),),
        name="zero",
        jax=False,
        second=False,
        reason="JAX 0.10 has 1 there; the second derivative is 0",
    ),
    Row("jax.numpy.frexp", lambda x: jnp.frexp(x)[0], (np.array([0.3, -0.9, 1.7, 6.2]),)),
    Row("jax.scipy.special.dawsn", special.dawsn, (np.array([0.3, -0.7, 1.2, 2.9]),)),
    Row("jax.scipy.special.erfcx", special.erfcx, (np.array([0.3, -0.7, 1.2, 2.9]),)),
    Row("jax.scipy.special.expi", special.expi, (np.array([0.3, -0.7, 2.2, 8.9]),)),
    Row(
        "jax.scipy.special.expn",
        lambda x: special.expn(np.array([1, 2, 4]), x),
        (np.array([0.3, 1.2, 4.9]),),
        second=False,
        reason="JAX 0.10 has no second derivative: it raises an error",
    ),
    Row("jax.scipy.special.fresnel", special.fresnel, (np.array([0.3, -0.7, 1.2, 2.9]),)),
    Row(
        "jax.scipy.special.fresnel", lambda x: special.fresnel(x)[1], (np.array([0.3, 1.2]),), name="C alone"
    ),
    Row("jax.scipy.special.log_ndtr", special.log_ndtr, (np.array([0.3, -0.7, 1.2, -5.9]),)),
    Row("jax.scipy.special.ndtr", special.ndtr, (np.array([0.3, -0.7, 1.2, -5.9]),)),
    Row("jax.numpy.log(ndtr)", lambda x: jnp.log(special.ndtr(x)), (np.array([0.3, -0.7, 1.2, -5.9]),)),
    Row("jax.scipy.special.betaln", special.betaln, positive((3, 4), (3, 4))),
    Row("jax.scipy.special.betaln", special.betaln, positive((3, 4), ()), name="with a scalar"),
    Row("jax.scipy.special.boxcox", special.boxcox, positive((3, 4), (3, 4))),
    Row("jax.scipy.special.boxcox", special.boxcox, positive((3, 4), ()), name="with a scalar"),
    Row("jax.scipy.special.boxcox", special.boxcox1p, positive((), (3, 4)), name="of 1 + x"),
    Row("jax.scipy.special.spence", special.spence, (np.array([0.1, 0.3, 0.9, 5.0]),)),
    Row("jax.scipy.special.logit", special.logit, (np.array([0.3, 0.01, 0.98]),)),
    Row("jax.scipy.special.i1", special.i1, (np.array([0.7, -2.0, 1.1, 3.0]),)),
    Row(
        "jax.scipy.special.owens_t", special.owens_t, (np.array([0.3, -1.7, 2.2]), np.array([0.7, 1.4, -0.2]))
    ),
    Row("jax.scipy.special.sici", special.sici, (np.array([0.3, -0.7, 3.2, 9.9]),)),
    Row("jax.scipy.special.sici", lambda x: special.sici(x)[0], (np.array([0.3, 4.2]),), name="Si alone"),
    Row(
        "jax.scipy.special.wofz",
        special.wofz,
        (np.array([0.3 + 0.2j, 1.9 + 0.5j, -2.0 - 0.3j, 0.4 - 0.9j]),),
        tolerance=1e-8,
        reason="JAX's slope cancels",
    ),
    Row("jax.scipy.special.xlogx", special.entr, (np.array([0.3, 0.04, 2.2]),)),
    *(Row(name, f, logarithms(name)) for name, f in LOGARITHMS.items()),
]
if jax.__version_info__ >= (0, 12):
    ROWS += [
        Row("jax.scipy.special.erfcinv", special.erfcinv, (np.array([0.3, 0.04, 1.2, 1.9]),)),  # pyright: ignore[reportAttributeAccessIssue]
        Row("jax.scipy.special.ndtri", special.ndtri, (np.array([0.3, 0.04, 0.9]),)),
    ]

NOT_SHORT = {
    "jax.scipy.special." + name
    for name in ("log_ndtr", "ndtr", "ndtri", "wofz", "expi", "expn", "sici", "spence")
} | {"jax.numpy.log(ndtr)"}
"""JAX refuses float16 here, or its coefficients leave the range of float16."""


@each(ROWS)
def test_rule(row):
    check(row)


@each_in_a_short_dtype([row for row in ROWS if not row.name and row.primitive not in NOT_SHORT])
def test_rule_in_a_short_dtype(row, dtype):
    check_low_precision(row, dtype)


def test_every_name_has_a_rule():
    names = {name for candidates in DEFINED.values() for name in candidates}
    assert names == {name for name in RULES if name.startswith("jax.")}


AROUND = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "vmap": lambda f: lambda x: jax.vmap(f)(x[None])[0],
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, length=1)[0],
    "checkpoint": jax.checkpoint,
    "cond": lambda f: lambda x: jax.lax.cond(x > -100, f, f, x),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_another_rule_can_take_its_place(around):
    doubled = RULES | {"jax.nn.relu": lambda y_bar, y, x: (2 * y_bar,)}
    f = around(jax.nn.relu)
    x = jnp.float32(-3)
    assert [float(grad(f, rules=rules)(x)) for rules in (RULES, doubled)] == [0, 2]
    assert float(jax.jit(grad(f, rules=doubled))(x)) == 2


def test_a_function_of_the_same_name_is_another_one():
    @jax.custom_jvp
    def relu(x):
        return jnp.maximum(x, 0)

    relu.defjvp(lambda primals, tangents: (relu(*primals), 7 * tangents[0]))
    assert grad(relu)(1.0) == 7
    assert grad(jax.jit(relu))(1.0) == 7


ACTIVATIONS = {
    "jax.nn.soft_sign": jax.nn.soft_sign,
    "jax.nn.squareplus": jax.nn.squareplus,
    "jax.nn.silu": jax.nn.swish,
    "jax.nn.gelu": jax.jit(jax.nn.gelu),
    "jax.nn.gelu(approximate=False)": jax.jit(lambda x: jax.jit(partial(jax.nn.gelu, approximate=False))(x)),
    "jax.nn.mish": jax.nn.mish,
    "jax.nn.celu": jax.nn.celu,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize(("name", "f"), ACTIVATIONS.items(), ids=ACTIVATIONS)
def test_an_activation_is_known_by_its_program(name, f, shape, around):
    marked = RULES | {name: lambda y_bar, y, *xs: [lax.full_like(x, 7) for x in xs]}
    x = jnp.full(shape, 0.3)
    if shape and around is AROUND["cond"]:
        return
    assert np.all(grad(lambda x: around(f)(x).sum(), rules=marked)(x) == 7)


def test_a_parameter_of_an_activation_has_a_gradient():
    marked = RULES | {"jax.nn.celu": lambda y_bar, y, x, alpha=1: (7 * y_bar, 5 * y_bar)}
    x, alpha = jnp.ones((2, 3)), jnp.float32(0.5)
    assert float(grad(lambda x, alpha: jax.nn.celu(x, alpha).sum(), 1, rules=marked)(x, alpha)) == 30
    assert float(grad(lambda x, alpha: jax.nn.celu(x, alpha=alpha).sum(), 1, rules=marked)(x, alpha)) == 30
    assert np.all(grad(lambda x: jax.nn.celu(x, 2).sum(), rules=marked)(x) == 7)


@pytest.mark.parametrize("f", [jax.nn.silu, jax.jit(jax.nn.gelu), jax.nn.soft_sign])
def test_an_activation_of_complex_numbers_stays_composed(f):
    loss = lambda z: jnp.abs(f(z))  # noqa: E731
    np.testing.assert_allclose(grad(loss)(0.3 + 0.4j), jax.grad(loss)(0.3 + 0.4j), rtol=1e-5)


SELF_GATED = ["jax.nn.silu", "jax.nn.gelu", "jax.nn.gelu(approximate=False)", "jax.nn.mish"]


@pytest.mark.parametrize("name", SELF_GATED)
def test_the_slope_of_an_activation_ends_at_0_and_1_and_bends_no_more(name):
    f = ACTIVATIONS[name]
    ends = jnp.float32([-np.inf, -3e38, 3e38, np.inf])
    np.testing.assert_array_equal(jax.vmap(grad(f))(ends), [0, 0, 1, 1])
    np.testing.assert_array_equal(jax.vmap(grad(grad(f)))(ends), 0)


@pytest.mark.parametrize("x", [-8.0, -5.0, -2.0, -0.5, 0.5, 5.0])
def test_gelu_beside_its_gradient_has_digits_on_the_left_too(x):
    """JAX's value is 0 at −8. Ours is as good as its exponent w, a float32 number."""
    w = mpmath.sqrt(8 / mpmath.pi) * (x + mpmath.mpf("0.044715") * mpmath.mpf(x) ** 3)
    value = lambda x: value_and_grad(jax.nn.gelu)(x)[0]  # noqa: E731
    np.testing.assert_allclose(value(jnp.float32(x)), float(x * logistic(w)), rtol=float(4 + abs(w)) * 2**-24)
    assert grad(value)(jnp.float32(x)) == grad(jax.nn.gelu)(jnp.float32(x))


@pytest.mark.usefixtures("x64")
def test_orders_three_and_four_of_mish_at_0_where_its_forms_join():
    third = grad(grad(grad(jax.nn.mish)))
    assert float(third(0.0)) == pytest.approx(-0.096, rel=1e-12)
    assert float(grad(third)(0.0)) == pytest.approx(-1.1008, rel=1e-12)


def test_the_rule_is_printed_by_the_name_of_its_function(capsys):
    from funcnet.__main__ import main

    assert main(["rules", "xlogy"]) == 0
    assert "x̄ = ȳ · log y" in capsys.readouterr().out


def logistic(x):
    return 1 / (1 + mpmath.exp(-mpmath.mpf(float(x))))


SOFTPLUS = [0.0, 1e-3, -1e-3, 5.0, 10.0, 15.0, 20.0, 80.0, -10.0, -20.0, -80.0]


@pytest.mark.parametrize("x", SOFTPLUS)
@pytest.mark.parametrize(
    "f", [jax.nn.softplus, lambda x: jnp.logaddexp(x, 0.0), lambda x: -jax.nn.log_sigmoid(-x)]
)
def test_softplus_to_the_second_order(f, x):
    """JAX's second derivative is 0 from 15 on."""
    at = jnp.float32(x)
    first, second = logistic(x), logistic(x) * logistic(-x)
    np.testing.assert_allclose(float(grad(f)(at)), float(first), rtol=4 * 2**-23)
    np.testing.assert_allclose(float(grad(grad(f))(at)), float(second), rtol=8 * 2**-23)


@pytest.mark.parametrize(("x1", "x2"), [(np.inf, np.inf), (-np.inf, -np.inf), (np.inf, 0), (0, -np.inf)])
def test_logaddexp_of_infinities(x1, x2):
    slopes = grad(jnp.logaddexp, (0, 1))(jnp.float32(x1), jnp.float32(x2))
    assert [float(slope) for slope in slopes] == ([0.5, 0.5] if x1 == x2 else [1, 0])


@pytest.mark.parametrize(("f", "base", "far"), [(jnp.logaddexp, np.e, 44), (jnp.logaddexp2, 2, 60)])
@pytest.mark.parametrize("order", [1, 2])
def test_logaddexp_of_a_difference_that_rounds(order, f, base, far):
    rng = np.random.default_rng(4)
    x1, x2 = (rng.uniform(-far, far, 3000).astype(np.float32) for _ in range(2))
    for _ in range(order):
        f = grad(lambda x1, x2, f=f: f(x1, x2).sum())
    apart = x1.astype(np.float64) - x2
    truth = 1 / (1 + base**-apart)
    truth = truth if order == 1 else np.log(base) * truth / (1 + base**apart)
    np.testing.assert_allclose(f(x1, x2), truth, rtol=(4 if order == 1 else 8) * 2**-24)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30, np.inf])
def test_hypot_of_every_size(scale):
    at = jnp.float32(3 * scale if scale else 0), jnp.float32(4 * scale if np.isfinite(scale) else 4)
    slopes = [0, 0] if scale == 0 else [1, 0] if np.isinf(scale) else [0.6, 0.8]
    np.testing.assert_allclose(grad(jnp.hypot, (0, 1))(*at), slopes, rtol=3e-7)


def test_the_second_derivatives_of_hypot():
    found = funcnet.hessian(jnp.hypot, (0, 1))(jnp.float32(3e-9), jnp.float32(4e-9))
    truth = np.array([[0.64, -0.48], [-0.48, 0.36]]) / 5e-9
    np.testing.assert_allclose(np.array(found), truth, rtol=1e-6)


@pytest.mark.parametrize(("z", "m"), [(0.0, 1.5), (-1.0, 1.5), (-2.0, 0.3), (0.7, 1.5), (-2.5, 1.2)])
def test_the_pochhammer_symbol(z, m):
    """(z)ₘ has the finite derivative Γ(m) at 0, where ψ(z) is infinite."""
    with mpmath.workdps(40):
        first = float(mpmath.diff(lambda z: mpmath.rf(z, m), z))
        second = float(mpmath.diff(lambda z: mpmath.rf(z, m), z, 2))
    f = lambda z: special.poch(z, m)  # noqa: E731
    with jax.enable_x64(True):
        np.testing.assert_allclose(float(grad(f)(z)), first, rtol=1e-11)
        np.testing.assert_allclose(float(grad(grad(f))(z)), second, rtol=1e-10)


EDGES = {
    "xlogy in y": (lambda y: xlogy(0.0, y), 0.0, 0.0),
    "xlogy in y, at 2": (lambda y: xlogy(0.0, y), 2.0, 0.0),
    "xlog1py in y": (lambda y: xlog1py(0.0, y), -1.0, 0.0),
    "poisson.logpmf(0, μ) in μ at 0": (lambda mu: poisson.logpmf(0, mu), 0.0, -1.0),
    "bernoulli.logpmf(0, p) in p at 0": (lambda p: bernoulli.logpmf(0, p), 0.0, -1.0),
    "bernoulli.logpmf(1, p) in p at 1": (lambda p: bernoulli.logpmf(1, p), 1.0, 1.0),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize(("f", "at", "slope"), EDGES.values(), ids=EDGES)
def test_at_the_edge_of_the_support(f, at, slope, around):
    if around is AROUND["cond"] or around is AROUND["scan"]:
        around = jax.jit
    assert float(grad(around(f))(jnp.float32(at))) == slope


@pytest.mark.parametrize(
    "f", [lambda x, y: xlogy(x, y), lambda x, y: xlog1py(x, y - 1)], ids=["xlogy", "xlog1py"]
)
@pytest.mark.parametrize("x", [0.0, 2.0])
def test_the_second_derivatives_of_a_product_with_a_logarithm(f, x):
    at = jnp.float32(x), jnp.float32(0.5)
    (xx, xy), (yx, yy) = funcnet.hessian(f, (0, 1))(*at)
    assert [float(one) for one in (xx, xy, yx, yy)] == [0, 2, 2, -4 * x]


MAPPED = {
    "celu": (jax.nn.celu, (1, 0)),
    "celu with α apart": (lambda x, alpha: jax.nn.celu(x, alpha), (None, 0)),
    "silu": (lambda x, y: jax.nn.silu(x - y), (1, 0)),
    "gelu": (lambda x, y: jax.jit(jax.nn.gelu)(x - y), (1, 0)),
    "relu": (lambda x, y: jax.nn.relu(x - y), (1, 0)),
    "softplus": (lambda x, y: jax.nn.softplus(x) * y, (1, 0)),
    "logaddexp": (jnp.logaddexp, (1, 0)),
    "logaddexp of a scalar": (jnp.logaddexp, (0, None)),
    "xlogy": (xlogy, (1, 0)),
    "xlogy of a scalar": (xlogy, (0, None)),
    "xlogy of a matrix": (lambda x, y: xlogy(x, y), (None, 0)),
}


@pytest.mark.parametrize(("f", "axes"), MAPPED.values(), ids=MAPPED)
def test_vmap_over_different_axes_of_a_square(f, axes):
    rng = np.random.default_rng(231)
    x, y = (rng.uniform(0.5, 2, (3, 3)) for _ in range(2))
    x, y = (x[0], y[0]) if None in axes else (x, y)
    weights = rng.normal(size=(3, 3))
    loss = lambda x, y: (weights * jax.vmap(f, in_axes=axes)(x, y)).sum()  # noqa: E731
    for ours, theirs in zip(grad(loss, (0, 1))(x, y), jax.grad(loss, (0, 1))(x, y), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("z", [0j, 0.3 + 0.4j, 1.6 + 0j, -5.2 + 0.1j, 30 + 2j, 1e5 + 1j, -2 - 0.5j, 0.1 - 4j])
def test_faddeeva_s_function_to_the_second_order(z):
    """w′ = 2i/√π − 2zw and w″ = −2w − 2zw′; JAX has no digit of w′ at 1e5, and cancels from 2 on."""
    with mpmath.workdps(80):
        w = mpmath.exp(-(mpmath.mpc(z) ** 2)) * mpmath.erfc(-1j * mpmath.mpc(z))
        first = 2j / mpmath.sqrt(mpmath.pi) - 2 * z * w
        second = complex(-2 * w - 2 * z * first)
    gradient = grad(special.wofz, holomorphic=True)
    np.testing.assert_allclose(complex(gradient(z)), complex(first), rtol=1e-13)
    if abs(z) > 1.5:
        np.testing.assert_allclose(complex(grad(gradient, holomorphic=True)(z)), second, rtol=1e-11)


def bessel(n):
    return lambda x: mpmath.besseli(n, x)


AT_ZERO = {
    "i0": (special.i0, bessel(0)),
    "numpy's i0": (jnp.i0, bessel(0)),
    "i1": (special.i1, bessel(1)),
    "sinc": (jnp.sinc, mpmath.sincpi),
    "Si": (lambda x: special.sici(x)[0], mpmath.si),
    "dawsn": (special.dawsn, lambda x: mpmath.sqrt(mpmath.pi) / 2 * mpmath.exp(-x * x) * mpmath.erfi(x)),
    "erfcx": (special.erfcx, lambda x: mpmath.exp(x * x) * mpmath.erfc(x)),
    "log_ndtr": (special.log_ndtr, lambda x: mpmath.log(mpmath.ncdf(x))),
    "ndtr": (special.ndtr, mpmath.ncdf),
    "spence": (lambda x: special.spence(1 + x), lambda x: mpmath.polylog(2, -x)),
    "betaln": (lambda x: special.betaln(1 + x, 1 - x), lambda x: mpmath.log(mpmath.beta(1 + x, 1 - x))),
    "softplus": (jax.nn.softplus, lambda x: mpmath.log1p(mpmath.exp(x))),
    "log_sigmoid": (jax.nn.log_sigmoid, lambda x: -mpmath.log1p(mpmath.exp(-x))),
    "tanh": (jnp.tanh, mpmath.tanh),
    "sigmoid": (jax.nn.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x))),
    "arcsinh": (jnp.arcsinh, mpmath.asinh),
    "log cosh": (
        lambda x: abs(x) + jnp.log1p(jnp.exp(-2 * abs(x))),
        lambda x: mpmath.log(2 * mpmath.cosh(x)),
    ),
    "logistic loss": (
        lambda x: jnp.maximum(x, 0) - x + jnp.log1p(jnp.exp(-abs(x))),
        lambda x: mpmath.log1p(mpmath.exp(-x)),
    ),
    "hypot": (lambda x: jnp.hypot(x, 1.0), lambda x: mpmath.sqrt(1 + x * x)),
    "logistic density": (jax.scipy.stats.logistic.logpdf, lambda x: -2 * mpmath.log(mpmath.cosh(x / 2))),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("function", "truth"), AT_ZERO.values(), ids=AT_ZERO)
def test_four_orders_at_zero(function, truth):
    """Smooth functions that JAX makes of |x|, or with a case for 0."""
    for order in range(1, 5):
        function = grad(function)
        with mpmath.workdps(40):
            right = float(mpmath.diff(truth, 0, order))
        assert float(function(0.0)) == pytest.approx(right, rel=1e-10, abs=1e-10), order


@pytest.mark.parametrize(
    ("function", "x", "slope"),
    [
        (jnp.i0, 1e-4, 5e-5),
        (special.i0, 1e-4, 5e-5),
        (grad(special.i1), 1e-3, 3.75e-4),  # I₁″(x) = 3x/8 + …, NIST DLMF §10.25.2
        (lambda x: special.expn(0, x), 0.5, float(-mpmath.exp(-0.5) * 6)),  # E₀ = e⁻ˣ/x
        (grad(special.exp1), 0.5, float(mpmath.exp(-0.5) * 6)),
        (jnp.sinc, 1e-3, -0.0032898665),
        (special.log_ndtr, -40.0, 40.024969),
        (special.log_ndtr, 13.0, 8.0e-38),
        (special.erfcx, 1e4, -5.6418957e-9),
        (special.dawsn, 1e3, -5.0000075e-7),
        (special.gammaln, 1.4616321, float(mpmath.digamma(float(np.float32(1.4616321))))),
        (special.gammaln, -2.5, 1.1031566),
        (partial(special.polygamma, 4), 42093188.0, float(mpmath.psi(5, 42093188))),
        (special.i0, 3e-38, 1.5e-38),
        (special.digamma, -20.75, float(mpmath.psi(1, -20.75))),
    ],
)
def test_slopes_in_float32(function, x, slope):
    """Where JAX's are off by 1e-5 and more."""
    digits = f"{slope:e}".split("e")[0].rstrip("0")
    assert float(grad(function)(jnp.float32(x))) == pytest.approx(
        slope, rel=max(5e-7, 10.0 ** (2 - len(digits)))
    )


@pytest.mark.usefixtures("x64")
def test_the_slope_of_i0_next_to_zero():
    assert float(grad(jnp.i0)(1e-300)) == 5e-301


@pytest.mark.parametrize("transform", [jax.jvp, jax.vjp], ids=["jvp", "vjp"])
def test_what_jax_makes_of_a_jitted_function_does_not_go_by_its_name(transform):
    """The tangent of jitted sinc has the same source line, two arguments and two results."""

    def slope(x):
        if transform is jax.jvp:
            return jax.jvp(jnp.sinc, (x,), (jnp.ones_like(x),))[1]
        return jax.vjp(jnp.sinc, x)[1](jnp.ones_like(x))[0]

    x = jnp.float32(1.3)
    np.testing.assert_allclose(grad(slope)(x), jax.grad(jax.grad(jnp.sinc))(x), rtol=1e-5)


def test_one_of_two_results_under_checkpoint():
    """JAX takes the other result away, and the name with it."""
    for i in (0, 1):
        f = jax.checkpoint(lambda x, i=i: special.sici(x)[i])
        np.testing.assert_allclose(grad(f)(jnp.float32(2)), jax.grad(f)(jnp.float32(2)), rtol=1e-6)


@pytest.mark.parametrize("f", [special.dawsn, special.fresnel], ids=["dawsn", "fresnel"])
def test_the_tables_of_a_function_stand_before_its_argument(f):
    """They are operands of its call, and under vmap nothing tells them apart."""
    x = jnp.linspace(0.1, 3, 7)
    first = lambda x: jax.tree.leaves(f(x))[0]  # noqa: E731
    single = [grad(first)(each) for each in x]
    np.testing.assert_allclose(jax.vmap(grad(first))(x), single, rtol=1e-5)
    np.testing.assert_allclose(grad(lambda x: jax.vmap(first)(x).sum())(x), single, rtol=1e-5)


def test_a_function_without_its_rule_goes_by_the_one_that_it_brings():
    rules = Table({name: rule for name, rule in RULES.items() if name != "jax.numpy.logaddexp"})
    gradient = grad(lambda x: jnp.logaddexp(x, 0.0), rules=rules)(jnp.float32(0.5))
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-0.5)), rtol=1e-6)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["plain", "jit"])
@pytest.mark.parametrize("lmbda", [0, 1e-9, -1e-4, 0.01, 0.5, 1, -3])
@pytest.mark.parametrize("x", [1e-3, 0.3, 1.0001, 2, 1e4])
@pytest.mark.parametrize(
    ("f", "shift"), [(special.boxcox, 0), (special.boxcox1p, 1)], ids=["boxcox", "boxcox1p"]
)
def test_box_and_coxs_transformation_has_no_kink_at_0(f, shift, x, lmbda, transform):
    """Its derivatives in λ are Lⁿ⁺¹ ∫ tⁿ e^{tλL}."""
    x, lmbda = np.float32(x), np.float32(lmbda)
    slopes = transform(grad(f, (0, 1)))(x, lmbda)
    curvatures = transform(funcnet.hessian(f, (0, 1)))(x, lmbda)
    with mpmath.workdps(40):
        base, p = mpmath.mpf(float(x)) + shift, mpmath.mpf(float(lmbda))
        log = mpmath.log(base)
        in_lambda = [
            log ** (n + 1) * mpmath.quad(lambda t, n=n: t**n * mpmath.exp(t * p * log), [0, 1])
            for n in (1, 2)
        ]
        both = base ** (p - 1) * log
        truths = [base ** (p - 1), in_lambda[0], (p - 1) * base ** (p - 2), both, both, in_lambda[1]]
        truths = [float(truth) for truth in truths]
    found = [*slopes, *curvatures[0], *curvatures[1]]
    np.testing.assert_allclose(found, truths, rtol=3e-6)
