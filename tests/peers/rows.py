"""A row is a scalar loss that goes through somebody else's library, and the point where it is differentiated.

Its gradient by funcnet is compared with `jax.grad`'s in the same program. What the library computes forward
is then computed once for both, so that an iteration stops at the same step, and what differs is the way back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import funcnet
from tests.backprop.compare import assert_close


@dataclass(frozen=True)
class Row:
    """A loss and where to differentiate it.

    Attributes:
        name: what is special about it.
        loss: of one pytree, to a scalar.
        at: that pytree. Its floats are taken as JAX makes them by default: float32, or under x64 float64.
        make: what makes the two, for models that are built only where they are tested.
        second: whether the gradient of a function of the gradient is compared too.
        turns: on every how many-th day it runs: what takes seconds to compile takes turns.
        single: the tolerance in float32, relative to the largest entry of the gradient.
        double: the same in float64, relative to the largest entry of each of its leaves.
        reason: why a tolerance is not the default.
    """

    name: str
    loss: Callable[[Any], Any] | None = None
    at: Any = None
    make: Callable[[], tuple[Callable[[Any], Any], Any]] | None = None
    second: bool = False
    turns: int = 1
    single: float = 1e-6
    double: float = 1e-12
    reason: str = ""

    def __post_init__(self):
        default = (self.single, self.double) == (Row.single, Row.double)
        assert default or self.reason, f"{self}: give the reason"

    def __str__(self) -> str:
        return self.name


def parametrize(rows: list[Row]) -> pytest.MarkDecorator:
    """A test of each row, by the name `row`."""
    marks = [[pytest.mark.in_turns(row.turns)] if row.turns > 1 else [] for row in rows]
    params = [pytest.param(row, id=row.name, marks=its) for row, its in zip(rows, marks, strict=True)]
    return pytest.mark.parametrize("row", params)


def as_default(x: Any) -> Any:
    """Floats as JAX makes them by default; integers, booleans and keys as they are."""
    if jax.dtypes.issubdtype(jnp.result_type(x), jnp.inexact):
        return jnp.asarray(x, complex if np.iscomplexobj(x) else float)
    return jnp.asarray(x)


def derivatives(loss: Callable, library: Any, x: Any, second: bool) -> list[Any]:
    """The value, the gradient and, if it is asked for, the gradient of a function of the gradient."""
    value, x_bar = library.value_and_grad(loss)(x)

    def bend(x: Any) -> Any:
        return sum(jnp.sum(jnp.cos(g)) for g in jax.tree.leaves(library.grad(loss)(x)))

    return [value, x_bar, library.grad(bend)(x)] if second else [value, x_bar]


def check(row: Row, jit: Callable) -> None:
    """Compare with `jax.value_and_grad`: numbers, structure, dtypes, weak types."""
    loss, at = row.make() if row.make else (row.loss, row.at)

    @jit
    def both(x: Any) -> list[Any]:
        return [derivatives(loss, library, x, row.second) for library in (jax, funcnet)]

    theirs, ours = both(jax.tree.map(as_default, at))
    assert any(np.any(x_bar) for x_bar in jax.tree.leaves(theirs[1])), f"{row}: no gradient flows"
    assert jax.tree.structure(ours) == jax.tree.structure(theirs), row.name
    assert [x.aval for x in jax.tree.leaves(ours)] == [x.aval for x in jax.tree.leaves(theirs)], row.name
    if jax.config.jax_enable_x64:
        assert_close(ours, theirs, row.double, row.name)
    else:
        assert_close(
            *([ravel_pytree(x)[0] for x in result] for result in (ours, theirs)), row.single, row.name
        )
