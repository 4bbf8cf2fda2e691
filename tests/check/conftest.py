"""The checker runs as users run it: without jaxtyping's checks, which would double its time."""

import pytest


@pytest.fixture(autouse=True)
def as_users_run_it(no_shape_checks):
    """What bad input gets is funcnet's own error."""
