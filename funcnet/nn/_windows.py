"""The windows that slide over the spatial axes of an image, a signal or a volume.

Arrays have shape [*batch, *space, channels]. Along an axis of n places, window o of k taps with stride s,
dilation d and p zeros before the first place reads the places

    o·s + t·d − p,    0 ≤ t < k                                                                  (★)

What one tap t = (t₁, …, t_N) reads in all windows is a slice of the padded array: `read`. Its transpose,
`spread`, puts what comes back for those windows where the tap had read. Sums over taps of such slices are
what XLA fuses into one pass over memory. A sum of such `spread`s is one of slices too: what came back for the
windows is `padded_back`, with s−1 zeros between its places, and place i gets of tap t by (★) what stands at
i + p − t·d there, which is `read_back` (Dumoulin and Visin 2016, chapter 4).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from funcnet._errors import ParameterError, ShapeError

Lengths = int | tuple[int, ...]
"""A number for all spatial axes, or one for each."""

Padding = str | int | tuple[int | tuple[int, int], ...]
"""`"valid"`: none; `"same"`: so much that there are ⌈n/s⌉ windows, the odd one behind; a number for both
sides of all axes, or for each axis one or a pair (before, behind)."""


@jax.tree_util.register_static
@dataclass(frozen=True)
class Windows:
    """The windows over arrays of one spatial shape; in a stash it is no array.

    Attributes:
        space: the spatial shape.
        size: taps along each axis.
        stride: places from one window to the next.
        dilation: places from one tap to the next.
        padding: for each axis what is put before and behind.
        counts: how many windows there are along each axis.
    """

    space: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    counts: tuple[int, ...]

    @property
    def taps(self) -> Iterator[tuple[int, ...]]:
        """The taps, the last axis first."""
        return itertools.product(*map(range, self.size))

    @property
    def area(self) -> int:
        """The taps of a window."""
        return math.prod(self.size)

    def padded(self, x: Array, value: float = 0) -> Array:
        """The array with this value around it."""
        edges = [(0, 0, 0)] * (x.ndim - 1 - len(self.size))
        config = [*edges, *((low, high, 0) for low, high in self.padding), (0, 0, 0)]
        return lax.pad(x, jnp.asarray(value, x.dtype), config)

    def read(self, padded: Array, tap: Sequence[int]) -> Array:
        """What a tap reads of a padded array, in all windows."""
        first = [t * d for t, d in zip(tap, self.dilation, strict=True)]
        lead = padded.ndim - 1 - len(first)
        last = [f + s * (n - 1) + 1 for f, s, n in zip(first, self.stride, self.counts, strict=True)]
        return lax.slice(
            padded,
            [*[0] * lead, *first, 0],
            [*padded.shape[:lead], *last, padded.shape[-1]],
            [*[1] * lead, *self.stride, 1],
        )

    def spread(self, y: Array, tap: Sequence[int]) -> Array:
        """The transpose of `read` after `padded`: what comes back for a tap, at the places it had read."""
        config = [(0, 0, 0)] * (y.ndim - 1 - len(self.size))
        for t, n, s, d, (low, _), count in zip(
            tap, self.space, self.stride, self.dilation, self.padding, self.counts, strict=True
        ):
            before = t * d - low
            config.append((before, n - before - (s * (count - 1) + 1), s - 1))
        return lax.pad(y, jnp.zeros((), y.dtype), [*config, (0, 0, 0)])

    def padded_back(self, y: Array) -> Array:
        """What comes back for all windows, with zeros between and around it, so that each tap can read it."""
        config = [(0, 0, 0)] * (y.ndim - 1 - len(self.size))
        for n, k, s, d, (low, _), count in zip(
            self.space, self.size, self.stride, self.dilation, self.padding, self.counts, strict=True
        ):
            config.append((d * (k - 1) - low, n - 1 + low - s * (count - 1), s - 1))
        return lax.pad(y, jnp.zeros((), y.dtype), [*config, (0, 0, 0)])

    def read_back(self, padded: Array, tap: Sequence[int]) -> Array:
        """What all places get of a tap: the same as `spread`, of what `padded_back` has made."""
        first = [d * (k - 1 - t) for d, k, t in zip(self.dilation, self.size, tap, strict=True)]
        lead = padded.ndim - 1 - len(first)
        last = [f + n for f, n in zip(first, self.space, strict=True)]
        return lax.slice(padded, [*[0] * lead, *first, 0], [*padded.shape[:lead], *last, padded.shape[-1]])


def windows(
    name: str,
    space: Sequence[int],
    size: Lengths,
    stride: Lengths | None,
    padding: Padding,
    dilation: Lengths = 1,
) -> Windows:
    """The windows over arrays of this spatial shape.

    Args:
        name: the gate, for messages.
        space: the spatial shape.
        size: taps, one number for all axes or one for each; stride and dilation likewise.
        stride: the size by default.
        padding: see `Padding`.
        dilation: places from one tap to the next.

    Raises:
        ParameterError: a size, stride or dilation below 1, or none for an axis; an unknown padding.
        ShapeError: no window fits.
    """
    n = len(space)
    sizes, dilations = _for_axes(name, "size", size, n), _for_axes(name, "dilation", dilation, n)
    strides = sizes if stride is None else _for_axes(name, "stride", stride, n)
    spans = [d * (k - 1) + 1 for k, d in zip(sizes, dilations, strict=True)]
    pads = _pairs(name, padding, space, spans, strides)
    counts = tuple(
        (length + low + high - span) // s + 1
        for length, (low, high), span, s in zip(space, pads, spans, strides, strict=True)
    )
    if min(counts, default=1) < 1:
        raise ShapeError(
            f"{name}: windows of {spans} places do not fit into space {list(space)} with padding "
            f"{list(pads)}; expected at least one window along each axis"
        )
    return Windows(tuple(space), sizes, strides, dilations, pads, counts)


def _for_axes(name: str, parameter: str, value: Lengths, n: int) -> tuple[int, ...]:
    values = (value,) * n if isinstance(value, int) else tuple(value)
    if len(values) != n or any(v < 1 for v in values):
        raise ParameterError(
            f"{name}: {parameter} is {value}; expected a number ≥ 1, or one for each of {n} axes"
        )
    return values


def _pairs(
    name: str, padding: Padding, space: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(space)
    if padding == "same":
        sides = zip(space, spans, strides, strict=True)
        totals = [max(s * (-(-n // s) - 1) + span - n, 0) for n, span, s in sides]
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        raise ParameterError(f'{name}: padding is {padding!r}; expected "valid", "same" or numbers')
    each = (padding,) * len(space) if isinstance(padding, int) else tuple(padding)
    pairs = [(p, p) if isinstance(p, int) else tuple(p) for p in each]
    if len(pairs) != len(space) or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise ParameterError(
            f"{name}: padding is {padding}; expected a number ≥ 0, or one or a pair for each of "
            f"{len(space)} axes"
        )
    return tuple((low, high) for low, high in pairs)
