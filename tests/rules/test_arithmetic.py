"""The rules of arithmetic, row by row."""

import numpy as np
import pytest

from tests.rules.rows import Row, check
from jax import lax

normal = lambda *shape: lambda rng: rng.normal(size=shape)

ROWS = [
    Row("mul", lax.mul, lambda rng: (rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))),
    Row("mul", lambda x: x * 2.0, lambda rng: (rng.normal(size=(3,)),), name="scalar"),
    Row("mul", lambda x: x * x, lambda rng: (rng.normal(size=(3,)) + 1j,), name="complex"),
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rule(row):
    check(row)
