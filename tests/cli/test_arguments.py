"""The specs of `funcnet check --args`: what is drawn, and what is said of a spec that cannot be read."""

import jax
import numpy as np
import pytest

from funcnet._errors import ParameterError
from funcnet.cli.arguments import arguments

# spec, shape, dtype
ARRAYS = [
    ("f16[3]", (3,), "float16"),
    ("bf16[3]", (3,), "bfloat16"),
    ("f32[4,8]", (4, 8), "float32"),
    ("f64[]", (), "float64"),
    ("c64[2,2]", (2, 2), "complex64"),
    ("c128[2]", (2,), "complex128"),
    ("i8[5]", (5,), "int8"),
    ("i64[2,0]", (2, 0), "int64"),
    ("u32[1]", (1,), "uint32"),
    ("bool[3]", (3,), "bool"),
    (" f32[4, 8] ", (4, 8), "float32"),
]


def draw(specs, seed=0):
    return arguments(specs, np.random.default_rng(seed))


@pytest.mark.parametrize(("spec", "shape", "dtype"), ARRAYS)
def test_an_array_has_the_shape_and_dtype_of_its_spec(spec, shape, dtype):
    (x,) = draw(spec)
    assert isinstance(x, np.ndarray)
    assert (x.shape, x.dtype.name) == (shape, dtype)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32", "f64"])
def test_floats_are_standard_normal(dtype):
    (x,) = draw(f"{dtype}[10000]")
    x = x.astype("float64")
    np.testing.assert_allclose([x.mean(), x.var(), (x**4).mean()], [0, 1, 3], atol=0.2)


def test_both_parts_of_a_complex_number_are_standard_normal():
    (x,) = draw("c64[10000]")
    covariance = np.cov(x.real, x.imag)
    np.testing.assert_allclose(covariance, np.eye(2), atol=0.05)


@pytest.mark.parametrize(
    ("spec", "values"),
    [("i32[200]", 2), ("i8[2000]<10", 10), ("u8[20]<1", 1), ("i8[9000]<127", 127), ("bool[200]", 2)],
)
def test_integers_run_from_0_to_below_their_bound(spec, values):
    (x,) = draw(spec)
    np.testing.assert_array_equal(np.unique(x), np.arange(values))


def test_several_specs_are_several_arguments_each_drawn_anew():
    x, y, key, rate, axis = draw("f32[2,3], f32[2,3],key, -0.5,3")
    assert not np.isclose(x, y).any()
    assert jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    assert (rate, type(rate), axis, type(axis)) == (-0.5, float, 3, int)


def test_a_seed_decides_the_values():
    one, same, other = (draw("f32[8], key", seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one[0], same[0])
    assert not np.isclose(one[0], other[0]).any()
    assert one[1] == same[1] != other[1]


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ("", r"argument '': expected an array, such as f32\[4,8\].*bool; or key; or a number"),
        ("f32[3],", "argument '': expected an array"),
        ("f32[3] f32[3]", r"argument 'f32\[3\] f32\[3\]': expected an array"),
        ("f32", "argument 'f32': expected an array"),
        ("float32[3]", r"argument 'float32\[3\]': expected .* of one of bf16, f16, f32"),
        ("f32[-1]", r"argument 'f32\[-1\]': expected an array"),
        ("f32[3", r"argument 'f32\[3': expected an array"),
        ("f32[3,]", r"argument 'f32\[3,\]': expected an array"),
        ("f32[2], nine", "argument 'nine': expected an array"),
        ("f32[3]<10", r"argument 'f32\[3\]<10': a bound is for integers; drop <10"),
        ("bool[3]<1", r"argument 'bool\[3\]<1': a bound is for integers; drop <1"),
        ("i32[3]<0", r"argument 'i32\[3\]<0': expected a bound from 1 to 2147483647, the largest int32"),
        ("f32[1000000,1000000]", r"argument 'f32\[1000000,1000000\]': needs 8 TB of memory, and there are"),
        (f"f32[{'9' * 5000}]", "expected at most 64 axes, and for each less than 10¹⁸ elements"),
        (f"f32[{','.join('1' * 65)}]", "expected at most 64 axes"),
        (f"i32[3]<{'9' * 5000}", "expected an array"),
        ("9" * 20, "argument 9{20}: expected a whole number of at most 64 bits, or a float"),
        ("i8[3]<300", r"argument 'i8\[3\]<300': expected a bound from 1 to 127, the largest int8"),
    ],
)
def test_a_spec_that_cannot_be_read_is_an_error_that_shows_it(specs, words):
    with pytest.raises(ParameterError, match=words):
        draw(specs)
