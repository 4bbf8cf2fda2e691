"""Batches of a source on the host, of which the device never has more than a few steps need.

A step's batch is made of the same rows as that of `in_memory` would be, whoever asks for it, so that nothing
is kept of what was read; a thread reads what the next steps need while the device works.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Key

from funcnet._errors import ParameterError, ShapeError
from funcnet._memory import check_memory
from funcnet.train.batches import (
    OF_A_LOADER,
    Batches,
    Seed,
    Slices,
    Step,
    check_pytree,
    is_traced,
    orders,
    rows_of,
)
from funcnet.train.devices.canonical import DATA
from funcnet.train.limits import check_numbers

READ_AT_ONCE = 2**26
"""Bytes that are read from a source at once, at most, unless a single batch has more."""

T = TypeVar("T")


def from_source(source: Any, size: int) -> Batches:
    """Batches of so many examples of a source on the host, shuffled anew in each epoch.

    Args:
        source: a tuple, dictionary or other pytree of arrays with one leading axis, which may be memory maps,
            or in files, of h5py and zarr; or anything with a length whose [i] is an example, a pytree of
            arrays of the same shapes for each i: a list, a data set of PyTorch's or Hugging Face's, a
            `MapDataset` of grain. Examples that PyTorch would read together (`__getitems__`) are.
        size: examples in a batch; all of them, if there are fewer.

    Raises:
        ShapeError: it has no examples, or of different shapes.
        ParameterError: it has no length, or one without end, or examples of texts or objects; the size is
            below 1; or a batch needs more memory than there is.

    >>> squares = [{"x": np.float32(i), "y": np.float32(i * i)} for i in range(10)]
    >>> from_source(squares, 4)(step=0)["x"].shape
    (4,)
    """
    check_pytree("from_source", source)
    leaves = [] if issubclass(type(source), list | Iterator) else jax.tree.leaves(source)
    if leaves and leaves[0] is not source and all(hasattr(leaf, "shape") for leaf in leaves):
        source = jax.tree.map(lambda leaf: leaf if hasattr(leaf, "chunks") else np.asarray(leaf), source)
        leaves = jax.tree.leaves(source)
    mapped = bool(leaves) and all(isinstance(leaf, np.ndarray) or hasattr(leaf, "chunks") for leaf in leaves)
    if not mapped and not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise ParameterError(
            f"from_source: got a {type(source).__name__}; expected examples by number, with a length and "
            f"[i]. {OF_A_LOADER}"
        )
    slices = Slices.of(rows_of(source) if mapped else len(source), size)

    def read(rows: np.ndarray) -> Any:
        if mapped:
            return jax.tree.map(lambda array: _rows(array, rows), source)
        if len(source) != slices.examples:
            raise ParameterError(
                f"from_source: the source has {len(source)} examples now, and had {slices.examples}; "
                f"expected one that stays. What a run collects, as a replay buffer, is an entry of the "
                f"parameters that the loss keeps."
            )
        examples = [jax.tree.map(np.asarray, each, is_leaf=_is_row) for each in _examples(source, rows)]
        try:
            return jax.tree.map(lambda *each: np.stack(each), *examples)
        except ValueError as error:
            raise ShapeError(
                f"from_source: examples differ in shape or structure ({error}); expected single examples "
                f"that are alike. Take batches apart, and pad what differs in length."
            ) from error

    def visited(seed: int, step: int) -> np.ndarray:
        start = step % slices.per_epoch * slices.size
        return _order(seed, slices.examples, step // slices.per_epoch)[start : start + slices.size]

    def load(seed: Seed, step: Step, steps: int, mesh: Mesh | None = None) -> Any:
        if is_traced((seed, step)):
            raise ParameterError(
                "a source on the host cannot be read from within jit or vmap; expected batches in memory or "
                "procedural ones there. Call advance outside."
            )
        visits = np.stack([visited(int(seed), int(step) + i) for i in range(steps)])
        return (_on_mesh(read, visits, mesh) if mesh else _stacked(read, visits, jnp.asarray)), jnp.int32(
            step
        )

    sample = read(np.linspace(0, slices.examples - 1, min(16, slices.examples)).astype(int))
    check_numbers(sample)
    batch = slices.size * sum(leaf[0].nbytes for leaf in jax.tree.leaves(sample))
    check_memory(batch, f"from_source: a batch of {slices.size} examples", "Take fewer")
    turns = min(slices.turns, max(1, READ_AT_ONCE // max(1, batch)))
    whole = Batches(
        load, _of_stack, turns, slices.per_epoch, lambda: slices.describe(sample), reads=True, rows=visited
    )
    return replace(whole, over=lambda mesh: replace(whole, load=functools.partial(load, mesh=mesh)))


def _rows(array: Any, rows: np.ndarray) -> np.ndarray:
    """Rows of an array; of one in a file they are read in the order in which they are there."""
    if isinstance(array, np.ndarray):
        return array[rows]
    order = np.argsort(rows)
    return np.asarray(array[rows[order]])[np.argsort(order)]


def _examples(source: Any, rows: np.ndarray) -> list[Any]:
    if hasattr(source, "__getitems__"):
        return source.__getitems__(rows.tolist())
    return [_example(source, int(i)) for i in rows]


def _example(source: Any, i: int) -> Any:
    try:
        return source[i]
    except Exception as error:
        error.add_note(f"from_source: this came of [{i}], which is to be the example of that number.")
        raise


def _is_row(part: Any) -> bool:
    """Whether a part of an example is a list of numbers, which is an array that has not been made."""
    return isinstance(part, list) and all(isinstance(leaf, int | float) for leaf in jax.tree.leaves(part))


def _stacked(
    read: Callable[[np.ndarray], Any], visits: np.ndarray, as_array: Callable[[np.ndarray], Any]
) -> Any:
    """The batches of several steps in arrays [steps, examples, …]."""
    return jax.tree.map(lambda *each: as_array(np.stack(each)), *map(read, visits))


def _on_mesh(read: Callable[[np.ndarray], Any], visits: np.ndarray, mesh: Mesh) -> Any:
    """Likewise, spread over the devices of all processes: a process reads the examples of its own devices."""
    even = visits.shape[1] % mesh.shape[DATA] == 0
    sharding = NamedSharding(mesh, PartitionSpec(None, DATA if even else None))

    def examples(index: Any) -> tuple[int, int]:
        start, stop, _ = index[1].indices(visits.shape[1])
        return start, stop

    mine = {examples(index) for index in sharding.addressable_devices_indices_map(visits.shape).values()}
    parts = {part: _stacked(read, visits[:, slice(*part)], _as_jax_has_it) for part in mine}

    def together(*each: np.ndarray) -> jax.Array:
        of = dict(zip(parts, each, strict=True))
        return jax.make_array_from_callback(
            visits.shape + each[0].shape[2:], sharding, lambda index: of[examples(index)]
        )

    return jax.tree.map(together, *parts.values())


def _as_jax_has_it(array: np.ndarray) -> np.ndarray:
    """In float32 what is in float64, unless that is switched on."""
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)


def _of_stack(data: Any, key: Key[Array, ""], step: Step) -> Any:
    """The batch of a step out of a stack of batches, and the step of the first of them."""
    stack, first = data
    return jax.tree.map(lambda array: lax.dynamic_index_in_dim(array, step - first, keepdims=False), stack)


@functools.lru_cache(2)
def _order(seed: int, examples: int, epoch: int) -> np.ndarray:
    return np.asarray(orders(jax.random.key(seed), examples, epoch, 1)[0])


def read_ahead(load: Callable[..., T], spans: Iterable[tuple[int, int]]) -> Iterator[T]:
    """What `load` reads for each span of steps, the next one while the last one is used."""
    with ThreadPoolExecutor(1) as reader:
        futures = (reader.submit(load, *span) for span in spans)
        ahead = next(futures, None)
        while ahead:
            current, ahead = ahead.result(), next(futures, None)
            yield current
