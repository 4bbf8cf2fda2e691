"""Every gate, parameter of a gate, kink of one, and way to start stands in the tables that test them."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from tests.nn.test_accuracy import NOT_MEASURED, TRUTHS
from tests.nn.test_gates import GATES, KINKS, ROWS
from tests.nn.test_mlp import INITIAL_DEVIATIONS

OF_ARRAYS = {
    nn.matrix_function, nn.projector, nn.polar, nn.nuclear_norm,
    nn.max_pool, nn.avg_pool, nn.local_response_norm,
}  # fmt: skip
"""Gates of one argument that are not elementwise."""

each_gate = pytest.mark.parametrize("gate", sorted(GATES, key=repr), ids=lambda gate: gate.__name__)


@each_gate
def test_a_parameter_is_given_another_value_in_both_tables(gate):
    for name, parameter in inspect.signature(gate.primal).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            for table in (ROWS,) if gate in NOT_MEASURED else (ROWS, TRUTHS):
                values = {row.params.get(name, parameter.default) for row in table if row.gate is gate}
                assert values > {parameter.default}


PLACES = np.arange(-32, 33) / 4
"""Where a kink would be: at a number that one writes into a definition."""


def jumps(row):
    """How much the derivative of a gate that takes one array is larger just above each place than below."""
    function = functools.partial(row.gate, **row.params)
    slopes = jax.grad(lambda x: jnp.sum(function(x)))(np.float32([PLACES - 1e-5, PLACES + 1e-5]))
    return slopes[1] - slopes[0]


def test_a_kink_is_pinned():
    elementwise = [row for row in ROWS if len(row.samplers) == 1 and row.gate not in OF_ARRAYS]
    found = {(row.gate, float(at)) for row in elementwise for at in PLACES[abs(jumps(row)) > 1e-3]}
    assert found == {(gate, at) for gate, _, at, _ in KINKS}


def test_initial_weights_have_a_published_variance():
    assert {init for init, _ in INITIAL_DEVIATIONS} == set(nn.INITS)
