"""Which pattern the numbers of a matrix make that is known by its products alone.

The Jacobian J of y with respect to x has a row for each element of y and a column for each of x:

    zero               x does not move y
    diagonal           y_i depends on x_i alone                                       x̄ = ȳ · d
    permutation        each y is one of the x: reshape, transpose, slice, sort        x̄ moves ȳ back
    broadcast and sum  a single number, 1 or 1/n, in each row or in each column       x̄ adds or copies ȳ
    block diagonal     groups of y depend on groups of x: the examples of a batch     a product for each
    sparse             each y depends on few of the x that others use too: a convolution
    low rank           y depends on few combinations of the x
    dense              all others

A row's numbers are weights: Σ_j J_ij t_j / Σ_j J_ij is a mean of the t. For random t, with probability 1,

    diagonal               the mean of t in row i is t_i
    one number in a row    the mean of t² is the square of the mean of t: only a single t has no variance
    a block                r on its rows moves its columns, and t on those moves its rows and no others

and the same of the columns, by Jᵀ·r. Of a large matrix the first two are seen on all of it, blocks,
density and rank on a sample.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from funcnet._errors import GradientError
from funcnet._types import Host

Pattern = Literal[
    "zero", "diagonal", "permutation", "broadcast and sum", "block diagonal", "sparse", "low rank", "dense"
]

SEEDS = 4
"""So many rows of a Jacobian that is not formed are counted, and their blocks found."""

STEPS = 3
"""So many times a block may grow, from rows to columns to rows, where zeros in it hide a part of it."""

PROBES = 32
"""So many random combinations of rows show a rank below."""

FULL = 0.25
"""A matrix, or a block, with a smaller share of numbers that are not zero is called sparse."""


@dataclass(frozen=True, eq=False)
class Lines:
    """All rows, or all columns, of a matrix A, as one random vector t shows them.

    Attributes:
        t: the random vector.
        ones: A·1.
        first: A·t.
        second: A·t².
        tolerance: what rounding makes of an equation between them.
    """

    t: Host
    ones: Host
    first: Host
    second: Host
    tolerance: float

    @property
    def finite(self) -> bool:
        """Whether nothing is infinite or NaN."""
        return all(np.isfinite(product).all() for product in (self.ones, self.first, self.second))

    @functools.cached_property
    def alive(self) -> Host:
        """Which lines are not zero."""
        return (self.ones != 0) | (self.first != 0) | (self.second != 0)

    @functools.cached_property
    def single(self) -> bool:
        """Whether each line has one number at most: its mean of t² is the square of its mean of t."""
        ones = self.ones[self.alive]
        if not ones.all():
            return False
        mean, square = (product[self.alive] / ones for product in (self.first, self.second))
        return bool((np.abs(square - mean**2) <= self.tolerance * square).all())

    @property
    def on_diagonal(self) -> bool:
        """Whether each line's mean of t is its own t."""
        return bool((np.abs(self.first - self.t * self.ones) <= self.tolerance * np.abs(self.first)).all())


