"""Programs are compiled quickly: what is compared are numbers within tolerances, and XLA's counts.

The counts are the same, as the optimizations that are left out come after them. The engine's annotations say
nothing of shapes, so that checking them is left to other tests.
"""

import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick):
    """All files here."""


@pytest.fixture(autouse=True)
def as_users_run_it(no_shape_checks):
    """All files here."""
