"""A Neural Turing Machine learns to copy; its loss beside the formula, its picture beside its trace."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnet import data, nn, train

KEY = jax.random.key(231)
DRAW = functools.partial(data.procedural.copy, lengths=(1, 6), bits=4)
PLACES = 24


def machine():
    return nn.init_ntm(jax.random.key(1), 5, 4, units=40, places=PLACES, width=10)


def test_the_loss_is_minus_the_logarithm_of_the_probability_of_what_is_to_come_out():
    params, episode = machine(), DRAW(KEY)
    bits, metrics = train.sequence_loss(params, episode)
    p = 1 / (1 + np.exp(-np.asarray(nn.ntm(params, episode.inputs), np.float64)))
    of_right = np.where(np.asarray(episode.targets) == 1, p, 1 - p)[np.asarray(episode.counts)]
    np.testing.assert_allclose(bits, -np.log2(of_right).sum(), rtol=1e-5)
    assert metrics["wrong_bits"] == (of_right < 0.5).sum()


def test_a_batch_has_the_mean_of_its_sequences():
    params, keys = machine(), jax.random.split(KEY, 5)
    loss = jax.jit(train.sequence_loss)
    bits, metrics = loss(params, jax.vmap(DRAW)(keys))
    each = [loss(params, DRAW(key)) for key in keys]
    errors = train.sequence_errors(params, DRAW, KEY, 5)
    np.testing.assert_allclose([bits, errors["loss"]], np.mean([one for one, _ in each]), rtol=1e-5)
    wrong = np.mean([one["wrong_bits"] for _, one in each])
    np.testing.assert_allclose([metrics["wrong_bits"], errors["wrong_bits"]], wrong, rtol=1e-5)


@pytest.fixture(scope="module")
def run():
    batches = train.procedural(DRAW)
    return train.fit(train.sequence_loss, machine(), batches, optimizer=train.rmsprop(1e-3, 1200), steps=1200)


def test_it_learns_to_copy(run):
    """From 14 bits in the mean, those of a fair coin, to nearly none."""
    assert run.history[0].train_loss > 12
    assert train.sequence_errors(run.params, DRAW, jax.random.key(1), 100)["loss"] < 0.1


def test_it_writes_each_vector_to_a_place_of_its_own_and_reads_them_in_that_order(run):
    episode = data.procedural.copy(KEY, (6, 6), bits=4)
    trace = nn.ntm_trace(run.params, episode.inputs)
    written = np.argmax(trace.write_weightings[0][:6], 1)
    assert len(set(written.tolist())) == 6
    read = np.argmax(trace.read_weightings[0], 1)
    assert any(read[start : start + 6].tolist() == written.tolist() for start in (6, 7))


def test_a_run_is_resumed_in_the_same_bytes(tmp_path):
    go = functools.partial(train.fit, train.sequence_loss, machine(), train.procedural(DRAW))
    go(optimizer=optax.rmsprop(1e-3), steps=20, folder=tmp_path / "run")
    run = go(optimizer=optax.rmsprop(1e-3), steps=40, folder=tmp_path / "run", resume=True)
    whole = go(optimizer=optax.rmsprop(1e-3), steps=40)
    jax.tree.map(np.testing.assert_array_equal, run.params, whole.params)


def test_the_rate_falls_to_nothing_and_a_gradient_is_cut_off():
    """The rule in NumPy, as Graves 2013 has it."""
    rule = train.rmsprop(0.1, 4)
    state, w = rule.init(jnp.zeros(2)), jnp.zeros(2)
    n, mean, delta, expected = np.zeros((4, 2))
    for i in range(6):
        updates, state = rule.update(jnp.array([30.0, 0.005]), state)
        w = optax.apply_updates(w, updates)
        g = np.array([10.0, 0.005])
        n, mean = 0.95 * n + 0.05 * g**2, 0.95 * mean + 0.05 * g
        rate = 0.1 * (1 + np.cos(np.pi * min(i, 4) / 4)) / 2
        delta = 0.9 * delta - rate * g / np.sqrt(n - mean**2 + 1e-4)
        expected = expected + delta
    np.testing.assert_allclose(np.asarray(w), expected, rtol=1e-5)


def test_the_picture_shows_the_trace_where_the_heads_were():
    episode = DRAW(KEY)
    params = machine()
    for name in ("read_head1", "write_head1"):
        params[name]["weighting"] = jnp.where(jnp.arange(PLACES) == 4, 30.0, 0.0)
    steps = int(episode.length)
    trace = nn.ntm_trace(params, episode.inputs)
    figure = train.memory_use(trace, episode)
    shown = {
        axes.get_title(): np.ma.filled(np.ma.asarray(axes.images[0].get_array()), np.nan)
        for axes in figure.axes[:6]
    }
    np.testing.assert_array_equal(shown["inputs"], episode.inputs[:steps].T)
    np.testing.assert_array_equal(shown["adds"], trace.adds[0][:steps].T)
    np.testing.assert_array_equal(shown["reads"], trace.reads[0][:steps].T)
    counts = np.asarray(episode.counts)[:steps]
    np.testing.assert_array_equal(np.isnan(shown["outputs"]).all(0), ~counts)
    weightings = figure.axes[4]
    last, first = weightings.get_ylim()
    assert first < 4 < last
    used = np.asarray(trace.write_weightings[0])[:steps, round(first + 0.5) : round(last + 0.5)]
    np.testing.assert_array_equal(shown["write weightings"], used.T)
