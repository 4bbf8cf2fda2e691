"""Other libraries' programs are large: they are compiled quickly, and run without funcnet's shape checks."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick):
    """All files here."""


@pytest.fixture(autouse=True)
def as_users_run_it(no_shape_checks):
    """All files here."""


@pytest.fixture(
    params=[
        pytest.param("float32", marks=pytest.mark.in_turns(4)),
        pytest.param("float64", marks=pytest.mark.in_turns(6)),
        pytest.param("eager", marks=pytest.mark.in_turns(12)),
    ]
)
def way(request):
    """In which precision, and what makes one program of both gradients: jit, or nothing."""
    with jax.enable_x64(request.param == "float64"):
        yield (lambda f: f) if request.param == "eager" else jax.jit
