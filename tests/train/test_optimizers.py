"""Schedules against their formulas written out; every optimizer goes downhill."""

import math

import jax
import numpy as np
import pytest

from funcnet.data import load
from funcnet.train import Config, epoch, init
from funcnet.train.optimizers import OPTIMIZERS, SCHEDULES, optimizer, schedule

RATE, STEPS = 0.5, 200
WARMUP = 10  # 5 % of the steps


def _warmup_cosine(t):
    if t < WARMUP:
        return RATE * t / WARMUP
    return RATE * (1 + math.cos(math.pi * (t - WARMUP) / (STEPS - WARMUP))) / 2


FORMULAS = {
    "constant": lambda t: RATE,
    "linear": lambda t: RATE * (1 - t / STEPS),
    "cosine": lambda t: RATE * (1 + math.cos(math.pi * t / STEPS)) / 2,
    "warmup_cosine": _warmup_cosine,
    "exponential": lambda t: RATE * 0.01 ** (t / STEPS),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_follows_its_formula(name):
    rate = schedule(Config(schedule=name, learning_rate=RATE), STEPS)
    for t in (0, 1, 9, 10, 11, 100, 199, 200):
        np.testing.assert_allclose(rate(t), FORMULAS[name](t), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 19])
def test_schedule_of_a_very_short_run_starts_at_the_full_rate(name, steps):
    assert float(schedule(Config(schedule=name, learning_rate=RATE), steps)(0)) == RATE


# The first update from w = 3 with gradient g = 2 at learning rate 0.1, by hand.
FIRST_UPDATES = {
    "sgd": -0.1 * 2,
    "momentum": -0.1 * 2,
    "adam": -0.1 * 1,  # m̂ / √v̂ = g / |g|
    "adamw": -0.1 * (1 + 2 * 0.01 * 3),
    "rmsprop": -0.1 * 2 / math.sqrt(0.1 * 2**2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_first_update_by_hand_and_no_decay_of_biases(name):
    config = Config(optimizer=name, learning_rate=0.1, schedule="constant", regularization=0.01)
    params = {"layer1": {"w": np.float32(3), "b": np.float32(3)}}
    gradients = jax.tree.map(lambda _: np.float32(2), params)
    update = optimizer(config, steps=10)
    updates, _ = update.update(gradients, update.init(params), params)
    without_decay = -0.1 if name == "adamw" else FIRST_UPDATES[name]
    np.testing.assert_allclose(updates["layer1"]["w"], FIRST_UPDATES[name], rtol=1e-5)
    np.testing.assert_allclose(updates["layer1"]["b"], without_decay, rtol=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_lowers_the_loss(name):
    x, y = load("ring").train
    config = Config(
        optimizer=name, learning_rate=0.01, batch_size=20, epochs=5, hidden=(20,), schedule="constant"
    )
    state = init(config, 2, 2)
    state, first = epoch(config, state, x, y)
    for _ in range(config.epochs - 1):
        state, last = epoch(config, state, x, y)
    assert last.loss < 0.9 * first.loss
