"""The classifier's loss by hand, what its settings do to it, and its first step in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from funcnet.data import load, standardize
from funcnet.train import Config, advance, classifier, fit, init, step
from funcnet.train.models.net import evaluate, precision
from funcnet.train.models.objective import objective, transposed

SPIRAL, _ = standardize(load("spiral"))
X, Y = SPIRAL.train  # 300 examples
CONFIG = Config(hidden=(10,), batch_size=50, epochs=3, optimizer="adam")


def initial(config):
    return classifier(config, SPIRAL)[1]


def test_objective_of_a_linear_classifier_by_hand():
    """Scores (1, 0) and (0, 1) with labels 0 and 0; ΣW² = 2, Σ|W| = 2."""
    params = {"layer1": {"w": jnp.eye(2), "b": jnp.zeros(2)}}
    data_loss = (np.log(1 + np.exp(-1)) + np.log(1 + np.exp(1))) / 2
    for regularizer, penalty in (("l2", 2), ("l1", 2), ("elastic_net", 4)):
        config = Config(hidden=(), regularizer=regularizer, regularization=0.3)
        total, metrics, _ = objective(config, transposed(params), (jnp.eye(2), jnp.array([0, 0])))
        np.testing.assert_allclose(total, data_loss + 0.3 * penalty, rtol=1e-6)
        np.testing.assert_allclose((metrics["loss"], metrics["accuracy"]), (data_loss, 0.5), rtol=1e-6)


def test_regularization_pulls_at_weights_and_not_at_biases():
    params = jax.tree.map(lambda p: p + 1, initial(CONFIG))

    def gradient(regularization):
        config = Config(hidden=(10,), regularization=regularization)
        return jax.jit(jax.grad(lambda p: objective(config, p, (X, Y))[0]))(params)

    difference = jax.tree.map(lambda a, b: np.asarray(a) - b, gradient(0.25), gradient(0.0))
    for layer in params:
        # The data's gradient cancels in the difference, and its rounding stays.
        np.testing.assert_allclose(difference[layer]["w"], 2 * 0.25 * params[layer]["w"], rtol=1e-4)
        np.testing.assert_array_equal(difference[layer]["b"], 0)


def test_adamw_leaves_the_penalty_to_the_optimizer():
    with_decay = Config(hidden=(10,), optimizer="adamw", regularization=9.0)
    without = Config(hidden=(10,), regularization=0.0)
    results = [objective(config, initial(CONFIG), (X, Y)) for config in (with_decay, without)]
    jax.tree.map(np.testing.assert_array_equal, *results)


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
    loss, params, batches, optimizer = classifier(config, SPIRAL)
    w, b = (np.float64(params["layer1"][name].T) for name in ("w", "b"))
    p = np.exp(X @ w + b)
    scores_bar = (p / p.sum(axis=1, keepdims=True) - np.eye(3)[Y]) / len(Y)
    state, _ = step(loss, optimizer)(init(params, optimizer), batches(0))
    after = state.params["layer1"]
    np.testing.assert_allclose(after["w"].T, w - 0.7 * (X.T @ scores_bar + 0.1 * w), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after["b"], b - 0.7 * scores_bar.sum(axis=0), rtol=1e-5, atol=1e-6)


def test_the_schedule_is_as_long_as_the_run():
    """Step 17 of 18 of a linear schedule, where the step number is what decides."""
    config = Config(hidden=(), batch_size=50, epochs=3, optimizer="sgd", schedule="linear", learning_rate=0.9)
    loss, params, batches, optimizer = classifier(config, SPIRAL)
    state, _ = advance(loss, optimizer, batches)(init(params, optimizer), 17)
    before = jax.tree.map(jnp.copy, state.params)
    gradients = jax.grad(lambda params: loss(params, batches(17))[0])(before)
    after, _ = step(loss, optimizer)(state, batches(17))
    expected = jax.tree.map(lambda p, g: p - 0.9 / 18 * g, before, gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), after.params, expected)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("activation", activation) for activation in ("maxout", "none")),
        *(("loss", loss) for loss in nn.LOSSES),
        *(("dtype", dtype) for dtype in ("float16", "bfloat16", "float64")),
    ],
)
def test_a_setting_trains(setting, value):
    settings = {setting: value, "hidden": (10,), "batch_size": 300, "optimizer": "adam", "epochs": 11}
    run = fit(Config(**settings, learning_rate=0.01, schedule="cosine"), load("spiral"))
    assert run.history[-1].train_loss < run.history[0].train_loss
    kept = {leaf.dtype.name for leaf in jax.tree.leaves((run.params, run.optimizer_state[0].mu))}
    assert kept == {"float64" if value == "float64" else "float32"}


def test_the_dtype_is_the_one_that_the_net_computes_in():
    config = Config(dtype="bfloat16", hidden=(10,))
    program = str(jax.make_jaxpr(lambda p: objective(config, p, (X, Y)))(initial(config)))
    assert "bf16[300,10]" in program


def test_metrics_are_those_of_the_parameters_before_the_update():
    loss, params, batches, optimizer = classifier(CONFIG, SPIRAL)
    _, metrics = jax.jit(step(loss, optimizer))(init(params, optimizer), batches(0))
    expected = evaluate(CONFIG, transposed(params), *batches(0))
    np.testing.assert_allclose(metrics["loss"], expected.loss, rtol=1e-6)
    assert metrics["accuracy"] == expected.accuracy


def test_initial_parameters_follow_the_seed():
    jax.tree.map(np.testing.assert_array_equal, initial(CONFIG), initial(CONFIG))
    w, other = (initial(Config(seed=seed))["layer1"]["w"] for seed in (0, 1))
    assert (w != other).all()


def test_a_loss_is_compiled_once_for_a_configuration():
    """Or every run of a loop over data sets would wait for XLA."""
    first, again = (classifier(CONFIG, SPIRAL)[0] for _ in range(2))
    assert first is again
    with precision(CONFIG):
        assert classifier(CONFIG, SPIRAL)[0] is first
