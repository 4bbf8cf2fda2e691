"""What cannot be trained here is refused before anything is allocated, and nothing else is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnet import _memory, nn
from funcnet._errors import ParameterError
from funcnet._memory import memory
from funcnet.train import Config, from_source, in_memory
from funcnet.train.limits import check_run, check_size, parameters
from funcnet.train.objective import OPTIMIZERS, optimizer


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


def test_parameters_of_any_kind_are_counted_with_what_the_optimizer_keeps(monkeypatch):
    """Ten floats, as many gradients, twice as many moments and two counters need 160 bytes and a few more."""
    params = [jnp.ones(10), None]
    monkeypatch.setattr(_memory, "memory", lambda: 300)
    check_run(params, optax.adam(0.1), 3)
    monkeypatch.setattr(_memory, "memory", lambda: 160)
    check_run(params, optax.sgd(0.1), 3)
    with pytest.raises(
        ParameterError, match=r"what the optimizer keeps: that needs 16\d bytes of memory, and"
    ):
        check_run(params, optax.adam(0.1), 3)
    with pytest.raises(ParameterError, match="steps is 4294967296; expected 0 or more, at most 2147483647"):
        check_run(params, optax.sgd(0.1), 2**32)


def test_arrays_and_batches_that_are_too_large_for_the_memory(monkeypatch):
    monkeypatch.setattr(_memory, "memory", lambda: 1000)
    x = np.zeros((200, 2), np.float32)
    with pytest.raises(ParameterError, match=r"in_memory: the arrays: that needs 1.6 kB .* Take from_source"):
        in_memory(x, 10)
    from_source(x, 100)
    with pytest.raises(ParameterError, match=r"a batch of 150 examples: that needs 1.2 kB .* Take fewer"):
        from_source(x, 150)


def test_the_memory_is_that_of_a_machine():
    assert 2**28 < memory() < 2**50
