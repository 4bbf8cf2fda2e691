"""The function under test as a function of the floats among its arguments."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet._errors import ParameterError
from funcnet._types import Host
from funcnet.backprop import argument_names
from funcnet.check.noise import wide

Arrays = Sequence[Any]


@dataclass(frozen=True, eq=False)
class Subject:
    """A function and the arguments to check it at.

    Attributes:
        fun: the function.
        args: its arguments as they came.
        xs: the floats to differentiate, in double precision.
        names: their names, `x` or `params['w']`.
        places: for each of them, which argument it belongs to.
        rest: the other arrays: integers, bools, keys, and floats of arguments that are not asked for.
        dtypes: of the floats, as they came.
        call: puts `(rest, *xs)` into the arguments and calls any function of the same signature on them.
        split: `(rest, xs)` of other arguments of the same structure.
    """

    fun: Callable
    args: tuple[Any, ...]
    xs: tuple[Host, ...]
    names: tuple[str, ...]
    places: tuple[int, ...]
    rest: tuple[Any, ...]
    dtypes: tuple[Any, ...]
    call: Callable[..., Any]
    split: Callable[[Sequence[Any]], tuple[tuple[Any, ...], tuple[Any, ...]]]

    @property
    def name(self) -> str:
        """How the function is called."""
        inner = _jax.written(self.fun.func if isinstance(self.fun, functools.partial) else self.fun)
        return getattr(inner, "__name__", type(inner).__name__)

    def floats(self, function: Callable) -> Callable[..., tuple[Any, ...]]:
        """`(rest, *xs) -> ys`: the floats of the result of a function of this signature."""

        def flat(rest: Arrays, *xs: Any) -> tuple[Any, ...]:
            leaves = jax.tree.leaves(self.call(function, rest, xs))
            return tuple(y for y in map(jnp.asarray, leaves) if jnp.issubdtype(y.dtype, jnp.inexact))

        return flat

    def at(self, dtype: Any) -> tuple[Host, ...]:
        """The floats in another dtype, or for None in the dtypes that they came in."""
        kinds = self.dtypes if dtype is None else [as_kind(kind, dtype) for kind in self.dtypes]
        return tuple(x.astype(kind) for x, kind in zip(self.xs, kinds, strict=True))


def as_kind(dtype: Any, wanted: Any) -> Any:
    """The dtype of the wanted precision that holds such numbers: complex ones have two parts."""
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    return jnp.promote_types(wanted, jnp.complex64) if is_complex else jnp.dtype(wanted)


def subject(fun: Callable, args: Sequence[Any], argnums: int | Sequence[int] | None = None) -> Subject:
    """Sort the leaves of the arguments: floats, other arrays, and what is fixed (strings, functions, ints).

    Args:
        fun: the function.
        args: its arguments.
        argnums: which of them are differentiated; None for all.

    Raises:
        ParameterError: fun is no function, or none of the arguments asked for is a float.
    """
    if not callable(fun):
        raise ParameterError(f"check: got {fun!r}, expected a function; write check_vjp(f, *args)")
    _check_signature(fun, args)
    asked = _asked(argnums, len(args))
    static = {i for i in getattr(fun, "nondiff_argnums", ()) if i < len(args)}

    def dynamic(args: Sequence[Any]) -> tuple[tuple[Any, ...], dict]:
        return tuple(None if i in static else arg for i, arg in enumerate(args)), {}

    paths, tree = jax.tree_util.tree_flatten_with_path(dynamic(args))
    leaves, places = [leaf for _, leaf in paths], [path[1].idx for path, _ in paths]
    inexact = [i for i, leaf in enumerate(leaves) if _is_float(leaf)]
    floats = [i for i in inexact if places[i] in asked]
    others = [i for i, leaf in enumerate(leaves) if i not in floats and (_is_array(leaf) or i in inexact)]
    if not floats:
        raise ParameterError(
            f"check of {getattr(fun, '__name__', fun)}: none of its {len(asked)} arguments is a float, "
            f"expected one at least to differentiate; pass floats as arrays or numbers"
        )

    def call(function: Callable, rest: Arrays, xs: Arrays) -> Any:
        replaced = {i: _fitting(x, leaves[i], xs[0]) for i, x in zip(others, rest, strict=True)}
        replaced |= dict(zip(floats, xs, strict=True))
        put_back, _ = jax.tree.unflatten(tree, [replaced.get(i, leaf) for i, leaf in enumerate(leaves)])
        return function(*(args[i] if i in static else arg for i, arg in enumerate(put_back)))

    def split(args: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        leaves = jax.tree.leaves(dynamic(args))
        return tuple(leaves[i] for i in others), tuple(leaves[i] for i in floats)

    others_given, given = split(args)
    rest = tuple(x if _is_float(x) else jnp.asarray(x) for x in others_given)
    named = argument_names(_jax.written(fun), [path for path, _ in paths])
    names, at = tuple(named[i] for i in floats), tuple(places[i] for i in floats)
    scalar = jnp.result_type(float, *(jnp.result_type(x) for x in given if _is_array(x)))
    dtypes = tuple(_dtype(x, scalar) for x in given)
    return Subject(fun, tuple(args), tuple(map(wide, given)), names, at, rest, dtypes, call, split)


def _check_signature(fun: Callable, args: Sequence[Any]) -> None:
    try:
        signature = inspect.signature(fun, follow_wrapped=not inspect.isfunction(fun))
    except (TypeError, ValueError):
        return  # builtins have none
    try:
        signature.bind(*args)
    except TypeError as error:
        name = getattr(fun, "__name__", "the function")
        raise ParameterError(
            f"check: {error}; got {len(args)} for {name}{signature}. Bind keywords with functools.partial"
        ) from None


def _asked(argnums: Any, count: int) -> set[int]:
    if argnums is None:
        return set(range(count))
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not places or not all(isinstance(i, int) and -count <= i < count for i in places):
        raise ParameterError(
            f"check: argnums={argnums!r}, expected places from 0 to {count - 1}, of the arguments to "
            "differentiate"
        )
    return {i % count for i in places}


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic))


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, (float, complex)) or (_is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact))


def _dtype(leaf: Any, scalar: Any) -> Any:
    """The dtype of an array; a plain number has that of the arrays beside it."""
    if _is_array(leaf):
        return jnp.dtype(jax.dtypes.canonicalize_dtype(leaf.dtype))
    return as_kind(jnp.result_type(leaf), jnp.finfo(scalar).dtype)


def _fitting(x: Any, leaf: Any, beside: Any) -> Any:
    """A float that is not differentiated, widened where those beside it are in float64."""
    if not _is_float(leaf) or jnp.finfo(jnp.result_type(beside)).bits < 64:
        return x
    return jnp.asarray(x).astype(as_kind(jnp.result_type(leaf), jnp.float64))
