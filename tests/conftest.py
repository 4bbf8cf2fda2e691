"""What every test shares: a key, float64, quick compilation or no shape checks on demand, Fashion-MNIST."""

import os
from pathlib import Path

import jax
import jaxtyping
import pytest

if jax.__version_info__ < (0, 11):  # compiles in a third of the time; newer XLA knows neither of the two
    quick = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{quick} {os.environ.get('XLA_FLAGS', '')}".strip()


@pytest.fixture
def key():
    return jax.random.key(231)


@pytest.fixture
def x64():
    """Float64 for the length of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def quick():
    """Compile fast, run slow, to the end of the file: where programs run once and no ulp counts."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # no other file shall run what was compiled here


@pytest.fixture
def no_shape_checks():
    """Users run without jaxtyping's checks: what they see is funcnet's own error."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def fashion_mnist():
    """The folder of the real Fashion-MNIST. Where it is not installed its tests skip, but in CI they fail."""
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir() and "CI" not in os.environ:
        pytest.skip(
            "Fashion-MNIST is not installed; on Debian or Ubuntu: apt-get install dataset-fashion-mnist"
        )
    return folder
