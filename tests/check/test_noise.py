"""What the checker counts errors in."""

import pytest

from funcnet.check.noise import unit

pytestmark = pytest.mark.in_turns(2)

# Half the step after 1: 2⁻ᵗ for numbers of t binary digits (Higham 2002, table 2.1; bfloat16 has 8).
UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


@pytest.mark.parametrize("dtype", UNITS)
def test_the_unit_of_rounding(dtype):
    assert unit(dtype) == UNITS[dtype]
