"""Fully connected nets: initialization, forward pass, names, the collapse of linear nets."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from funcnet._errors import ParameterError, ShapeError


def test_parameters_of_the_lecture(key):
    """Slide 23: 3072 → 100 → 10 is a 2-layer net; two weight matrices, 308,310 numbers."""
    params = nn.init_mlp(key, (3072, 100, 10))
    assert list(params) == ["layer1", "layer2"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 3072 * 100 + 100 + 100 * 10 + 10


INITIAL_DEVIATIONS = [("he", 2 / 400), ("glorot", 2 / 700), ("lecun", 1 / 400), ("normal", 1e-4)]


@pytest.mark.parametrize(("init", "variance"), INITIAL_DEVIATIONS)
def test_initial_weights_have_the_published_variance(init, variance, key):
    params = nn.init_mlp(key, (400, 300, 5), init=init)
    w = params["layer1"]["w"]
    # The variance of n normal samples has the relative standard deviation √(2/n) = 0.0041; five of them.
    assert float(jnp.var(w)) == pytest.approx(variance, rel=0.021)
    assert float(jnp.mean(w)) == pytest.approx(0, abs=5 * (variance / w.size) ** 0.5)
    assert not jnp.any(params["layer1"]["b"])


def test_he_keeps_the_size_of_activations_through_ten_layers(key):
    x = jax.random.normal(key, (512, 256))
    outputs = nn.mlp_outputs(nn.init_mlp(key, [256] * 11), x)
    squares = [float(jnp.mean(h**2)) for name, h in outputs.items() if name.endswith("relu")]
    assert all(0.5 < square < 2 for square in squares), squares  # E[relu(z)²] = 1 when Var z = 2


def test_forward_pass_of_the_lecture(key):
    """Slide 24: 3 → 4 → 4 → 1 with sigmoids, against numpy."""
    params = nn.init_mlp(key, (3, 4, 4, 1))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    sigmoid = lambda s: 1 / (1 + np.exp(-s))  # noqa: E731
    h1 = sigmoid(x @ params["layer1"]["w"] + params["layer1"]["b"])
    h2 = sigmoid(h1 @ params["layer2"]["w"] + params["layer2"]["b"])
    expected = h2 @ params["layer3"]["w"] + params["layer3"]["b"]
    scores = nn.mlp(params, jnp.asarray(x), activation=nn.sigmoid)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_allclose(
        nn.mlp(params, jnp.asarray(x[0]), activation=nn.sigmoid), expected[0], rtol=1e-5
    )


def test_outputs_are_named_in_forward_order(key):
    params = nn.init_mlp(key, [3] + [2] * 11)
    names = list(nn.mlp_outputs(params, jnp.ones(3), activation=nn.tanh))
    assert names == [f"layer{n}/{gate}" for n in range(1, 12) for gate in ("affine", "tanh")][:-1]


def test_maxout_net_with_pieces_x_and_minus_x_is_the_absolute_value():
    params = {
        "layer1": {"w": jnp.array([[[1.0], [-1.0]]]), "b": jnp.zeros((2, 1))},
        "layer2": {"w": jnp.array([[2.0]]), "b": jnp.array([0.5])},
    }
    x = jnp.array([[-3.0], [4.0]])
    chex.assert_trees_all_close(nn.mlp(params, x, activation=nn.maxout), jnp.array([[6.5], [8.5]]))
    assert list(nn.mlp_outputs(params, x, activation=nn.maxout)) == ["layer1/maxout", "layer2/affine"]


def test_maxout_parameters_fit_the_net(key):
    params = nn.init_mlp(key, (5, 4, 3), pieces=3)
    chex.assert_tree_shape_prefix(params["layer1"]["w"], (5, 3, 4))
    assert nn.mlp(params, jnp.ones((2, 5)), activation=nn.maxout).shape == (2, 3)


def test_linear_net_collapses_to_one_matrix(key):
    params = nn.init_mlp(key, (3072, 100, 50, 10))
    params["layer1"]["b"] = params["layer1"]["b"] + 1.0
    x = jax.random.normal(key, (8, 3072))
    w, b = nn.collapse(params)
    # Sums of 3072 products in another order: the error grows as √3072 units of rounding.
    np.testing.assert_allclose(nn.affine(x, w, b), nn.mlp(params, x, activation=None), atol=3e-5)
    assert not np.allclose(nn.affine(x, w, b), nn.mlp(params, x), atol=1e-2)


def test_neuron_of_the_lecture():
    """Slides 61 to 79: w = (2, −3), x = (−1, −2), b = −3 fires at 0.73, with the gradients printed there."""
    w, x, b = jnp.array([2.0, -3.0]), jnp.array([-1.0, -2.0]), jnp.array(-3.0)
    assert float(nn.neuron(w, x, b)) == pytest.approx(0.73, abs=0.005)
    w_bar, x_bar, b_bar = jax.grad(nn.neuron, argnums=(0, 1, 2))(w, x, b)
    np.testing.assert_allclose(w_bar, [-0.20, -0.39], atol=0.005)
    np.testing.assert_allclose(x_bar, [0.39, -0.59], atol=0.005)
    assert float(b_bar) == pytest.approx(0.20, abs=0.005)
    assert nn.neuron(w, jnp.stack([x, x]), b).shape == (2,)


def test_weights_leave_the_biases_out(key):
    params = nn.init_mlp(key, (3, 4, 2))
    chex.assert_trees_all_equal(nn.weights(params), [params["layer1"]["w"], params["layer2"]["w"]])


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_parameters_and_scores_have_the_dtype_asked_for(dtype, key):
    params = nn.init_mlp(key, (3, 4, 2), dtype=dtype)
    chex.assert_trees_all_equal_dtypes(params, jax.tree.map(lambda p: jnp.zeros((), dtype), params))
    assert nn.mlp(params, jnp.ones(3, dtype)).dtype == dtype


def test_bad_calls_are_named(key, no_shape_checks):
    with pytest.raises(ParameterError, match=r"sizes are \(3,\).*at least inputs and outputs"):
        nn.init_mlp(key, (3,))
    with pytest.raises(ParameterError, match="every number ≥ 1"):
        nn.init_mlp(key, (3, 0, 2))
    with pytest.raises(ParameterError, match="init is 'xavier'; expected one of he, glorot, lecun, normal"):
        nn.init_mlp(key, (3, 2), init="xavier")
    with pytest.raises(ShapeError, match="maxout layers has no single matrix"):
        nn.collapse(nn.init_mlp(key, (3, 4, 2), pieces=2))
    with pytest.raises(ShapeError, match=r"x has shape \[2, 4\] and w \[3, 4\]"):
        nn.mlp(nn.init_mlp(key, (3, 4, 2)), jnp.ones((2, 4)))
