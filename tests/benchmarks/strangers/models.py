"""Models of flax, equinox, haiku and numpyro for `check_gradient`, right and with a misplaced stop_gradient.

Each model is written once. `cut` is the identity in the right one and `jax.lax.stop_gradient` in the wrong
one, whose refusal must say where: the layer whose result is cut, or the line on which it is.
"""

import inspect
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks.strangers.rows import Row, normal

MODELS = []

tokens = np.array([[1, 4, 2, 0], [3, 3, 1, 5]])
labels = np.array([2, 0])
sequence = normal(2, 4, 6)
images = normal(4, 6, 6, 2)


def model(name, layer):
    """Two rows of a function from `cut` to a loss, its parameters and its batch."""

    def rows(build):
        lines, first = inspect.getsourcelines(build)
        (cut,) = (first + i for i, text in enumerate(lines) if "cut(" in text and "def " not in text)
        line = f"{Path(__file__).name}:{cut}"
        for which, stop in (("", None), (", cut", jax.lax.stop_gradient)):
            make = partial(build, stop or (lambda x: x))
            where = {"wrong": f"a stop_gradient in {line}", "line": line, "layer": layer} if stop else {}
            MODELS.append(Row("models", name + which, make, check="check_gradient", **where))
        return build

    return rows


def cross_entropy(logits, classes):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), classes[:, None], 1))


def of_linen(net, *batch, **options):
    """A flax net whose scores are compared with labels."""
    variables = net.init(jax.random.key(0), *batch)
    rest = {name: value for name, value in variables.items() if name != "params"}

    def loss(params, *batch):
        logits = net.apply({"params": params, **rest}, *batch, mutable=list(rest), **options)[0]
        return cross_entropy(logits, jnp.arange(len(logits)) % 3)

    return loss, jax.tree.map(jnp.asarray, variables["params"]), *batch


@model("flax.linen attention with key bias", layer="prenorm")
def linen_attention(cut):
    from flax import linen

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            normed = cut(linen.LayerNorm(name="prenorm")(x))
            x = x + linen.MultiHeadDotProductAttention(num_heads=2, name="attention")(normed)
            return linen.Dense(3, name="scores")(x.mean(1))

    return of_linen(Net(), sequence)


@model("flax.linen convolution with bias and batch norm", layer="convolution")
def linen_batch_norm(cut):
    from flax import linen

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = cut(linen.Conv(3, (3, 3), name="convolution")(x))
            x = linen.relu(linen.BatchNorm(use_running_average=False, name="norm")(x))
            return linen.Dense(3, name="scores")(x.mean((1, 2)))

    return of_linen(Net(), images)


@model("flax.linen LSTM in float32", layer="lower_lstm")
def linen_lstm(cut):
    from flax import linen

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = cut(linen.RNN(linen.OptimizedLSTMCell(4), name="lower_lstm")(x))
            x = linen.RNN(linen.OptimizedLSTMCell(4), name="upper_lstm")(x)
            return linen.Dense(3, name="scores")(x[:, -1])  # pyright: ignore[reportArgumentType, reportCallIssue]

    return of_linen(Net(), sequence)


@model("flax.linen dropout with a fixed key", layer="hidden_dense")
def linen_dropout(cut):
    from flax import linen

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.gelu(cut(linen.Dense(8, name="hidden_dense")(x)))
            x = linen.Dropout(0.5, deterministic=not self.has_rng("dropout"))(x)
            return linen.Dense(3, name="scores")(x)

    return of_linen(Net(), normal(4, 5), rngs={"dropout": jax.random.key(1)})


def of_nnx(net, *batch):
    """An nnx net whose scores are compared with labels."""
    from flax import nnx

    graph, params = nnx.split(net, nnx.Param)

    def loss(params, *batch):
        return cross_entropy(nnx.merge(graph, params)(*batch), labels)

    return loss, nnx.to_pure_dict(params), *batch


@model("flax.nnx transformer block", layer="widen")
def nnx_transformer(cut):
    from flax import nnx

    class Block(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = nnx.LayerNorm(6, rngs=rngs), nnx.LayerNorm(6, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 6, decode=False, rngs=rngs)
            self.widen, self.narrow = nnx.Linear(6, 12, rngs=rngs), nnx.Linear(12, 6, rngs=rngs)

        def __call__(self, x):
            x = x + self.attention(self.first(x))
            x = x + self.narrow(nnx.gelu(cut(self.widen(self.second(x)))))
            return x.mean(1)

    return of_nnx(Block(nnx.Rngs(0)), sequence)


@model("flax.nnx embeddings", layer="word_embedding")
def nnx_embeddings(cut):
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.word_embedding = nnx.Embed(7, 4, rngs=rngs)
            self.scores = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, words):
            return self.scores(jnp.tanh(cut(self.word_embedding(words))).sum(1))

    return of_nnx(Net(nnx.Rngs(0)), tokens)


