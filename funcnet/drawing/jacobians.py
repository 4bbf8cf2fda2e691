"""What the Jacobian is that a rule never forms.

CS231n 2019, lecture 4, slides 99 to 123. The derivative of y with respect to x has a number for each
pair of an element of y and one of x; for a number it is a derivative, for y alone a number it is a
gradient, else it is a Jacobian J. A rule computes x̄ = Jᵀ·ȳ without it, because J is mostly zeros that
stand in a known pattern:

    zero               x does not move y
    diagonal           y_i depends on x_i alone                                       x̄ = ȳ · d
    permutation        each y is one of the x: reshape, transpose, slice, sort        x̄ moves ȳ back
    broadcast and sum  a single number, 1 or 1/n, in each row or in each column       x̄ adds or copies ȳ
    block diagonal     groups of y depend on groups of x: the examples of a batch     a product for each
    low rank           y depends on few combinations of the x
    dense              all others

Small Jacobians are formed and looked at whole; of large ones some rows and columns are: a row is the
pullback of one unit vector, a column the pushforward of another.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import GradientError
from funcnet._types import Host
from funcnet.backprop import argument_names, vjp

Kind = Literal["zero", "diagonal", "permutation", "broadcast and sum", "block diagonal", "low rank", "dense"]

SMALL = 2**18
"""So many entries a Jacobian has at most that is formed."""

SAMPLES = 12
"""So many rows and columns are looked at of a larger one."""

PROBES = 32
"""So many random combinations of rows show a rank below."""


@dataclass(frozen=True)
class JacobianStructure:
    """The derivative of a result with respect to one argument.

    Attributes:
        argument: the argument's name.
        y_shape: the result's shape.
        x_shape: the argument's shape.
        kind: its pattern.
        detail: the pattern in numbers, in words.
        density: the share of its entries that are not zero.
        explicit_bytes: what it would take in memory.
        rule_bytes: what the compiled rule takes for x̄: its inputs, its output and what it needs between.
        verified: whether it was formed, and the rule agreed with it.
    """

    argument: str
    y_shape: tuple[int, ...]
    x_shape: tuple[int, ...]
    kind: Kind
    detail: str
    density: float
    explicit_bytes: int
    rule_bytes: int
    verified: bool

    @property
    def name(self) -> str:
        """Derivative, gradient or Jacobian (slides 99 to 103)."""
        if self.y_shape:
            return "Jacobian"
        return "gradient" if self.x_shape else "derivative"

    def __str__(self) -> str:
        share = f"{100 * self.density:.3g} % of it not zero"
        looked = "formed, and agrees with the rule" if self.verified else "never formed"
        return (
            f"∂y/∂{self.argument}: {self.name} of y{list(self.y_shape)} by "
            f"{self.argument}{list(self.x_shape)}\n"
            f"  pattern   {self.kind}: {self.detail}\n"
            f"  explicit  {size(self.explicit_bytes)}, {share} ({looked})\n"
            f"  the rule  {size(self.rule_bytes)}"
        )


def jacobian_structure(f: Callable, *args: Any) -> tuple[JacobianStructure, ...]:
    """What the derivatives of a function are, and what its rule needs in their place.

    Args:
        f: a function of arrays, or of pytrees of arrays, to an array of floats: a gate, or any other.
        *args: where to look: a pattern can depend on values, as that of sort does.

    Returns:
        One structure for each float array among the arguments, in their order.

    Raises:
        GradientError: the result is no array of floats, or no argument is one.

    Source:
        CS231n 2019, lecture 4, slides 99 to 123.

    Example:
        >>> import jax.numpy as jnp
        >>> (of_x, of_w) = jacobian_structure(jnp.matmul, jnp.ones((2, 3)), jnp.ones((3, 4)))
        >>> of_x.kind, of_x.detail, of_x.explicit_bytes
        ('block diagonal', '2 blocks of 4 × 3', 192)
    """
    paths, tree = jax.tree_util.tree_flatten_with_path((args, {}))
    names = argument_names(f, [path for path, _ in paths])
    leaves = [jnp.asarray(leaf) for _, leaf in paths]
    y = jax.eval_shape(f, *args)
    floats = [i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.floating)]
    if not (hasattr(y, "dtype") and jnp.issubdtype(y.dtype, jnp.floating)) or not floats:
        raise GradientError(
            f"jacobian_structure: got {y} of {', '.join(str(x.dtype) for x in leaves) or 'no arrays'}, "
            f"expected one array of real floats as the result, and one at least among the arguments"
        )

    def of_leaf(i: int, x: Any) -> Any:
        arguments, _ = jax.tree.unflatten(tree, [*leaves[:i], x, *leaves[i + 1 :]])
        return f(*arguments)

    return tuple(_structure(functools.partial(of_leaf, i), names[i], leaves[i]) for i in floats)


def _structure(f: Callable, name: str, x: jax.Array) -> JacobianStructure:
    y, pullback = vjp(f, x)
    rule = jax.jit(lambda pullback, y_bar: pullback(y_bar)[0])
    rule_bytes = _bytes(rule.lower(pullback, y).compile().memory_analysis())
    pull = functools.partial(rule, pullback)
    push = jax.jit(lambda x_dot: vjp(pull, jnp.zeros_like(y))[1](x_dot)[0])
    m, n = y.size, x.size
    rng = np.random.default_rng(0)
    small = m * n <= SMALL
    i, j = (np.arange(k) if small else _places(shape, rng) for k, shape in ((m, y.shape), (n, x.shape)))
    rows = [_nonzeros(pull(_unit(y, int(k)))) for k in i]
    columns = [_nonzeros(push(_unit(x, int(k)))) for k in j]
    seen = Seen(y.shape, x.shape, i, j, rows, columns, functools.partial(_rank, pull, y, n, rng))
    kind, detail = seen.pattern()
    density = sum(len(places) for places, _ in rows) / max(len(rows) * n, 1)
    verified = small and _agrees(rows, pull, y, n, rng)
    entry = jnp.result_type(x, y).itemsize
    return JacobianStructure(
        name, y.shape, x.shape, kind, detail, density, m * n * entry, rule_bytes, verified
    )


Sparse = tuple[Host, Host]
"""Places and values of the entries that are not zero."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Rows and columns of a Jacobian: all of a small one, some of a large one.

    Attributes:
        y_shape: the result's shape.
        x_shape: the argument's shape.
        i: the numbers of the rows.
        j: the numbers of the columns.
        rows: the rows.
        columns: the columns.
        rank: counts the rank, up to `PROBES`.
    """

    y_shape: tuple[int, ...]
    x_shape: tuple[int, ...]
    i: Host
    j: Host
    rows: Sequence[Sparse]
    columns: Sequence[Sparse]
    rank: Callable[[], int]

    def pattern(self) -> tuple[Kind, str]:
        """The first pattern that holds, and its numbers."""
        values = np.concatenate([values for _, values in (*self.rows, *self.columns)] or [[]])
        in_row, in_column = (
            max((len(p) for p, _ in lines), default=0) for lines in (self.rows, self.columns)
        )
        if not values.size:
            return "zero", "x does not move y"
        if self.y_shape == self.x_shape and self._is_diagonal():
            return "diagonal", "y_i depends on x_i alone"
        if np.ptp(values) == 0 and min(in_row, in_column) <= 1:
            times = "" if values[0] == 1 else f", times {values[0]:.3g}"
            if in_row <= 1 and in_column <= 1:
                return "permutation", f"each y is one of the x{times}"
            what = "each y is one of the x" if in_row <= 1 else "each x goes into one y"
            return "broadcast and sum", what + times
        if blocks := self._blocks():
            return "block diagonal", blocks
        m, n = (int(np.prod(shape)) for shape in (self.y_shape, self.x_shape))
        rank = self.rank()
        if 2 * rank <= min(m, n, 2 * PROBES - 2):
            return "low rank", f"rank {rank}"
        return "dense", f"{m} × {n}"

    def _is_diagonal(self) -> bool:
        lines = [*zip(self.i, self.rows, strict=True), *zip(self.j, self.columns, strict=True)]
        return all((places == own).all() for own, (places, _) in lines)

    def _blocks(self) -> str:
        """Number and size of the groups of rows that share columns, if there are several."""
        groups = _groups([places for places, _ in self.rows])
        others = _groups([places for places, _ in self.columns])
        if min(len(groups), len(others)) < 2:
            return ""
        width, height = (max(map(len, sets)) for sets in (groups, others))
        whole = len(self.rows) == np.prod(self.y_shape)
        number = len(groups) if whole else round(np.prod(self.x_shape) / width)
        return f"{number} blocks of {height} × {width}"


def _groups(lines: Sequence[Host]) -> list[set[int]]:
    """The columns of rows that overlap, put together."""
    groups: list[set[int]] = []
    for line in lines:
        together = set(line.tolist())
        apart = [group for group in groups if together.isdisjoint(group)]
        for group in groups:
            if not together.isdisjoint(group):
                together |= group
        groups = [*apart, together] if together else groups
    return groups


def _places(shape: tuple[int, ...], rng: np.random.Generator) -> Host:
    """Elements here and there, each with its neighbours along all axes."""
    found = set()
    while shape and len(found) < min(SAMPLES, np.prod(shape)):
        one = [int(rng.integers(size)) for size in shape]
        found.add(tuple(one))
        found |= {(*one[:k], (one[k] + 1) % size, *one[k + 1 :]) for k, size in enumerate(shape)}
    return np.array([np.ravel_multi_index(one, shape) for one in sorted(found)] or [0])


def _rank(pull: Callable, y: jax.Array, n: int, rng: np.random.Generator) -> int:
    """The rank of random combinations of rows, at random places."""
    places = np.sort(rng.choice(n, size=min(n, 8 * PROBES), replace=False))
    draws = rng.standard_normal((min(PROBES, y.size), *y.shape))
    lines = [np.asarray(pull(jnp.asarray(draw, y.dtype))).ravel()[places] for draw in draws]
    return int(np.linalg.matrix_rank(np.array(lines, np.float64), rtol=1e3 * jnp.finfo(y.dtype).eps))


def _agrees(rows: Sequence[Sparse], pull: Callable, y: jax.Array, n: int, rng: np.random.Generator) -> bool:
    """Whether the rule at a random ȳ gives ȳ·J of the formed J, up to the rounding of the sums."""
    jacobian = np.zeros((y.size, n))
    for line, (places, values) in zip(jacobian, rows, strict=True):
        line[places] = values
    y_bar = rng.standard_normal(y.shape)
    x_bar = np.asarray(pull(jnp.asarray(y_bar, y.dtype)), np.float64).ravel()
    noise = 8 * jnp.finfo(y.dtype).eps * np.sqrt(y.size) * (np.abs(y_bar.ravel()) @ np.abs(jacobian))
    return bool((np.abs(x_bar - y_bar.ravel() @ jacobian) <= noise).all())


def _unit(x: jax.Array, k: int) -> jax.Array:
    return jnp.zeros(x.size, x.dtype).at[k].set(1).reshape(x.shape)


def _nonzeros(line: jax.Array) -> Sparse:
    values = np.asarray(line, np.float64).ravel()
    places = np.flatnonzero(values)
    return places, values[places]


def _bytes(memory: Any) -> int:
    return memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes


def size(n: int) -> str:
    """Bytes as one reads them.

    >>> size(2**38)
    '256 GiB'
    """
    unit, power = next(((u, p) for u, p in zip("TGMK", (40, 30, 20, 10), strict=True) if n >= 2**p), ("", 0))
    return f"{n / 2**power:.3g} {unit}iB" if unit else f"{n} bytes"
