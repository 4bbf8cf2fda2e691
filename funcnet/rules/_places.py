"""Where the elements of a sparse array stand: reading there, adding there, and what meets there.

BCOO stores k elements for each index of its batch axes; its other axes are sparse, which a place is for, or
dense, of which an element is a block. So d, the numbers stored, has the axes batch, k, dense, and `Places`
are an index array with the axes batch, k for each batch and each sparse axis of the array. An axis of size 1
is stretched, in d and in the index arrays. The other formats are cases of this one.

    read     x[p]          what stands in x at the places, 0 for a place outside
    write    0[p] += u     zeros to which u is added at the places; one outside takes nothing

To multiply numbers of different axes, axes have names, which are numbers: those of the sparse array their
position in it, further ones the numbers behind, and those of the index arrays negative ones. Whatever is
`Named` has its axes in the order of their names.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet.rules._table import like


class Places(NamedTuple):
    """An index array for each batch and each sparse axis of a sparse array, all of one rank."""

    at: tuple[Any, ...]
    rank: int


class Named(NamedTuple):
    """An array and the names of its axes, in ascending order."""

    values: Any
    names: Sequence[int]


def of_bcoo(i: Any, shape: Sequence[int]) -> Places:
    columns = (i[..., axis] for axis in range(i.shape[-1]))
    return Places((*_batch(shape[: i.ndim - 2]), *columns), i.ndim - 1)


def of_coo(row: Any, col: Any) -> Places:
    return Places((row, col), 1)


def of_bcsr(i: Any, ptr: Any, shape: Sequence[int]) -> Places:
    """Rows follow one another, and `ptr` says where each begins; what is behind the last is outside."""

    def rows(ptr: Any) -> Any:
        begins = lax.full((i.shape[-1],), 0, i.dtype).at[ptr].add(1, mode="drop")
        return jnp.cumsum(begins, dtype=i.dtype) - 1

    for _ in range(i.ndim - 1):
        rows = jax.vmap(rows)
    return Places((*_batch(shape[: i.ndim - 1]), rows(ptr), i), i.ndim)


def _batch(sizes: Sequence[int]) -> list[Any]:
    """The indices along each batch axis: an element stands in its own batch."""
    rank = len(sizes) + 1
    shapes = np.where(np.eye(len(sizes), rank, dtype=bool), [*sizes, 1], 1)
    return [lax.broadcasted_iota(np.int32, shape, axis) for axis, shape in enumerate(shapes.tolist())]


def elements(d: Any, places: Places) -> Named:
    """The numbers stored, by name: the axes of the places, then the dense ones."""
    n, dense = len(places.at), d.ndim - places.rank
    return Named(d, [*range(-places.rank, 0), *range(n, n + dense)])


def read(x: Any, names: Sequence[int], places: Places) -> Named:
    """x[p], where x has axes of these names; one whose name has no places is read whole."""
    order, at = _places_first(names, places)
    x = lax.transpose(x, order)
    x = x.at[at].get(mode="fill", fill_value=0) if at else lax.expand_dims(x, range(places.rank))
    return Named(x, [*range(-places.rank, 0), *(names[axis] for axis in order[len(at) :])])


def write(u: Any, names: Sequence[int], places: Places, x: Any) -> Any:
    """0[p] += u as the gradient of x, whose axes have these names; u is as what `read` gives."""
    order, at = _places_first(names, places)
    sizes = np.broadcast_shapes((1,) * places.rank, *(index.shape for index in at))
    if stretched := [axis for axis, size in enumerate(sizes) if size < u.shape[axis]]:
        u = jnp.sum(u, stretched, keepdims=True)
    zeros = lax.full_like(lax.transpose(x, order), 0, u.dtype)
    x_bar = zeros.at[at].add(u, mode="drop") if at else lax.squeeze(u, range(places.rank))
    return astype(lax.transpose(x_bar, np.argsort(order)), x)


def _places_first(names: Sequence[int], places: Places) -> tuple[list[int], tuple[Any, ...]]:
    """The axes in the order of their names, and the index arrays of those that have places."""
    order = sorted(range(len(names)), key=names.__getitem__)
    return order, tuple(places.at[names[axis]] for axis in order if names[axis] < len(places.at))


def take(x: Any, places: Places, d: Any) -> Any:
    """x[p] as the gradient of d, for a dense x that has the axes of the sparse array."""
    return as_stored(read(x, range(x.ndim), places).values, d)


def put(d_bar: Any, places: Places, x: Any) -> Any:
    """0[p] += d̄ as the gradient of such an x."""
    return write(d_bar, range(x.ndim), places, x)


def times(a: Named, b: Named, kept: Sequence[int]) -> Any:
    """a · b, summed over the axes that are not kept."""
    every = sorted({*a.names, *b.names})
    missing = ([axis for axis, name in enumerate(every) if name not in one.names] for one in (a, b))
    product = lax.expand_dims(a.values, next(missing)) * lax.expand_dims(b.values, next(missing))
    summed = [axis for axis, name in enumerate(every) if name not in kept]
    return lax.reduce_sum(product, summed) if summed else product


def as_stored(d_bar: Any, d: Any) -> Any:
    """The gradient of d: summed where d is stretched, repeated where all elements met the same number."""
    return astype(like(d, jnp.broadcast_to(d_bar, np.broadcast_shapes(d_bar.shape, d.shape))), d)


def astype(y: Any, x: Any) -> Any:
    """y in the dtype of x; of complex numbers that become real, the real part."""
    if jnp.iscomplexobj(y) and not jnp.iscomplexobj(x):
        y = lax.real(y)
    return lax.convert_element_type(y, x.dtype)
