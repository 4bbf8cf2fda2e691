"""Whole programs, and derivatives of higher order: the same numbers as JAX's own differentiation gives."""

import functools
import itertools

import equinox as eqx
import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

import funcnet
from tests.backprop.compare import assert_rounded
from tests.backprop.programs import (
    MORE_PROGRAMS,
    PROGRAMS,
    classifier_arguments,
    compiled,
    cross_entropy,
    mlp,
)

DOUBLE = 1e-10  # relative to the largest element of each array


def assert_same(ours, theirs):
    """The same structure, shapes and dtypes, and values that differ by rounding in float64."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for (path, right), our in zip(jax.tree.leaves_with_path(theirs), jax.tree.leaves(ours), strict=True):
        where = jax.tree_util.keystr(path)
        assert our.aval == right.aval, where
        scale = np.max(np.abs(right), initial=0)
        assert np.isfinite(scale), where
        np.testing.assert_allclose(our, right, rtol=0, atol=DOUBLE * scale, err_msg=where)


@functools.cache
def both_in_double_precision(program):
    """Our value and gradient and JAX's, compiled."""

    def both(*args):
        theirs = jax.value_and_grad(program.reference or program.function)(*args)
        return funcnet.value_and_grad(program.function)(*args), theirs

    with jax.enable_x64(True):
        return jax.jit(both).lower(*program.sample()).compile()


@pytest.mark.in_turns(2)
@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_single_precision(program):
    arguments = program.sample()
    ours, theirs = (compiled(program, of) for of in (funcnet.value_and_grad, jax.value_and_grad))

    def exact(*arguments):
        with jax.enable_x64(True):
            return both_in_double_precision(program)(*jax.tree.map(jnp.asarray, arguments))[1]

    assert_rounded(ours(*arguments), theirs, exact, arguments)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("program", PROGRAMS + MORE_PROGRAMS, ids=str)
def test_double_precision(program):
    assert_same(*both_in_double_precision(program)(*program.sample()))


def equinox_model(key):
    """An attention layer, a norm and a net under vmap; its fields that are no arrays stay outside."""
    keys = jax.random.split(key, 4)
    model = (
        eqx.nn.MultiheadAttention(2, 8, key=keys[0]),
        eqx.nn.LayerNorm(8),
        eqx.nn.MLP(8, 1, 16, 2, key=keys[1]),
    )
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)

    def loss(arrays, x, y):
        attention, norm, net = eqx.combine(arrays, rest)
        features = jax.vmap(lambda x: jax.vmap(norm)(x + attention(x, x, x)).mean(0))(x)
        return jnp.mean((jax.vmap(net)(features) - y) ** 2)

    return loss, (arrays, jax.random.normal(keys[2], (4, 5, 8)), jax.random.normal(keys[3], (4, 1)))


class Linen(flax.linen.Module):
    """Convolution, batch norm, dropout and pooling, then an LSTM over the columns."""

    @flax.linen.compact
    def __call__(self, x):
        x = flax.linen.Conv(8, (3, 3), strides=2, use_bias=False)(x)  # a norm takes a bias off again
        x = flax.linen.BatchNorm(use_running_average=False)(x)
        x = flax.linen.Dropout(0.3, deterministic=False)(flax.linen.leaky_relu(x))
        x = flax.linen.max_pool(x, (2, 1), strides=(2, 1)).mean(axis=1)
        x = flax.linen.RNN(flax.linen.OptimizedLSTMCell(8))(x)
        return flax.linen.Dense(3)(x[:, -1])


def linen_model(key):
    keys = jax.random.split(key, 3)
    x, labels = jax.random.normal(keys[0], (2, 12, 12, 3)), jnp.array([0, 2])
    model = Linen()
    variables = model.init({"params": keys[1], "dropout": keys[2]}, x)

    def loss(params, x, labels):
        scores, updated = model.apply(
            {**variables, "params": params}, x, rngs={"dropout": keys[2]}, mutable=["batch_stats"]
        )
        return cross_entropy(scores, labels) + sum(map(jnp.sum, jax.tree.leaves(updated)))

    return loss, (variables["params"], x, labels)


