"""Batches: a function of the step number and a seed, whatever they are made of.

    in_memory(arrays, size)      arrays on the device, gathered there
    procedural(draw)             draw(key) makes a batch on the device: copy tasks, toy sets
    from_source(source, size)    on the host, anything with a length and [i]: memory maps, files, grain

An epoch e visits all examples in the order `order(key of the seed, examples, e)`, and its s-th step takes the
s-th slice of that; what does not fill a last batch waits for the next epoch, and fewer examples than a batch
are one batch. So a run that goes on at some step needs no word of the reader.

What several steps need is brought to the device at once (`load`), and each takes its part there (`take`,
inside of the compiled loop).
"""

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Integer, Key

from funcnet._errors import ParameterError, ShapeError
from funcnet.train.checkpoint import named_leaves

Step = Integer[Array, ""] | int
Seed = Integer[Array, ""] | int

TURNS = 100
"""Steps in one call, at most."""

READ_AT_ONCE = 2**26
"""Bytes that are read from a source at once, at most, unless a single batch has more."""


@dataclass(frozen=True)
class Batches:
    """Batches by step.

    Attributes:
        load: what the steps from one on, so many, need on the device, of (seed, step, steps).
        take: the batch of a step, of (what was loaded, the key of the seed, the step); it is traced.
        turns: how many steps are to be loaded at once.
        per_epoch: steps in an epoch; `TURNS` where there are none.
        describe: what the data are, as JSON can hold it, with a digest of their content.
        reads: whether loading takes the host's time, so that it is worth doing ahead.
    """

    load: Callable[[Seed, Step, int], Any]
    take: Callable[[Any, Key[Array, ""], Step], Any]
    turns: int
    per_epoch: int
    describe: Callable[[], dict[str, Any]]
    reads: bool = False

    def __call__(self, step: Step, seed: Seed = 0) -> Any:
        """The batch of a step."""
        return self.take(self.load(seed, step, 1), jax.random.key(seed), step)


def in_memory(arrays: Any, size: int) -> Batches:
    """Batches of so many rows of arrays, shuffled anew in each epoch.

    Args:
        arrays: a pytree of arrays with one leading axis, of the examples.
        size: examples in a batch.

    Raises:
        ShapeError: the arrays have not the same number of examples, or none.
        ParameterError: the size is below 1.

    >>> batches = in_memory((np.arange(10), np.arange(10) ** 2), 4)
    >>> batches.per_epoch
    2
    >>> x, y = batches(0)
    >>> bool((x**2 == y).all())
    True
    """
    slices = _slices(_examples(arrays), size)
    arrays = jax.tree.map(jnp.asarray, arrays)

    @functools.lru_cache(1)
    def visited(seed: int, epoch: int) -> Array:
        with jax.ensure_compile_time_eval():  # what is kept here must have a value, within jit too
            return order(jax.random.key(seed), slices.examples, epoch)[None]

    def load(seed: Seed, step: Step, steps: int) -> Any:
        if not is_traced((seed, step)) and int(step) % slices.per_epoch + steps <= slices.per_epoch:
            epoch = int(step) // slices.per_epoch
            return arrays, visited(int(seed), epoch), jnp.int32(epoch)
        count = (steps + slices.per_epoch - 2) // slices.per_epoch + 1
        epochs = step // slices.per_epoch + jnp.arange(count, dtype=jnp.int32)
        visits = jax.vmap(functools.partial(order, jax.random.key(seed), slices.examples))(epochs)
        return arrays, visits, epochs[0]

    return Batches(load, slices, slices.turns, slices.per_epoch, lambda: slices.describe(arrays))


def procedural(draw: Callable[[Key[Array, ""]], Any]) -> Batches:
    """Batches that are made where they are used, each from a key of its own.

    Args:
        draw: a jittable function of a key to a batch.

    >>> batches = procedural(lambda key: jax.random.normal(key, (8, 2)))
    >>> batches(3).shape
    (8, 2)
    """
    take = Drawn(draw)
    return Batches(
        load=lambda seed, step, steps: (),
        take=take,
        turns=TURNS,
        per_epoch=TURNS,
        describe=lambda: {"content": digest(take((), jax.random.key(0), 0))},
    )


