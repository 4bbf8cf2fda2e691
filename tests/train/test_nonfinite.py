"""A run that breaks names the step and the first gate whose output is not finite, and keeps what was good."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet._errors import NonFiniteError
from funcnet.data import Split, load
from funcnet.train import Config, fit, init
from funcnet.train.checkpoint import read
from funcnet.train.nonfinite import explain

SPIRAL = load("spiral")
CONFIG = Config(data="spiral", hidden=(10,), batch_size=100, optimizer="sgd", schedule="constant", epochs=2)


def test_a_learning_rate_far_too_high():
    """After one step the weights are near 1e30: the product with the second layer's overflows at step 1."""
    with pytest.raises(
        NonFiniteError,
        match=r"at step 1 the output of layer2/affine is infinite or NaN\. .* was 1e\+30 there: lower",
    ):
        fit(replace(CONFIG, learning_rate=1e30), SPIRAL)


def test_the_first_bad_step_of_a_later_epoch():
    """Each step multiplies the weights by 1 − 2λη ≈ −20, until their squares overflow."""
    config = replace(CONFIG, hidden=(), learning_rate=10.0, regularization=1.05, epochs=40)
    with pytest.raises(NonFiniteError, match=r"at step 1\d the l2 penalty is infinite"):
        fit(config, SPIRAL)


def _with_extreme_input(value):
    x = SPIRAL.train.x.copy()
    x[0] = value
    return Split(x, SPIRAL.train.y)


def test_an_extreme_input_overflows_in_the_first_layer():
    state = init(CONFIG, 2, 3)
    params = jax.tree.map(lambda p: 1000 * jnp.ones_like(p), state.params)
    bad = _with_extreme_input(1e38)
    config = replace(CONFIG, batch_size=300)
    error = explain(config, state._replace(params=params, step=jnp.int32(4)), *bad)
    assert "at step 4 the output of layer1/affine is infinite or NaN" in str(error)


def test_an_infinite_input():
    with (
        np.errstate(all="ignore"),
        pytest.raises(NonFiniteError, match=r"at step [0-2] the input is infinite or NaN"),
    ):
        fit(CONFIG, replace(SPIRAL, train=_with_extreme_input(np.inf)))


def test_a_loss_that_overflows_over_finite_scores():
    params = {"layer1": {"w": jnp.array([[1e38, 0, 0], [0, 0, 0]]), "b": jnp.array([0, 1e38, -3e38])}}
    state = init(replace(CONFIG, hidden=()), 2, 3)._replace(params=params)
    config = replace(CONFIG, hidden=(), loss="mse", batch_size=300)
    assert "at step 0 the mse loss is infinite" in str(explain(config, state, *SPIRAL.train))


def test_a_penalty_that_overflows_over_a_finite_loss():
    config = replace(CONFIG, hidden=(), regularization=1e38)
    with pytest.raises(NonFiniteError, match="at step 0 the l2 penalty is infinite"):
        fit(replace(config, learning_rate=1e-37), SPIRAL)


def test_an_update_that_breaks_a_parameter_under_a_finite_loss():
    state = init(CONFIG, 2, 3)
    params = {**state.params, "layer2": {**state.params["layer2"], "w": jnp.full((10, 3), jnp.nan)}}
    error = explain(CONFIG, state._replace(params=params, step=jnp.int32(5)), *SPIRAL.train)
    assert "the update of step 4 made params/layer2/w infinite or NaN" in str(error)


def test_half_precision_is_told_of_float32():
    error = explain(replace(CONFIG, dtype="float16"), init(CONFIG, 2, 3), *_with_extreme_input(1e6))
    assert "dtype to float32" in str(error)


def test_the_last_good_checkpoint_is_kept(tmp_path):
    """The weights grow 20-fold a step and the run breaks in an epoch after the fourth, of 3 steps each."""
    config = replace(CONFIG, hidden=(), learning_rate=10.0, regularization=1.05, epochs=40)
    with pytest.raises(NonFiniteError):
        fit(config, SPIRAL, folder=tmp_path, save_every=0.0)
    arrays, metadata = read(tmp_path / "checkpoint.safetensors")
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert arrays["step"] == 3 * len(metadata["log"]["history"]) >= 12
    assert not (tmp_path / "weights.safetensors").exists()
