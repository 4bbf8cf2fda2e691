"""Loss and gradients in one order of additions, whatever the number of devices.

Floating-point sums depend on their order, and an all-reduce adds in the order of its ring: with it a run on
eight devices is another run than on one. Here the batch is always cut into 8 chunks, and what a loss gives
for each, its value, metrics and gradients, is added in one balanced tree,

    ((g₀ + g₁) + (g₂ + g₃)) + ((g₄ + g₅) + (g₆ + g₇))

of which a device has the subtree over its own chunks; so 1, 2, 4 and 8 devices add the same numbers in the
same order. Between devices each adds a part of every array: an all-to-all brings it that part of all
subtrees, an all-gather hands its sum to all. That is the traffic of a ring's all-reduce (Rabenseifner 2004),
2 (N − 1) / N times the bytes of the gradients. Small arrays go together, since a collective takes its time
however little it brings.

A chunk's gradients stand between barriers, so that XLA compiles them alike in any program around them. Loops
hold one sum for each level of the tree, not one for each chunk; convolutions on a CPU, which are slow in
loops, are written out.
"""

import collections
import itertools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Integer, Key

from funcnet._errors import ParameterError
from funcnet.train.checkpoint import is_key, named_leaves

CHUNKS = 8
"""Into which a batch is cut; the number of devices divides it."""

SMALL = 2**16
"""Entries of an array that is sent together with others."""

DATA = "data"
"""The axis of a mesh over which a batch is spread."""

Tree = TypeVar("Tree")


def in_one_order(
    measure: Callable[[Any, Any, Key[Array, ""]], Tree], mesh: Mesh | None = None
) -> Callable[[Any, Any, Key[Array, ""]], Tree]:
    """The mean over chunks of what is measured for each, of (params, rows of a batch, key).

    Args:
        measure: loss, metrics and gradients for rows of a batch; counts and truths among them become floats.
        mesh: the devices, over whose axis "data" the chunks are spread; one device if None.

    Raises:
        ParameterError: the rows of a batch are no multiple of 8.

    >>> mean = in_one_order(lambda params, rows, key: jnp.mean(params * rows))
    >>> float(mean(jnp.float32(2), jnp.arange(16.0), jax.random.key(0)))
    15.0
    """
    devices = mesh.shape[DATA] if mesh else 1

    def local(params: Any, rows: Any, key: Key[Array, ""], device: Integer[Array, ""] | int) -> Tree:
        mine = CHUNKS // devices
        size = len(jax.tree.leaves(rows)[0]) // mine

        def of_chunk(i: Integer[Array, ""]) -> Tree:
            chunk = jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, i * size, size), rows)
            inputs = params, chunk, jax.random.fold_in(key, device * mine + i)
            return lax.optimization_barrier(_floats(measure(*lax.optimization_barrier(inputs))))

        program, shapes = jax.make_jaxpr(of_chunk, return_shape=True)(jnp.int32(0))

        def traced_once(i: Integer[Array, ""]) -> Tree:
            leaves = jax.core.eval_jaxpr(program.jaxpr, program.consts, i)
            return jax.tree.unflatten(jax.tree.structure(shapes), leaves)

        platform = mesh.devices.flat[0].platform if mesh else jax.default_backend()
        in_loops = platform != "cpu" or "conv_general_dilated" not in str(program)  # JAX's issue 12868
        return _sum(traced_once, jnp.int32(0), mine, in_loops)

    def spread(params: Any, rows: Any, key: Key[Array, ""]) -> Tree:
        subtree = local(params, rows, key, lax.axis_index(DATA))
        return _sums_over_devices(subtree, devices)

    def mean(params: Any, batch: Any, key: Key[Array, ""]) -> Tree:
        _check_rows(batch)
        if mesh:
            none, rows = PartitionSpec(), PartitionSpec(DATA)
            run = jax.shard_map(
                spread, mesh=mesh, in_specs=(none, rows, none), out_specs=none, check_vma=False
            )
            total = run(params, batch, key)
        else:
            total = local(params, batch, key, 0)
        return lax.optimization_barrier(jax.tree.map(lambda leaf: leaf / CHUNKS, total))

    return mean


def _floats(tree: Tree) -> Tree:
    """With counts and truths among the metrics as numbers that have a mean."""
    if any(map(is_key, jax.tree.leaves(tree))):
        raise ParameterError(
            "reproducible: the loss keeps or measures a random key, and keys of 8 chunks have no mean; take "
            "the key that is handed to the loss, or reproducible=False"
        )
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if leaf.dtype.kind in "biu" else leaf, tree)


def _sum(of: Callable[[Array], Tree], first: Array, count: int, in_loops: bool) -> Tree:
    """The balanced tree over so many chunks from the first on."""
    if count == 1:
        return of(first)
    half = count // 2
    if not in_loops:
        left, right = (_sum(of, first + i * half, half, False) for i in range(2))
        return jax.tree.map(jnp.add, left, right)

    def add(i: Array, left: Tree) -> Tree:
        part = _sum(of, first + i * half, half, True)
        return jax.tree.map(lambda a, b: jnp.where(i == 0, b, a + b), left, part)

    like = jax.eval_shape(of, first)
    return lax.fori_loop(0, 2, add, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like))


def _sums_over_devices(tree: Tree, devices: int) -> Tree:
    """The sum of each leaf over the devices; the small ones of a dtype are added as one array."""
    leaves, structure = jax.tree.flatten(tree)
    together = collections.defaultdict(list)
    for i, leaf in enumerate(leaves):
        together[leaf.dtype if leaf.size <= SMALL else i].append(i)
    for places in together.values():
        arrays = [leaves[i] for i in places]
        total = _sum_over_devices(jnp.concatenate([array.reshape(-1) for array in arrays]), devices)
        parts = jnp.split(total, list(itertools.accumulate(array.size for array in arrays))[:-1])
        for i, array, part in zip(places, arrays, parts, strict=True):
            leaves[i] = part.reshape(array.shape)
    return structure.unflatten(leaves)


def _sum_over_devices(x: Array, devices: int) -> Array:
    """The balanced tree over the devices, each of which adds one part of the vector."""
    size = math.ceil(x.size / devices)
    parts = jnp.pad(x, (0, size * devices - x.size)).reshape(devices, size)
    parts = lax.all_to_all(parts, DATA, 0, 0)
    while len(parts) > 1:
        parts = parts[0::2] + parts[1::2]
    return lax.all_gather(parts[0], DATA, tiled=True)[: x.size]


def _check_rows(batch: Any) -> None:
    for name, leaf in named_leaves(batch).items():
        if leaf.ndim == 0 or len(leaf) % CHUNKS or not len(leaf):
            raise ParameterError(
                f"reproducible: the batch has {name or 'an array'} of shape {list(leaf.shape)}; expected a "
                f"multiple of {CHUNKS} rows, to be cut into so many chunks. Take another batch size, or "
                f"reproducible=False."
            )
