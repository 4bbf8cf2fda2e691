"""Numpy arrays in programs, in the precision that is switched on.

JAX holds on to the array that a numpy array has become in a program, for the next one that uses it, and does
not ask whether float64 has been switched on or off since: an array of float64 that was rounded to float32 for
one program stays so in the next, which is a program of float64 otherwise. Once `in_float64` has been called,
each precision has its own.
"""

import weakref
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np
from jax._src.dtypes import canonicalize_value_handlers  # there is no public one
from jax._src.literals import TypedNdArray  # nor of this

_known = weakref.WeakValueDictionary[tuple[int, Any], Any]()


def _constant(x: np.ndarray) -> Any:
    """What a numpy array is in a program: the same for the same array, as long as it is in use."""
    dtype = jax.dtypes.canonicalize_dtype(x.dtype)
    found = _known.get((id(x), dtype))
    if found is None:
        found = TypedNdArray(np.asarray(x, dtype))
        weakref.finalize(found, id, x).atexit = False  # which keeps x: another would get its id
        _known[id(x), dtype] = found
    return found


def in_float64() -> AbstractContextManager:
    """Float64 inside, and from here on numpy arrays in the precision of each program, inside and after."""
    canonicalize_value_handlers[np.ndarray] = _constant
    return jax.enable_x64(True)
