"""The rules of cumulative reductions, row by row."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax

from funcnet import vjp
from tests.rules.rows import Row, check, check_low_precision, each, normal


def of_complex(*shape):
    return lambda rng: (rng.normal(size=shape) + 1j * rng.normal(size=shape),)


def along(op, axis=0, *, reverse=False):
    return functools.partial(op, axis=axis, reverse=reverse)


TIE = "differences straddle the tie"
SAME = "the second order is that of the row without a name"
TIES = np.array([3.0, 3, 1, 3, 3, 3, 4, 4, 0, 4, 4])

ROWS = [
    *(
        Row(
            op.__name__, along(op, 0, reverse=True), normal((5, 2)), name="reverse", second=False, reason=SAME
        )
        for op in (lax.cumsum, lax.cumprod, lax.cumlogsumexp, lax.cummax)
    ),
    *(
        Row(op.__name__, along(op, 1), normal((2, 6)))
        for op in (lax.cumsum, lax.cumprod, lax.cumlogsumexp, lax.cummax, lax.cummin)
    ),
    *(
        Row(op.__name__, along(op), normal((n,)), name=f"of {n}", second=False, reason=SAME)
        for op in (lax.cumprod, lax.cumlogsumexp)
        for n in (0, 1)
    ),
    Row("cumsum", along(lax.cumsum), of_complex(4), name="complex"),
    Row("cumprod", along(lax.cumprod, reverse=True), of_complex(4), name="complex"),
    Row("cumlogsumexp", along(lax.cumlogsumexp), of_complex(4), name="complex"),
    Row("cumprod", along(lax.cumprod), (np.array([2.0, 0, 3, -1, 0, 5]),), name="two zeros"),
    Row("cumprod", along(lax.cumprod, reverse=True), (np.array([0.0, 0, 3, 2]),), name="zeros, reverse"),
    Row("cumlogsumexp", along(lax.cumlogsumexp), (np.array([900.0, -900, 901, 1]),), name="large"),
    *(
        Row(
            op.__name__,
            along(op, reverse=reverse),
            (TIES,),
            name=f"ties, {reverse=}",
            differences=False,
            second=False,
            reason=f"{TIE}; {SAME}",
        )
        for op in (lax.cummax, lax.cummin)
        for reverse in (False, True)
    ),
    Row("cummax", along(lax.cummax), (np.ones(6),), name="all tie", differences=False, reason=TIE),
]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(
    "op", [lax.cumsum, lax.cumprod, lax.cumlogsumexp, lax.cummax], ids=lambda op: op.__name__
)
def test_short_dtypes(op, dtype):
    check_low_precision(Row(op.__name__, along(op), normal((5, 2))), dtype)


@pytest.mark.usefixtures("x64")
def test_elements_of_minus_infinity_have_finite_gradients():
    """Of probabilities that are zero so far; JAX gives NaN."""
    x = jnp.array([-jnp.inf, -jnp.inf, 1.0, -jnp.inf, 2.0])
    (x_bar,) = vjp(along(lax.cumlogsumexp), x)[1](jnp.array([0.0, 0.0, 1.0, 1.0, 1.0]))
    p = 1 / (1 + np.e)
    np.testing.assert_allclose(x_bar, [0, 0, 2 + p, 0, 1 - p], rtol=1e-15)


@pytest.mark.usefixtures("x64")
def test_the_gradient_of_cumlogsumexp_is_a_sum_of_softmaxes():
    x = np.random.default_rng(0).normal(scale=20, size=12)
    (x_bar,) = vjp(along(lax.cumlogsumexp), jnp.asarray(x))[1](jnp.ones(12))
    with mpmath.workdps(50):
        e = [mpmath.exp(v) for v in x]
        truth = [float(sum(e[j] / mpmath.fsum(e[: i + 1]) for i in range(j, 12))) for j in range(12)]
    np.testing.assert_allclose(x_bar, truth, rtol=1e-13)


@pytest.mark.parametrize(
    "op", [lax.cumsum, lax.cumprod, lax.cumlogsumexp, lax.cummax], ids=lambda op: op.__name__
)
def test_cost_beside_jax(op):
    def flops(transform):
        def run(x, y_bar):
            y, pullback = transform(along(op, 1), x)
            return y, pullback(y_bar)

        x = jnp.linspace(0.5, 1.5, 128).reshape(2, 64)
        return jax.jit(run).lower(x, x).compile().cost_analysis()["flops"]  # pyright: ignore[reportOptionalSubscript]

    assert flops(vjp) <= flops(jax.vjp)
