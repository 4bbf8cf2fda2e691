"""Schedules against their formulas, optimizers against their papers, in float64; each goes downhill."""

import math

import jax
import numpy as np
import optax
import pytest

from funcnet.data import load
from funcnet.train import Config, fit
from funcnet.train.models.objective import OPTIMIZERS, SCHEDULES, optimizer, schedule

pytestmark = pytest.mark.usefixtures("quick")
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


class Momentum:
    """Polyak 1964, the heavy ball: v ← 0.9 v + g, w ← w − η v."""

    v = 0.0

    def __call__(self, t, w, g, decay):
        self.v = 0.9 * self.v + g
        return self.v


class RMSProp:
    """Tieleman and Hinton 2012, lecture 6.5: v ← 0.9 v + 0.1 g², w ← w − η g/√v."""

    v = 0.0

    def __call__(self, t, w, g, decay):
        self.v = 0.9 * self.v + 0.1 * g**2
        return g / np.sqrt(self.v + 1e-8)


class Adam:
    """Kingma and Ba 2015, algorithm 1."""

    m = v = 0.0

    def __call__(self, t, w, g, decay):
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        m, v = self.m / (1 - 0.9**t), self.v / (1 - 0.999**t)
        return m / (np.sqrt(v) + 1e-8)


class AdamW(Adam):
    """Loshchilov and Hutter 2019, algorithm 2: w decays beside the step, by η λ w."""

    def __call__(self, t, w, g, decay):
        return super().__call__(t, w, g, decay) + decay * w


PUBLISHED = {
    "sgd": lambda: lambda t, w, g, decay: g,
    "momentum": Momentum,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSProp,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_seven_updates_are_those_of_the_paper(name):
    """At a step size that the schedule lets fall; λ of the penalty is 0.01, and nothing draws at a bias."""
    config = Config(optimizer=name, learning_rate=0.1, schedule="linear", regularization=0.01)
    rng = np.random.default_rng(0)
    expected = {"w": rng.normal(size=4), "b": rng.normal(size=4)}
    params = jax.tree.map(np.float32, {"layer1": expected})
    update = optimizer(config, steps=10)
    state, published = update.init(params), {leaf: PUBLISHED[name]() for leaf in expected}
    for t in range(1, 8):
        g = {leaf: rng.normal(size=4) for leaf in expected}
        updates, state = update.update(jax.tree.map(np.float32, {"layer1": g}), state, params)
        params = optax.apply_updates(params, updates)
        for leaf, decay in {"w": 0.02, "b": 0.0}.items():
            step = published[leaf](t, expected[leaf], g[leaf], decay)
            expected[leaf] = expected[leaf] - 0.1 * (1 - (t - 1) / 10) * step
            # In float32 1 − 0.999ᵗ is right to one part in 20,000, and a step is 0.1 at most.
            np.testing.assert_allclose(params["layer1"][leaf], expected[leaf], rtol=0, atol=1e-5)


def test_every_schedule_has_its_formula_and_every_optimizer_its_paper():
    assert set(FORMULAS) == set(SCHEDULES)
    assert set(FIRST_UPDATES) == set(PUBLISHED) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_lowers_the_loss(name):
    config = Config(
        data="ring",
        optimizer=name,
        learning_rate=0.01,
        batch_size=20,
        epochs=5,
        hidden=(20,),
        schedule="constant",
    )
    first, *_, last = fit(config, load("ring")).history
    assert last.train_loss < 0.9 * first.train_loss
