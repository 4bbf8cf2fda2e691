"""Programs are compiled quickly: what is compared are numbers within tolerances, and XLA's counts.

The counts are the same, as the optimizations that are left out come after them.
"""

import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick):
    """All files here."""
