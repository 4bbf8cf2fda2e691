"""The rules of JAX's functions that have a name, row by row, and where JAX's own rules go wrong."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.scipy.special import xlog1py, xlogy
from jax.scipy.stats import bernoulli, poisson

import funcnet
from funcnet import RULES, grad
from funcnet.rules.functions import DEFINED
from tests.rules.rows import Row, check, check_low_precision


def normal(*shapes):
    return lambda rng: tuple(rng.normal(size=shape) for shape in shapes)


def positive(*shapes):
    return lambda rng: tuple(rng.uniform(0.5, 2, size=shape) for shape in shapes)


STEPS = np.array([-7.0, -0.3, 0.4, 2.0, 5.9, 8.0])

ROWS = [
    Row("jax.nn.relu", jax.nn.relu, normal((3, 4))),
    Row("jax.nn.relu", jax.nn.relu, normal(()), name="rank 0"),
    Row("jax.nn.relu6", jax.nn.relu6, (STEPS,)),
    Row("jax.nn.softplus", jax.nn.softplus, normal((3, 4))),
    Row("jax.numpy.logaddexp", jnp.logaddexp, normal((3, 4), (3, 4))),
    Row("jax.numpy.logaddexp", jnp.logaddexp, normal((3, 4), (4,)), name="broadcast"),
    Row("jax.numpy.logaddexp", jnp.logaddexp, normal((3, 4), ()), name="with a scalar"),
    Row("jax.scipy.special.xlogy", xlogy, positive((3, 4), (3, 4))),
    Row("jax.scipy.special.xlogy", xlogy, positive((4,), (3, 4)), name="broadcast"),
    Row("jax.scipy.special.xlog1py", xlog1py, positive((3, 4), (3, 4))),
    Row("jax.scipy.special.xlog1py", xlog1py, positive((3, 1), (3, 4)), name="broadcast"),
    Row("jax.nn.softplus", jax.nn.log_sigmoid, normal((3, 4)), name="log_sigmoid"),
]


@pytest.mark.in_turns(2)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rule(row):
    check(row)


@pytest.mark.in_turns(3)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("row", [row for row in ROWS if row.name == ""], ids=str)
def test_rule_in_a_short_dtype(row, dtype):
    check_low_precision(row, dtype)


def test_every_name_has_a_rule():
    assert sorted(itertools.chain(*DEFINED.values())) == sorted(
        name for name in RULES if name.startswith("jax.")
    )


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


@pytest.mark.parametrize("order", [1, 2])
def test_logaddexp_of_a_difference_that_rounds(order):
    rng = np.random.default_rng(4)
    x1, x2 = (rng.uniform(-44, 44, 3000).astype(np.float32) for _ in range(2))
    f = jnp.logaddexp
    for _ in range(order):
        f = grad(lambda x1, x2, f=f: f(x1, x2).sum())
    apart = x1.astype(np.float64) - x2
    truth = 1 / (1 + np.exp(-apart))
    truth = truth if order == 1 else truth / (1 + np.exp(apart))
    np.testing.assert_allclose(f(x1, x2), truth, rtol=(4 if order == 1 else 8) * 2**-24)


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
