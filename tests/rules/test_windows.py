"""The rules of windows, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import primitives

from funcnet import vjp
from tests.rules.rows import Row, check, check_low_precision, each, normal


def pool(op, size, strides=None, padding=None, base=None, window=None):
    """`lax.reduce_window` with the neutral element of the operation, by numbers for each axis."""
    start = {lax.add: 0.0, lax.max: -np.inf, lax.min: np.inf}[op]

    def function(x):
        ends = padding or ((0, 0),) * x.ndim
        return lax.reduce_window(
            x, np.asarray(start, x.dtype), op, size, strides or (1,) * x.ndim, ends, base, window
        )

    return function


def winners(primitive, size, strides, padding, *, select=primitives.ge_p, **dilation):
    def function(a, x):
        return primitive.bind(
            a,
            x,
            select_prim=select,
            window_dimensions=size,
            window_strides=strides,
            padding=padding,
            **dilation,
        )

    return function


NO_JAX = "jax.vjp raises: no gradient for max pooling with window dilation"
JAX_CROP = "jax.vjp raises: it slices from a negative start"
TIE = "differences straddle the tie"

GEOMETRIES = {
    "": ((2, 3), (5, 6), {}),
    "strides": ((2, 2), (5, 6), {"strides": (2, 3)}),
    "padding": ((3, 2), (4, 4), {"strides": (2, 1), "padding": ((1, 2), (0, 1))}),
    "base dilation": ((3, 3), (3, 4), {"strides": (1, 2), "padding": ((1, 1), (0, 1)), "base": (2, 3)}),
}

ROWS = [
    *(
        Row(name, pool(op, size, **options), normal(shape), name=what)
        for name, op in [("reduce_window_sum", lax.add), ("reduce_window_max", lax.max)]
        for what, (size, shape, options) in GEOMETRIES.items()
    ),
    Row("reduce_window_min", pool(lax.min, (2, 2), (1, 2), ((0, 1), (1, 0))), normal((3, 4))),
    Row(
        "reduce_window_sum",
        pool(lax.add, (2, 3), (1, 2), ((1, 0), (2, 3)), (2, 1), (2, 3)),
        normal((5, 6)),
        name="both dilations",
    ),
    Row("reduce_window_sum", pool(lax.add, (2,), padding=((-1, 1),)), normal((4,)), name="cropped"),
    Row("reduce_window_sum", pool(lax.add, ()), normal(()), name="rank 0"),
    Row("reduce_window_sum", pool(lax.add, (1, 2)), normal((0, 3)), name="of none"),
    Row("reduce_window_sum", pool(lax.add, (4,)), normal((3,)), name="to none"),
    Row(
        "reduce_window_sum",
        pool(lax.add, (2,), (2,)),
        lambda rng: (rng.normal(size=5) + 1j * rng.normal(size=5),),
        name="complex",
    ),
    *(
        Row(
            "reduce_window_max",
            pool(lax.max, size, **options),
            normal(shape),
            name=name,
            jax=False,
            second=False,
            reason=reason,
        )
        for name, size, shape, options, reason in [
            ("window dilation", (2, 3), (5, 7), {"window": (2, 3)}, NO_JAX),
            (
                "dilation, strides, padding",
                (2, 3),
                (4, 7),
                {"strides": (2, 1), "padding": ((1, 0), (0, -1)), "base": (2, 1), "window": (3, 2)},
                NO_JAX,
            ),
            ("cropped", (2,), (5,), {"padding": ((-1, 1),)}, JAX_CROP),
        ]
    ),
    Row("reduce_window_max", pool(lax.max, (1, 2)), normal((0, 3)), name="of none"),
    Row(
        "reduce_window_max",
        pool(lax.max, (4,)),
        normal((3,)),
        name="to none",
        jax=False,
        reason="XLA crashes",
    ),
    Row(
        "reduce_window_max",
        pool(lax.max, (2, 2)),
        (np.array([[1.0, 1, 0], [1, 2, 2], [3, 2, 2]]),),
        name="the first winner takes all",
        differences=False,
        reason=TIE,
    ),
    Row(
        "select_and_scatter_add",
        winners(primitives.select_and_scatter_add_p, (2, 3), (1, 2), ((0, 1), (1, 0))),
        lambda rng: (rng.normal(size=(4, 2)), rng.normal(size=(4, 5))),
    ),
    Row(
        "select_and_scatter_add",
        winners(primitives.select_and_scatter_add_p, (2,), (1,), ((0, 0),), select=primitives.le_p),
        lambda rng: (rng.normal(size=4), rng.normal(size=5)),
        name="min",
    ),
    Row(
        "select_and_gather_add",
        winners(
            primitives.select_and_gather_add_p,
            (2, 3),
            (1, 2),
            ((0, 1), (1, 0)),
            base_dilation=(2, 1),
            window_dilation=(1, 1),
        ),
        lambda rng: (rng.normal(size=(3, 5)), rng.normal(size=(3, 5))),
    ),
]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("op", [lax.add, lax.max], ids=lambda op: op.__name__)
def test_short_dtypes(op, dtype):
    name = {lax.add: "reduce_window_sum", lax.max: "reduce_window_max"}[op]
    check_low_precision(Row(name, pool(op, (2, 2)), normal((3, 4))), dtype)


@pytest.mark.parametrize("op", [lax.add, lax.max], ids=["average pooling", "max pooling"])
def test_pooling_costs_no_more_than_in_jax(op):
    image = jnp.linspace(-1, 1, 2 * 16 * 16 * 3).reshape(2, 16, 16, 3)

    def cost(transform):
        def run(x):
            y, pullback = transform(pool(op, (1, 3, 3, 1), (1, 2, 2, 1)), x)
            return pullback(y)

        compiled = jax.jit(run).lower(image).compile()
        numbers, memory = compiled.cost_analysis(), compiled.memory_analysis()
        assert numbers is not None
        assert memory is not None
        return numbers["flops"], numbers["bytes accessed"], memory.temp_size_in_bytes

    assert all(ours <= theirs for ours, theirs in zip(cost(vjp), cost(jax.vjp), strict=True))
