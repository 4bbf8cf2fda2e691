"""Flat backprop against `jax.grad`, finite differences, numpy, and the toy net that the course published."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from funcnet import nn
from funcnet.nn import flat

REG = 0.05


def normal(seed, *shape):
    return jnp.asarray(np.random.RandomState(seed).standard_normal(shape))


def svm():
    """Flat loss and gradient, the same loss written independently, and weights to take it at."""
    x, y = normal(0, 7, 4), jnp.array([0, 2, 1, 1, 2, 0, 0])

    def loss(w):
        scores = x @ w
        hinges = jax.nn.relu(1 + scores - (scores * jax.nn.one_hot(y, 3)).sum(axis=1, keepdims=True))
        return (hinges.sum(axis=1) - 1).mean() + REG * jnp.vdot(w, w)  # the own class adds max(0, 1)

    return lambda w: flat.svm(w, x, y, REG), loss, normal(1, 4, 3)


def two_layer():
    x, y = normal(0, 7, 4), jnp.array([0, 2, 1, 1, 2, 0, 0])
    params = {
        "layer1": {"w": normal(1, 4, 5), "b": normal(2, 5)},
        "layer2": {"w": normal(3, 5, 3), "b": normal(4, 3)},
    }
    return lambda p: flat.two_layer(p, x, y, REG), lambda p: plain_two_layer(p, x, y), params


def plain_two_layer(params, x, y):
    w1, b1, w2, b2 = (params[layer][name] for layer in ("layer1", "layer2") for name in ("w", "b"))
    scores = jax.nn.relu(x @ w1 + b1) @ w2 + b2
    data_loss = optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()
    return data_loss + REG * (jnp.vdot(w1, w1) + jnp.vdot(w2, w2))


def two_layer_sigmoid():
    x, y = normal(0, 7, 4), normal(1, 7, 2)

    def loss(weights):
        w1, w2 = weights
        return jnp.linalg.norm(jax.nn.sigmoid(x @ w1) @ w2 - y) ** 2

    return lambda weights: flat.two_layer_sigmoid(*weights, x, y), loss, (normal(2, 4, 5), normal(3, 5, 2))


NETS = [svm, two_layer, two_layer_sigmoid]


@pytest.mark.parametrize("net", NETS)
def test_loss_and_gradient_equal_those_of_jax(net, x64):
    mirrored, loss, weights = net()
    expected = jax.value_and_grad(loss)(weights)
    assert_trees_close(mirrored(weights), expected, rtol=1e-10)
    assert_trees_close(jax.jit(mirrored)(weights), expected, rtol=1e-10)


@pytest.mark.parametrize("net", NETS)
def test_gradient_equals_central_differences(net, x64):
    mirrored, _, weights = net()
    mirrored = jax.jit(mirrored)
    point, unravel = ravel_pytree(weights)
    h = 1e-5
    differences = [
        (mirrored(unravel(point + step))[0] - mirrored(unravel(point - step))[0]) / (2 * h)
        for step in h * np.eye(point.size)
    ]
    np.testing.assert_allclose(ravel_pytree(mirrored(weights)[1])[0], differences, rtol=1e-7, atol=1e-9)


def test_a_class_exactly_on_its_margin_has_no_gradient():
    w = jnp.array([[1.0, 0.0, -1.0]])
    loss, w_bar = flat.svm(w, jnp.ones((1, 1)), jnp.array([0]), 0.0)
    assert loss == 0
    np.testing.assert_array_equal(w_bar, jnp.zeros_like(w))


def test_a_relu_at_zero_has_no_gradient():
    params = {
        "layer1": {"w": jnp.ones((1, 2)), "b": jnp.array([-1.0, 0.0])},
        "layer2": {"w": jnp.eye(2), "b": jnp.zeros(2)},
    }
    _, params_bar = flat.two_layer(params, jnp.ones((1, 1)), jnp.array([0]), 0.0)
    assert params_bar["layer1"]["b"][0] == 0
    assert params_bar["layer1"]["b"][1] > 0


def test_scores_of_ten_thousand_do_not_overflow():
    params = {
        "layer1": {"w": jnp.eye(2), "b": jnp.zeros(2)},
        "layer2": {"w": 1e4 * jnp.array([[1.0, -1.0], [0.0, 0.0]]), "b": jnp.zeros(2)},
    }
    loss, params_bar = flat.two_layer(params, jnp.array([[1.0, 0.0]]), jnp.array([1]), 0.0)
    assert loss == 2e4
    np.testing.assert_array_equal(params_bar["layer2"]["b"], [1.0, -1.0])


def toy_net():
    """The toy net and data of the course's first assignment, whose results are published."""
    weights, data = np.random.RandomState(0), np.random.RandomState(1)
    params = {
        "layer1": {"w": jnp.asarray(0.1 * weights.randn(4, 10)), "b": jnp.zeros(10)},
        "layer2": {"w": jnp.asarray(0.1 * weights.randn(10, 3)), "b": jnp.zeros(3)},
    }
    return params, jnp.asarray(10 * data.randn(5, 4)), jnp.array([0, 1, 2, 2, 1])