def from_source(source: Any, size: int) -> Batches:
    """Batches of so many examples of a source on the host, shuffled anew in each epoch.

    Args:
        source: a pytree of numpy arrays with one leading axis, which may be memory maps; or anything with a
            length whose [i] is an example, a pytree of arrays of the same shapes for each i.
        size: examples in a batch.

    Raises:
        ShapeError: it has no examples.
        ParameterError: the size is below 1.

    >>> squares = [{"x": np.float32(i), "y": np.float32(i * i)} for i in range(10)]
    >>> from_source(squares, 4)(step=0)["x"].shape
    (4,)
    """
    leaves = jax.tree.leaves(source)
    mapped = bool(leaves) and all(isinstance(leaf, np.ndarray) for leaf in leaves)
    slices = _slices(_examples(source) if mapped else len(source), size)

    def read(rows: np.ndarray) -> Any:
        if mapped:
            return jax.tree.map(lambda array: array[rows], source)
        return jax.tree.map(lambda *each: np.stack(each), *(source[int(i)] for i in rows))

    def load(seed: Seed, step: Step, steps: int) -> Any:
        if is_traced((seed, step)):
            raise ParameterError(
                "a source on the host cannot be read from within jit or vmap; expected batches in memory or "
                "procedural ones there. Call advance outside."
            )
        stacked = [read(slices.rows(int(seed), int(step) + i)) for i in range(steps)]
        return jax.tree.map(lambda *each: jnp.asarray(np.stack(each)), *stacked), jnp.int32(step)

    sample = read(np.linspace(0, slices.examples - 1, min(16, slices.examples)).astype(int))
    example = sum(leaf[0].nbytes for leaf in jax.tree.leaves(sample))
    turns = min(slices.turns, max(1, READ_AT_ONCE // max(1, example * slices.size)))
    return Batches(load, _of_stack, turns, slices.per_epoch, lambda: slices.describe(sample), reads=True)


class Drawn(NamedTuple):
    """The batch of a step, drawn by a key that neither the order of examples nor a loss uses."""

    draw: Callable[[Key[Array, ""]], Any]

    def __call__(self, data: Any, key: Key[Array, ""], step: Step) -> Any:
        """The batch."""
        return self.draw(jax.random.fold_in(jax.random.fold_in(key, 3), step))


class Slices(NamedTuple):
    """The batch of a step, gathered from arrays: how epochs over so many examples are cut."""

    examples: int
    size: int

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return self.examples // self.size

    @property
    def turns(self) -> int:
        """Steps in one call: one length in the whole epoch, so that one loop is compiled."""
        return math.ceil(self.per_epoch / math.ceil(self.per_epoch / TURNS))

    def __call__(self, data: Any, key: Key[Array, ""], step: Step) -> Any:
        """The batch, out of (arrays, visits [epochs, examples], the first of these epochs)."""
        arrays, visits, first = data
        start = step // self.per_epoch - first, step % self.per_epoch * self.size
        rows = lax.dynamic_slice(visits, start, (1, self.size))[0]
        return jax.tree.map(lambda array: array[rows], arrays)

    def rows(self, seed: int, step: int) -> np.ndarray:
        """The examples of a step."""
        start = step % self.per_epoch * self.size
        return _order_on_host(seed, self.examples, step // self.per_epoch)[start : start + self.size]

    def describe(self, content: Any) -> dict[str, Any]:
        """What such data are."""
        return {"training examples": self.examples, "batch size": self.size, "content": digest(content)}


@functools.partial(jax.jit, static_argnums=1)
def order(key: Key[Array, ""], examples: int, epoch: Step) -> Integer[Array, " {examples}"]:
    """The order in which an epoch visits the examples, by the key of the seed: a permutation."""
    _, key = jax.random.split(key)
    return jax.random.permutation(jax.random.fold_in(key, epoch), examples)


@functools.lru_cache(2)
def _order_on_host(seed: int, examples: int, epoch: int) -> np.ndarray:
    return np.asarray(order(jax.random.key(seed), examples, epoch))


def _of_stack(data: Any, key: Key[Array, ""], step: Step) -> Any:
    """The batch of a step out of a stack of batches, and the step of the first of them."""
    stack, first = data
    return jax.tree.map(lambda array: lax.dynamic_index_in_dim(array, step - first, keepdims=False), stack)


def as_batches(batches: Batches | Callable) -> Batches:
    """Batches as they are, and a function of a key as procedural ones."""
    if isinstance(batches, Batches):
        return batches
    if not callable(batches):
        raise ParameterError(
            f"batches are a {type(batches).__name__}; expected in_memory(arrays, size), "
            f"from_source(source, size), or a function of a key that makes a batch"
        )
    return procedural(batches)


def digest(tree: Any) -> str:
    """SHA-256 of the arrays of a tree, with their names, shapes and dtypes."""
    sha = hashlib.sha256()
    for name, leaf in named_leaves(tree).items():
        array = np.ascontiguousarray(leaf)
        sha.update(f"{name} {array.dtype} {np.shape(leaf)}".encode())
        sha.update(array.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def is_traced(tree: Any) -> bool:
    """Whether one of the leaves has no value yet, under jit or vmap."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def _slices(examples: int, size: int) -> Slices:
    if size < 1:
        raise ParameterError(f"the batch size is {size}; expected 1 or more")
    if examples < 1:
        raise ShapeError("there are no examples; expected one or more")
    return Slices(examples, min(size, examples))


def _examples(arrays: Any) -> int:
    """The number of rows that all arrays have."""
    shapes = {name: np.shape(leaf) for name, leaf in named_leaves(arrays).items()}
    rows = {shape[:1] for shape in shapes.values()}
    if len(rows) != 1 or () in rows:
        raise ShapeError(f"arrays of shapes {shapes}; expected one leading axis for all, of the examples")
    return rows.pop()[0]
