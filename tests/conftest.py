"""What every test shares: a key, float64 on demand, and shape checks that can be switched off."""

import jax
import jaxtyping
import pytest


@pytest.fixture
def key():
    return jax.random.key(231)


@pytest.fixture
def x64():
    """Float64 for the length of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def no_shape_checks():
    """Users run without jaxtyping's checks: what they see is funcnet's own error."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
