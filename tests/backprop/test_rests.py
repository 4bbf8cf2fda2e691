"""Divisions by what a gate leaves of 1: first and second order beside closed forms at 60 digits."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax
from jax.scipy import special, stats

from funcnet import RULES, grad, hessian, trace
from funcnet.backprop.engine import engine

sigmoid = jax.nn.sigmoid

AROUND = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "vmap": jax.vmap,
    "checkpoint": jax.checkpoint,
    "scan": lambda f: lambda x: lax.scan(lambda c, x: (c, f(x)), 0.0, x)[1],
    "cond": lambda f: lambda x: lax.cond(x[0] < 9, f, jnp.sin, x),
}


def likeliest(x, f):
    """A function of the probability of the first of three scores, x, 0 and 1."""
    return f(jnp.stack([x, 0 * x, 1 + 0 * x], axis=-1))[..., 0]


def share(t):
    return 1 / (1 + (1 + mpmath.e) * mpmath.exp(-t))


def sig(t):
    return 1 / (1 + mpmath.exp(-t))


ROWS = {
    "logit σ": (lambda x: special.logit(sigmoid(x)), lambda t: t),
    "logit clip σ": (lambda x: special.logit(jnp.clip(sigmoid(x), 1e-6, 1 - 1e-6)), lambda t: t),
    "artanh tanh": (lambda x: jnp.arctanh(jnp.tanh(x)), lambda t: t),
    "artanh clip tanh": (lambda x: jnp.arctanh(jnp.clip(jnp.tanh(x), -1 + 1e-6, 1 - 1e-6)), lambda t: t),
    "artanh (½ tanh)": (
        lambda x: jnp.arctanh(0.96875 * jnp.tanh(x)),
        lambda t: mpmath.atanh(0.96875 * mpmath.tanh(t)),
    ),
    "arcsin tanh": (lambda x: jnp.arcsin(jnp.tanh(x)), lambda t: mpmath.atan(mpmath.sinh(t))),
    "arccos tanh": (lambda x: jnp.arccos(jnp.tanh(x)), lambda t: -mpmath.atan(mpmath.sinh(t))),
    "erf⁻¹ tanh": (lambda x: special.erfinv(jnp.tanh(x)), lambda t: mpmath.erfinv(mpmath.tanh(t))),
    "Φ⁻¹ σ": (
        lambda x: special.ndtri(sigmoid(x)),
        lambda t: mpmath.sqrt(2) * mpmath.erfinv(mpmath.tanh(t / 2)),
    ),
    "odds": (lambda x: sigmoid(x) / (1 - sigmoid(x)), mpmath.exp),
    "log odds": (lambda x: (lambda p: jnp.log(p / (1 - p)))(sigmoid(x)), lambda t: t),
    "odds with ε": (
        lambda x: (lambda p: jnp.log(p / (2**-20 + 1 - p)))(sigmoid(x)),
        lambda t: mpmath.log(sig(t) / (sig(-t) + mpmath.mpf(2) ** -20)),
    ),
    "1/(σ − 1)": (lambda x: 1 / (sigmoid(x) - 1), lambda t: -1 - mpmath.exp(t)),
    "1/(σ (1 − σ))": (lambda x: (lambda p: 1 / (p * (1 - p)))(sigmoid(x)), lambda t: 2 + 2 * mpmath.cosh(t)),
    "1/(1 − tanh²)": (lambda x: 1 / (1 - jnp.tanh(x) ** 2), lambda t: mpmath.cosh(t) ** 2),
    "1/√(1 − tanh²)": (lambda x: lax.rsqrt(1 - jnp.square(jnp.tanh(x))), mpmath.cosh),
    "√(1 − tanh²)": (lambda x: (lambda u: jnp.sqrt(1 - u * u))(jnp.tanh(x)), mpmath.sech),
    "½ log (1 + tanh)/(1 − tanh)": (
        lambda x: (lambda u: 0.5 * jnp.log((1 + u) / (1 - u)))(jnp.tanh(x)),
        lambda t: t,
    ),
    "focal": (
        lambda x: -((1 - sigmoid(x)) ** 0.5) * jnp.log(sigmoid(x)),
        lambda t: mpmath.sqrt(sig(-t)) * mpmath.log1p(mpmath.exp(-t)),
    ),
    "log(−log(1 − σ))": (
        lambda x: jnp.log(-jnp.log(1 - sigmoid(x))),
        lambda t: mpmath.log(mpmath.log1p(mpmath.exp(t))),
    ),
    "(1 − exp(−x²))^1.5": (
        lambda x: (1 - jnp.exp(-x * x / 16)) ** 1.5,
        lambda t: (-mpmath.expm1(-t * t / 16)) ** 1.5,
    ),
    "1/(1 − erf)": (lambda x: 1 / (1 - lax.erf(x / 4)), lambda t: 1 / mpmath.erfc(t / 4)),
    "1/(1 − Φ)": (lambda x: 1 / (1 - stats.norm.cdf(x / 4)), lambda t: 2 / mpmath.erfc(t / mpmath.sqrt(32))),
    "artanh(2σ − 1)": (lambda x: jnp.arctanh(2 * sigmoid(x) - 1), lambda t: t / 2),
    "1/(1 − ½ (1 + tanh))": (lambda x: 1 / (1 - 0.5 * (1 + jnp.tanh(x / 2))), lambda t: 1 + mpmath.exp(t)),
    "1/(1 + expm1)": (lambda x: 1 / (1 + jnp.expm1(-x)), mpmath.exp),
    "1/(1 + elu)": (lambda x: 1 / (1 + jax.nn.elu(-abs(x))), lambda t: mpmath.exp(abs(t))),
    "1/(1 + celu)": (lambda x: 1 / (1 + jax.nn.celu(-abs(x))), lambda t: mpmath.exp(abs(t))),
    "soft_sign and back": (
        lambda x: (lambda y: y / (1 - abs(y)))(jax.nn.soft_sign(1e4 * x)),
        lambda t: 1e4 * t,
    ),
    "Φ⁻¹ of a choice": (
        lambda x: 1 / (1 - jnp.where(x > -20, jnp.maximum(sigmoid(x), 1e-9), 0)),
        lambda t: 1 + mpmath.exp(t),
    ),
    "log Γ": (
        lambda x: special.gammaln((1 - sigmoid(x)) * jnp.exp(x / 9)),
        lambda t: mpmath.loggamma(sig(-t) * mpmath.exp(t / 9)),
    ),
    "1/Σ": (
        lambda x: 1 / ((1 - sigmoid(x))[..., None] * jnp.float32([0.25, 2])).sum(-1),
        lambda t: (1 + mpmath.exp(t)) / 2.25,
    ),
    "log1p(−clip σ)": (
        lambda x: 1 / jnp.log1p(-jnp.clip(sigmoid(x), 1e-6, 1 - 1e-6)),
        lambda t: -1 / mpmath.log1p(mpmath.exp(t)),
    ),
    "1/(1 − softmax)": (
        lambda x: 1 / (1 - likeliest(x, jax.nn.softmax)),
        lambda t: 1 / (1 - share(t)),
    ),
    "1/(1 − exp log_softmax)": (
        lambda x: 1 / (1 - jnp.exp(likeliest(x, jax.nn.log_softmax))),
        lambda t: 1 / (1 - share(t)),
    ),
    "1/log(1 − exp log_softmax)": (
        lambda x: 1 / jnp.log1p(-jnp.exp(likeliest(x, jax.nn.log_softmax))),
        lambda t: 1 / mpmath.log(1 - share(t)),
    ),
}
"""Each with what it is."""

X = np.float32([-4, -0.75, 0.5, 4, 7])


def truths(closed_form, x=X):
    with mpmath.workdps(60):
        return np.array(
            [[mpmath.diff(closed_form, mpmath.mpf(float(x)), n) for x in x] for n in (1, 2)], float
        )


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize(("f", "closed_form"), ROWS.values(), ids=ROWS)
def test_it_has_all_digits(f, closed_form, around):
    """Of a second derivative as many as its two terms have, which are as large as the first."""
    first = grad(lambda x: around(f)(x).sum())
    slopes, curvatures = truths(closed_form)
    np.testing.assert_allclose(first(X), slopes, rtol=2e-6)
    error = np.abs(grad(lambda x: first(x).sum())(X) - curvatures)
    assert np.all(error <= 4e-6 * (np.abs(slopes) + np.abs(curvatures))), error


def odds(p):
    return p / (1 - p)


PARTED = {
    "out of a call": lambda x: odds(jax.jit(sigmoid)(x)),
    "into a call": lambda x: jax.jit(odds)(sigmoid(x)),
    "from call to call": lambda x: jax.jit(odds)(jax.jit(sigmoid)(x)),
    "out of a call in a call": lambda x: odds(jax.jit(lambda x: jax.jit(sigmoid)(x[None])[0])(x)),
    "into a call in a call": lambda x: jax.jit(lambda p: 1 + jax.jit(odds)(2 * p / 2))(sigmoid(x)),
    "of a tree": lambda x: jax.jit(lambda p: odds(p["p"]))(jax.jit(lambda x: {"p": sigmoid(x), "x": x})(x)),
    "out of a checkpoint": lambda x: odds(jax.checkpoint(sigmoid)(x)),
    "into a checkpoint": lambda x: jax.checkpoint(odds)(sigmoid(x)),
    "out of a scan": lambda x: odds(lax.map(sigmoid, x)),
    "into a scan": lambda x: lax.map(odds, sigmoid(x)),
    "into a scan, as a constant": lambda x: (lambda p: lax.map(lambda k: odds(p)[k], jnp.arange(4)))(
        sigmoid(x)
    ),
    "by a branch": lambda x: lax.cond(sigmoid(x[0]) < 0.9, jnp.exp, jnp.sin, x),
    "into branches": lambda x: lax.cond(x[0] < 9, odds, jnp.sin, sigmoid(x)),
    "less an array of ones": lambda x: sigmoid(x) / (jnp.ones_like(x) - sigmoid(x)),
    "less another": lambda x: sigmoid(x) / (sigmoid(40 + 0 * x) - sigmoid(x)),
    "two scores": lambda x: odds(jax.jit(jax.nn.softmax)(jnp.stack([x, 0 * x], -1))[..., 0]),
    "a product": lambda x: 1 / (1 - sigmoid(jnp.stack([x, 0 * x - 40]))).prod(0) - 1,
    "running products": lambda x: 1 / jnp.cumprod(1 - sigmoid(jnp.stack([x, 0 * x - 40])), 0)[1] - 1,
    "bounds that are arrays": lambda x: odds(
        jnp.clip(sigmoid(x), jnp.float32(1e-9), 1 - x[0] ** 2 / 2.0**40)
    ),
}
"""The odds eˣ, as they are written where 1 − σ and σ are apart, or 1 is no number of the program's."""


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["plain", "jit"])
@pytest.mark.parametrize("f", PARTED.values(), ids=PARTED)
def test_a_gate_is_known_wherever_it_is(f, transform):
    first = grad(lambda x: f(x).sum())
    x = np.float32([-4, 0.5, 7, 12])
    slopes, curvatures = truths(mpmath.exp, x)
    np.testing.assert_allclose(transform(first)(x), slopes, rtol=4e-6)
    np.testing.assert_allclose(transform(grad(lambda x: first(x).sum()))(x), curvatures, rtol=1e-5)


