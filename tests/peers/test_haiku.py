"""haiku: transformed functions, with parameters as nested dictionaries and state beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, as_default, check, parametrize

hk = pytest.importorskip("haiku")

rng = np.random.default_rng(13)
DATA = rng.standard_normal((5, 4))
SEQUENCE = rng.standard_normal((5, 2, 4))
IMAGE = rng.standard_normal((2, 6, 6, 2))


def weighted(y):
    return jnp.mean(jnp.sin(y) * jnp.linspace(0.5, 1.5, y.size).reshape(y.shape))


def of(function, inputs):
    """A loss of a function's parameters; its state is where it starts, its key is fixed."""
    pure = hk.transform_with_state(function)
    parameters, state = pure.init(jax.random.key(13), as_default(inputs))

    def loss(parameters):
        fixed = jax.tree.map(as_default, state)
        y, _ = pure.apply(parameters, fixed, jax.random.key(1), as_default(inputs))
        return weighted(y)

    return loss, parameters


def perceptron(x):
    return hk.nets.MLP([6, 3], activation=jnp.sin)(x, dropout_rate=0.2, rng=hk.next_rng_key())


def normalized(x):
    x = hk.BatchNorm(True, True, 0.9)(hk.Conv2D(3, 3, with_bias=False)(x), is_training=True)
    return hk.avg_pool(hk.LayerNorm(-1, True, True)(jax.nn.silu(x)), (2, 2, 1), (2, 2, 1), "VALID")


def recurrent(x):
    core = hk.LSTM(3)
    return hk.dynamic_unroll(core, x, jax.tree.map(as_default, core.initial_state(2)))[0]


def attending(x):
    return hk.MultiHeadAttention(2, 2, w_init=hk.initializers.VarianceScaling(), with_bias=False)(x, x, x)


def looped(x):
    """Layers stacked and scanned, each computed again on the way back."""
    return hk.experimental.layer_stack(3)(lambda x: hk.remat(lambda x: x + jnp.sin(hk.Linear(4)(x)))(x))(x)


def chosen(x):
    layers = hk.Linear(3), hk.Linear(3)
    if hk.running_init():
        layers[0](x), layers[1](x)
    return hk.cond(jnp.sum(x) > 100, layers[0], lambda x: jnp.sin(layers[1](x)), x)


ROWS = [
    Row("MLP with dropout", make=lambda: of(perceptron, DATA)),
    Row("norms and a convolution", make=lambda: of(normalized, IMAGE)),
    Row("LSTM", make=lambda: of(recurrent, SEQUENCE)),
    Row("attention", make=lambda: of(attending, SEQUENCE)),
    Row("layer_stack of remat", make=lambda: of(looped, DATA)),
    Row("cond", make=lambda: of(chosen, DATA)),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
