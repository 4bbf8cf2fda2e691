"""The rules of complex parts and of conversions between dtypes, row by row."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax._src.dtypes import ExtendedDType  # as other libraries do: there is no public one

from funcnet import grad, vjp
from tests.rules.rows import Row, check, complex_normal, each, normal

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


@each(ROWS)
@pytest.mark.filterwarnings("ignore:Casting complex values to real")
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


class Largest(jax.dtypes.extended):
    """Numbers of which the largest gradient counts instead of the sum, as for the scales of 8-bit floats."""


class LargestRules:
    @staticmethod
    def physical_element_aval(dtype):
        return jax.core.ShapedArray((), np.float32)

    @staticmethod
    def convert_from(largest, other):
        return other == np.float32

    @staticmethod
    def convert_to(other, largest):
        return other == np.float32

    @staticmethod
    def tangent_dtype(dtype):
        return dtype

    @staticmethod
    def zero(dtype):
        return lax.convert_element_type(np.float32(-np.inf), dtype)

    @staticmethod
    def add(dtype, x, y):
        larger = lax.max(*(lax.convert_element_type(bar, np.float32) for bar in (x, y)))
        return lax.convert_element_type(larger, dtype)


@dataclasses.dataclass(frozen=True)
class LargestType(ExtendedDType):
    """The dtype."""

    type = Largest
    name = "largest"
    itemsize = 4
    _rules = LargestRules


LARGEST = LargestType()


@jax.custom_vjp
def scaled(x, scale):
    return x * lax.convert_element_type(scale, np.float32)


def scaled_forward(x, scale):
    return scaled(x, scale), (x, scale)


def scaled_backward(residuals, y_bar):
    x, scale = residuals
    number = lax.convert_element_type(scale, np.float32)
    return y_bar * number, lax.convert_element_type(y_bar * x, LARGEST)


scaled.defvjp(scaled_forward, scaled_backward)


def used_twice(x, scale):
    scale = lax.convert_element_type(scale, LARGEST)
    return scaled(scaled(x, scale) + x, scale)


def used_in_a_scan(x, scale):
    scale = lax.convert_element_type(scale, LARGEST)
    return lax.scan(lambda c, _: (scaled(c, scale), None), x, length=3)[0]


@pytest.mark.parametrize("function", [used_twice, used_in_a_scan])
def test_an_extended_dtype_adds_gradients_in_its_own_way(function):
    at = np.float32(0.5), np.float32(1.5)
    ours, theirs = (jax.jit(differentiate(function, (0, 1)))(*at) for differentiate in (grad, jax.grad))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_of_two_gradients_of_an_extended_dtype_the_larger_one_counts():
    slope = jax.jit(grad(used_twice, 1))(np.float32(0.5), np.float32(1.5))
    assert slope == 1.25  # of 1.5 · 0.5 and 1.25


def test_a_gradient_passes_an_extended_dtype():
    """JAX's own transpose of the way back from one fails."""

    def there_and_back(x, scale):
        return x * lax.convert_element_type(lax.convert_element_type(scale, LARGEST), np.float32)

    pulled = jax.jit(lambda *xs: vjp(there_and_back, *xs)[1](np.float32(1)))(np.float32(0.5), np.float32(1.5))
    assert list(map(float, pulled)) == [1.5, 0.5]