def test_bounds_that_are_numbers_have_the_dtype_of_what_they_bound():
    """Literals are float64 where that is enabled."""
    x = np.float32(9)
    probit = lambda x: special.ndtri(jnp.clip(sigmoid(x), 1e-6, 1 - 1e-6))  # noqa: E731
    with jax.enable_x64(True):
        for f in (probit, lambda x: special.ndtri(jax.jit(probit)(x) / 9)):
            assert grad(f)(x).dtype == jnp.float32
            np.testing.assert_allclose(grad(f)(x), grad(f)(np.float64(x)), rtol=1e-5)


@pytest.mark.parametrize("f", [jnp.arctanh, lambda u: stats.norm.logpdf(jnp.arctanh(u))], ids=["", "log φ"])
def test_a_second_derivative_passes_the_bounds_of_a_clip(f):
    """On its own way forward a clip is a call by itself."""
    x = np.float32([-6, 3, 6.5, 7])
    g = lambda x: f(jnp.clip(jnp.tanh(x), -1 + 1e-6, 1 - 1e-6)).sum()  # noqa: E731
    curvature = grad(lambda x: grad(g)(x).sum())(x)
    np.testing.assert_allclose(curvature, 0 if f is jnp.arctanh else -1, atol=4e-6)


@pytest.mark.parametrize("row", ["odds", "1/(1 − tanh²)", "1/(1 − softmax)"])
def test_the_graph_and_a_budget_give_the_same(row):
    f, closed_form = ROWS[row]
    x = np.float32(7)
    graph = trace(f)(x)
    (slope,), _ = truths(closed_form, [x])
    np.testing.assert_allclose(graph.backward(graph.forward(x), np.float32(1))[0], slope, rtol=1e-6)
    w = jnp.eye(9)
    deep = lambda h: functools.reduce(lambda h, _: f(jnp.sin(h @ w)), range(8), h).sum()  # noqa: E731
    many = jnp.linspace(0.1, 3, 900).reshape(100, 9)
    np.testing.assert_allclose(grad(deep, budget=0.6)(many), grad(deep)(many), rtol=1e-6)


