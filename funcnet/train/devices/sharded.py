"""States in parts on disk: a folder that orbax writes, in which each process puts what its devices have.

    <step>/state       the arrays, of which no host needs the whole
    <step>/metadata    JSON: what the run says of itself, and of each array its type, shape and checksum

A step counts only when orbax has committed it; the one before it is removed then, and not sooner. It is read
onto any other mesh. What orbax does not notice are flipped bits, so each array has a checksum: a sum over its
elements, which is the same however they are spread,

    Σᵢ mix(xᵢ + i φ)  mod 2³²        xᵢ the bits of element i, φ = 2³²/golden ratio,

where mix is a bijection (Appleby 2016, MurmurHash3, fmix32): whatever changes one element changes it.
"""

import contextlib
import importlib.util
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, UInt32

from funcnet._errors import CheckpointError, MissingPackageError, WriteError
from funcnet.train.checkpoint import describe, named_leaves, nested, refuse_others
from funcnet.train.devices.mesh import on_the_host

Tree = TypeVar("Tree")


def in_parts(state: Any) -> bool:
    """Whether a state is to be written in parts: an array of it is spread, and orbax is there to do it."""
    if all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state)):
        return False
    # orbax is a namespace, in which other packages may stand alone
    return bool(importlib.util.find_spec("orbax") and importlib.util.find_spec("orbax.checkpoint"))


def save(folder: Path, step: int, tree: Any, metadata: dict[str, Any]) -> None:
    """Writes a tree of arrays, and metadata that JSON can hold; all processes take part.

    Raises:
        WriteError: the folder cannot be written; the step before is kept.
    """
    leaves = named_leaves(tree)
    sums = _checksums(leaves)
    arrays = {name: [describe(leaf), sums[name]] for name, leaf in leaves.items()}
    content = {"metadata": metadata, "arrays": arrays}
    try:
        with _manager(folder) as (manager, args):
            written = args.Composite(
                state=args.StandardSave(nested(_not_empty(leaves))),
                metadata=args.JsonSave(content | {"crc32": _crc32(content)}),
            )
            if step not in manager.all_steps():  # where a run goes on it is, and the same
                manager.save(step, args=written, force=True)
    except (OSError, ValueError) as error:  # the second of tensorstore, whatever it could not write
        why = _first_line(error)
        raise WriteError(f"cannot write {folder}: {why}; the checkpoint before it is kept") from error


def read(
    folder: Path, like: Tree, accept: Callable[[dict[str, Any]], None]
) -> tuple[Tree, dict[str, Any]] | None:
    """A tree that was saved, its arrays where those of `like` are, and its metadata; None if there is none.

    Args:
        folder: what `save` was given.
        like: arrays of the same shapes, on whatever devices.
        accept: gets the metadata before the arrays are read, and may raise.

    Raises:
        CheckpointError: it is damaged, or holds other arrays than `like`.
        MissingPackageError: orbax is not installed.
    """
    if not folder.is_dir():
        return None
    with _manager(folder) as (manager, args):
        step = manager.latest_step()
        if step is None:
            return None
        content = _restored(folder, manager, step, args.Composite(metadata=args.JsonRestore())).metadata
        if content.pop("crc32", None) != _crc32(content):
            raise CheckpointError(f"{folder} is damaged: its metadata do not fit their checksum")
        metadata, arrays = content["metadata"], content["arrays"]
        accept(metadata)
        refuse_others({name: description for name, (description, _) in arrays.items()}, like, folder)
        leaves = named_leaves(like)
        places = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in _not_empty(leaves).items()
        }
        parts = args.Composite(state=args.StandardRestore(nested(places)))
        leaves |= named_leaves(_restored(folder, manager, step, parts).state)
    for name, checksum in _checksums(leaves).items():
        if checksum != arrays[name][1]:
            raise CheckpointError(f"{folder} is damaged: {name} does not fit its checksum")
    return jax.tree.unflatten(jax.tree.structure(like), [*leaves.values()]), metadata


@contextlib.contextmanager
def _manager(folder: Path) -> Iterator[tuple[Any, Any]]:
    """Within the block orbax's manager of a folder, and its kinds of arguments."""
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise MissingPackageError(
            f"{folder} was written by orbax, which is not installed; pip install 'funcnet[distributed]'"
        ) from error
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    with ocp.CheckpointManager(folder.absolute(), options=options) as manager:
        yield manager, ocp.args


def _restored(folder: Path, manager: Any, step: int, args: Any) -> Any:
    """What is asked for of a step."""
    try:
        return manager.restore(step, args=args)
    except Exception as error:  # of many classes: damaged files are read by JSON, tensorstore and orbax
        raise CheckpointError(f"{folder} is damaged: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Of what may be pages."""
    return str(error).partition("\n")[0][:300] or type(error).__name__


def _not_empty(leaves: dict[str, Any]) -> dict[str, Any]:
    """Without the arrays of no elements, which orbax does not store."""
    return {name: leaf for name, leaf in leaves.items() if leaf.size}


def _crc32(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())


def _checksums(leaves: dict[str, jax.Array]) -> dict[str, int]:
    """Of each array; all processes ask for it."""
    return {name: int(number) for name, number in on_the_host(jax.tree.map(_checksum, leaves)).items()}


@jax.jit
def _checksum(x: Array) -> UInt32[Array, ""]:
    """The module's docstring has the formula."""
    bits = _bits(x)
    position = jnp.zeros(bits.shape, jnp.uint32)
    for axis, length in enumerate(bits.shape):
        position = position * length + lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    h = bits + position * jnp.uint32(0x9E3779B9)
    h = (h ^ h >> 16) * jnp.uint32(0x85EBCA6B)
    h = (h ^ h >> 13) * jnp.uint32(0xC2B2AE35)
    return jnp.sum(h ^ h >> 16, dtype=jnp.uint32)


def _bits(x: Array) -> UInt32[Array, "..."]:
    """The bits of the elements; those of more than 32 bits along one more axis."""
    if jnp.iscomplexobj(x):
        x = jnp.stack([x.real, x.imag], -1)
    if x.dtype == bool:
        x = x.astype(jnp.uint8)
    size = (jnp.finfo if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo)(x.dtype).bits
    return lax.bitcast_convert_type(x, f"uint{min(size, 32)}").astype(jnp.uint32)
