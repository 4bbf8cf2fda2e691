"""The rules of reductions, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import vjp
from tests.rules.rows import Row, check, check_low_precision, each, normal


def of_complex(*shape):
    return lambda rng: (rng.normal(size=shape) + 1j * rng.normal(size=shape),)


def reduce(op, *axes):
    return lambda x: op(x, axes)


TIE = "differences straddle the tie"

ROWS = [
    Row("reduce_sum", reduce(lax.reduce_sum, 1), normal((2, 3, 2))),
    Row("reduce_sum", reduce(lax.reduce_sum, 0, 1), normal((2, 3)), name="to rank 0"),
    Row("reduce_sum", reduce(lax.reduce_sum), normal((2,)), name="over no axis"),
    Row("reduce_sum", reduce(lax.reduce_sum, 0), of_complex(3, 2), name="complex"),
    Row("reduce_sum", reduce(lax.reduce_sum, 1), normal((2, 0)), name="over nothing"),
    Row("reduce_max", reduce(lax.reduce_max, 1), normal((2, 3, 2))),
    Row("reduce_max", reduce(lax.reduce_max, 0, 2), normal((2, 3, 2)), name="two axes"),
    Row("reduce_max", reduce(lax.reduce_max), normal(()), name="rank 0"),
    Row("reduce_max", reduce(lax.reduce_max, 0), normal((2, 0)), name="of size zero"),
    Row(
        "reduce_max",
        reduce(lax.reduce_max, 1),
        normal((2, 0)),
        name="over nothing",
        differences=False,
        second=False,
        reason="the maximum of nothing is −∞, and JAX divides 0 by 0",
    ),
    Row(
        "reduce_max",
        reduce(lax.reduce_max, 1),
        (np.array([[3.0, 1, 3, 3], [0, 0, -1, -2]]),),
        name="ties share evenly",
        differences=False,
        reason=TIE,
    ),
    Row(
        "reduce_max",
        reduce(lax.reduce_max, 0),
        (np.array([-np.inf, 1, np.inf]),),
        name="infinite",
        differences=False,
        reason="∞ has no neighborhood",
    ),
    Row("reduce_min", reduce(lax.reduce_min, 0), normal((3, 2))),
    Row(
        "reduce_min",
        reduce(lax.reduce_min, 0),
        (np.array([[3.0, 1], [2, 1], [2, 5]]),),
        name="ties share evenly",
        differences=False,
        reason=TIE,
    ),
    Row("reduce_prod", reduce(lax.reduce_prod, 1), normal((2, 5, 2))),
    Row("reduce_prod", reduce(lax.reduce_prod, 0, 2), normal((3, 2, 2)), name="two axes"),
    Row("reduce_prod", reduce(lax.reduce_prod, 0), of_complex(3), name="complex"),
    Row("reduce_prod", reduce(lax.reduce_prod, 0), normal((1,)), name="of one"),
    Row("reduce_prod", reduce(lax.reduce_prod), normal(()), name="rank 0"),
    Row("reduce_prod", reduce(lax.reduce_prod, 0), normal((0, 2)), name="of none"),
    Row("reduce_prod", reduce(lax.reduce_prod, 0), (np.array([2.0, 0, 3, -1, 5]),), name="one zero"),
    Row("reduce_prod", reduce(lax.reduce_prod, 0), (np.array([2.0, 0, 3, 0]),), name="two zeros"),
    Row("reduce_prod", reduce(lax.reduce_prod, 0), (np.array([0.0, 0, 3, 0]),), name="three zeros"),
]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("op", [lax.reduce_sum, lax.reduce_max, lax.reduce_prod], ids=lambda op: op.__name__)
def test_short_dtypes(op, dtype):
    check_low_precision(Row(op.__name__, reduce(op, 0), normal((5, 2))), dtype)


def test_a_bfloat16_maximum_counts_all_its_winners():
    x = jnp.ones(1000, jnp.bfloat16)
    (x_bar,) = vjp(reduce(lax.reduce_max, 0), x)[1](jnp.ones((), jnp.bfloat16))
    assert (x_bar == jnp.bfloat16(1 / 1000)).all()


def test_a_maximum_does_not_hide_nan():
    x = jnp.array([1.0, jnp.nan])
    (x_bar,) = vjp(reduce(lax.reduce_max, 0), x)[1](jnp.ones(()))
    assert jnp.isnan(x_bar).all()


def test_a_product_costs_no_more_flops_than_in_jax():
    x = jnp.linspace(0.5, 1.5, 1000).reshape(20, 50)

    def flops(transform):
        def run(x, y_bar):
            y, pullback = transform(reduce(lax.reduce_prod, 0, 1), x)
            return y, pullback(y_bar)

        return jax.jit(run).lower(x, jnp.ones(())).compile().cost_analysis()["flops"]  # pyright: ignore[reportOptionalSubscript]

    assert flops(vjp) <= flops(jax.vjp)
