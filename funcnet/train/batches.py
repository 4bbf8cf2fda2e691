"""Batches: a function of the step number and a seed, whatever they are made of.

    in_memory(arrays, size)      arrays on the device, gathered there
    procedural(draw)             draw(key[, step]) makes a batch on the device: copy tasks, curricula
    from_source(source, size)    on the host, anything with a length and [i] (`funcnet.train.source`)

An epoch e visits all examples in the order `orders(key of the seed, examples, e, 1)[0]`, and its s-th step
takes the s-th slice of that; what does not fill a last batch waits for the next epoch, and fewer examples
than a batch are one batch. So a run that goes on at some step needs no word of the reader.

What several steps need is brought to the device at once (`load`), and each takes its part there (`take`,
inside of the compiled loop). Arrays that are spread over devices stay so, and so do the batches out of them.
"""

import functools
import hashlib
import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Integer, Key

from funcnet._errors import ParameterError, ShapeError, came
from funcnet._memory import check_memory
from funcnet.train.checkpoint import named_leaves
from funcnet.train.devices.mesh import replicated
from funcnet.train.limits import check_numbers
from funcnet.train.loss import hashable

Step = Integer[Array, ""] | int
Seed = Integer[Array, ""] | int

TURNS = 100
"""Steps in one call, at most."""

VISITS = 2**20
"""Examples visited by the epochs of one call, at most, unless a single epoch has more."""

