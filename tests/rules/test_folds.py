"""Reductions by a function of the user's own, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from tests.rules.rows import Row, check, normal


def reduce(op, start, *axes):
    return lambda *xs: lax.reduce(xs[0] if len(xs) == 1 else xs, start, op, axes)


def windows(op, start, size, strides=None, padding=None, base=None, window=None):
    def function(x):
        ends = padding or ((0, 0),) * x.ndim
        return lax.reduce_window(
            x, np.asarray(start, x.dtype), op, size, strides or (1,) * x.ndim, ends, base, window
        )

    return function


def root_of_squares(a, b):
    return jnp.sqrt(a * a + b * b)


def largest(a, b):
    """(value, place) of the larger value."""
    first = a[0] >= b[0]
    return lax.select(first, a[0], b[0]), lax.select(first, a[1], b[1])


def then(a, b):
    """Composition of the maps t ↦ a₀·t + a₁: associative, not commutative."""
    return a[0] * b[0], a[1] * b[0] + b[1]


NO_JAX = "jax.vjp raises: a general reduce_window has forward mode only"

ROWS = [
    Row("reduce", reduce(root_of_squares, 0.0, 1), normal((2, 5, 2))),
    Row("reduce", reduce(lambda a, b: a * b, 2.0, 0, 2), normal((3, 2, 2)), name="product with a factor"),
    Row(
        "reduce",
        reduce(lambda a, b: a * b, 1.0, 0),
        (np.array([3.0, 0, 2, 0, 5]),),
        name="product with zeros",
    ),
    Row("reduce", reduce(root_of_squares, 0.0, 0), normal((0, 2)), name="of none"),
    Row(
        "reduce",
        lambda x: lax.reduce((x, lax.iota("int32", 5)), (-np.inf, np.int32(-1)), largest, (0,)),
        normal((5,)),
        name="maximum and its place",
        jax=False,
        reason="jax.vjp raises TypeError where an operand is an integer",
    ),
    Row(
        "reduce",
        reduce(then, (1.0, 0.0), 0),
        lambda rng: (rng.normal(size=5), rng.normal(size=5)),
        name="not commutative",
        jax=False,
        reason="JAX's tree takes the elements out of order",
    ),
    Row(
        "reduce",
        lambda x, start: lax.reduce(x, start, lambda a, b: a * b, (0,)),
        lambda rng: (rng.normal(size=3), rng.normal()),
        name="initial value",
        jax=False,
        reason="jax.vjp raises: no gradient for initial values",
    ),
    *(
        Row(
            "reduce_window",
            windows(op, start, size, **options),
            normal(shape),
            name=name,
            jax=False,
            reason=NO_JAX,
        )
        for op, start, size, shape, options, name in [
            (lax.mul, 1.0, (2, 3), (4, 5), {}, "product"),
            (lax.mul, 1.0, (2, 7), (5, 9), {"strides": (2, 2)}, "product, strides"),
            (
                lax.mul,
                2.0,
                (2, 3),
                (3, 4),
                {"padding": ((2, 1), (-1, 1)), "base": (2, 1), "window": (1, 2)},
                "product with a factor, padding, dilations",
            ),
            (root_of_squares, 0.0, (5,), (9,), {}, "norm"),
            (lax.max, 0.5, (3,), (6,), {"padding": ((1, 1),)}, "max with a floor"),
            (lax.mul, 1.0, (4,), (3,), {}, "to none"),
        ]
    ),
]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", [row for row in ROWS if row.primitive == "reduce_window"], ids=str)
def test_windows_against_forward_mode(row):
    """JAX can push a tangent through a general window where it cannot pull a gradient back."""
    (x,) = row.sample(0)
    zeroed = np.where(np.arange(x.size).reshape(x.shape) % 4, x, 0) if "product" in row.name else x
    v = np.random.default_rng(1).normal(size=x.shape)
    y, y_dot = jax.jvp(row.function, (zeroed,), (v,))
    ours, pullback = funcnet.vjp(row.function, zeroed)
    np.testing.assert_allclose(ours, y, rtol=1e-14)
    y_bar = jnp.asarray(np.random.default_rng(2).normal(size=y.shape))
    np.testing.assert_allclose((pullback(y_bar)[0] * v).sum(), (y_bar * y_dot).sum(), rtol=1e-11, atol=1e-13)