def test_a_gate_with_a_rule_of_ones_own_is_taken_as_it_is():
    rules = RULES | {"logistic": lambda y_bar, y, x: (7 * y_bar,)}
    x = np.float32(12)
    odds = lambda x: (lambda p: p / (1 - p))(sigmoid(x))  # noqa: E731
    p = sigmoid(x)
    np.testing.assert_allclose(grad(odds, rules=rules)(x), 7 / (1 - p) ** 2, rtol=1e-6)


def test_what_only_multiplies_is_not_made_again():
    """As in a gated recurrent unit, h + (1 − z)(c − h): that keeps 1 − z, and costs nothing."""
    step = jax.make_jaxpr(lambda a, h, c: h + (1 - sigmoid(a)) * (c - h))(*np.ones(3, np.float32)).jaxpr
    assert not engine(RULES).plan(step, (True,) * 3, (True,)).rests


def test_a_gate_stays_in_its_call_where_nobody_reads_what_it_leaves():
    layers = jax.make_jaxpr(lambda x: jnp.sum(jax.jit(jnp.tanh)(jax.jit(jnp.tanh)(x)) ** 2) / 3)(np.ones(3))
    plan = engine(RULES).plan(layers.jaxpr, (True,), (True,))
    assert plan.jaxpr is layers.jaxpr


