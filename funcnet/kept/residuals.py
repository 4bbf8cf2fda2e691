"""What JAX's own reverse mode keeps of a forward pass, and what of it the way back never reads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from funcnet import _jax
from funcnet.backprop.program import live


@dataclass(frozen=True)
class Residuals:
    """What the forward pass of `jax.vjp` keeps for the way back.

    Attributes:
        bytes: of everything that is kept.
        unread: how many of them backward never reads.
        arrays: shape, dtype and whether it is read, for each array.
    """

    bytes: int
    unread: int
    arrays: tuple[tuple[tuple[int, ...], str, bool], ...]

    def __str__(self) -> str:
        kept = f"{self.bytes:,} bytes kept for backward"
        if not self.unread:
            return kept
        names = [f"{dtype}[{','.join(map(str, shape))}]" for shape, dtype, read in self.arrays if not read]
        return f"{kept}, of which it never reads {self.unread:,}: {', '.join(names)}"


def residuals(flat: Callable, *xs: Any) -> Residuals:
    """The residuals of a function of arrays to a tuple of arrays; nothing is computed.

    >>> print(residuals(lambda x: (jax.numpy.sin(x),), jax.numpy.ones(3)))
    12 bytes kept for backward
    """
    ys, back = jax.eval_shape(lambda *xs: jax.vjp(flat, *xs), *xs)
    arrays = jax.tree.leaves(back)
    jaxpr, _ = _jax.open_jaxpr(jax.make_jaxpr(lambda ys, back: back(ys))(ys, back))
    _, read = live(jaxpr.eqns, jaxpr.outvars)
    is_read = [v in read for v in jaxpr.invars[len(ys) :]]
    sizes = [x.size * x.dtype.itemsize for x in arrays]
    unread = sum(size for size, one in zip(sizes, is_read, strict=True) if not one)
    kept = [(x.shape, str(x.dtype), one) for x, one in zip(arrays, is_read, strict=True)]
    return Residuals(sum(sizes), unread, tuple(kept))
