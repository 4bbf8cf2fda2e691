"""The gradient of the gradient, beside JAX's: of one row of every rule, and in turns of the others."""

import pytest

from tests.rules.rows import check_second_order
from tests.rules.test_completeness import ROWS

BOTH = [row for row in ROWS if row.jax and row.second]


@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("row", [row for row in BOTH if not row.name], ids=str)
def test_second_order(row):
    check_second_order(row)


@pytest.mark.in_turns(8)
@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("row", [row for row in BOTH if row.name], ids=str)
def test_second_order_of_what_is_special(row):
    check_second_order(row)
