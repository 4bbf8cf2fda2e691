"""Derivatives from values alone, beside those on paper; and whether their own error estimate is honest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funcnet import numerical_gradient, numerical_vjp
from funcnet._errors import ParameterError, ShapeError

SMALL, USUAL = np.array([1e-6, -3e-6, 2e-6]), np.array([0.3, -1.5, 2.0])

# name, f, its derivative, where, relative error
ON_PAPER = [
    ("linear", lambda x: 3 * x - 1, lambda x: 3 + 0 * x, USUAL, 1e-12),
    ("square", lambda x: x**2, lambda x: 2 * x, USUAL, 1e-12),
    ("degree 7", lambda x: x**7 - 2 * x**4, lambda x: 7 * x**6 - 8 * x**3, USUAL, 1e-10),
    ("exp", jnp.exp, np.exp, USUAL, 1e-10),
    ("sin of a large argument", jnp.sin, np.cos, np.array([30.0, -40.0]), 1e-6),
    ("1/x near 0", lambda x: 1 / x, lambda x: -1 / x**2, np.array([1e-4, -2e-4]), 1e-10),
    ("log near 0", jnp.log, lambda x: 1 / x, np.array([1e-8, 3e-8]), 1e-10),
    ("√x", jnp.sqrt, lambda x: 0.5 / np.sqrt(x), np.array([1e-3, 4.0]), 1e-10),
    ("arguments of 1e-6", lambda x: jnp.sin(1e6 * x), lambda x: 1e6 * np.cos(1e6 * x), SMALL, 1e-9),
    ("arguments of 1e6", lambda x: jnp.sin(1e-6 * x), lambda x: 1e-6 * np.cos(1e-6 * x), 1e12 * SMALL, 1e-9),
    ("values of 1e6", lambda x: 1e6 * jnp.tanh(x), lambda x: 1e6 / np.cosh(x) ** 2, USUAL, 1e-9),
    ("values of 1e-6", lambda x: 1e-6 * jnp.tanh(x), lambda x: 1e-6 / np.cosh(x) ** 2, USUAL, 1e-9),
    ("at 0", jnp.sin, np.cos, np.zeros(2), 1e-10),
    ("|x| at 0: the mean of −1 and 1", abs, lambda x: 0 * x, np.zeros(2), 1e-12),
    ("relu at 0: the mean of 0 and 1", jax.nn.relu, lambda x: 0.5 + 0 * x, np.zeros(2), 1e-12),
    ("beside a kink", lambda x: abs(x - 1), np.ones_like, np.array([1.001, 1.5]), 1e-8),
]


@pytest.mark.parametrize(
    ("f", "derivative", "x", "relative"), [row[1:] for row in ON_PAPER], ids=[row[0] for row in ON_PAPER]
)
def test_the_derivative_is_that_on_paper_and_the_error_covers_the_difference(f, derivative, x, relative):
    value, error = numerical_gradient(lambda x: f(x).sum(), x)
    expected = derivative(x)
    largest = np.abs(expected).max()
    np.testing.assert_allclose(value, expected, rtol=relative, atol=relative * largest)
    assert (np.abs(value - expected) <= 10 * error).all()
    assert (error <= 1e-5 * max(largest, 1e-6)).all()


FUNCTIONS = {
    "polynomial": (lambda x, a: a * x**3 - x, lambda x, a: 3 * a * x**2 - 1),
    "sin": (lambda x, a: jnp.sin(a * x), lambda x, a: a * np.cos(a * x)),
    "exp": (lambda x, a: jnp.exp(a * x / 4), lambda x, a: a / 4 * np.exp(a * x / 4)),
    "rational": (lambda x, a: 1 / (1 + a * a + x * x), lambda x, a: -2 * x / (1 + a * a + x * x) ** 2),
    "steep": (lambda x, a: jnp.tanh(20 * (x - a)), lambda x, a: 20 / np.cosh(20 * (x - a)) ** 2),
}
numbers = st.lists(st.floats(-8, 8, width=32), min_size=8, max_size=8).map(np.array)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=10, deadline=None)
@given(x=numbers, a=numbers, scale=st.sampled_from([1e-6, 1.0, 1e6]))
@pytest.mark.usefixtures("x64")
def test_the_error_is_an_honest_estimate(name, x, a, scale):
    f, derivative = FUNCTIONS[name]
    value, error = numerical_gradient(lambda x: (scale * f(x, a) ** 2).sum(), x)  # squares: no sum cancels
    expected = scale * 2 * f(x, a) * derivative(x, a)
    rounding = 4 * np.finfo(float).eps * (np.abs(expected) + scale)
    assert (np.abs(value - expected) <= 10 * error + rounding).all()


def test_a_gradient_has_the_structure_and_shapes_of_its_argument():
    x = {"w": jnp.ones((2, 3)), "b": [jnp.float32(2.0), np.zeros((0, 2))]}
    value, error = numerical_gradient(lambda p: (p["w"] ** 2).sum() * p["b"][0] + p["b"][1].sum(), x)
    for tree in (value, error):
        assert jax.tree.map(np.shape, tree) == {"w": (2, 3), "b": [(), (0, 2)]}
        assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(tree))
    np.testing.assert_allclose(value["w"], np.full((2, 3), 4.0), rtol=1e-10)
    np.testing.assert_allclose(value["b"][0], 6.0, rtol=1e-10)


def test_where_no_two_steps_agree_the_error_is_infinite():
    _, error = numerical_gradient(lambda x: jnp.where(x == 1.0, 0.0, jnp.nan).sum(), np.array([1.0]))
    assert np.isinf(error).all()


def test_a_pullback_weighs_each_output_with_its_upstream_gradient():
    def f(x, w):
        return {"y": x @ w, "s": jnp.sin(x)}

    rng = np.random.default_rng(0)
    x, w, y_bar, s_bar = (
        rng.normal(size=(2, 3)),
        rng.normal(size=(3, 4)),
        rng.normal(size=(2, 4)),
        rng.normal(size=(2, 3)),
    )
    (x_bar, w_bar), (x_error, _) = numerical_vjp(f, x, w, y_bar={"y": y_bar, "s": s_bar})
    expected = y_bar @ w.T + s_bar * np.cos(x)
    np.testing.assert_allclose(x_bar, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(w_bar, x.T @ y_bar, rtol=0, atol=1e-9)
    assert (np.abs(x_bar - expected) <= 10 * x_error).all()


BAD = [
    (
        "no scalar",
        lambda: numerical_gradient(lambda x: x, np.ones(3)),
        ShapeError,
        r"f returned float64\[3\], expected a real scalar; sum it",
    ),
    (
        "a complex result",
        lambda: numerical_gradient(lambda x: 1j * x.sum(), np.ones(3)),
        ShapeError,
        r"f returned complex128\[\]",
    ),
    (
        "an integer result",
        lambda: numerical_gradient(lambda x: x.argmax(), np.ones(3)),
        ShapeError,
        r"f returned int",
    ),
    (
        "integers",
        lambda: numerical_gradient(lambda x: x.sum(), np.arange(3)),
        ParameterError,
        "expected real floats to move; close over integers",
    ),
    (
        "nothing",
        lambda: numerical_gradient(lambda x: jnp.zeros(()), ()),
        ParameterError,
        "expected real floats to move",
    ),
    (
        "ȳ of another shape",
        lambda: numerical_vjp(jnp.sin, np.ones(3), y_bar=np.ones(2)),
        ShapeError,
        r"y_bar has shapes \(2,\), expected those of the result, \(3,\)",
    ),
    (
        "ȳ of another structure",
        lambda: numerical_vjp(jnp.sin, np.ones(3), y_bar=[np.ones(3)]),
        ShapeError,
        r"y_bar has shapes \[\(3,\)\], expected",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_has_no_numerical_gradient_is_an_error(call, error, words):
    with pytest.raises(error, match=words):
        call()
