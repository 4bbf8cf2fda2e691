"""Derivatives are taken as users take them: without jaxtyping's checks, which would double the time."""

import pytest


@pytest.fixture(autouse=True)
def as_users_run_it(no_shape_checks):
    """What bad input gets is funcnet's own error."""
