"""What the Jacobian is that a rule never forms.

CS231n 2019, lecture 4, slides 99 to 123. The derivative of y with respect to x has a number for each
pair of an element of y and one of x; for a number it is a derivative, for y alone a number it is a
gradient, else it is a Jacobian J. A rule computes x̄ = Jᵀ·ȳ without it, because J is mostly zeros that
stand in a known pattern; `patterns` has their list and finds which it is. A small Jacobian is formed for
that, and the rule is held against it; of a large one only the rule is asked.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import GradientError
from funcnet._types import Host
from funcnet.backprop import argument_names, vjp
from funcnet.structure.patterns import Pattern, Products, random_vector, wide

SMALL = 2**20
"""So many entries a Jacobian has at most that is formed."""


@dataclass(frozen=True)
class JacobianStructure:
    """The derivative of a result with respect to one argument.

    Attributes:
        argument: the argument's name.
        y_shape: the result's shape.
        x_shape: the argument's shape.
        kind: its pattern.
        detail: the pattern in numbers, in words.
        density: the share of its entries that are not zero, estimated from some rows if it was not formed.
        explicit_bytes: what it would take in memory.
        rule_bytes: what the compiled rule takes for x̄: its inputs, its output and what it needs between.
        formed: whether it was formed: it is small.
        verified: whether it was formed and the rule, at a random ȳ, gave ȳ·J.
    """

    argument: str
    y_shape: tuple[int, ...]
    x_shape: tuple[int, ...]
    kind: Pattern
    detail: str
    density: float
    explicit_bytes: int
    rule_bytes: int
    formed: bool
    verified: bool

    @property
    def name(self) -> str:
        """Derivative, gradient or Jacobian (slides 99 to 103)."""
        if self.y_shape:
            return "Jacobian"
        return "gradient" if self.x_shape else "derivative"

    def __str__(self) -> str:
        share = f"{100 * self.density:.3g} % of it not zero"
        agrees = "agrees with" if self.verified else "differs from"
        looked = f"formed, and {agrees} the rule" if self.formed else "never formed"
        by = f"{self.argument}{list(self.x_shape)}"
        return (
            f"∂y/∂{self.argument}: {self.name} of y{list(self.y_shape)} by {by}\n"
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
        GradientError: the result is no array of floats, no argument is one, or the derivative is not finite.

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
    leaves = [leaf for _, leaf in paths]
    floats = [i for i, x in enumerate(leaves) if jnp.issubdtype(getattr(x, "dtype", type(x)), jnp.floating)]
    if not floats:
        came = ", ".join(str(getattr(x, "dtype", type(x).__name__)) for x in leaves) or "nothing"
        raise GradientError(f"jacobian_structure: the arguments are {came}, expected real floats among them")

    def of_leaf(i: int, x: Any) -> Any:
        arguments, _ = jax.tree.unflatten(tree, [*leaves[:i], x, *leaves[i + 1 :]])
        return f(*arguments)

    return tuple(_structure(functools.partial(of_leaf, i), names[i], jnp.asarray(leaves[i])) for i in floats)


def _structure(f: Callable, name: str, x: jax.Array) -> JacobianStructure:
    y, pullback = vjp(f, x)
    if not (isinstance(y, jax.Array) and jnp.issubdtype(y.dtype, jnp.floating)):
        came = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", y)
        raise GradientError(
            f"jacobian_structure: the result is {came}, expected one array of real floats; return that alone"
        )
    m, n = y.size, x.size

    def pull(pullback: Callable, y_bar: Any) -> Any:
        return pullback(y_bar.reshape(y.shape))[0].ravel()

    def push(pullback: Callable, x_dot: Any) -> Any:
        return vjp(functools.partial(pull, pullback), jnp.zeros(m, y.dtype))[1](x_dot)[0]

    rule = jax.jit(pull).lower(pullback, jnp.zeros(m, y.dtype)).compile()
    pull_back, push_on = (functools.partial(product, pullback) for product in (rule, jax.jit(push)))
    eps = max(float(jnp.finfo(dtype).eps) for dtype in (y.dtype, x.dtype))
    seen = Products(pull_back, push_on, y.dtype, x.dtype, m, n, eps)
    verified = False
    if formed := m * n <= SMALL:
        matrix = _matrix(pull, pullback, m, y.dtype) if m <= n else _matrix(push, pullback, n, x.dtype).T
        verified = _agrees(seen, matrix)
        seen = Products(matrix.T.__matmul__, matrix.__matmul__, np.float64, np.float64, m, n, eps, matrix)
    kind, detail = seen.pattern(y.shape == x.shape)
    explicit = m * n * jnp.result_type(x, y).itemsize
    needed = _bytes(rule.memory_analysis())
    return JacobianStructure(
        name, y.shape, x.shape, kind, detail, seen.density, explicit, needed, formed, verified
    )


def _matrix(product: Callable, pullback: Callable, k: int, dtype: Any) -> Host:
    """The rows, or columns, of J: the products with k unit vectors, one after the other."""

    def line(pullback: Callable, i: Any) -> Any:
        return product(pullback, jax.nn.one_hot(i, k, dtype=dtype))

    lines = jax.jit(lambda pullback: jax.lax.map(functools.partial(line, pullback), jnp.arange(k)))
    return np.asarray(lines(pullback), np.float64)


def _agrees(rule: Products, matrix: Host) -> bool:
    """Whether the rule at a random ȳ gives ȳ·J, up to the rounding of the sums."""
    y_bar = random_vector(rule.rng, rule.m, rule.y_dtype)
    x_bar, r = wide(rule.pull(y_bar)), y_bar.astype(np.float64)
    noise = 8 * rule.eps * np.sqrt(rule.m) * (np.abs(r) @ np.abs(matrix))
    return bool((np.abs(x_bar - r @ matrix) <= noise).all())


def _bytes(memory: Any) -> int:
    return memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes


def size(n: int) -> str:
    """Bytes as one reads them.

    >>> size(2**38)
    '256 GiB'
    """
    unit, power = next(((u, p) for u, p in zip("TGMK", (40, 30, 20, 10), strict=True) if n >= 2**p), ("", 0))
    return f"{n / 2**power:.3g} {unit}iB" if unit else f"{n} bytes"
