"""softmax, log_softmax and logsumexp: known by their programs, and right to the second order in float32."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import RULES, grad, nn
from tests.rules.rows import Row, check, check_low_precision, normal
from tests.rules.ulp import errors

softmax = jax.jit(jax.nn.softmax, static_argnames="axis")
logsumexp = jax.jit(jax.nn.logsumexp, static_argnames=("axis", "keepdims"))
log_softmax = jax.nn.log_softmax


ROWS = [
    Row("jax.nn.softmax", softmax, normal((3, 4))),
    Row("jax.nn.softmax", functools.partial(softmax, axis=(0, 2)), normal((2, 3, 4)), name="over two axes"),
    Row("jax.nn.log_softmax", log_softmax, normal((3, 4))),
    Row(
        "jax.nn.log_softmax",
        functools.partial(log_softmax, axis=0),
        normal((3, 4)),
        name="over the first axis",
    ),
    Row("jax.nn.logsumexp", logsumexp, normal((3, 4))),
    Row(
        "jax.nn.logsumexp",
        functools.partial(logsumexp, axis=1, keepdims=True),
        normal((3, 4)),
        name="keepdims",
    ),
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("row", [row for row in ROWS if not row.name], ids=str)
def test_rule_in_a_short_dtype(row, dtype):
    check_low_precision(row, dtype)


MARKED = RULES | {
    name: lambda y_bar, y, x, *, axes: (jnp.full_like(x, 7),)
    for name in ("jax.nn.softmax", "jax.nn.log_softmax", "jax.nn.logsumexp")
}
KNOWN = {
    "softmax": softmax,
    "written out": jax.nn.softmax,
    "written out, over the first": functools.partial(jax.nn.softmax, axis=0),
    "written by a user": lambda x: (e := jnp.exp(x - lax.stop_gradient(x.max()))) / e.sum(-1, keepdims=True),
    "logsumexp written out": functools.partial(jax.nn.logsumexp, axis=(0, 1)),
    "logsumexp that keeps axes": functools.partial(jax.nn.logsumexp, axis=1, keepdims=True),
    "over all": functools.partial(softmax, axis=None),
    "log_softmax": log_softmax,
    "over two": functools.partial(log_softmax, axis=(0, 1)),
    "logsumexp": functools.partial(logsumexp, axis=0),
    "of all": logsumexp,
    "under a jit": jax.jit(lambda x: log_softmax(x, axis=0)),
}


@pytest.mark.parametrize("axes", [None, (0, 0), (1, 1), (2, 0)], ids=str)
@pytest.mark.parametrize("f", KNOWN.values(), ids=KNOWN)
def test_a_call_is_known_by_its_program(f, axes):
    g = f if axes is None else jax.vmap(f, axes[0], min(axes[1], f(jnp.ones((3, 3))).ndim))
    x, weights = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    weights = weights.ravel()[: g(x).size].reshape(g(x).shape)
    loss = lambda x: (weights * g(x)).sum()  # noqa: E731
    assert np.all(grad(loss, rules=MARKED)(x) == 7)
    np.testing.assert_allclose(grad(loss)(x), jax.grad(loss)(x), atol=1e-6)


@pytest.mark.parametrize("around", [lambda f: f, jax.jit, jax.vmap], ids=["plain", "jit", "vmap"])
def test_a_softmax_of_all_elements_is_known(around):
    x = np.float32([[20, 0, 1], [3, 3, -9]])
    twice = around(lambda x: jnp.exp(x) / jnp.sum(jnp.exp(x)))
    once = around(lambda x: (e := jnp.exp(x)) / e.sum())
    weights = np.float32([[1, -2, 0.5], [3, 1, 1]])
    for one in (twice, once):
        loss = lambda x, one=one: (weights * one(x)).sum()  # noqa: E731
        assert np.all(grad(loss, rules=MARKED)(x) == 7)


COMPOSED = {
    "where": lambda x: log_softmax(x, where=x > -9),
    "weights": lambda x: jax.jit(lambda x: jax.nn.logsumexp(x, b=jnp.ones(4)))(x),
    "over another axis": lambda x: (e := jnp.exp(x[:2, None] + x[2:])) / e.sum(0)[:, None],
    "of two sums": lambda x: jnp.exp(x) / jnp.sum(jnp.exp(2 * x)),
    "one class": lambda x: log_softmax(x[:1]),
}


@pytest.mark.parametrize("f", COMPOSED.values(), ids=COMPOSED)
def test_what_is_not_known_goes_by_its_primitives(f):
    x = jnp.float32([0.3, 2, -1, 0.4])
    loss = lambda x: (f(x) ** 2).sum()  # noqa: E731
    np.testing.assert_allclose(grad(loss, rules=MARKED)(x), jax.grad(loss)(x), atol=1e-6)


def covariance(x):
    """diag(p) − p pᵀ, and p, in 60 digits."""
    with mpmath.workdps(60):
        e = [mpmath.exp(mpmath.mpf(float(one))) for one in x]
        p = [one / sum(e) for one in e]
        c = [[float(p[i] * ((i == j) - p[j])) for j in range(len(x))] for i in range(len(x))]
        return np.array(c), p


def scores():
    """Of four classes: alike, apart, the first certain, and two of them tied."""
    rng = np.random.default_rng(0)
    spread = [scale * rng.normal(size=4) for scale in (1, 5, 15) for _ in range(20)]
    return np.float32([*spread, [20, 0, -1, 3], [60, 0, 0, 2], [7, 7, -9, -9]])


SECOND = {
    "logsumexp": (lambda x: funcnet.hessian(logsumexp)(x), 1),
    "log_softmax": (lambda x: funcnet.hessian(lambda x: log_softmax(x)[0])(x), -1),
    "softmax_loss": (lambda x: jax.jacrev(jax.grad(lambda x: nn.softmax_loss(x, 0)))(x), 1),
    "softmax_loss of probabilities": (
        lambda x: jax.jacrev(jax.grad(lambda x: nn.softmax_loss(x, jax.nn.one_hot(x.argmax(), 4))))(x),
        1,
    ),
}


@pytest.mark.parametrize(("f", "sign"), SECOND.values(), ids=SECOND)
def test_second_derivatives_in_float32(f, sign):
    """All of them are ±(diag(p) − p pᵀ); p_k (1 − p_k) of the likeliest class is where JAX has 0."""
    f = jax.jit(f)
    worst = max(errors(np.asarray(sign * f(x)), covariance(x)[0]).max() for x in scores())
    assert worst <= 8


@pytest.mark.parametrize(
    "derivative",
    [funcnet.jacobian(softmax), funcnet.jacobian(jax.nn.softmax), funcnet.hessian(jax.nn.logsumexp)],
)
def test_derivatives_as_good_as_softmax_in_float32(derivative):
    """Two factors of it, of which each lost some digits far below the best."""
    for x in scores():
        truth, p = covariance(x)
        of_value = errors(np.asarray(softmax(x)), np.array([float(one) for one in p])).max()
        assert errors(np.asarray(derivative(x)), truth).max() <= 4 + 2 * of_value


@pytest.mark.parametrize("count", [3, 1000])
@pytest.mark.parametrize("ahead", [0, 5, 12, 16, 17, 18, 20])
@pytest.mark.parametrize("spread", [1e-4, 1e4], ids=["ȳ of nearly one value", "one ȳ far beyond all others"])
def test_what_is_left_of_an_upstream_gradient_without_its_mean(count, ahead, spread):
    """In ulp of |p w| + p Σ p |w| with w = ȳ − Σ p ȳ, in extended precision; JAX is off by 1e4 to 1e10."""
    rng = np.random.default_rng(ahead)
    f = jax.jit(lambda x, y_bar: funcnet.vjp(softmax, x)[1](y_bar)[0])
    for best in rng.integers(0, count, size=10):
        x = rng.normal(size=count).astype(np.float32)
        x[best] = x.max() + ahead
        y_bar = (1 + min(1, spread) * rng.normal(size=count)).astype(np.float32)
        y_bar[best] *= max(1, spread)
        e = np.exp(x.astype(np.longdouble) - x.max())
        p = e / e.sum()
        w = y_bar.astype(np.longdouble) - y_bar[best]
        w -= (p * w).sum()
        of_value = errors(np.asarray(softmax(x)), p).max()
        unit = p * (abs(w) + (p * abs(w)).sum())
        assert errors(np.asarray(f(x, y_bar)), p * w, unit).max() <= 4 + 2 * of_value


def test_first_derivatives_in_float32():
    f = jax.jit(lambda x: funcnet.jacobian(log_softmax)(x))
    for x in scores():
        with mpmath.workdps(60):
            p = covariance(x)[1]
            truth = np.array([[float((i == j) - p[j]) for j in range(4)] for i in range(4)])
        assert errors(np.asarray(f(x)), truth).max() <= 4


def test_the_derivative_of_a_jacobian():
    """p₀ p₁ (p₁ − p₀) is that of p₀ p₁."""
    x = jnp.float32([20, 0])
    p0, p1 = 1 / (1 + np.exp(-20)), 1 / (1 + np.exp(20))
    third = grad(lambda x: grad(lambda x: softmax(x)[0])(x)[0])(x)
    np.testing.assert_allclose(third, [p0 * p1 * (p1 - p0), p0 * p1 * (p0 - p1)], rtol=1e-6)


@pytest.mark.parametrize("f", [log_softmax, softmax])
def test_masked_scores(f):
    x = jnp.float32([1, -np.inf, 2])
    theirs = jax.grad(lambda x: f(x)[0])(x)
    np.testing.assert_allclose(grad(lambda x: f(x)[0])(x), theirs, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*softmax_custom_jvp.*")
def test_softmax_as_a_custom_jvp():
    """As JAX has it on request."""
    jax.config.update("jax_softmax_custom_jvp", True)
    try:
        gradient = grad(lambda x: jax.nn.softmax(x)[0])(jnp.float32([20, 0]))
    finally:
        jax.config.update("jax_softmax_custom_jvp", False)
    np.testing.assert_allclose(gradient, [2.0611537e-9, -2.0611537e-9])


def test_an_infinite_slope_where_a_probability_has_underflowed():
    """p₁ = exp(−120) is 0 in float32, where −p log p and √p have infinite slopes, and p times these is 0."""
    x = jnp.float32([0, -120])
    for f in (jax.scipy.special.entr, jnp.sqrt):
        np.testing.assert_array_equal(grad(lambda x: f(jax.nn.softmax(x)).sum())(x), [0, 0])  # noqa: B023


@pytest.mark.parametrize("y_bar", [jnp.inf, -jnp.inf, jnp.nan])
def test_what_is_undefined_stays_so(y_bar):
    """An infinite slope at a probability above 0, however small, and NaN at any."""
    x, smallest = jnp.float32([0, -87, -120]), 1 if jnp.isinf(y_bar) else 2
    for i in range(smallest + 1):
        assert not np.isfinite(funcnet.vjp(softmax, x)[1](jnp.zeros(3).at[i].set(y_bar))[0][0])


OPTIMIZED = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
"""As users run it."""


def test_the_likeliest_class_is_known_where_xla_computes_scores_twice():
    """Divided by a temperature behind a product: one computation need not be the maximum of the other."""

    def contrastive(x):
        features = x[:, :2] / jnp.linalg.norm(x[:, :2], axis=1, keepdims=True)
        return -jnp.mean(jnp.diag(jax.nn.log_softmax(features @ x[:, 2:].T / 3)))

    x = jnp.float32([[1, 2, 0.5, 1], [0.3, -1, 0.2, -2]])
    found = jax.jit(funcnet.hessian(contrastive), compiler_options=OPTIMIZED)(x)
    step_by_step = funcnet.hessian(contrastive)(x)
    np.testing.assert_allclose(found, step_by_step, rtol=0, atol=1e-5 * np.abs(step_by_step).max())
