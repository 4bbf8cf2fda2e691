"""Questions that marks, labels and pictures ask of arrays of all kinds, and of bundles (tuples) of them."""

import functools
from collections.abc import Collection, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Number = bool | int | float | complex


def is_numeric(value: Any) -> bool:
    """Whether an array, or all of a bundle, is made of numbers or truth values: a random key is not."""
    if isinstance(value, tuple):
        return all(map(is_numeric, value))
    return _sort(dtype_of(value)) != ""


def is_float(value: Any) -> bool:
    """Whether an array, or all of a bundle, has gradients: real and complex floats do."""
    arrays = value if isinstance(value, tuple) else (value,)
    return all(_sort(dtype_of(one)) in ("real", "complex") for one in arrays)


def type_of(value: Any) -> tuple[Any, ...]:
    """Shape and dtype of a value; of a bundle or another thing, its type's name."""
    return (getattr(value, "shape", ()), str(getattr(value, "dtype", type(value).__name__)))


def plain(array: Any) -> np.ndarray:
    """Numbers as bool, an integer type of numpy's own, float64 or complex128; those of a bundle in a row."""
    if isinstance(array, tuple):
        return np.concatenate([plain(one).ravel() for one in array])
    array = np.asarray(array)
    sort = _sort(array.dtype)
    if sort == "integer":
        return array if array.dtype.isbuiltin == 1 else array.astype(np.int64)
    if sort == "complex":
        return array.astype(np.complex128)
    return array if sort == "bool" else array.astype(np.float64)


def dtype_of(value: Any) -> Any:
    """The dtype of an array, or of a number as JAX takes it."""
    return value.dtype if hasattr(value, "dtype") else jnp.result_type(value)


def eps_of(value: Any) -> float:
    """The distance from 1 to the next number of an array of floats."""
    return _eps(dtype_of(value))


@functools.cache
def _eps(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps)


@functools.cache
def _sort(dtype: Any) -> str:
    """What the elements are: "real", "complex", "integer", "bool"; empty for a random key."""
    sorts = {"real": jnp.floating, "complex": jnp.complexfloating, "integer": jnp.integer, "bool": jnp.bool_}
    return next((name for name, sort in sorts.items() if jnp.issubdtype(dtype, sort)), "")


def total_bytes(arrays: Iterable[Any], without: Collection[int]) -> int:
    """The bytes of these arrays, each counted once; not of numbers, nor of those of certain identities."""
    counted = {id(x): x.size * x.dtype.itemsize for x in arrays if isinstance(x, jax.Array)}
    return sum(count for identity, count in counted.items() if identity not in without)


def uniform(value: Any) -> Number | None:
    """The number that all elements of an array are; None where there is none."""
    if isinstance(value, tuple) or not is_numeric(value):
        return None
    array = plain(value)
    return array.flat[0].item() if array.size and (array == array.flat[0]).all() else None


def norm(xs: np.ndarray) -> float:
    """The Euclidean norm, also where its square would overflow."""
    largest = float(np.abs(xs).max(initial=0))
    if not 0 < largest < np.inf:
        return largest
    return largest * float(np.sqrt(np.sum(np.abs(xs / largest) ** 2)))
