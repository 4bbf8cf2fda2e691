"""The loop on models of no library, of flax (linen and nnx) and of equinox, and on a data set of grain."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from funcnet import train
from funcnet._errors import ParameterError, ShapeError
from funcnet.data import load

DIGITS = load("digits")
CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels


def accuracy(scores):
    return np.mean(np.argmax(scores, axis=-1) == DIGITS.test.y)


def test_plain_functions():
    def loss(params, batch):
        x, y = batch
        scores = jnp.tanh(x @ params["w1"]) @ params["w2"] + params["b"]
        return CROSS_ENTROPY(scores, y).mean()

    w1, w2 = (jax.random.normal(jax.random.key(i), s) / 8 for i, s in enumerate([(64, 50), (50, 10)]))
    params = {"w1": w1, "w2": w2, "b": jnp.zeros(10)}
    batches = train.in_memory(tuple(DIGITS.train), 64)
    run = train.fit(loss, params, batches, optimizer=optax.adam(1e-2), steps=300)

    hidden = np.tanh(DIGITS.test.x @ run.params["w1"])
    assert accuracy(hidden @ run.params["w2"] + run.params["b"]) > 0.93


def test_flax_linen_with_dropout_and_running_statistics():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x, training):
            x = linen.relu(linen.Conv(8, (3, 3), strides=2)(x.reshape(-1, 8, 8, 1)))
            x = linen.BatchNorm(use_running_average=not training)(x.reshape(len(x), -1))
            return linen.Dense(10)(linen.Dropout(0.1, deterministic=not training)(x))

    def loss(variables, batch, key):
        x, y = batch
        scores, kept = net.apply(variables, x, True, rngs={"dropout": key}, mutable=["batch_stats"])
        return CROSS_ENTROPY(scores, y).mean(), {"accuracy": jnp.mean(scores.argmax(1) == y)}, kept

    net, batches = Net(), train.in_memory(tuple(DIGITS.train), 64)
    variables = net.init(jax.random.key(0), DIGITS.train.x[:1], False)
    run = train.fit(loss, variables, batches, optimizer=optax.adamw(1e-2), steps=200)

    assert accuracy(net.apply(run.params, DIGITS.test.x, False)) > 0.93
    assert run.history[-1].train_accuracy > 0.93
    moved = run.params["batch_stats"]["BatchNorm_0"]["var"]
    assert not np.allclose(moved, 1)


def test_flax_nnx_with_running_statistics_and_streams_of_random_keys():
    """All that is no parameter of the net is kept: means, the key of dropout, and how often it was used."""

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.hidden, self.normalized = nnx.Linear(64, 50, rngs=rngs), nnx.BatchNorm(50, rngs=rngs)
            self.dropout, self.scores = nnx.Dropout(0.1, rngs=rngs), nnx.Linear(50, 10, rngs=rngs)

        def __call__(self, x):
            return self.scores(self.dropout(nnx.relu(self.normalized(self.hidden(x)))))

    def loss(params, batch):
        net = nnx.merge(graph, params["net"], params["rest"])
        losses = CROSS_ENTROPY(net(batch[0]), batch[1])
        return losses.mean(), {}, {"rest": nnx.state(net, nnx.Not(nnx.Param))}

    graph, params, rest = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)
    batches = train.in_memory(tuple(DIGITS.train), 64)
    params = {"net": params, "rest": rest}
    run = train.fit(loss, params, batches, optimizer=optax.adam(1e-2), steps=300)

    net = nnx.merge(graph, run.params["net"], run.params["rest"])
    net.eval()
    assert accuracy(net(DIGITS.test.x)) > 0.93
    assert net.dropout.rngs.count[...] == 300


def test_what_nnx_changes_in_place_is_not_lost_in_silence():
    """Running statistics of a net that is handed over whole."""
    net = nnx.BatchNorm(64, rngs=nnx.Rngs(0))
    batches = train.in_memory(DIGITS.train.x, 64)
    with pytest.raises(ParameterError, match=r"changes 'mean' of params in place.* lost; .*nnx\.split"):
        train.fit(lambda net, x: jnp.sum(net(x)), net, batches, optimizer=optax.sgd(0.1), steps=1)


def test_a_state_of_equinox_that_counts_by_itself():
    """Outside of vmap it cannot be read again once it was replaced."""

    class Count(eqx.Module):
        index: eqx.nn.StateIndex

        def __init__(self):
            self.index = eqx.nn.StateIndex(jnp.array(0))

    def loss(params, x):
        state = params["state"]
        return params["w"] * x.mean(), {}, {"state": state.set(count.index, state.get(count.index) + 1)}

    count, state = eqx.nn.make_with_state(Count)()
    batches = train.in_memory(DIGITS.train.x, 64)
    params = {"w": 1.0, "state": state}
    run = train.fit(loss, params, batches, optimizer=optax.sgd(0.1), steps=7)
    assert run.params["state"].get(count.index) == 7


def test_equinox_with_a_state():
    class Net(eqx.Module):
        hidden: eqx.nn.Linear
        normalized: eqx.nn.BatchNorm
        scores: eqx.nn.Linear

        def __init__(self, key):
            self.hidden, self.scores = eqx.nn.Linear(64, 50, key=key), eqx.nn.Linear(50, 10, key=key)
            self.normalized = eqx.nn.BatchNorm(50, axis_name="batch", mode="batch")

        def __call__(self, x, state):
            h, state = self.normalized(self.hidden(x), state)
            return self.scores(jax.nn.relu(h)), state

    def scores(params, x, inference=False):
        net = eqx.nn.inference_mode(eqx.combine(params["net"], rest), inference)
        run = jax.vmap(net, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        return run(x, params["state"])

    def loss(params, batch):
        s, state = scores(params, batch[0])
        return CROSS_ENTROPY(s, batch[1]).mean(), {}, {"state": state}

    net, state = eqx.nn.make_with_state(Net)(jax.random.key(0))
    trained, rest = eqx.partition(net, eqx.is_inexact_array)
    batches = train.in_memory(tuple(DIGITS.train), 64)
    params = {"net": trained, "state": state}
    run = train.fit(loss, params, batches, optimizer=optax.adam(1e-2), steps=300)
    assert accuracy(scores(run.params, DIGITS.test.x, inference=True)[0]) > 0.93


def test_equinox():
    def loss(params, batch, key):
        x, y = batch
        scores = jax.vmap(eqx.combine(params, rest))(x)
        return CROSS_ENTROPY(scores, y).mean()

    net = eqx.nn.MLP(64, 10, width_size=50, depth=1, key=jax.random.key(0))
    params, rest = eqx.partition(net, eqx.is_inexact_array)
    batches = train.in_memory(tuple(DIGITS.train), 64)
    run = train.fit(loss, params, batches, optimizer=optax.adam(1e-2), steps=300)

    assert accuracy(jax.vmap(eqx.combine(run.params, rest))(DIGITS.test.x)) > 0.93


def test_equinox_is_read_back_into_its_own_structure(tmp_path):
    net = eqx.nn.Linear(64, 10, key=jax.random.key(0))
    params, rest = eqx.partition(net, eqx.is_inexact_array)

    def loss(params, batch):
        x, y = batch
        return CROSS_ENTROPY(jax.vmap(eqx.combine(params, rest))(x), y).mean()

    batches = train.from_source(tuple(DIGITS.train), 64)
    run = train.fit(loss, params, batches, optimizer=optax.sgd(0.1), steps=20, folder=tmp_path / "run")
    again = train.load_run(tmp_path / "run", like=params).params
    jax.tree.map(np.testing.assert_array_equal, again, run.params)


def test_a_data_set_of_grain():
    """Read by number and mapped on the host: the same batches as those of the same arrays in memory."""
    grain = pytest.importorskip("grain")

    class Digits:
        def __len__(self):
            return len(DIGITS.train.x)

        def __getitem__(self, i):
            return {"x": DIGITS.train.x[i], "y": DIGITS.train.y[i]}

    def loss(w, batch):
        return CROSS_ENTROPY(batch["x"] @ w, batch["y"]).mean()

    scaled = grain.MapDataset.source(Digits()).map(lambda each: {**each, "x": each["x"] / np.float32(16)})
    x, y = DIGITS.train
    arrays = train.in_memory({"x": x / np.float32(16), "y": y}, 64)
    w, adam = jnp.zeros((64, 10)), optax.adam(0.02)
    runs = [
        train.fit(loss, w, batches, optimizer=adam, steps=50)
        for batches in (train.from_source(scaled, 64), arrays)
    ]
    np.testing.assert_array_equal(runs[0].params, runs[1].params)
    for other, error, words in (
        (scaled.batch(64), ShapeError, "Take batches apart"),
        (scaled.repeat(), ParameterError, "a source without an end"),
        (scaled.to_iter_dataset(), ParameterError, "expected examples by number"),
    ):
        with pytest.raises(error, match=words):
            train.from_source(other, 64)
