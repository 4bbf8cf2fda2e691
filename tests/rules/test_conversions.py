"""The rules of complex parts and of conversions between dtypes, row by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import grad, vjp
from tests.rules.rows import Row, check


def normal(*shapes):
    return lambda rng: tuple(rng.normal(size=shape) for shape in shapes)


def complex_normal(*shapes):
    return lambda rng: tuple(rng.normal(size=shape) + 1j * rng.normal(size=shape) for shape in shapes)


ROUNDED = {"differences": False, "reason": "differences see the steps of the rounding"}

ROWS = [
    Row("real", lax.real, complex_normal((3,))),
    Row("imag", lax.imag, complex_normal((3,))),
    Row("complex", lax.complex, normal((3,), (3,))),
    Row("complex", lambda x, c: lax.complex(x, c), normal((3,), ()), name="of an array and a scalar"),
    Row("conj", lambda x: lax.real((1 - 2j) * lax.conj(x)), complex_normal((3,))),
    Row("conj", lambda x: lax.real((1 - 2j) * lax.conj(x)), normal((3,)), name="real"),
    Row("conj", lax.conj, complex_normal((0,)), name="zero-size"),
    Row("convert_element_type", lambda x: x.astype(jnp.complex128), normal((3,)), name="real to complex"),
    Row(
        "convert_element_type",
        lambda x: lax.convert_element_type(x, jnp.float64),
        complex_normal((3,)),
        name="complex to real",
    ),
    Row(
        "convert_element_type",
        lambda x: x.astype(jnp.float32),
        (np.array([1.5, -2.25]),),
        name="to a shorter float",
        **ROUNDED,
    ),
    Row(
        "convert_element_type",
        lambda x: x.astype(jnp.float64),
        (np.array([1.5, -2.25], np.float32),),
        name="to a longer float",
        **ROUNDED,
    ),
    Row("reduce_precision", lambda x: lax.reduce_precision(x, 8, 7), normal((3,)), **ROUNDED),
]


@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rule(row):
    check(row)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_gradient_comes_back_in_the_dtype_of_its_input(dtype):
    x = jnp.ones(3, dtype)
    y, pullback = vjp(lambda x: x.astype(jnp.float32), x)
    assert pullback(y)[0].dtype == dtype


def test_nothing_flows_through_an_integer():
    assert grad(lambda x: x + x.astype(jnp.int32).astype(jnp.float32))(2.5) == 1


def test_integers_that_become_floats_have_no_gradient():
    _, pullback = vjp(lambda n, x: n.astype(x.dtype) * x, np.int32(3), np.float32(2))
    n_bar, x_bar = pullback(np.float32(1))
    assert n_bar.dtype == jax.dtypes.float0
    assert x_bar == 3
