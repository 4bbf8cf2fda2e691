"""The pure functions: loss and gradient by hand, batches, steps that do not depend on how they are called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from funcnet.data import load
from funcnet.train import Config, epoch, evaluate, init, step
from funcnet.train.state import advance, batch, objective, order, precision, steps_per_epoch, transposed

X, Y = load("spiral").train  # 300 examples
CONFIG = Config(hidden=(10,), batch_size=50, epochs=3, optimizer="adam")


def _assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_objective_of_a_linear_classifier_by_hand():
    """Scores (1, 0) and (0, 1) with labels 0 and 0; ΣW² = 2, Σ|W| = 2."""
    params = {"layer1": {"w": jnp.eye(2), "b": jnp.zeros(2)}}
    data_loss = (np.log(1 + np.exp(-1)) + np.log(1 + np.exp(1))) / 2
    for regularizer, penalty in (("l2", 2), ("l1", 2), ("elastic_net", 4)):
        config = Config(hidden=(), regularizer=regularizer, regularization=0.3)
        total, metrics = objective(transposed(params), config, jnp.eye(2), jnp.array([0, 0]))
        np.testing.assert_allclose(total, data_loss + 0.3 * penalty, rtol=1e-6)
        np.testing.assert_allclose(metrics, (data_loss, 0.5), rtol=1e-6)


def test_metrics_are_means_over_the_steps_that_were_taken():
    """Four of six turns of the compiled loop, as in the last chunk of an epoch: by single steps."""
    visit = order(CONFIG.seed, len(X), 0)
    _, metrics = advance(CONFIG, init(CONFIG, 2, 3), X, Y, visit, 4, 6)
    state, singly = init(CONFIG, 2, 3), []
    for stop in range(1, 5):
        state, one = advance(CONFIG, state, X, Y, visit, stop, 1)
        singly.append(one)
    np.testing.assert_allclose(metrics, np.mean(singly, axis=0), rtol=1e-6)


def test_regularization_pulls_at_weights_and_not_at_biases():
    params = jax.tree.map(lambda p: np.asarray(p) + 1, init(CONFIG, 2, 3).params)

    def gradient(regularization):
        config = Config(hidden=(10,), regularization=regularization)
        gradient = jax.jit(jax.grad(objective, has_aux=True), static_argnums=1)
        return transposed(gradient(transposed(params), config, X, Y)[0])

    difference = jax.tree.map(lambda a, b: np.asarray(a) - b, gradient(0.25), gradient(0.0))
    for layer in params:
        # The data's gradient cancels in the difference, and its rounding stays.
        np.testing.assert_allclose(difference[layer]["w"], 2 * 0.25 * params[layer]["w"], rtol=1e-4)
        np.testing.assert_array_equal(difference[layer]["b"], 0)


def test_adamw_leaves_the_penalty_to_the_optimizer():
    params = transposed(init(CONFIG, 2, 3).params)
    with_decay = objective(params, Config(hidden=(10,), optimizer="adamw", regularization=9.0), X, Y)
    without = objective(params, Config(hidden=(10,), regularization=0.0), X, Y)
    _assert_equal(with_decay, without)


def test_one_sgd_step_by_hand():
    """Full batch: w ← w − η (xᵀ (p − 1_y) / n + 2λw), b ← b − η Σ (p − 1_y) / n, in numpy."""
    config = Config(
        hidden=(),
        batch_size=300,
        optimizer="sgd",
        schedule="constant",
        learning_rate=0.7,
        regularization=0.05,
    )
    state = init(config, 2, 3)
    w, b = (np.float64(state.params["layer1"][name]) for name in ("w", "b"))
    p = np.exp(X @ w + b)
    scores_bar = (p / p.sum(axis=1, keepdims=True) - np.eye(3)[Y]) / len(Y)
    state, _ = step(config, state, X, Y)
    after = state.params["layer1"]
    np.testing.assert_allclose(after["w"], w - 0.7 * (X.T @ scores_bar + 0.1 * w), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after["b"], b - 0.7 * scores_bar.sum(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("examples", "size", "steps", "seen"), [(300, 50, 6, 300), (300, 64, 4, 256), (30, 64, 1, 30)]
)
def test_an_epoch_sees_every_example_at_most_once(examples, size, steps, seen):
    config = Config(batch_size=size)
    assert steps_per_epoch(config, examples) == steps
    for e in range(2):
        visit = order(config.seed, examples, e)
        rows = np.concatenate([batch(config, e * steps + s, visit) for s in range(steps)])
        assert len(set(rows.tolist())) == len(rows) == seen
        assert set(rows.tolist()) <= set(range(examples))


def test_batches_follow_from_seed_and_step():
    visit = order(0, 300, 4)
    np.testing.assert_array_equal(visit, order(0, 300, 4))
    for other in (order(0, 300, 5), order(1, 300, 4)):
        assert not np.array_equal(visit, other)


def test_init_follows_the_seed():
    _assert_equal(init(CONFIG, 2, 3).params, init(CONFIG, 2, 3).params)
    w, other = (np.asarray(init(Config(seed=seed), 2, 3).params["layer1"]["w"]) for seed in (0, 1))
    assert (w != other).all()


def test_steps_one_by_one_equal_epochs():
    """XLA compiles a loop of one turn in another way: 12 Adam steps of 0.001 differ by rounding alone."""
    alone, together = init(CONFIG, 2, 3), init(CONFIG, 2, 3)
    losses = []
    for _ in range(12):
        alone, metrics = step(CONFIG, alone, X, Y)
        losses.append(metrics.loss)
    together, first = epoch(CONFIG, together, X, Y)
    together, second = epoch(CONFIG, together, X, Y)
    assert int(alone.step) == int(together.step) == 12
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), alone, together)
    np.testing.assert_allclose((first.loss, second.loss), np.reshape(losses, (2, 6)).mean(axis=1), rtol=1e-6)


def test_an_epoch_begun_is_only_finished():
    state, _ = step(CONFIG, init(CONFIG, 2, 3), X, Y)
    state, _ = epoch(CONFIG, state, X, Y)
    assert int(state.step) == 6


def test_metrics_of_a_step_are_those_before_its_update():
    config = Config(batch_size=300)
    state = init(config, 2, 3)
    expected = evaluate(config, state.params, X, Y)
    _, metrics = step(config, state, X, Y)
    np.testing.assert_allclose(metrics, expected, rtol=1e-5)


def test_a_step_whose_loss_is_not_finite_changes_nothing():
    """Row 7 of the data is infinite: the step that draws it and those after it keep the parameters."""
    x = X.copy()
    x[7] = np.inf
    visit = order(0, 300, 0)
    bad = int(np.argmax(np.asarray(visit) == 7)) // 50
    assert bad > 0
    state, metrics = advance(CONFIG, init(CONFIG, 2, 3), x, Y, visit, 6, 6)
    expected, _ = advance(CONFIG, init(CONFIG, 2, 3), X, Y, visit, bad, 6)
    assert int(state.step) == bad
    assert not np.isfinite(metrics.loss)
    _assert_equal(state, expected)


@pytest.mark.parametrize("activation", ["maxout", "none"])
def test_activation_trains(activation):
    config = Config(
        activation=activation,
        hidden=(10,),
        batch_size=300,
        optimizer="adam",
        schedule="cosine",
        learning_rate=0.01,
    )
    state = init(config, 2, 3)
    state, first = step(config, state, X, Y)
    for _ in range(10):
        state, last = step(config, state, X, Y)
    assert last.loss < first.loss


@pytest.mark.parametrize(
    ("loss", "dtype"),
    [
        *((loss, "float32") for loss in nn.LOSSES),
        *(("softmax", dtype) for dtype in ("float16", "bfloat16", "float64")),
    ],
)
def test_loss_and_dtype_train(loss, dtype):
    config = Config(
        loss=loss,
        dtype=dtype,
        hidden=(10,),
        batch_size=300,
        optimizer="adam",
        schedule="cosine",
        learning_rate=0.01,
    )
    with precision(config):
        state = init(config, 2, 3)
        kept = {leaf.dtype.name for leaf in jax.tree.leaves(state.params)}
        assert kept == {"float64" if dtype == "float64" else "float32"}
        state, first = step(config, state, X, Y)
        for _ in range(10):
            state, last = step(config, state, X, Y)
        assert last.loss < first.loss
        assert {leaf.dtype.name for leaf in jax.tree.leaves(state.params)} == kept


def test_the_dtype_is_the_one_that_the_net_computes_in():
    config = Config(dtype="bfloat16", hidden=(10,))
    program = str(jax.make_jaxpr(lambda p: objective(transposed(p), config, X, Y))(init(config, 2, 3).params))
    assert "bf16[300,10]" in program
