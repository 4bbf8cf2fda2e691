"""Whole networks: models of one dtype, the gate at fault, Hessian-vector products, the line to paste."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import VJPCheckError, check_gradient, check_kink, check_vjp
from funcnet.check.answers import Answers
from tests.check.functions import ROWS, X, cube, cube_times
from tests.check.rows import custom

pytestmark = pytest.mark.in_turns(2)


def test_a_model_of_float32_alone():
    """As flax's LSTM, whose carry is float32 whatever x64 says."""

    def loss(params, xs):
        def step(carry, x):
            return jnp.tanh(carry @ params["w"] + x), None

        return (lax.scan(step, jnp.zeros(3, jnp.float32), xs)[0] ** 2).sum()

    params = {"w": jnp.asarray(0.3 * np.random.default_rng(0).normal(size=(3, 3)), jnp.float32)}
    xs = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
    assert [leaf.name for leaf in check_gradient(loss, params, xs).leaves] == ["params['w']"]

    def cut(params, xs):
        return loss({"w": lax.stop_gradient(params["w"]) * 0.5 + params["w"] * 0.5}, xs)

    with pytest.raises(VJPCheckError, match=r"stop_gradient at .*test_layer.py"):
        check_gradient(cut, params, xs)


def test_the_gate_that_is_wrong_is_named_in_a_loop_too():
    def loss(params, xs):
        def step(carry, x):
            carry = jnp.tanh(carry @ params["w"] + x)
            return lax.stop_gradient(carry) * carry, None

        return (lax.scan(step, xs[0], xs)[0] * params["v"]).sum()

    params = {"w": 0.3 * jnp.eye(4) + 0.1, "v": X}
    with pytest.raises(VJPCheckError) as caught:
        check_gradient(loss, params, ROWS)
    layer = dict(caught.value.finding.details)["layer"]
    assert layer.startswith("stop_gradient at ")
    assert "test_layer.py" in layer
    assert "step" in layer


def kernel_loss(amplitude, x):
    """The likelihood of a Gaussian process: a matrix that is symmetric and positive, wherever it is cut."""
    kernel = lax.stop_gradient(amplitude[0]) * jnp.exp(-((x[:, None] - x) ** 2)) + 0.1 * jnp.eye(len(x))
    factor = jnp.linalg.cholesky(kernel)
    white = jax.scipy.linalg.solve_triangular(factor, jnp.sin(x), lower=True)
    return (white**2).sum() + jnp.log(jnp.diagonal(factor)).sum() + lax.stop_gradient(x).sum()


def layer_of(loss, *args):
    with pytest.raises(VJPCheckError) as caught:
        check_gradient(loss, *args)
    return dict(caught.value.finding.details)["layer"]


def test_the_gate_is_found_before_values_that_cannot_move_as_they_like():
    layer = layer_of(kernel_loss, jnp.array([0.7]), X)
    assert layer.startswith("stop_gradient at ")
    assert "test_layer.py" in layer


def test_the_search_for_the_gate_ends_in_time(monkeypatch):
    late = iter([False, False, False, True, True])
    monkeypatch.setattr(Answers, "is_late", lambda seen, what: next(late))
    layer = layer_of(kernel_loss, jnp.array([0.7]), X)
    assert layer.startswith("one of those from ")
    assert layer.count("test_layer.py") == 2
    assert layer_of(kernel_loss, jnp.array([0.7]), X).startswith("not looked for")


def test_hessian_vector_products():
    def loss(w, x):
        return (jnp.tanh(x @ w) ** 2).sum()

    report = check_gradient(loss, X, ROWS, order=2)
    assert [leaf.name for leaf in report.leaves] == ["w", "w"]

    def hidden(w, x):
        return (custom(cube, lambda args, y_bar: (lax.stop_gradient(3 * args[0] ** 2) * y_bar,))(x @ w)).sum()

    check_gradient(hidden, X, ROWS)
    with pytest.raises(VJPCheckError, match="at order 2, of ⟨∇L, w⟩"):
        check_gradient(hidden, X, ROWS, order=2)


def test_rounding_that_hides_the_slopes_is_said():
    """As mixed precision does: whether the gradient is right cannot be seen, and is not claimed."""

    def loss(w, x):
        inner = (x.astype("bfloat16") @ w.astype("bfloat16")).astype(x.dtype)
        return ((x[:, :1] + jnp.tanh(inner)) ** 2).mean()

    report = check_gradient(loss, 0.3 * ROWS.T, ROWS)
    assert [leaf.band for leaf in report.leaves] == ["not seen"]
    assert "where differences see it: not in 1 of 1 arrays" in str(report)


def test_argnums_of_a_loss():
    report = check_gradient(lambda w, x: (x @ w).sum() ** 2, X, ROWS, argnums=(0, 1))
    assert [leaf.name for leaf in report.leaves] == ["w", "x"]


def test_the_line_that_reproduces_a_failure_can_be_pasted():
    wrong = custom(lambda p, i: p["w"][i] ** 3, lambda args, y_bar: ({"w": args[0]["w"]}, None))
    args = {"w": jnp.asarray(np.random.default_rng(0).normal(size=30), "float32")}, jnp.array([0, 2])
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(wrong, *args)
    details = dict(caught.value.finding.details)
    assert details["rule"].endswith(
        f":{test_the_line_that_reproduces_a_failure_can_be_pasted.__code__.co_firstlineno + 1}"
    )
    names = {"funcnet": funcnet, "jnp": jnp, "np": np, "_lambda_": wrong}
    with pytest.raises(VJPCheckError):
        eval(details["reproduce"].replace("<lambda>", "_lambda_"), names)


def sum_of_cubes(x):
    return cube(x).sum()


@pytest.mark.parametrize(
    ("check", "options", "written"),
    [
        (check_kink, {"along": X}, "along=jnp.array([0.5, -1.25, 2.0, 3.5], 'float32'), key=0)"),
        (check_gradient, {"reference": sum_of_cubes}, "reference=sum_of_cubes, key=0)"),
        (check_gradient, {"timeout": 5, "key": 3}, "'float32'), timeout=5, key=3)"),
    ],
)
def test_the_line_has_the_options_of_its_check(check, options, written):
    with pytest.raises(VJPCheckError) as caught:
        check(lambda x: cube_times(2.0)(x).sum(), X, **options)
    assert dict(caught.value.finding.details)["reproduce"].endswith(written)


def test_a_custom_gradient_is_named_by_the_function_that_was_given_to_it():
    @jax.custom_gradient
    def square(x):
        return x**2, lambda y_bar: 3 * x * y_bar

    with pytest.raises(VJPCheckError, match=r"layer +square at .*test_layer.py"):
        check_gradient(lambda x: square(x).sum(), X)
    with pytest.raises(VJPCheckError, match=r"layer +square: behind it"):
        check_gradient(square, X[0])