class Nnx(flax.nnx.Module):
    """Embedding, attention with a causal mask, a group norm, and a skip connection."""

    def __init__(self, rngs):
        self.embed = flax.nnx.Embed(11, 8, rngs=rngs)
        self.attention = flax.nnx.MultiHeadAttention(2, 8, use_bias=False, rngs=rngs, decode=False)
        self.norm = flax.nnx.GroupNorm(8, num_groups=2, rngs=rngs)
        self.out = flax.nnx.Linear(8, 11, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = x + self.attention(x, mask=flax.nnx.make_causal_mask(tokens))
        return self.out(flax.nnx.swish(self.norm(x)))


def nnx_model(key):
    model, rest, state = flax.nnx.split(Nnx(flax.nnx.Rngs(key)), flax.nnx.Param, ...)
    tokens = jax.random.randint(key, (3, 7), 0, 11)

    def loss(params, tokens):
        return cross_entropy(flax.nnx.merge(model, params, state)(tokens[:, :-1]), tokens[:, 1:])

    return loss, (rest, tokens)


@pytest.mark.parametrize("model", [equinox_model, linen_model, nnx_model], ids=lambda model: model.__name__)
def test_models_of_other_libraries(model, key):
    """In single precision, which these models compute in."""
    loss, arguments = model(key)
    ours, theirs = (jax.jit(grad(loss)) for grad in (funcnet.grad, jax.grad))
    assert_rounded(ours(*arguments), theirs, theirs, arguments)


def classifier():
    """A small classifier, smooth, with its weights and data."""
    function = mlp(jnp.tanh)
    return function, *jax.tree.map(
        jnp.asarray, classifier_arguments(3, 4, 3, batch=5)(np.random.default_rng(0))
    )


def third_derivative(outer, inner):
    return outer(inner(inner(lambda x: jnp.sin(x) * jnp.exp(x**2) / (1 + x))))(0.3)


def of_each_example(outer, inner):
    """The norm of each example's gradient, and its gradient: vmap of grad, grad of vmap of grad."""
    loss, layers, x, labels = classifier()

    def norms(layers):
        bars = jax.vmap(inner(loss), (None, 0, 0))(layers, x, labels)
        return sum((bar**2).sum(range(1, bar.ndim)) for bar in jax.tree.leaves(bars))

    return norms(layers), jax.vmap(lambda i: outer(lambda layers: norms(layers)[i])(layers))(jnp.arange(5))


def hessian_vector_product(outer, inner):
    loss, layers, *data = classifier()

    def slope(p):
        return optax.tree.vdot(inner(loss)(p, *data), jax.tree.map(jnp.cos, layers))

    return outer(slope)(layers)


def hypergradient(outer, inner):
    """Of the loss after some steps of training, by the learning rate and by the first weights."""
    loss, layers, *data = classifier()

    def trained(log_rate, layers):
        def step(layers, _):
            bars = inner(loss)(layers, *data)
            return jax.tree.map(lambda w, w_bar: w - jnp.exp(log_rate) * w_bar, layers, bars), None

        return loss(lax.scan(step, layers, length=5)[0], *data)

    return outer(trained, argnums=(0, 1))(-1.0, layers)


def gradient_penalty(outer, inner):
    """Gulrajani et al. 2017, with relu, pairwise maxima and a remat: second order beside kinks."""
    _, layers, x, _ = classifier()

    def critic(x, layers):
        (w, b), (v, c) = layers
        hidden = jax.checkpoint(lambda x: jax.nn.relu(x @ w + b))(x)
        return (jnp.maximum(hidden[::2], hidden[1::2]) @ v[::2] + c).sum() + jnp.sum((hidden @ v) ** 2)

    def penalty(layers):
        slopes = jax.vmap(inner(critic), (0, None))(x, layers)
        return jnp.mean(((slopes**2).sum(-1) - 1) ** 2)

    return outer(penalty)(layers)


ORDERS = [third_derivative, of_each_example, hessian_vector_product, hypergradient, gradient_penalty]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("derivative", ORDERS, ids=lambda derivative: derivative.__name__)
def test_gradients_of_gradients(derivative):
    """By funcnet alone, by funcnet of JAX and by JAX of funcnet."""
    both = jax.grad, funcnet.grad
    derivatives = lambda: [derivative(*pair) for pair in itertools.product(both, both)]  # noqa: E731
    theirs, *ours = jax.jit(derivatives)()
    for our in ours:
        assert_same(our, theirs)


@pytest.mark.usefixtures("x64")
def test_hessian_and_jacobian_of_pytrees():
    loss, layers, *data = classifier()

    def scores(layers):
        (w, b), (v, c) = layers
        hidden = jnp.tanh(data[0] @ w + b)
        return {"scores": hidden @ v + c, "norm": jnp.linalg.norm(hidden)}

    def both(layers):
        ours = funcnet.hessian(loss)(layers, *data), funcnet.jacobian(scores)(layers)
        return ours, (jax.hessian(loss)(layers, *data), jax.jacrev(scores)(layers))

    assert_same(*jax.jit(both)(layers))


@pytest.mark.usefixtures("x64")
def test_forward_mode_over_reverse():
    loss, layers, *data = classifier()

    def tangent(grad):
        return jax.jvp(lambda p: grad(loss)(p, *data), (layers,), (jax.tree.map(jnp.cos, layers),))[1]

    assert_same(tangent(funcnet.grad), tangent(jax.grad))
