"""How a program is compared with JAX: its value, its gradient and its second derivative.

In float64 a tolerance says by how much two ways of rounding may differ. In float32 no constant can: the
error depends on the program's conditioning, and on how LAPACK and XLA order their sums on the processor at
hand. There the noise is measured: the inputs are rounded in other ways, and what that and JAX's own
arithmetic change is what rounding does to this program on this machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcnet


@dataclass(frozen=True)
class Row:
    """A program and where to evaluate it.

    Attributes:
        name: what is special about it.
        function: of arrays and pytrees of arrays, to a pytree of arrays.
        arguments: a gradient is asked for every float in them.
        second: whether the second derivative is compared too.
        reason: why not.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    second: bool = True
    reason: str = ""

    def __post_init__(self):
        assert self.second or self.reason, f"{self}: give the reason"

    def __str__(self) -> str:
        return self.name


def check(row: Row, tolerance: float = 1e-12) -> None:
    """Compare a row with `jax.value_and_grad` under jit; call it under x64.

    The tolerance is relative to the largest element of JAX's result; ten times as wide for the second order.
    """

    def both(*xs: Any) -> list[Any]:
        return [_derivatives(row, library, xs) for library in (funcnet, jax)]

    derivatives = jax.jit(both)
    ours, theirs = derivatives(*row.arguments)
    assert np.abs(np.concatenate([np.ravel(x_bar) for x_bar in theirs[1]])).max() > 0, (
        f"{row}: no gradient flows"
    )
    for order, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert_close(a, b, tolerance * (10 if order == 2 else 1), f"{row}, order {order}")


def check_eager(row: Row, tolerance: float = 1e-12) -> None:
    """The same without jit, to the first order: calls and loops are compiled one by one."""
    assert_close(
        *(_first(row, library)(*row.arguments) for library in (funcnet, jax)), tolerance, f"{row}, eager"
    )


def assert_close(ours: Any, theirs: Any, tolerance: float, message: str = "") -> None:
    """The same structure, shapes, dtypes and, up to the tolerance, numbers; all of them finite."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs), message
    for path, b in jax.tree_util.tree_leaves_with_path(theirs):
        a = dict(jax.tree_util.tree_leaves_with_path(ours))[path]
        assert (jnp.shape(a), jnp.result_type(a)) == (jnp.shape(b), jnp.result_type(b)), message
        if jnp.issubdtype(jnp.result_type(b), jnp.inexact):
            assert np.isfinite(b).all(), f"{message}: JAX's own result is not finite"
            atol = tolerance * np.abs(b).max(initial=0)
            np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=message)


SLACK = 4
"""How often the largest noise of a few draws another way of rounding may be off."""

DRAWS = 8


def redrawn(xs: Any) -> list[Any]:
    """The arguments, and their float32 numbers moved by up to an ulp, in several ways."""
    rng = np.random.default_rng(7)

    def moved(x: Any) -> Any:
        if jnp.result_type(x) != jnp.float32:
            return x
        return x * (1 + jnp.finfo(jnp.float32).eps * rng.choice([-1, 0, 1], jnp.shape(x))).astype(x.dtype)

    return [xs, *(jax.tree.map(moved, xs) for _ in range(DRAWS))]


def wide(tree: Any) -> Any:
    """The same numbers in float64."""
    return jax.tree.map(lambda x: np.float64(x) if jnp.result_type(x) == jnp.float32 else x, tree)


def assert_rounded(ours: Any, theirs: Callable, exact: Callable, xs: Any) -> None:
    """A float32 result is as near to the float64 one as rounding allows.

    Args:
        ours: the result in question, at xs.
        theirs: the same by JAX, `theirs(*xs)`.
        exact: the same by JAX in float64, of arguments in float64; or `theirs` itself where there is no such.
        xs: the arguments.
    """
    points = redrawn(xs)
    singles, exacts = [theirs(*x) for x in points], [exact(*wide(x)) for x in points]
    assert jax.tree.structure(ours) == jax.tree.structure(singles[0])
    columns = (map(jax.tree.leaves, results) for results in (singles, exacts))
    leaves = [zip(*column, strict=True) for column in columns]
    for (path, our), single, true in zip(jax.tree.leaves_with_path(ours), *leaves, strict=True):
        where = jax.tree_util.keystr(path)
        assert our.aval == single[0].aval, where
        single, true = wide(list(single)), [np.asarray(x) for x in true]
        conditioning = max(np.abs(x - true[0]).max(initial=0) for x in true)
        rounding = max(np.abs(x - y).max(initial=0) for x, y in zip(single, true, strict=True))
        scale = np.abs(true[0]).max(initial=0)
        bound = SLACK * (conditioning + rounding + np.finfo(np.float32).eps * scale)
        assert bound <= 1e-3 * scale, f"{where}: noise hides an error of 0.1 %"
        np.testing.assert_allclose(wide(our), true[0], rtol=0, atol=bound, err_msg=where)


def _first(row: Row, library: Any) -> Callable[..., Any]:
    """Value and gradient of a weighted sum of all floats that the program returns."""

    def loss(*xs: Any) -> Any:
        ys = [
            y for y in jax.tree.leaves(row.function(*xs)) if jnp.issubdtype(jnp.result_type(y), jnp.inexact)
        ]
        return sum(jnp.sum(jnp.real(_weights(y) * y)) for y in ys)

    places = tuple(range(len(row.arguments)))

    def first(*xs: Any) -> tuple[Any, list[Any]]:
        value, x_bars = library.value_and_grad(loss, places, allow_int=True)(*xs)
        return value, [x_bar for x_bar in jax.tree.leaves(x_bars) if x_bar.dtype != jax.dtypes.float0]

    return first


def _derivatives(row: Row, library: Any, xs: Any) -> list[Any]:
    first = _first(row, library)
    if not row.second:
        return list(first(*xs))

    def slope(*xs: Any) -> Any:
        value, x_bars = first(*xs)
        return sum(jnp.sum(jnp.real(_weights(x_bar) * x_bar)) for x_bar in x_bars), (value, x_bars)

    places = tuple(range(len(xs)))
    second, (value, x_bars) = library.grad(slope, places, has_aux=True, allow_int=True)(*xs)
    return [value, x_bars, [g for g in jax.tree.leaves(second) if g.dtype != jax.dtypes.float0]]


def _weights(y: Any) -> Any:
    """Numbers between ½ and 1½, all different, so that no two entries of y can be mistaken for each other."""
    return (0.5 + np.modf(0.618034 * np.arange(1, np.size(y) + 1))[0]).reshape(np.shape(y))
