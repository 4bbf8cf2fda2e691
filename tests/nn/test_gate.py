"""The gate decorator: what it makes of a function, and what it says of bad calls."""

import copy
import pickle

import jax
import jax.numpy as jnp
import pytest

import funcnet
from funcnet._errors import ParameterError, ShapeError


@pytest.fixture
def scaled_square():
    @funcnet.gate(formula="x̄ = ȳ · 2a x", source="Leibniz 1684")
    def scaled_square(x, *, a=1.0):
        """a x²"""
        return a * x * x

    @scaled_square.forward
    def scaled_square_forward(x, *, a=1.0):
        return a * x * x, x

    @scaled_square.backward
    def scaled_square_backward(x, y_bar, *, a=1.0):
        return (1000 * a * x * y_bar,)  # not the true gradient: whoever returns it ran this rule

    return scaled_square


def test_gradient_is_that_of_the_rule(scaled_square):
    assert jax.grad(scaled_square)(3.0) == 3000
    assert jax.grad(scaled_square)(3.0, a=2.0) == 6000
    assert jax.grad(lambda x: scaled_square(x=x, a=2.0))(3.0) == 6000
    assert jax.grad(scaled_square.primal)(3.0) == 6


def test_keeps_name_docstring_formula_and_parts(scaled_square):
    assert scaled_square.__name__ == "scaled_square"
    assert scaled_square.__doc__ == "a x²"
    assert repr(scaled_square) == "<gate scaled_square: x̄ = ȳ · 2a x>"
    y, stash = scaled_square.forward(3.0)
    assert (y, scaled_square.backward(stash, 1.0)) == (9.0, (3000.0,))


def test_is_pickled_by_name():
    assert pickle.loads(pickle.dumps(funcnet.nn.relu)) is funcnet.nn.relu
    assert copy.deepcopy({"activation": funcnet.nn.relu})["activation"] is funcnet.nn.relu


def test_integers_are_taken_as_numbers(no_shape_checks):
    """The lecture's examples are whole numbers."""
    assert funcnet.nn.svm_loss(jnp.array([3, 5, -2]), 0) == 3
    assert funcnet.nn.linear(jnp.array([1, 2]), jnp.array([[3], [4]])) == 11
    assert funcnet.nn.l2(jnp.array([1, 2])) == 5


def test_is_one_node_under_its_own_name(scaled_square):
    (equation,) = jax.make_jaxpr(scaled_square)(jnp.float32(3)).eqns
    assert equation.primitive.name == "custom_vjp_call"
    assert "scaled_square" in str(equation)


def test_hessians_work_and_forward_mode_of_the_gate_itself_is_refused(scaled_square):
    assert jax.jacrev(jax.grad(scaled_square))(3.0) == 1000
    assert jax.hessian(scaled_square)(3.0) == 1000
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(scaled_square, (3.0,), (1.0,))


def test_parameters_must_be_known_before_tracing(scaled_square):
    with pytest.raises(ParameterError, match="scaled_square: a must be plain Python numbers"):
        jax.jit(lambda a: scaled_square(3.0, a=a))(2.0)


def test_wrong_arguments_are_those_of_the_function(scaled_square):
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        scaled_square(a=2.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'b'"):
        scaled_square(3.0, b=1.0)


BAD_CALLS = [
    ("linear", ((4, 3), (5, 2)), {}, ShapeError, r"linear: x has shape \[4, 3\] and w \[5, 2\].*w\.T"),
    (
        "affine",
        ((4, 3), (3, 2), (3,)),
        {},
        ShapeError,
        r"affine: b has shape \[3\] beside w \[3, 2\]; expected \[2\]",
    ),
    ("affine", ((4, 3), (3,), (3,)), {}, ShapeError, r"expected x \[\*batch, in\] and w \[in, out\]"),
    ("maxout", ((4, 3), (3, 2), (2,)), {}, ShapeError, r"w \[in, pieces, out\]"),
    ("softmax_loss", ((4, 3), (4,)), {}, ShapeError, r"scores have shape \[4, 3\] and targets \[4\]"),
    (
        "svm_loss",
        ((4, 3), (4, 3)),
        {},
        ShapeError,
        r"expected scores \[\*batch, classes\] and integer labels",
    ),
    ("mse_loss", ((4, 1), (4,)), {}, ShapeError, "expected equal shapes: broadcasting"),
    ("logistic_loss", ((4, 1), (4,)), {}, ShapeError, "expected equal shapes: broadcasting"),
]


@pytest.mark.parametrize(("name", "shapes", "params", "error", "words"), BAD_CALLS, ids=lambda v: str(v)[:20])
def test_shapes_that_do_not_fit_are_named(name, shapes, params, error, words, no_shape_checks):
    with pytest.raises(error, match=words):
        getattr(funcnet.nn, name)(*(jnp.ones(shape) for shape in shapes), **params)


def test_integer_labels_of_another_shape_are_refused(no_shape_checks):
    for loss in (funcnet.nn.softmax_loss, funcnet.nn.svm_loss):
        with pytest.raises(ShapeError, match=r"labels \[3\] with dtype int32; expected scores"):
            loss(jnp.ones((4, 3)), jnp.zeros(3, jnp.int32))


def test_parameters_outside_their_domain_are_refused(key):
    with pytest.raises(ParameterError, match=r"svm_loss: margin is -1\.0; expected a number ≥ 0"):
        funcnet.nn.svm_loss(jnp.ones(3), 0, margin=-1.0)
    for rate in (1.0, -0.1, float("nan")):
        with pytest.raises(ParameterError, match="expected 0 ≤ rate < 1"):
            funcnet.nn.dropout(jnp.ones(3), key, rate=rate)
