"""What is drawn is computed once and shown in a few digits, so it is compiled quickly."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick):
    """All files here."""
