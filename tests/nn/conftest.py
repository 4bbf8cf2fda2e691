"""Programs are compiled quickly: numbers are compared with tolerances."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick):
    """Where every ulp counts, a file redefines `quick`."""
