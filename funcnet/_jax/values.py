"""Types and values: arrays of numbers, keys, what JAX was told of, mutable arrays; zeros and sums of them."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend import core, source_info_util
from jax.interpreters import ad

from funcnet._jax.tracing import eval_trace, set_current_trace, writes

Zero, UndefinedPrimal = ad.Zero, ad.UndefinedPrimal
"""In the rules of primitives: a tangent or cotangent that is zero, and the operand a transpose is for."""


def type_of(x: Any) -> Any:
    """The type of an array or a number; a type is its own."""
    return x if isinstance(x, jax.core.AbstractValue) else jax.typeof(x)


def with_shape(aval: Any, shape: tuple[int, ...]) -> Any:
    """The type of arrays of this shape of the same numbers, on no device in particular."""
    return jax.core.ShapedArray(shape, aval.dtype, aval.weak_type)


def bools(aval: Any) -> Any:
    """The type of arrays of bools of the shape of this type, where it lies."""
    return aval.update(dtype=np.dtype(bool), weak_type=False)


def is_of_numbers(aval: Any) -> bool:
    """Whether this is the type of arrays of numbers, and not one that says itself how to add its values."""
    return isinstance(aval, jax.core.ShapedArray) and isinstance(aval.dtype, np.dtype)


def has_own_tangents(aval: Any) -> bool:
    """Whether this is a type that is none of numbers, but has tangents: of hijax, or of an extended dtype."""
    if isinstance(aval, jax.core.ShapedArray):
        return not is_of_numbers(aval) and aval.to_tangent_aval().dtype != jax.dtypes.float0
    return hasattr(aval, "vspace_zero")


def is_ref(x: Any) -> bool:
    """Whether this is a mutable array."""
    return hasattr(getattr(x, "aval", None) or getattr(x, "_aval", None), "inner_aval")


def is_value(x: Any) -> bool:
    """Whether this is an array to JAX, a number, or a value of a type that JAX was told of; a ref is none."""
    try:
        return not hasattr(jax.typeof(x), "inner_aval")
    except TypeError:
        return False


def as_value(x: Any) -> Any:
    """A number as an array, and so one that JAX's forward mode follows: its rules ask for a dtype."""
    if isinstance(x, jax.core.Tracer) and is_of_numbers(jax.typeof(x)) and jax.typeof(x).weak_type:
        return x if writes(x._trace) else _as_weak(x)
    stands = isinstance(x, jax.Array) or is_ref(x) or hasattr(jax.typeof(x), "vspace_zero")
    return x if stands else jnp.asarray(x)


def canonical(x: Any) -> Any:
    """A number or an array of NumPy's as an array of JAX's, whatever is being traced; a tracer as it is."""
    if isinstance(x, jax.core.Tracer):
        return x
    with set_current_trace(eval_trace):
        return as_value(x)


def in_dtype(x: Any, aval: Any) -> Any:
    """An array or a number as an array of this type's dtype, as weak as it was if it had that."""
    x = jnp.asarray(x)
    return x if x.dtype == aval.dtype else x.astype(aval.dtype)


def weak(x: Any) -> Any:
    """The same number as weakly typed as a Python scalar: it does not widen what it is combined with."""
    return x if jax.typeof(x).weak_type else _as_weak(x)


def _as_weak(x: Any) -> Any:
    convert = core.primitives.convert_element_type_p
    return convert.bind(x, new_dtype=x.dtype, weak_type=True, sharding=None)


def add(x: Any, y: Any) -> Any:
    """The sum, as the type of the two defines it."""
    if not is_of_numbers(jax.typeof(x)):
        return ad.add_jaxvals(x, y)
    trace = core.find_top_trace((x, y))
    traced = getattr(x, "_trace", None) is trace and getattr(y, "_trace", None) is trace
    if not (traced and writes(trace) and x.aval == y.aval):
        return jax.lax.add(x, y)
    info = source_info_util.current()
    return trace.emit_eqn([x, y], [x.aval], jax.lax.add_p, {}, core.no_effects, source_info=info)[0]


def zeros(aval: Any) -> Any:
    """Zeros of this type, where one of it lies and varying over the same mesh axes."""
    return ad.zeros_like_aval(aval if is_of_numbers(aval) else aval.to_ct_aval())


def varying(aval: Any) -> frozenset[str]:
    """The mesh axes over which arrays of this type differ inside a `shard_map` that says so."""
    return getattr(getattr(aval, "manual_axis_type", None), "varying", frozenset())


def lying_as(x: Any, aval: Any) -> Any:
    """The same array where one of this type lies, as far as types say so: on explicit axes of a mesh."""
    wanted, came = getattr(aval, "sharding", None), getattr(jax.typeof(x), "sharding", None)
    if wanted is None or came is None or came == wanted or not (any(wanted.spec) or any(came.spec)):
        return x
    return x if _is_partial(wanted.spec) or _is_partial(came.spec) else jax.sharding.reshard(x, wanted)


def _is_partial(spec: Any) -> bool:
    """Whether a sum over devices is not taken yet of an array, or its gradient's will not be."""
    return bool(getattr(spec, "unreduced", None) or getattr(spec, "reduced", None))


def float0(aval: Any) -> Any:
    """JAX's cotangent of an integer, a bool or a key: an array of nothing."""
    return np.zeros(aval.shape, jax.dtypes.float0)


def zero_tangent(aval: Any) -> Any:
    """Zeros of the type of this type's tangents."""
    is_float = not is_of_numbers(aval) or jnp.issubdtype(aval.dtype, jnp.inexact)
    return zeros(aval) if is_float else float0(aval)


def symbolic_zero(aval: Any) -> Any:
    """What JAX hands to rules that want to know which tangents and cotangents are zero."""
    return SymbolicZero(aval.to_tangent_aval())


def internal_zero(aval: Any) -> Any:
    """What the rules of primitives get for a tangent or cotangent that is zero."""
    return Zero(aval.to_tangent_aval())


def varies_like(x: Any, other: Any) -> bool:
    """Whether one array varies over all mesh axes over which another does."""
    return varying(jax.typeof(other)) <= varying(jax.typeof(x))
