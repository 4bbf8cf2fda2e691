"""Numpy arrays that functions close over: each program has them in its own precision."""

import jax
import numpy as np
import pytest

from funcnet import _jax


def constants(table, in_float64):
    with _jax.in_float64() if in_float64 else jax.enable_x64(False):
        x = np.ones(table.shape, np.float64 if in_float64 else np.float32)
        return jax.make_jaxpr(lambda x: x * table + table)(x).consts


@pytest.mark.parametrize(("kind", "rounded"), [("float64", "float32"), ("int64", "int32"), ("float32",) * 2])
def test_a_program_has_them_in_its_own_precision(kind, rounded):
    table, alive = np.arange(16).astype(kind), constants(np.ones(1), in_float64=True)
    for in_float64, expected in ((False, rounded), (True, kind), (False, rounded)):
        alive += constants(table, in_float64)
        assert alive[-1].dtype == expected


def test_an_array_that_is_used_twice_is_one_constant():
    assert len(constants(np.arange(16.0), in_float64=False)) == 1


def test_an_array_at_the_place_of_one_that_is_gone_is_another():
    rows, alive = np.arange(20 * 16.0, dtype="float32").reshape(20, 16), []
    for row in range(20):
        alive += constants(rows[row], in_float64=False)
        assert np.array_equal(alive[-1], rows[row])