TOY_LOSS = 1.30378789133
TOY_SCORES = [
    [-0.81233741, -1.27654624, -0.70335995],
    [-0.17129677, -1.18803311, -0.47310444],
    [-0.51590475, -1.01354314, -0.8504215],
    [-0.15419291, -0.48629638, -0.52901952],
    [-0.00618733, -0.12435261, -0.15226949],
]


def toy_loss_of_gates(params, x, y):
    data_loss = nn.softmax_loss(nn.mlp(params, x), y).mean()
    return data_loss + REG * sum(nn.l2(w) for w in nn.weights(params))


def test_toy_net_has_the_published_scores(x64):
    params, x, _ = toy_net()
    np.testing.assert_allclose(nn.mlp(params, x), TOY_SCORES, rtol=0, atol=5e-9)  # 8 decimals were printed


@pytest.mark.parametrize(
    "loss_and_gradient",
    [lambda *toy: flat.two_layer(*toy, REG), jax.value_and_grad(toy_loss_of_gates)],
    ids=["flat", "gates"],
)
def test_toy_net_has_the_published_loss_and_the_gradient_of_jax(loss_and_gradient, x64):
    loss, params_bar = loss_and_gradient(*toy_net())
    np.testing.assert_allclose(loss, TOY_LOSS, rtol=1e-9)
    assert_trees_close(params_bar, jax.grad(plain_two_layer)(*toy_net()), rtol=1e-10)


def twenty_lines():
    """w1, w2, x, y in the sizes of slide 25 of the lecture."""
    examples, features, hidden, outputs = 64, 1000, 100, 10
    shapes = (features, hidden), (hidden, outputs), (examples, features), (examples, outputs)
    return [normal(seed, *shape) for seed, shape in enumerate(shapes)]


def test_one_step_equals_the_lectures_numpy_code(x64):
    w1, w2, x, y = map(np.asarray, twenty_lines())
    h = 1 / (1 + np.exp(-x.dot(w1)))
    y_pred = h.dot(w2)
    loss = np.square(y_pred - y).sum()
    grad_y_pred = 2.0 * (y_pred - y)
    grad_w2 = h.T.dot(grad_y_pred)
    grad_h = grad_y_pred.dot(w2.T)
    grad_w1 = x.T.dot(grad_h * h * (1 - h))
    expected = w1 - 1e-4 * grad_w1, w2 - 1e-4 * grad_w2, loss[None]

    assert_trees_close(flat.train_two_layer_sigmoid(*twenty_lines(), iterations=1), expected, rtol=1e-12)


def test_every_step_of_the_descent_lowers_the_loss():
    _, _, losses = flat.train_two_layer_sigmoid(*twenty_lines())
    assert losses.shape == (2000,)
    assert np.all(np.diff(losses) < 0)
    assert losses[-1] < losses[0] / 1000


def test_losses_are_those_before_each_step(x64):
    w1, w2, x, y = twenty_lines()
    after_one = flat.train_two_layer_sigmoid(w1, w2, x, y, step=1e-5, iterations=1)
    _, _, losses = flat.train_two_layer_sigmoid(w1, w2, x, y, step=1e-5, iterations=2)
    np.testing.assert_allclose(losses[0], flat.two_layer_sigmoid(w1, w2, x, y)[0], rtol=1e-12)
    np.testing.assert_allclose(losses[1], flat.two_layer_sigmoid(*after_one[:2], x, y)[0], rtol=1e-12)


def assert_trees_close(actual, expected, rtol):
    """Elements agree to `rtol` of the largest element of their array."""
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max())
