"""A run that breaks names the step and the first gate whose output is not finite, and keeps what was good."""

from dataclasses import replace

import numpy as np
import pytest

from funcnet._errors import NonFiniteError
from funcnet.data import Split, load
from funcnet.train import Config, fit
from funcnet.train.checkpoint import read

SPIRAL = load("spiral")
CONFIG = Config(data="spiral", hidden=(10,), batch_size=100, optimizer="sgd", schedule="constant", epochs=2)


def test_a_learning_rate_far_too_high():
    """After one step the weights are near 1e30: the product with the second layer's overflows at step 1."""
    with pytest.raises(
        NonFiniteError,
        match=r"at step 1 the loss is infinite or NaN\.",
    ):
        fit(replace(CONFIG, learning_rate=1e30), SPIRAL)


def test_the_first_bad_step_of_a_later_epoch():
    """Each step multiplies the weights by 1 − 2λη ≈ −20, until their squares overflow."""
    config = replace(CONFIG, hidden=(), learning_rate=10.0, regularization=1.05, epochs=40)
    with pytest.raises(NonFiniteError, match=r"at step 1\d the loss is infinite"):
        fit(config, SPIRAL)


def _with_extreme_input(value):
    x = SPIRAL.train.x.copy()
    x[0] = value
    return Split(x, SPIRAL.train.y)


def test_an_infinite_input():
    with (
        np.errstate(all="ignore"),
        pytest.raises(NonFiniteError, match=r"at step [0-2] the loss is infinite or NaN"),
    ):
        fit(CONFIG, replace(SPIRAL, train=_with_extreme_input(np.inf)))


def test_a_penalty_that_overflows_over_a_finite_loss():
    config = replace(CONFIG, hidden=(), regularization=1e38)
    with pytest.raises(NonFiniteError, match="at step 0 the loss is infinite"):
        fit(replace(config, learning_rate=1e-37), SPIRAL)


def test_the_last_good_checkpoint_is_kept(tmp_path):
    """The weights grow 20-fold a step and the run breaks in an epoch after the fourth, of 3 steps each."""
    config = replace(CONFIG, hidden=(), learning_rate=10.0, regularization=1.05, epochs=40)
    with pytest.raises(NonFiniteError):
        fit(config, SPIRAL, folder=tmp_path, save_every=0.0)
    arrays, metadata = read(tmp_path / "checkpoint.safetensors")
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert arrays["step"] == 3 * len(metadata["log"]["history"]) >= 12
    assert not (tmp_path / "weights.safetensors").exists()