OF_A_LOADER = (
    "Of a loader take the data set that it goes over, before that is shuffled, repeated or cut into batches: "
    "what can only be iterated over cannot be resumed."
)


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
        over: the same batches for devices of a mesh: what is loaded is on all of them, or each has its part.
        rows: of (seed, step), which examples a batch consists of; None where there are none.
    """

    load: Callable[[Seed, Step, int], Any]
    take: Callable[[Any, Key[Array, ""], Step], Any]
    turns: int
    per_epoch: int
    describe: Callable[[], dict[str, Any]]
    reads: bool = False
    over: Callable[[Mesh], "Batches"] | None = None
    rows: Callable[..., np.ndarray] | None = None

    def on(self, mesh: Mesh) -> "Batches":
        """The same batches, of which what is loaded is on the devices of a mesh, of all processes."""
        batches = self.over(mesh) if self.over else self

        def load(seed: Seed, step: Step, steps: int) -> Any:
            return replicated(batches.load(seed, step, steps), mesh)

        return replace(batches, load=load)

    def __call__(self, step: Step, seed: Seed = 0) -> Any:
        """The batch of a step."""
        return self.take(self.load(seed, step, 1), jax.random.key(seed), step)

    def spans(self, begin: int, steps: int, by_epoch: bool) -> Iterator[tuple[int, int]]:
        """From where to where is loaded at once: so many turns, to the end of the run, or of the epoch."""
        unit = self.per_epoch if by_epoch else max(self.turns, self.per_epoch)
        while begin < steps:
            stop = min(begin + self.turns, (begin // unit + 1) * unit, steps)
            yield begin, stop
            begin = stop


def in_memory(arrays: Any, size: int) -> Batches:
    """Batches of so many rows of arrays, shuffled anew in each epoch.

    Args:
        arrays: a pytree of arrays with one leading axis, of the examples.
        size: examples in a batch; all of them, if there are fewer.

    Raises:
        ShapeError: the arrays have not the same number of examples, or none.
        ParameterError: the size is below 1, the arrays are of texts or objects, or they need more memory than
            there is.

    >>> batches = in_memory((np.arange(10), np.arange(10) ** 2), 4)
    >>> batches.per_epoch
    2
    >>> x, y = batches(0)
    >>> bool((x**2 == y).all())
    True
    """
    check_pytree("in_memory", arrays)
    check_numbers(arrays)
    slices = Slices.of(rows_of(arrays), size)
    elsewhere = [leaf for leaf in jax.tree.leaves(arrays) if isinstance(leaf, np.ndarray)]
    check_memory(
        sum(leaf.nbytes for leaf in elsewhere),
        "in_memory: the arrays",
        "Take from_source, which reads what a few steps need",
    )
    try:
        arrays = jax.tree.map(jnp.asarray, arrays)
    except (TypeError, ValueError) as error:
        kinds = ", ".join(dict.fromkeys(type(leaf).__name__ for leaf in jax.tree.leaves(arrays)))
        raise ParameterError(
            f"in_memory: got arrays of type {kinds}; expected what JAX makes arrays of. Take numpy.asarray "
            f"of each, as of a table's columns, or from_source for what has examples by number."
        ) from error

    @functools.lru_cache(1)
    def kept(seed: int, first: int, epochs: int) -> tuple[Array, Array]:
        with jax.ensure_compile_time_eval():  # what is kept must have a value, within jit too
            return orders(jax.random.key(seed), slices.examples, first, epochs), jnp.int32(first)

    def load(seed: Seed, step: Step, steps: int) -> Any:
        if is_traced((seed, step)):
            first = step // slices.per_epoch
            epochs = (steps + slices.per_epoch - 2) // slices.per_epoch + 1  # as many as it may touch
            return arrays, orders(jax.random.key(seed), slices.examples, first, epochs), jnp.int32(first)
        together = slices.epochs  # so many have their orders made at once, whoever asks
        first, last = (k // slices.per_epoch // together for k in (int(step), int(step) + max(1, steps) - 1))
        return arrays, *kept(int(seed), first * together, (last - first + 1) * together)

    return Batches(
        load,
        slices,
        slices.turns,
        slices.per_epoch,
        lambda: slices.describe(arrays),
        over=lambda mesh: in_memory(replicated(arrays, mesh), size),
        rows=slices.rows,
    )


def procedural(draw: Callable[[Key[Array, ""]], Any]) -> Batches:
    """Batches that are made where they are used, each from a key of its own.

    Args:
        draw: a jittable function, draw(key) or draw(key, step), to a batch.

    Raises:
        ParameterError: it is a function of other arguments.

    >>> batches = procedural(lambda key: jax.random.normal(key, (8, 2)))
    >>> batches(3).shape
    (8, 2)
    """
    signature = inspect.signature(draw)
    try:
        signature.bind(None, **_of_step(draw, None))
    except TypeError as error:
        raise ParameterError(
            f"the function that makes batches takes {signature}; expected a random key, and a step if it has "
            f"such an argument, and a batch returned"
        ) from error
    if inspect.isgeneratorfunction(draw):
        raise ParameterError(
            "a generator's batches cannot be read again, so that a run could go on; expected a function of a "
            "random key that returns a batch. For what a generator goes over take in_memory or from_source."
        )
    take = Drawn(hashable(draw))

    def describe() -> dict[str, Any]:
        first, again = (digest(take((), jax.random.key(0), 0)) for _ in range(2))
        if first != again:
            raise ParameterError(
                "the function that makes batches made two others of one key; expected a pure one. Draw by "
                "jax.random and the key: NumPy draws once, when the step is compiled, and never again."
            )
        return {"content": first}

    return Batches(lambda seed, step, steps: (), take, TURNS, TURNS, describe)


class Drawn(NamedTuple):
    """The batch of a step, drawn by a key that neither the order of examples nor a loss uses."""

    draw: Callable[[Key[Array, ""]], Any]

    def __call__(self, data: Any, key: Key[Array, ""], step: Step) -> Any:
        """The batch."""
        try:
            key = jax.random.fold_in(jax.random.fold_in(key, 3), step)
            return self.draw(key, **_of_step(self.draw, step))
        except Exception as error:
            error.add_note(
                "The function that makes batches is handed a random key, and the number of a step as `step`."
            )
            if isinstance(error, jax.errors.JAXTypeError):
                error.add_note(
                    "It is traced, and what follows from the key has no value yet, by which NumPy could "
                    "index: take jax.numpy.asarray(array)[rows], or from_source for what is read on the host."
                )
            raise


def _of_step(draw: Callable, step: Step | None) -> dict[str, Step | None]:
    """The step, for a function that asks for it."""
    return {"step": step} if "step" in inspect.signature(draw).parameters else {}


class Slices(NamedTuple):
    """The batch of a step, gathered from arrays: how epochs over so many examples are cut."""

    examples: int
    size: int

    @classmethod
    def of(cls, examples: int, size: int) -> "Slices":
        """For batches of so many of so many examples."""
        if not isinstance(size, int | np.integer) or size < 1:
            raise ParameterError(f"the batch size is {size}; expected 1 or more, a whole number")
        if examples < 1:
            raise ShapeError("there are no examples; expected one or more")
        if examples >= 2**31:
            raise ParameterError(
                f"there are {examples} examples, as of a source without an end; expected less than 2³¹. "
                f"Repeating and shuffling are the loop's: leave them out of the source."
            )
        return cls(examples, min(size, examples))

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return self.examples // self.size

    @property
    def turns(self) -> int:
        """Steps in one call: whole epochs, or one length in the whole epoch, so that one loop is compiled."""
        return self.epochs * math.ceil(self.per_epoch / math.ceil(self.per_epoch / TURNS))

    @property
    def epochs(self) -> int:
        """Epochs in one call; their orders are all in memory."""
        return max(1, min(TURNS // self.per_epoch, VISITS // self.examples))

    def __call__(self, data: Any, key: Key[Array, ""], step: Step) -> Any:
        """The batch, out of (arrays, visits [epochs, examples], the first of these epochs)."""
        arrays, visits, first = data
        start = step // self.per_epoch - first, step % self.per_epoch * self.size
        rows = lax.dynamic_slice(visits, start, (1, self.size))[0]
        return jax.tree.map(lambda array: _gathered(array, rows), arrays)

    def rows(self, seed: Seed, step: Step) -> np.ndarray:
        """Which examples the batch of a step consists of."""
        start = step % self.per_epoch * self.size
        order = orders(jax.random.key(seed), self.examples, step // self.per_epoch, 1)[0]
        return np.asarray(order)[start : start + self.size]

    def describe(self, content: Any) -> dict[str, Any]:
        """What such data are."""
        return {"training examples": self.examples, "batch size": self.size, "content": digest(content)}


def _gathered(array: Array, rows: Array) -> Array:
    """Rows of an array; where sharding is part of its type, they are spread as it is."""
    sharding = jax.typeof(array).sharding
    if jax.sharding.AxisType.Explicit in sharding.mesh.axis_types:
        return array.at[rows].get(out_sharding=sharding)
    return array[rows]


@functools.partial(jax.jit, static_argnums=(1, 3))
def orders(
    key: Key[Array, ""], examples: int, first: Step, epochs: int
) -> Integer[Array, "{epochs} {examples}"]:
    """The order in which each of so many epochs visits the examples, by the key of the seed: permutations."""
    _, key = jax.random.split(key)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(first + jnp.arange(epochs, dtype=jnp.int32))
    return jax.vmap(lambda key: jax.random.permutation(key, examples))(keys)


def as_batches(batches: Batches | Callable) -> Batches:
    """Batches as they are, and a function of a key as procedural ones."""
    if isinstance(batches, Batches):
        return batches
    if not callable(batches):
        raise ParameterError(
            f"batches are of type {type(batches).__name__}; expected in_memory(arrays, size), "
            f"from_source(source, size), or a function of a key that makes a batch. {OF_A_LOADER}"
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


def check_pytree(name: str, data: Any) -> None:
    """Nothing, unless data are a table, or a mapping in whose arrays JAX does not look, as of a file."""
    if hasattr(data, "to_numpy"):
        raise ParameterError(
            f"{name}: got {came(data)}, which is no array of examples; expected arrays of its rows. Take "
            f"to_numpy() of the columns, in a tuple or a dictionary."
        )
    if isinstance(data, Mapping) and jax.tree_util.all_leaves([data]):
        raise ParameterError(
            f"{name}: got {came(data)}, which has {', '.join(map(str, itertools.islice(data, 4)))} by name; "
            f"expected one of these, or a dictionary of what is to be a batch: dict(…) of it is one"
        )


def is_traced(tree: Any) -> bool:
    """Whether one of the leaves has no value yet, under jit or vmap."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def rows_of(arrays: Any) -> int:
    """The number of rows that all arrays have."""
    shapes = {name: np.shape(leaf) for name, leaf in named_leaves(arrays).items()}
    rows = {shape[:1] for shape in shapes.values()}
    if len(rows) != 1 or () in rows:
        few = dict(itertools.islice(shapes.items(), 4))
        more = f" and {len(shapes) - 4} more" if len(shapes) > 4 else ""
        lists = " A list is no array, but many: take numpy.asarray of it." if () in rows else ""
        raise ShapeError(
            f"arrays of shapes {few}{more}; expected one leading axis for all, of the examples.{lists}"
        )
    return rows.pop()[0]
