"""Rules run as users run them, without jaxtyping's checks, which take a third of the time.

With those checks each rule runs in test_checked.py.
"""

import pytest


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(quick):
    """Numbers are compared with tolerances; where every ulp counts, a file redefines `quick`."""


@pytest.fixture(autouse=True)
def as_users_run_it(no_shape_checks):
    """A file redefines `no_shape_checks` to keep them."""