def test_a_residual_of_a_least_square_is_not_made_again():
    loss = jax.make_jaxpr(lambda y, x: jnp.sum((y - sigmoid(x)) ** 2) / 3)(*np.ones((2, 3), np.float32)).jaxpr
    assert not engine(RULES).plan(loss, (False, True), (True,)).rests


def test_where_1_less_a_gate_is_rounded_to_0_the_slope_is_that_of_the_function():
    """Its value is infinite."""
    x = np.float32(30)
    odds = lambda x: sigmoid(x) / (1 - sigmoid(x))  # noqa: E731
    np.testing.assert_allclose([grad(odds)(x), hessian(odds)(x)], np.exp(np.float64(30)), rtol=1e-6)
    np.testing.assert_allclose(grad(lambda x: special.logit(sigmoid(x)))(x), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "step",
    [
        lambda p: p + 1e-3 * p,
        lambda p: jnp.minimum(0.999 * p, 0.9),
        lambda p: jnp.where(p > 0.4, 0.99 * p, 1 - p),
        lambda p: jnp.maximum(0.9 * p, 0.99 * p),
        lambda p: jax.jit(lambda p: 1 - p)(p),
        lambda p: p + 1e-3 * jnp.tanh(p),
    ],
    ids=["sum", "bound", "choice", "two ways", "calls", "gates"],
)
@pytest.mark.parametrize("gate", [jax.nn.sigmoid, jax.jit(jax.nn.sigmoid)], ids=["here", "called"])
def test_a_program_may_be_of_any_depth(gate, step):
    """A loop that is written out: neither its length nor its ways end the search for a gate."""

    def f(x):
        p = gate(x)
        for _ in range(400):
            p = step(p)
        return jnp.log(3 - p) / p

    with jax.enable_x64(True):
        np.testing.assert_allclose(grad(f)(0.3), jax.grad(f)(0.3), rtol=1e-12)


@pytest.mark.parametrize("f", PARTED.values(), ids=PARTED)
def test_a_graph_has_the_equations_where_they_are_written(f):
    def total(x):
        return f(x).sum()

    x = jnp.array([1.5])
    graph = trace(total)(x)
    x_bar = graph.backward(graph.forward(x), jnp.ones(()))[0]
    np.testing.assert_allclose(x_bar, jax.grad(total)(x), rtol=1e-5)
