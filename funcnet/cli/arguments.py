"""Random arguments from their specs, for `funcnet check`, `funcnet draw` and `funcnet stash`.

f32[4,8]    standard normal; f16, bf16, f32, f64, and c64, c128 with such real and imaginary parts
f32[]       an array without axes
i32[4]<10   integers from 0 to 9, without a bound 0 and 1; i8 to i64, u8 to u64
bool[3]     fair coins
key         a key of jax.random
0.5, 3      the number itself, as Python's
"""

import math
import re

import jax
import numpy as np

from funcnet._errors import ParameterError
from funcnet._memory import excess

Argument = np.ndarray | jax.Array | int | float

_DTYPES = {
    "bf16": "bfloat16",
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"c{bits}": f"complex{bits}" for bits in (64, 128)},
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "bool": "bool",
}
_MOST_AXES = 64  # of an array of NumPy's
_ARRAY = re.compile(rf"({'|'.join(_DTYPES)})\[((?:\d+(?:,\d+)*)?)\](?:<(\d{{1,20}}))?")


def arguments(specs: str, rng: np.random.Generator) -> tuple[Argument, ...]:
    """One random argument for each spec, in their order.

    Raises:
        ParameterError: a spec that cannot be read, or an array that cannot be made.

    >>> x, labels, rate = arguments("f32[4,8], i32[4]<10, 0.5", np.random.default_rng(0))
    >>> x.shape, x.dtype.name, labels.dtype.name, rate
    ((4, 8), 'float32', 'int32', 0.5)
    """
    return tuple(_argument(spec.strip(), rng) for spec in re.split(r",(?![^\[]*\])", specs))


def _argument(spec: str, rng: np.random.Generator) -> Argument:
    if spec == "key":
        return jax.random.key(rng.integers(2**31))
    if match := _ARRAY.fullmatch(spec.replace(" ", "")):
        name, sizes, bound = match.groups()
        shape = _shape(spec, sizes)
        return _array(spec, np.dtype(_DTYPES[name]), shape, bound, rng)
    for kind in (int, float):
        try:
            number = kind(spec)
        except ValueError:
            continue
        if kind is int and not -(2**63) <= number < 2**64:
            raise ParameterError(f"argument {spec}: expected a whole number of at most 64 bits, or a float.")
        return number
    raise ParameterError(
        f"argument {spec!r}: expected an array, such as f32[4,8], bf16[] or i32[4]<10, of one of "
        f"{', '.join(_DTYPES)}; or key; or a number."
    )


def _shape(spec: str, sizes: str) -> tuple[int, ...]:
    """The sizes of the axes, if an array of so many float64 numbers, in which they are drawn, can be."""
    axes = [size for size in sizes.split(",") if size]
    if len(axes) > _MOST_AXES or max(map(len, axes), default=0) > 18:
        raise ParameterError(
            f"argument {spec!r}: expected at most {_MOST_AXES} axes, and for each less than 10¹⁸ elements."
        )
    shape = tuple(map(int, axes))
    if too_much := excess(8 * math.prod(shape)):
        raise ParameterError(f"argument {spec!r}: {too_much}. Give it fewer elements.")
    return shape


def _array(
    spec: str, dtype: np.dtype, shape: tuple[int, ...], bound: str | None, rng: np.random.Generator
) -> np.ndarray:
    if dtype.kind in "iu":
        limit = int(bound or 2)
        if not 1 <= limit <= np.iinfo(dtype).max:
            raise ParameterError(
                f"argument {spec!r}: expected a bound from 1 to {np.iinfo(dtype).max}, the largest {dtype}."
            )
        return rng.integers(limit, size=shape, dtype=dtype)
    if bound:
        raise ParameterError(f"argument {spec!r}: a bound is for integers; drop <{bound}.")
    if dtype.kind == "b":
        return rng.integers(2, size=shape, dtype=dtype)
    if dtype.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)
