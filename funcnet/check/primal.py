"""The function under test as a function of its floats, and the same function without its own rules.

A check needs the function twice: as it is, with the gradient in question, and undecorated, so that
autodiff and differences see only what it computes. The undecorated one is the program of the function
in which every `custom_jvp` and `custom_vjp`, at whatever depth, is replaced by its primal.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet._errors import ParameterError
from funcnet._types import Host
from funcnet.backprop import argument_names
from funcnet.backprop.activity import active, is_in
from funcnet.backprop.program import CALLS, evaluate
from funcnet.rules import RULES

Arrays = Sequence[Any]

_VALUES = {"svd": (0, "singular values"), "eigh": (1, "eigenvalues"), "eig": (0, "eigenvalues")}
"""Of a decomposition the place of its values among its results, and their name."""

_CUSTOM = ("custom_jvp_call", "custom_vjp_call")


@dataclass(frozen=True, eq=False)
class Subject:
    """A function and the arguments to check it at.

    Attributes:
        fun: the function.
        given: the floats as they came.
        xs: the floats among the leaves of its arguments: what is differentiated.
        names: their names, `x` or `params['w']`.
        rest: the other arrays: integers, bools, keys.
        dtypes: of the floats, as they came.
        call: puts `(rest, *xs)` into the arguments and calls any function of the same signature on them.
        split: `(rest, xs)` of other arguments of the same structure.
    """

    fun: Callable
    given: tuple[Any, ...]
    xs: tuple[Host, ...]
    names: tuple[str, ...]
    rest: tuple[Any, ...]
    dtypes: tuple[Any, ...]
    call: Callable[..., Any]
    split: Callable[[Sequence[Any]], tuple[Arrays, Arrays]]

    @property
    def name(self) -> str:
        """How the function is called."""
        inner = self.fun.func if isinstance(self.fun, functools.partial) else self.fun
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
    wanted = jnp.dtype(wanted)
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return wanted
    return jnp.dtype(jnp.complex128 if wanted.itemsize == 8 else jnp.complex64)


def wide(x: Any) -> Host:
    """A float array in double precision."""
    x = np.asarray(x)
    return x.astype(np.complex128 if jnp.issubdtype(x.dtype, jnp.complexfloating) else np.float64)


def subject(fun: Callable, args: Sequence[Any]) -> Subject:
    """Sort the leaves of the arguments: floats, other arrays, and what is fixed (strings, functions, ints).

    Raises:
        ParameterError: fun is no function, or no argument is a float.
    """
    if not callable(fun):
        raise ParameterError(f"check: got {fun!r}, expected a function; write check_vjp(f, *args)")
    _check_signature(fun, args)
    static = {i for i in getattr(fun, "nondiff_argnums", ()) if i < len(args)}
    given = tuple(None if i in static else arg for i, arg in enumerate(args))
    paths, tree = jax.tree_util.tree_flatten_with_path((given, {}))
    leaves = [leaf for _, leaf in paths]
    floats = [i for i, leaf in enumerate(leaves) if _is_float(leaf)]
    others = [i for i, leaf in enumerate(leaves) if _is_array(leaf) and i not in floats]
    if not floats:
        raise ParameterError(
            f"check of {getattr(fun, '__name__', fun)}: none of its {len(leaves)} arguments is a float, "
            f"expected one at least to differentiate; pass floats as arrays or numbers"
        )

    def call(function: Callable, rest: Arrays, xs: Arrays) -> Any:
        replaced = {**dict(zip(others, rest, strict=True)), **dict(zip(floats, xs, strict=True))}
        dynamic, _ = jax.tree.unflatten(tree, [replaced.get(i, leaf) for i, leaf in enumerate(leaves)])
        return function(*(args[i] if i in static else arg for i, arg in enumerate(dynamic)))

    def split(args: Sequence[Any]) -> tuple[Arrays, Arrays]:
        leaves = jax.tree.leaves((tuple(None if i in static else arg for i, arg in enumerate(args)), {}))
        return tuple(leaves[i] for i in others), tuple(leaves[i] for i in floats)

    names = argument_names(fun, [path for path, _ in paths])
    strong = [jnp.result_type(leaves[i]) for i in floats if _is_array(leaves[i])]
    scalar = jnp.result_type(float, *strong)
    return Subject(
        fun,
        tuple(leaves[i] for i in floats),
        tuple(wide(leaves[i]) for i in floats),
        tuple(names[i] for i in floats),
        tuple(leaves[i] for i in others),
        tuple(_dtype(leaves[i], scalar) for i in floats),
        call,
        split,
    )


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


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic))


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, (float, complex)) or (_is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact))


def _dtype(leaf: Any, scalar: Any) -> Any:
    """The dtype of an array; a plain number has that of the arrays beside it."""
    if _is_array(leaf):
        return jnp.dtype(jax.dtypes.canonicalize_dtype(leaf.dtype))
    return as_kind(jnp.result_type(leaf), jnp.finfo(scalar).dtype)


@dataclass(frozen=True, eq=False)
class Primal:
    """The undecorated program of a function: `primal(rest, *xs) -> ys`.

    Attributes:
        jaxpr: the program, with its custom rules taken out.
        consts: what it closes over.
        others: how many inputs come before the floats.
    """

    jaxpr: _jax.Jaxpr
    consts: Sequence[Any]
    others: int

    def __call__(self, rest: Arrays, *xs: Any) -> tuple[Any, ...]:
        """Run it."""
        return tuple(_run(self.jaxpr, self.consts, [*jax.tree.leaves(tuple(rest)), *xs]))

    def depends(self) -> tuple[bool, ...]:
        """For each float of the arguments: whether the result depends on it, other than by steps."""
        floats = range(self.others, len(self.jaxpr.invars))
        return tuple(any(is_in(self._moved_by(i), v) for v in self.jaxpr.outvars) for i in floats)

    def draws(self) -> bool:
        """Whether it draws random numbers, which are others in another dtype."""
        return any(eqn.primitive.name.startswith(("random_", "threefry")) for eqn in _all(self.jaxpr))

    def iterates(self) -> bool:
        """Whether it has a loop that decides itself when to stop."""
        return any(eqn.primitive.name == "while" for eqn in _all(self.jaxpr))

    def equal_values(self, rest: Arrays, *xs: Any, within: float) -> str:
        """What is equal there whose vectors are used: "eigenvalues", "singular values", or nothing.

        Args:
            rest: the other arrays.
            *xs: the floats.
            within: how far equal ones may be apart, relative to the largest.
        """
        used = {id(v) for eqn in self.jaxpr.eqns for v in eqn.invars} | set(map(id, self.jaxpr.outvars))
        found: list[str] = []

        def watched(eqn: _jax.Equation, inputs: Sequence[Any]) -> Sequence[Any]:
            ys = _run_bare(eqn, inputs)
            place, name = _VALUES.get(eqn.primitive.name, (None, ""))
            vectors = [v for k, v in enumerate(eqn.outvars) if k != place]
            if place is not None and any(id(v) in used for v in vectors):
                w = np.asarray(ys[place])
                gaps = np.abs(w[..., :, None] - w[..., None, :]) + np.diag(np.full(w.shape[-1], np.inf))
                if (gaps <= within * np.abs(w).max(axis=-1, initial=0)[..., None, None]).any():
                    found.append(name)
            return ys

        evaluate(self.jaxpr, self.consts, [*jax.tree.leaves(tuple(rest)), *xs], watched)
        return next(iter(found), "")

    def narrowest(self) -> Any:
        """The shortest float dtype between the arguments and the result: what its values are good to."""
        moved = frozenset().union(*(self._moved_by(i) for i in range(self.others, len(self.jaxpr.invars))))
        kinds = [kind for eqn in self.jaxpr.eqns for kind in _kinds(eqn, moved)]
        return max(kinds, key=lambda kind: jnp.finfo(kind).eps, default=jnp.dtype(jnp.float64))

    def _moved_by(self, i: int) -> frozenset[_jax.Var]:
        asked = tuple(i == k for k in range(len(self.jaxpr.invars)))
        return active(self.jaxpr, asked, RULES)


def custom_rules(jaxpr: _jax.Jaxpr) -> int:
    """How many custom rules a program calls."""
    inside = [
        part for eqn in jaxpr.eqns if eqn.primitive.name not in _CUSTOM for part, _ in _jax.programs(eqn)
    ]
    return sum(eqn.primitive.name in _CUSTOM for eqn in jaxpr.eqns) + sum(map(custom_rules, inside))


def _all(jaxpr: _jax.Jaxpr) -> list[_jax.Equation]:
    """The equations of a program and of the programs in it."""
    inner = [one for eqn in jaxpr.eqns for part, _ in _jax.programs(eqn) for one in _all(part)]
    return [*jaxpr.eqns, *inner]


def _kinds(eqn: _jax.Equation, moved: Collection[_jax.Var]) -> list[Any]:
    """The float dtypes of the results of an equation, those inside of its programs among them."""
    if not any(is_in(moved, v) for v in eqn.outvars):
        return []
    inner = [v for jaxpr, _ in _jax.programs(eqn) for one in _all(jaxpr) for v in one.outvars]
    dtypes = [v.aval.dtype for v in (*eqn.outvars, *inner) if hasattr(v.aval, "dtype")]
    return [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.inexact)]


def undecorated(flat: Callable, rest: Arrays, xs: Arrays) -> Primal:
    """Trace `flat(rest, *xs)` and take the custom rules out of its program."""
    closed = jax.make_jaxpr(flat)(tuple(rest), *xs)
    jaxpr, consts = _jax.open_jaxpr(closed)
    avals = [v.aval for v in jaxpr.invars]
    bare = _bare(jaxpr, consts, avals)
    jaxpr_, consts_ = _jax.open_jaxpr(bare)
    return Primal(jaxpr_, [_as_host(c) for c in consts_], len(jax.tree.leaves(tuple(rest))))


def _as_host(const: Any) -> Any:
    """An array that is committed to no device, so that the oracles run where they like."""
    is_key = isinstance(const, jax.Array) and jnp.issubdtype(const.dtype, jax.dtypes.prng_key)
    return const if is_key or not isinstance(const, jax.Array) else np.asarray(const)


def _bare(jaxpr: _jax.Jaxpr, consts: Sequence[Any], avals: Sequence[Any]) -> Any:
    return jax.make_jaxpr(lambda *xs: _run(jaxpr, consts, xs))(*(_stand_in(aval) for aval in avals))


def _stand_in(aval: Any) -> Any:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _run(jaxpr: _jax.Jaxpr, consts: Sequence[Any], xs: Sequence[Any]) -> list[Any]:
    """Run a program: calls and custom rules inlined, loops and branches with their own programs bare."""
    return evaluate(jaxpr, consts, xs, _run_bare)


def _run_bare(eqn: _jax.Equation, xs: Sequence[Any]) -> list[Any]:
    if eqn.primitive.name in CALLS:
        return _run(*_jax.called(eqn), xs)
    if any(custom_rules(part) for part, _ in _jax.programs(eqn)):
        eqn = _jax.with_programs(eqn, lambda part, consts: _bare(part, consts, [v.aval for v in part.invars]))
    return _jax.bind(eqn, xs)
