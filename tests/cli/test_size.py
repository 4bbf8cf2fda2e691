"""What cannot be trained here is refused before anything is allocated, and nothing else is."""

import jax
import pytest

from funcnet import nn
from funcnet._errors import ParameterError
from funcnet._memory import memory
from funcnet.cli.size import check_size, parameters
from funcnet.train import Config


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
        "1000000000000 steps; expected at most 2147483647",
    ),
]


@pytest.mark.parametrize(("config", "features", "classes", "training", "held_out", "words"), SIZES)
def test_what_cannot_be_is_refused(config, features, classes, training, held_out, words):
    if words is None:
        check_size(config, features, classes, training, held_out)
    else:
        with pytest.raises(ParameterError, match=words):
            check_size(config, features, classes, training, held_out)


def test_the_memory_is_that_of_a_machine():
    assert 2**28 < memory() < 2**50
