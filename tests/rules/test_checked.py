"""One row of every rule through `funcnet.check_vjp`: autodiff and the differences of JAX are its oracles."""

import jax
import jax.numpy as jnp
import pytest

import funcnet
from tests.rules.test_completeness import ROWS

ROUNDING = "reduce_precision"  # its gradient rounds ȳ as the function rounds x, so it is not linear
ONE_OF_EACH = {row.primitive: row for row in [*reversed(ROWS), *(row for row in ROWS if not row.name)]}
PLACES_ONLY = {"select_and_scatter_add", "select_and_gather_add"}
"""Their second input says which elements, and has no gradient."""


@pytest.fixture
def no_shape_checks():
    """Each rule runs once under the checks of its annotations: here."""


def with_rule(function):
    """The function, and as its custom rule the gradient that funcnet gives it."""
    decorated = jax.custom_vjp(lambda *xs: function(*xs))

    def backward(xs, y_bar):
        x_bars = funcnet.vjp(function, *xs)[1](y_bar)
        return tuple(None if x_bar.dtype == jax.dtypes.float0 else x_bar for x_bar in x_bars)

    decorated.defvjp(lambda *xs: (function(*xs), xs), backward)
    return decorated


@pytest.mark.in_turns(6)
@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize(
    "row", [row for row in ONE_OF_EACH.values() if row.primitive != ROUNDING], ids=lambda row: row.primitive
)
def test_rule(row):
    function, xs = row.function, tuple(map(jnp.asarray, row.sample(0)))
    if row.primitive in PLACES_ONLY:
        x, places = xs
        function, xs = (lambda x: row.function(x, places)), (x,)
    funcnet.check_vjp(with_rule(function), *xs, reference=function, dtypes=(), transforms=())
