"""Each row of the border gives with funcnet what it gives with JAX, in the same run."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet._errors import FuncnetError, GradientError
from tests.backprop import (
    border_batched,
    border_calls,
    border_closures,
    border_dtypes,
    border_foreign,
    border_hijax,
    border_mixed,
    border_options,
    border_recursion,
    border_refs,
    border_residuals,
    border_results,
    border_returns,
    border_settings,
    border_sharded,
    border_sparse,
    border_staged,
    border_values,
    border_zeros,
)
from tests.backprop.border import FUNCNET, JAX, ULPS, Kind, Library, Row

FILES = [
    border_returns,
    border_dtypes,
    border_residuals,
    border_closures,
    border_recursion,
    border_options,
    border_foreign,
    border_sparse,
    border_results,
    border_zeros,
    border_calls,
    border_hijax,
    border_batched,
    border_refs,
    border_staged,
    border_values,
    border_mixed,
    border_settings,
    border_sharded,
]
KINDS: Sequence[Kind] = [kind for file in FILES for kind in vars(file).values() if isinstance(kind, Kind)]


@dataclass(frozen=True)
class Outcome:
    """What a row came to: an answer, or an error."""

    answer: Any = None
    error: Exception | None = None

    def __str__(self) -> str:
        if self.error is None:
            return f"the answer {self.answer}"
        return f"{type(self.error).__name__}: {self.error}"


def outcome(row: Row, library: Library) -> Outcome:
    try:
        return Outcome(answer=row.function(library))
    except Exception as error:
        return Outcome(error=error)


def assert_same(ours: Outcome, theirs: Outcome, ulps: float = ULPS) -> None:
    """Ours is theirs: the same tree with leaves of the same kind, or an error of the same type or our own."""
    assert (ours.error is None) == (theirs.error is None), f"{ours}\nwhere JAX has {theirs}"
    if theirs.error is not None:
        assert isinstance(ours.error, (type(theirs.error), FuncnetError)), f"{ours}\nwhere JAX has {theirs}"
        return
    trees = jax.tree.structure(ours.answer), jax.tree.structure(theirs.answer)
    assert trees[0] == trees[1], f"{trees[0]} where JAX has {trees[1]}"
    leaves = jax.tree.leaves_with_path(ours.answer), jax.tree.leaves(theirs.answer)
    for (path, our), their in zip(*leaves, strict=True):
        where = f"result{jax.tree_util.keystr(path)}"
        kinds = described(our), described(their)
        if isinstance(our, jax.Array) and handed_through(their):
            kinds = described(our), described(jnp.asarray(their))
        assert kinds[0] == kinds[1], f"{where} is {kinds[0]} where JAX has {kinds[1]}"
        assert_equal(our, their, ulps, where)


NUMBERS = (float, complex, np.inexact)


def handed_through(leaf: Any) -> bool:
    """Whether JAX gives the user's number back, or NumPy array in a class of its own: an array is as good."""
    return isinstance(leaf, NUMBERS) or (isinstance(leaf, np.ndarray) and type(leaf) is not np.ndarray)


def described(leaf: Any) -> str:
    """What kind of value a leaf is, but for its numbers."""
    if isinstance(leaf, jax.core.Tracer):
        return f"a tracer {leaf}"
    if isinstance(leaf, jax.Array):
        return f"a {'weakly typed ' * leaf.weak_type}jax.Array {leaf.dtype}{list(leaf.shape)}"
    if isinstance(leaf, np.ndarray):
        return f"a np.ndarray {leaf.dtype}{list(leaf.shape)}"
    return f"a {type(leaf).__module__}.{type(leaf).__name__}"


def assert_equal(our: Any, their: Any, ulps: float, where: str) -> None:
    """The same numbers, floats up to rounding."""
    dtype = jnp.result_type(their) if isinstance(their, NUMBERS) else getattr(their, "dtype", None)
    if dtype == jax.dtypes.float0:
        return
    if dtype is None or not jnp.issubdtype(dtype, jnp.inexact):
        assert np.array_equal(our, their), f"{where} is {our} where JAX has {their}"
        return
    precision = jnp.finfo(dtype)
    wide = np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64
    numbers = [np.asarray(x).astype(wide) for x in (our, their)]
    rtol, atol = ulps * float(precision.eps), float(precision.tiny)
    same = np.allclose(*numbers, rtol=rtol, atol=atol, equal_nan=True)
    assert same, f"{where} is {our} where JAX has {their}"


def assert_as_jax(row: Row) -> None:
    """The row does with funcnet what it does with JAX, and that is what it says of itself."""
    theirs = outcome(row, JAX)
    if row.raises is None and theirs.error is not None:
        raise theirs.error
    assert isinstance(theirs.error, row.raises or type(None)), f"JAX has {theirs}"
    ours = outcome(row, FUNCNET)
    if row.right is not None and ours.error is None:
        theirs = Outcome(row.right())
    assert_same(ours, theirs, row.ulps)


ROWS_RUN = itertools.count(1)


@pytest.fixture
def forgetting():
    """What JAX keeps of some thousand small programs fills gigabytes."""
    yield
    if next(ROWS_RUN) % 200 == 0:
        jax.clear_caches()