@dataclass(frozen=True, eq=False)
class Products:
    """A Jacobian that is known by its products.

    Attributes:
        pull: r ↦ Jᵀ·r.
        push: t ↦ J·t.
        y_dtype: the dtype of r.
        x_dtype: the dtype of t.
        m: the number of its rows.
        n: the number of its columns.
        eps: the rounding of its entries.
        matrix: J, if it was formed.
        rng: draws r and t.
    """

    pull: Callable
    push: Callable
    y_dtype: Any
    x_dtype: Any
    m: int
    n: int
    eps: float
    matrix: Host | None = None
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def pattern(self, same_shape: bool) -> tuple[Pattern, str]:
        """The first pattern that holds, and its numbers."""
        rows, columns = self.rows, self.columns
        if not (rows.finite and columns.finite):
            raise GradientError(
                "jacobian_structure: the derivative is infinite or NaN here, expected finite numbers; "
                "look at other arguments"
            )
        if not rows.alive.any():
            return "zero", "x does not move y"
        if same_shape and rows.on_diagonal:
            return "diagonal", "y_i depends on x_i alone"
        lines = rows if rows.single else columns
        factors = lines.ones[lines.alive]
        same = factors.min() == factors.max()
        times = (f", times {factors[0]:.3g}" if factors[0] != 1 else "") if same else ", times a factor"
        if rows.single and columns.single:
            return "permutation", f"each y is one of the x{times}"
        if lines.single and same:
            what = "y is one of the x" if rows.single else "x goes into one y"
            return "broadcast and sum", f"each {what}{times}"
        if blocks := self._blocks():
            return "block diagonal", blocks
        if self.density < FULL:
            about = "about" if self.matrix is None else "at most"
            return "sparse", f"each y depends on {about} {self.lengths.max()} of {self.n} x"
        rank = self._rank()
        if 2 * rank <= min(self.m, self.n, 2 * PROBES - 2):
            return "low rank", f"rank {rank}"
        return "dense", f"{self.m} × {self.n}"

    @functools.cached_property
    def rows(self) -> Lines:
        """What J·1, J·t and J·t² show."""
        return self._lines(self.push, random_vector(self.rng, self.n, self.x_dtype))

    @functools.cached_property
    def columns(self) -> Lines:
        """What Jᵀ·1, Jᵀ·r and Jᵀ·r² show."""
        return self._lines(self.pull, random_vector(self.rng, self.m, self.y_dtype))

    def _lines(self, product: Callable, t: Host) -> Lines:
        eps = max(float(jnp.finfo(dtype).eps) for dtype in (self.x_dtype, self.y_dtype))
        ones, first, second = (wide(product(power)) for power in (np.ones_like(t), t, t * t))
        return Lines(t, ones, first, second, tolerance(eps))

    @functools.cached_property
    def seeds(self) -> Host:
        """Rows that are not zero, by number: all, or SEEDS of a Jacobian that was not formed."""
        alive = np.flatnonzero(self.rows.alive)
        return alive if self.matrix is not None else self.rng.choice(alive, min(SEEDS, alive.size), False)

    @functools.cached_property
    def lengths(self) -> Host:
        """How many numbers in each of those rows are not zero."""
        if self.matrix is not None:
            return np.count_nonzero(self.matrix[self.seeds], axis=1)
        places = (np.arange(self.m) == seed for seed in self.seeds)
        return np.array([np.count_nonzero(wide(self.pull(self._on(one, self.y_dtype)))) for one in places])

    @property
    def density(self) -> float:
        """The share of entries that are not zero."""
        entries = np.count_nonzero(self.rows.alive) * self.lengths.mean() if self.seeds.size else 0
        return float(entries / max(self.m * self.n, 1))

    def _blocks(self) -> str:
        """Number and size of the blocks; empty if there is but one, or if they are mostly zeros."""
        left, sizes, alive = self.seeds, [], np.count_nonzero(self.rows.alive)
        while left.size:
            block = self._block(int(left[0]))
            if block is None or block[0].sum() == alive:
                return ""
            rows, columns = block
            sizes.append((int(rows.sum()), int(columns.sum())))
            left = left[~rows[left]]
        heights, widths = np.array(sizes).T
        flat = (heights.max() == 1, widths.max() == 1)
        if flat != (self.columns.single, self.rows.single) or self.lengths.mean() < FULL * widths.mean():
            return ""
        number = round(alive / heights.mean())
        if len(set(sizes)) == 1:
            return f"{number} blocks of {heights[0]} × {widths[0]}"
        about = "" if self.matrix is not None else "about "
        return f"{about}{number} blocks of up to {heights.max()} × {widths.max()}"

    def _block(self, seed: int) -> tuple[Host, Host] | None:
        """The rows and columns that hang together with a row; None if each step finds more of them."""
        rows = np.arange(self.m) == seed
        for _ in range(STEPS):
            columns = wide(self.pull(self._on(rows, self.y_dtype))) != 0
            more = wide(self.push(self._on(columns, self.x_dtype))) != 0
            if not (more & ~rows).any():
                return rows, columns
            rows |= more
        return None

    def _on(self, places: Host, dtype: Any) -> Host:
        """A random vector that is zero elsewhere."""
        vector = np.zeros(places.size, dtype)
        vector[places] = random_vector(self.rng, int(places.sum()), dtype)
        return vector

    def _rank(self) -> int:
        """The rank of random combinations of rows, at random places."""
        places = self.rng.choice(self.n, min(self.n, 8 * PROBES), replace=False)
        draws = (random_vector(self.rng, self.m, self.y_dtype) for _ in range(min(PROBES, self.m)))
        lines = np.array([wide(self.pull(draw))[places] for draw in draws], np.float64)
        return int(np.linalg.matrix_rank(lines, rtol=tolerance(self.eps)))


def random_vector(rng: np.random.Generator, k: int, dtype: Any) -> Host:
    """Numbers between 1 and 2, of either sign: none is so small that it is lost beside the others."""
    u = 2 * rng.random(k, np.float32) - 1
    return (u + np.copysign(1, u)).astype(dtype)


def tolerance(eps: float) -> float:
    """What 20 roundings in each product make of an equation; no more than 1/16, for half precision."""
    return min(64 * eps, 1 / 16)


def wide(x: Any) -> Host:
    """An array in numpy's hands, in single precision at least."""
    return np.asarray(x, jnp.promote_types(x.dtype, np.float32))