def of_equinox(net, forward, *batch):
    """A loss of the arrays of an equinox module, `forward(net, *batch)` being its scores."""
    import equinox as eqx

    params, static = eqx.partition(net, eqx.is_inexact_array)

    def loss(params, *batch):
        return cross_entropy(forward(eqx.combine(params, static), *batch), labels)

    return loss, params, *batch


@model("equinox attention with key bias", layer="prenorm")
def equinox_attention(cut):
    import equinox as eqx

    first, second = jax.random.split(jax.random.key(0))
    biases = dict.fromkeys(("use_query_bias", "use_key_bias", "use_value_bias", "use_output_bias"), True)
    attention = eqx.nn.MultiheadAttention(2, 6, key=first, **biases)
    net = {"prenorm": eqx.nn.LayerNorm(6), "attention": attention, "scores": eqx.nn.Linear(6, 3, key=second)}

    def one(net, x):
        normed = cut(jax.vmap(net["prenorm"])(x))
        x = x + net["attention"](normed, normed, normed)
        return net["scores"](x.mean(0))

    return of_equinox(net, lambda net, x: jax.vmap(partial(one, net))(x), sequence)


@model("equinox GRU over embeddings", layer="gru_cell")
def equinox_gru(cut):
    import equinox as eqx

    keys = jax.random.split(jax.random.key(0), 3)
    net = {
        "word_embedding": eqx.nn.Embedding(7, 4, key=keys[0]),
        "gru_cell": eqx.nn.GRUCell(4, 5, key=keys[1]),
        "scores": eqx.nn.Linear(5, 3, key=keys[2]),
    }

    def one(net, words):
        def step(state, word):
            return cut(net["gru_cell"](net["word_embedding"](word), state)), None

        state, _ = jax.lax.scan(step, jnp.zeros(5), words)
        return net["scores"](state)

    return of_equinox(net, lambda net, x: jax.vmap(partial(one, net))(x), tokens)


@model("equinox fixed-point iteration with a learned start", layer="contraction")
def equinox_fixed_point(cut):
    import equinox as eqx

    keys = jax.random.split(jax.random.key(0), 3)
    net = {
        "start": jnp.full(4, 0.1),
        "contraction": eqx.nn.Linear(4, 4, key=keys[0]),
        "input": eqx.nn.Linear(6, 4, key=keys[1]),
        "scores": eqx.nn.Linear(4, 3, key=keys[2]),
    }

    def one(net, x):
        def step(z, _):
            return jnp.tanh(0.5 * net["contraction"](cut(z)) + net["input"](x)), None

        z, _ = jax.lax.scan(step, net["start"], None, 60)
        return net["scores"](z)

    return of_equinox(net, lambda net, x: jax.vmap(partial(one, net))(x), normal(2, 6))


def of_haiku(forward, *batch):
    """A haiku net with state whose scores are compared with labels."""
    import haiku as hk

    net = hk.transform_with_state(forward)
    params, state = net.init(jax.random.key(0), *batch)

    def loss(params, *batch):
        logits, _ = net.apply(params, state, jax.random.key(1), *batch)
        return cross_entropy(logits, jnp.arange(len(logits)) % 3)

    return loss, params, *batch


@model("haiku convolution with bias and batch norm", layer="convolution")
def haiku_batch_norm(cut):
    import haiku as hk

    def forward(x):
        x = cut(hk.Conv2D(3, 3, name="convolution")(x))
        x = jax.nn.relu(hk.BatchNorm(True, True, 0.9, name="norm")(x, is_training=True))
        return hk.Linear(3, name="scores")(x.mean((1, 2)))

    return of_haiku(forward, images)


@model("haiku LSTM over embeddings with dropout", layer="word_embedding")
def haiku_lstm(cut):
    import haiku as hk

    def forward(words):
        x = cut(hk.Embed(7, 4, name="word_embedding")(words))
        x = hk.dropout(hk.next_rng_key(), 0.3, x)
        lstm = hk.LSTM(5, name="lstm")
        states, _ = hk.dynamic_unroll(lstm, x.swapaxes(0, 1), lstm.initial_state(2))
        return hk.Linear(3, name="scores")(states[-1])

    return of_haiku(forward, tokens)


@model("numpyro density of a correlated normal", layer="LKJCholesky")
def numpyro_density(cut):
    import numpyro
    from numpyro import distributions
    from numpyro.infer.util import potential_energy

    def law(y):
        correlation = numpyro.sample("correlation", distributions.LKJCholesky(3, 1.5))
        scale = numpyro.sample("scale", distributions.LogNormal(0.0, 1.0).expand([3]))
        weights = numpyro.sample("weights", distributions.Dirichlet(jnp.ones(3)))
        factor = cut(scale[:, None] * correlation)
        numpyro.sample("y", distributions.MultivariateNormal(weights, scale_tril=factor), obs=y)

    params = {"correlation": normal(3), "scale": normal(3), "weights": normal(2)}
    return lambda params, y: potential_energy(law, (y,), {}, params), params, normal(6, 3)
