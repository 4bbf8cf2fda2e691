"""Arguments as Python that makes them again: small arrays as they are, large ones by seed and range."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FEW = 4
"""Arrays of up to so many elements are written out by default."""


def written(x: Any, limit: int = FEW) -> str:
    """A value as Python: containers and their leaves; arrays of more elements than the limit are drawn.

    >>> written((1.5, {"w": np.array([1, 2])}))
    "(1.5, {'w': jnp.array([1, 2], 'int64')})"
    >>> written(np.arange(9.0))
    "jnp.asarray(np.random.default_rng(0).uniform(0, 8, (9,)), 'float64')"
    """
    if isinstance(x, (jax.Array, np.ndarray, np.generic)):
        return _array(x, limit)
    if isinstance(x, dict):
        return "{" + ", ".join(f"{key!r}: {written(value, limit)}" for key, value in x.items()) + "}"
    if type(x) in (list, tuple):
        parts = ", ".join(written(part, limit) for part in x)
        return f"[{parts}]" if isinstance(x, list) else f"({parts}{',' * (len(x) == 1)})"
    if callable(x):
        return getattr(x, "__name__", type(x).__name__)
    text = repr(x)
    return text if len(text) <= 60 and "\n" not in text and "<" not in text else type(x).__name__


def _array(x: Any, limit: int) -> str:
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return f"jax.random.wrap_key_data({_array(jax.random.key_data(x), FEW)})"
    x = np.asarray(x)
    dtype, rng = x.dtype.name, "np.random.default_rng(0)"
    if not x.size:
        return f"jnp.zeros({x.shape}, {dtype!r})"
    if x.size <= limit:
        whole = {"threshold": sys.maxsize, "max_line_width": sys.maxsize, "formatter": {"all": str}}
        numbers = " ".join(np.array2string(x, separator=", ", **whole).split())
        return f"jnp.array({numbers.replace('nan', 'jnp.nan').replace('inf', 'jnp.inf')}, {dtype!r})"
    if dtype == "bool" or np.issubdtype(x.dtype, np.integer):
        return f"{rng}.integers({int(x.min())}, {int(x.max()) + 1}, {x.shape}, {dtype!r})"
    x = x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
    low, high = (f"{end:.4g}" for end in (x.real.min(), x.real.max()))
    drawn = f"{rng}.uniform({low}, {high}, {x.shape})"
    if np.iscomplexobj(x):
        drawn = f"({drawn} + 1j * np.random.default_rng(1).uniform({low}, {high}, {x.shape}))"
    return f"jnp.asarray({drawn}, {dtype!r})"