@pytest.mark.in_turns(40)
@pytest.mark.usefixtures("forgetting")
@pytest.mark.parametrize("row", [row for kind in KINDS for row in kind.rows], ids=str)
def test_as_jax_does(row):
    assert_as_jax(row)


@pytest.mark.parametrize(("of", "to"), border_dtypes.CONVERSIONS)
def test_a_gradient_has_the_dtype_of_its_argument(of, to):
    """JAX lets out what a backward rule returns."""
    f = border_dtypes.wrong_dtype(to)
    gradient = FUNCNET.grad(f, holomorphic=of == jnp.complex64)(jnp.ones(3, of))
    assert isinstance(gradient, jax.Array)
    assert gradient.dtype == of


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_a_kind_has_many_members(kind):
    assert len(kind.rows) >= 6


def test_no_file_is_forgotten():
    found = {path.stem for path in Path(__file__).parent.glob("border_*.py")}
    shared = {"border_history", "border_library"}
    assert found - shared == {file.__name__.rpartition(".")[2] for file in FILES}


NUMBER = jnp.asarray(0.7)  # weakly typed
ARRAY = jnp.float32([0.7, 1.3])

DIFFERENT = {
    "a value": (Outcome(ARRAY * (1 + 1e-3)), Outcome(ARRAY)),
    "a value among others": (
        Outcome({"a": [NUMBER, ARRAY]}),
        Outcome({"a": [NUMBER, ARRAY.at[1].add(1e-3)]}),
    ),
    "a small value beside large ones": (
        Outcome(jnp.float32([1e-3, 1e3])),
        Outcome(jnp.float32([1.001e-3, 1e3])),
    ),
    "zero": (Outcome(jnp.float32(0)), Outcome(jnp.float32(1e-3))),
    "not a number": (Outcome(jnp.float32(np.nan)), Outcome(jnp.float32(0))),
    "a number": (Outcome(jnp.float32(0)), Outcome(jnp.float32(np.nan))),
    "a dtype": (Outcome(ARRAY.astype(jnp.bfloat16)), Outcome(ARRAY.astype(jnp.float16))),
    "float0": (Outcome(np.zeros(2, bool)), Outcome(np.zeros(2, jax.dtypes.float0))),
    "a weak type": (Outcome(jnp.float32(0.7)), Outcome(NUMBER)),
    "a strong type": (Outcome(NUMBER), Outcome(jnp.float32(0.7))),
    "a shape": (Outcome(ARRAY), Outcome(ARRAY[None])),
    "a NumPy array": (Outcome(np.asarray(ARRAY)), Outcome(ARRAY)),
    "a NumPy scalar": (Outcome(np.float32(0.7)), Outcome(np.asarray(np.float32(0.7)))),
    "a JAX array": (Outcome(ARRAY), Outcome(np.asarray(ARRAY))),
    "a Python number": (Outcome(0.5), Outcome(jnp.asarray(0.5))),
    "a strong array for a Python number": (Outcome(jnp.float32(0.5)), Outcome(0.5)),
    "an array for a count": (Outcome(jnp.asarray(1)), Outcome(1)),
    "a bool for an int": (Outcome(True), Outcome(1)),
    "another int": (Outcome(1), Outcome(2)),
    "another word": (Outcome("a"), Outcome("b")),
    "a tuple for a list": (Outcome((ARRAY,)), Outcome([ARRAY])),
    "None": (Outcome(None), Outcome(ARRAY)),
    "a leaf more": (Outcome([ARRAY, ARRAY]), Outcome([ARRAY])),
    "another key": (Outcome({"a": ARRAY}), Outcome({"b": ARRAY})),
    "an error for an answer": (Outcome(error=GradientError("no")), Outcome(ARRAY)),
    "an answer for an error": (Outcome(ARRAY), Outcome(error=TypeError("no"))),
    "None for an error": (Outcome(), Outcome(error=TypeError("no"))),
    "an error of another type": (Outcome(error=KeyError("no")), Outcome(error=TypeError("no"))),
}


@pytest.mark.parametrize(("ours", "theirs"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_is_seen(ours, theirs):
    assert_same(ours, ours)
    assert_same(theirs, theirs)
    with pytest.raises(AssertionError):
        assert_same(ours, theirs)


def test_a_tracer_is_no_array():
    kept = []
    jax.make_jaxpr(kept.append)(0.7)
    with pytest.raises(AssertionError, match="a tracer"):
        assert_same(Outcome(kept), Outcome([NUMBER]))


SAME = {
    "rounding": (Outcome(ARRAY * (1 + 1e-7)), Outcome(ARRAY)),
    "an error of our own": (Outcome(error=GradientError("no")), Outcome(error=ValueError("no"))),
    "a more special error": (Outcome(error=GradientError("no")), Outcome(error=TypeError("no"))),
    "an array for a Python number": (Outcome(NUMBER), Outcome(0.7)),
    "an array for a NumPy number": (Outcome(ARRAY[0]), Outcome(np.float32(0.7))),
    "no number": (Outcome(jnp.float32(np.nan)), Outcome(jnp.float32(np.nan))),
}


@pytest.mark.parametrize(("ours", "theirs"), SAME.values(), ids=SAME)
def test_what_is_the_same_passes(ours, theirs):
    assert_same(ours, theirs)
