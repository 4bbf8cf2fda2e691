"""What cannot be trained here is refused before anything is allocated, and nothing else is."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnet import _memory
from funcnet._errors import ParameterError
from funcnet._memory import memory
from funcnet.train import from_source, in_memory
from funcnet.train.limits import check_run


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
