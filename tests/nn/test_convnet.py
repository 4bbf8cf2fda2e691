"""The small convolutional net: shapes, gradient, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import nn
from funcnet._errors import ParameterError

KEY = jax.random.key(231)


@pytest.mark.parametrize("image", [(28, 28, 1), (32, 32, 3)])
def test_its_layers(image):
    params = jax.eval_shape(lambda key: nn.init_convnet(key, image, 10), KEY)
    assert {name: layer["w"].shape for name, layer in params.items()} == {
        "conv1": (3, 3, image[2], 32),
        "conv2": (3, 3, 32, 64),
        "layer1": ((image[0] // 4) ** 2 * 64, 128),
        "layer2": (128, 10),
    }


def test_its_gradient_is_that_of_jax():
    params, x = (
        nn.init_convnet(KEY, (8, 8, 2), 5, channels=(3, 4), hidden=6),
        jax.random.normal(KEY, (3, 8, 8, 2)),
    )
    loss = lambda params: nn.softmax_loss(nn.convnet(params, x, key=KEY), jnp.arange(3)).sum()  # noqa: E731
    ours, theirs = jax.jit(funcnet.grad(loss))(params), jax.jit(jax.grad(loss))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, theirs)


def test_it_learns_which_half_of_an_image_is_bright():
    x = jax.random.uniform(KEY, (64, 8, 8, 1))
    y = jnp.arange(64) % 2
    x = x.at[:, :4].multiply(1 + y[:, None, None, None])
    params = nn.init_convnet(KEY, (8, 8, 1), 2, channels=(4,), hidden=8)
    step = jax.jit(jax.value_and_grad(lambda params: nn.softmax_loss(nn.convnet(params, x), y).mean()))
    for _ in range(60):
        _, bars = step(params)
        params = jax.tree.map(lambda p, bar: p - 0.3 * bar, params, bars)
    assert float(jnp.mean(jnp.argmax(nn.convnet(params, x), -1) == y)) > 0.95


@pytest.mark.parametrize("options", [{"channels": (4,) * 5}, {"hidden": 0}, {"init": "zeros"}])
def test_what_no_net_can_be(options):
    with pytest.raises(ParameterError, match=r"init_convnet: .*expected"):
        nn.init_convnet(KEY, (16, 16, 1), 10, **options)
