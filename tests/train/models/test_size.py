"""Classifiers that cannot be trained here are refused before anything is allocated, and no others are."""

import jax
import numpy as np
import pytest

from funcnet import nn
from funcnet._errors import ParameterError
from funcnet.train import Config
from funcnet.train.models.objective import OPTIMIZERS, optimizer
from funcnet.train.models.size import check_size, parameters


@pytest.mark.parametrize("sizes", [(3072, 10), (64, 100, 10), (5, 4, 3, 2)])
@pytest.mark.parametrize("pieces", [None, 2])
def test_the_parameters_are_as_many_as_are_made(sizes, pieces):
    made = jax.eval_shape(lambda: nn.init_mlp(jax.random.key(0), sizes, pieces=pieces))
    assert parameters(sizes, pieces or 1) == sum(leaf.size for leaf in jax.tree.leaves(made))


# settings, features, classes, examples to train on, examples held out, words; None where it is no fault
SIZES = [
    (Config(), 3072, 10, 50_000, 10_000, None),
    (Config(hidden=(4096, 4096)), 3072, 1000, 50_000, 10_000, None),
    (
        Config(hidden=(10**6, 10**6)),
        64,
        10,
        1000,
        100,
        r"training 1e\+12 parameters with momentum, which takes 3",
    ),
    (
        Config(hidden=(10**6, 10**6), optimizer="adam"),
        64,
        10,
        1000,
        100,
        "with adam, which takes 4 .* needs 16 TB",
    ),
    (Config(hidden=(10**6, 10**6), activation="maxout"), 64, 10, 1000, 100, "training 2e.12 .* needs 24 TB"),
    (Config(hidden=(), dtype="float64"), 10**9, 10**6, 1000, 100, "training 1e.15 parameters .* needs 24 PB"),
    (
        Config(),
        784,
        10**5,
        240_000,
        60_000_000,
        "60000000 held-out examples with 100100 values .* 100000 classes",
    ),
    (
        Config(epochs=10**9, batch_size=1),
        64,
        10,
        1000,
        100,
        "1000000000000 steps; expected 0 or more, at most 2147483647",
    ),
]


@pytest.mark.parametrize(("config", "features", "classes", "training", "held_out", "words"), SIZES)
def test_what_cannot_be_is_refused(config, features, classes, training, held_out, words):
    if words is None:
        check_size(config, features, classes, training, held_out)
    else:
        with pytest.raises(ParameterError, match=words):
            check_size(config, features, classes, training, held_out)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_takes_the_numbers_that_are_counted_for_it(name):
    """Of a billion parameters themselves, their gradients and what optax keeps."""
    weights = jax.ShapeDtypeStruct((10**9,), np.float32)
    state = jax.eval_shape(optimizer(Config(optimizer=name), 10).init, {"w": weights})
    copies = 2 + sum(leaf.size for leaf in jax.tree.leaves(state)) // weights.size
    with pytest.raises(ParameterError, match=f"with {name}, which takes {copies} numbers for each"):
        check_size(Config(hidden=(10**6, 10**6), optimizer=name), 64, 10, 1000, 100)


def test_nets_that_are_trained_together_need_their_memory_together():
    size = {"features": 10**4, "classes": 10, "training": 100, "held_out": 10}
    config = Config(hidden=(1000,))
    check_size(config, **size)
    with pytest.raises(ParameterError, match=r"training 1e\+13 parameters"):
        check_size(config, **size, nets=10**6)
