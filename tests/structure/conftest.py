"""What is drawn is computed once and shown in a few digits: compiled quickly, without jaxtyping's checks."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick):
    """All files here."""


@pytest.fixture(autouse=True)
def as_users_run_it(no_shape_checks):
    """All files here."""
