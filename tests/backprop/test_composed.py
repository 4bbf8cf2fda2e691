"""Functions found by what they compute: gelu and softplus here, the softmaxes in tests/rules."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax
from jax.scipy import special, stats

import funcnet
from funcnet import RULES, grad
from funcnet.rules import Table

GELUS = {
    "jax.nn.gelu": jax.nn.gelu,
    "jax.nn.gelu(approximate=False)": functools.partial(jax.nn.gelu, approximate=False),
}
MARKED = RULES | {name: lambda y_bar, y, x: (jnp.full_like(x, 7),) for name in GELUS}

AROUND = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "vmap": jax.vmap,
    "of a sum": lambda f: lambda x: f(x * 1 + 0),
    "checkpoint": jax.checkpoint,
    "scan": lambda f: lambda x: lax.scan(lambda c, x: (c, f(x)), 0.0, x)[1],
    "cond": lambda f: lambda x: lax.cond(x[0] < 9, f, jnp.sin, x),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("f", GELUS.values(), ids=GELUS)
def test_gelu_is_known(f, around):
    x = jnp.float32([-1.5, 0.2, 3])
    loss = lambda x: around(f)(x).sum()  # noqa: E731
    assert np.all(grad(loss, rules=MARKED)(x) == 7)
    np.testing.assert_allclose(grad(loss)(x), jax.grad(loss)(x), rtol=1e-5)


@pytest.mark.parametrize(("name", "f"), GELUS.items(), ids=GELUS)
def test_its_own_derivative(name, f):
    """Beside float64."""
    x = jnp.float32(-1.3)
    assert grad(f, rules=MARKED)(x) == 7
    with jax.enable_x64(True):
        truth = jax.grad(jax.grad(f))(np.float64(x))
    np.testing.assert_allclose(grad(grad(f))(x), truth, rtol=1e-6)


def spelled(x, first=lambda x: x, inner=lambda u: u):
    """gelu with tanh, as JAX spells it, but for its first factor and what tanh is of."""
    k = np.sqrt(2 / np.pi).astype(np.float32)
    return first(x) * (0.5 * (1 + jnp.tanh(k * inner(x + 0.044715 * x**3))))


ALMOST = {
    "times another": lambda x: spelled(x, first=lambda x: x + 1e-9),
    "of an absolute value": lambda x: spelled(x, inner=jnp.abs),
    "of a negative": lambda x: spelled(x, inner=jnp.negative),
}


@pytest.mark.parametrize("f", ALMOST.values(), ids=ALMOST)
def test_what_is_only_almost_gelu(f):
    x = jnp.float32([0.5, -1])
    assert np.all(grad(lambda x: spelled(x).sum(), rules=MARKED)(x) == 7)
    loss = lambda x: f(x).sum()  # noqa: E731
    np.testing.assert_allclose(grad(loss, rules=MARKED)(x), jax.grad(loss)(x), rtol=1e-4)


def test_absolute_values_before_a_softmax_stay():
    x = jnp.float32([0.3, -1, 2])
    f = lambda x: jnp.log(jnp.sum(jnp.exp(jnp.abs(x)))) + jax.nn.softmax(jnp.abs(x))[0]  # noqa: E731
    np.testing.assert_allclose(grad(f)(x), jax.grad(f)(x), rtol=1e-5)


def test_what_is_divided_by_a_sum_of_others_is_no_softmax():
    """As in the tangent of a softmax."""
    x = jnp.float32([0.3, -1, 2])
    f = lambda x: jnp.exp(x[0]) / jnp.sum(jnp.exp(x))  # noqa: E731
    tangent = lambda x: jax.jvp(jax.nn.softmax, (x,), (x**2,))[1] @ x  # noqa: E731
    for g in (f, tangent):
        np.testing.assert_allclose(grad(g)(x), jax.grad(g)(x), rtol=1e-5, atol=1e-6)


def test_a_table_without_the_rule_goes_by_the_primitives():
    rules = Table({name: rule for name, rule in RULES.items() if not name.startswith("jax.nn.gelu")})
    np.testing.assert_allclose(grad(jax.nn.gelu, rules=rules)(0.7), jax.grad(jax.nn.gelu)(0.7), rtol=1e-6)


def test_a_value_within_that_is_used_elsewhere_is_kept():
    def f(x):
        e = jnp.exp(x - lax.stop_gradient(x.max()))
        return (e / e.sum())[0] + e.sum()

    x = jnp.float32([0.3, -1, 2])
    np.testing.assert_allclose(grad(f)(x), jax.grad(f)(x), rtol=1e-5)


def test_the_graph_has_one_node_for_it():
    graph = funcnet.trace(lambda x: jax.nn.softmax(jax.nn.gelu(x))[0])(jnp.ones(2))
    names = [node.name for node in graph.nodes]
    assert "gelu" in names
    assert "softmax" in names
    assert "exp" not in names
    x = jnp.float32([20, 0])
    values = graph.forward(x)
    np.testing.assert_allclose(graph.backward(values, 1.0)[0], [2.0611537e-9, -1.0305769e-9], rtol=1e-5)


CHOOSING = {
    "ndtr": (special.ndtr, [-12.773437, 0.3, 3], [1.4825806e-36, 0.38138781, 4.4318484e-3]),
    "betaln": (
        lambda x: special.betaln(2.5, x),
        [1e-3, 3, 900],
        [-1001.2792, -0.68830881, -2.7754664e-3],
    ),
}


@pytest.mark.parametrize("around", ["plain", "jit", "vmap", "checkpoint", "scan"])
@pytest.mark.parametrize("name", CHOOSING)
def test_what_chooses_among_forms_is_known(name, around):
    """Its comparisons are values where it runs as it comes, and in the program under jit."""
    f, x, slopes = CHOOSING[name]
    x = np.float32(x)
    np.testing.assert_allclose(grad(lambda x: AROUND[around](f)(x).sum())(x), slopes, rtol=4e-7)


def test_what_chooses_otherwise_is_differentiated_as_it_chooses():
    """½ (2 − erfc |w|) on the left too, where it falls."""

    def mirrored(x):
        w = x * np.float32(0.5**0.5)
        return 0.5 * lax.select(
            x > 9, 1 + lax.erf(w), lax.select(x < 9, 2 - lax.erfc(abs(w)), lax.erfc(abs(w)))
        )

    x = np.float32([-1.5, 0.3])
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(jax.vmap(grad(mirrored))(x), np.sign(x) * density, rtol=4e-7)
    of_log = jax.vmap(grad(lambda x: jnp.log(mirrored(x))))(x)
    np.testing.assert_allclose(of_log, np.sign(x) * density / mirrored(x), rtol=6e-7)


@pytest.mark.parametrize("around", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_spence_is_known(around):
    """log x / (1 − x): of log x + 1 for small x JAX loses the 1, and at 1 it puts in a constant."""
    x = np.float32([1e-8, 1, 1.5])
    slope = grad(lambda x: around(special.spence)(x).sum())(x)
    np.testing.assert_allclose(slope, [np.log(1e-8), -1, np.log(1.5) / -0.5], rtol=2e-7)


def test_the_second_order_of_betaln_where_both_arguments_are_equal():
    """ψ′(a) − ψ′(a + b), though JAX computes it of the smaller and the larger one."""
    second = grad(grad(special.betaln))(np.float32(1), np.float32(1))
    np.testing.assert_allclose(second, 1, rtol=4e-7)  # ψ′(1) − ψ′(2)


SOFTPLUS = {"x, 0": lambda x: jnp.logaddexp(x, 0), "0, x": lambda x: jnp.logaddexp(0.0, x)}


@pytest.mark.parametrize("f", SOFTPLUS.values(), ids=SOFTPLUS)
def test_logaddexp_with_zero_is_softplus(f):
    """At its infinities too, and at its price."""
    x = jnp.float32([-np.inf, -90, -20, 0, 20, np.inf, np.nan])
    slope, slope_of_softplus = (jax.jit(jax.vmap(grad(g))).lower(x).compile() for g in (f, jax.nn.softplus))
    np.testing.assert_allclose(slope(x), [0, 0, 2.0611537e-9, 0.5, 1, 1, np.nan], rtol=2e-7)
    assert slope.cost_analysis()["flops"] == slope_of_softplus.cost_analysis()["flops"]


@pytest.mark.parametrize("f", SOFTPLUS.values(), ids=SOFTPLUS)
def test_a_rule_of_ones_own_for_logaddexp_holds_for_zero_too(f):
    rules = RULES | {"jax.numpy.logaddexp": lambda y_bar, y, x1, x2: (7 * y_bar, 7 * y_bar)}
    assert grad(f, rules=rules)(0.3) == 7


def _rest(x):
    """1 − σ(x)."""
    return 1 / (1 + mpmath.exp(x))


EPS = np.float32(1e-6)
LOGARITHMS = {
    "log σ": (lambda x: jnp.log(jax.nn.sigmoid(-x)), _rest),
    "log Φ": (lambda x: jnp.log(special.ndtr(-x / 2)), lambda x: mpmath.ncdf(-x / 2)),
    "log(1 − σ)": (lambda x: jnp.log(1 - jax.nn.sigmoid(x)), _rest),
    "log(1 − σ + ε)": (lambda x: jnp.log(1 - jax.nn.sigmoid(x) + EPS), lambda x: _rest(x) + float(EPS)),
    "log(1 − clip σ)": (lambda x: jnp.log(1 - jnp.clip(jax.nn.sigmoid(x), 1e-30, 1.0)), _rest),
    "log(σ (1 − σ))": (
        lambda x: jnp.log(jax.nn.sigmoid(x) * (1 - jax.nn.sigmoid(x))),
        lambda x: _rest(x) * _rest(-x),
    ),
    "log((1 − σ) σ)": (
        lambda x: (lambda s: jnp.log((1 - s) * s))(jax.nn.sigmoid(x)),
        lambda x: _rest(x) * _rest(-x),
    ),
    "log1p(−σ)": (lambda x: jnp.log1p(-special.expit(x)), _rest),
    "log(1 − tanh)": (lambda x: jnp.log(1 - jnp.tanh(x / 2)), _rest),
    "log1p(−tanh)": (lambda x: jnp.log1p(-jnp.tanh(x / 2)), _rest),
    "log(1 + tanh)": (lambda x: jnp.log(1 + jnp.tanh(-x / 2)), _rest),
    "log(tanh + 1)": (lambda x: jnp.log(jnp.tanh(-x / 2) + 1), _rest),
    "log1p(tanh)": (lambda x: jnp.log1p(jnp.tanh(-x / 2)), _rest),
    "log(1 − tanh²)": (lambda x: jnp.log(1 - jnp.tanh(x) ** 2), lambda x: mpmath.sech(x) ** 2),
    "log(1 − tanh² + ε)": (
        lambda x: jnp.log(1 - jnp.tanh(x) ** 2 + EPS),
        lambda x: mpmath.sech(x) ** 2 + float(EPS),
    ),
    "log1p(−tanh²)": (lambda x: jnp.log1p(-jnp.square(jnp.tanh(x))), lambda x: mpmath.sech(x) ** 2),
    "log(σ − σ)": (
        lambda x: jnp.log(jax.nn.sigmoid(1 - x) - jax.nn.sigmoid(-x)),
        lambda x: _rest(x - 1) - _rest(x),
    ),
}
"""Each with the true argument of its logarithm, but for a factor."""


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize(("f", "argument"), LOGARITHMS.values(), ids=LOGARITHMS)
def test_what_sigmoid_and_tanh_leave_of_1_has_a_logarithm_with_all_digits(f, argument, around):
    """Where 1 − σ is rounded away too: at 30 its value is −∞."""
    x = np.float32([-8, 0.75, 5, 14, 16.5, 30])
    first = grad(lambda x: around(f)(x).sum())
    with mpmath.workdps(60):
        truth = np.array(
            [[mpmath.diff(lambda t: mpmath.log(argument(t)), float(x), n) for x in x] for n in (1, 2)], float
        )
    np.testing.assert_allclose(first(x), truth[0], rtol=6e-7)
    np.testing.assert_allclose(grad(lambda x: first(x).sum())(x), truth[1], rtol=2e-6)


def test_a_rule_of_ones_own_for_sigmoid_holds_in_its_logarithm_too():
    rules = RULES | {"logistic": lambda y_bar, y, x: (7 * y_bar,)}
    assert grad(LOGARITHMS["log(1 − σ)"][0], rules=rules)(0.0) == -14


def test_a_clipped_sigmoid_has_no_slope_where_it_is_clipped():
    """Told by the digits of 1 − σ: at 16.3 that is 8.3e-8, below 2⁻²³, which 1 − 1e-7 leaves."""
    x = np.float32([-17, -16, 15.9, 16.3])
    f = lambda x: jnp.log(1 - jnp.clip(jax.nn.sigmoid(x), 1e-7, 1 - 1e-7))  # noqa: E731
    np.testing.assert_allclose(jax.vmap(grad(f))(x), [0, -1.1253516e-7, -1 + 1.2437e-7, 0], rtol=1e-6)


WEIGHTED = {
    "of a Bernoulli trial": lambda x: stats.bernoulli.logpmf(1, jax.nn.sigmoid(x)),
    "of a binomial": lambda x: stats.binom.logpmf(2, 5, jax.nn.sigmoid(x)),
    "of a geometric": lambda x: stats.geom.logpmf(3, jax.nn.sigmoid(x)),
    "xlogy": lambda x: special.xlogy(0.7, 1 - jax.nn.sigmoid(x)),
    "in the weight": lambda x: special.xlogy(0.7 * x, jax.nn.sigmoid(x)),
}


@pytest.mark.parametrize("around", ["plain", "jit", "vmap", "scan"])
@pytest.mark.parametrize("f", WEIGHTED.values(), ids=WEIGHTED)
def test_likelihoods_of_a_sigmoid_have_all_digits(f, around):
    """Beside those of JAX in float64, which has enough of them."""
    x = np.float32([-8, 0.75, 5, 14, 16.5])
    first = grad(lambda x: AROUND[around](f)(x).sum())
    second = grad(lambda x: first(x).sum())
    with jax.enable_x64(True):
        truth = [jax.vmap(g)(np.float64(x)) for g in (jax.grad(f), jax.grad(jax.grad(f)))]
    np.testing.assert_allclose(first(x), truth[0], rtol=6e-7)
    np.testing.assert_allclose(second(x), truth[1], rtol=2e-6)


def test_a_weight_of_0_has_the_slope_of_its_logarithm_where_sigmoid_is_rounded_to_1():
    k_bar, x_bar = grad(lambda k, x: special.xlog1py(k, -jax.nn.sigmoid(x)), (0, 1))(0.0, 30.0)
    np.testing.assert_allclose([k_bar, x_bar], [-30, 0])


@pytest.mark.parametrize("around", [lambda f: f, jax.jit], ids=["plain", "jit"])
@pytest.mark.parametrize(
    "f",
    [lambda x: jnp.log1p(-jnp.exp(-x)), lambda x: jnp.log(1 - jnp.exp(-x)), stats.expon.logcdf],
    ids=["log1p", "log", "expon.logcdf"],
)
def test_what_exp_leaves_of_1_has_a_logarithm_with_all_digits(f, around):
    """1/(eˣ − 1), and its slope."""
    x = np.float32([1e-6, 0.01, 0.75, 5, 30])
    first = grad(lambda x: around(f)(x).sum())
    truth = 1 / np.expm1(np.float64(x))
    np.testing.assert_allclose(first(x), truth, rtol=4e-7)
    np.testing.assert_allclose(grad(lambda x: first(x).sum())(x), -truth * (1 + truth), rtol=1e-6)


@pytest.mark.parametrize("f", [f for f, _ in LOGARITHMS.values()], ids=LOGARITHMS)
def test_a_logarithm_beside_an_operation_without_results(f):
    def printing(x):
        jax.debug.callback(lambda x: None, x)
        return f(x)

    assert jax.jit(grad(printing))(0.75) == jax.jit(grad(f))(0.75)
