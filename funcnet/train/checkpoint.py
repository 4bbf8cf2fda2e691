"""Trees of arrays on disk: one safetensors file, with JSON in its header.

Each array is stored under its path in the tree ("params/layer1/w", "optimizer_state/0/mu/layer1/w"),
bit for bit, and the file is replaced as a whole (`funcnet._files`), so arrays and metadata always
belong together. safetensors itself notices a file that is cut short; a checksum in the header notices
flipped bits.
"""

import functools
import json
import zlib
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from funcnet._errors import CheckpointError, ParameterError
from funcnet._files import write_atomically

Tree = TypeVar("Tree")


def save(path: str | Path, tree: Any, metadata: dict[str, Any]) -> None:
    """Writes a tree of arrays, and metadata that JSON can hold.

    Raises:
        CheckpointError: the file cannot be written; an older one is kept.
    """
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in named_leaves(without_keys(tree)).items()}
    header = json.dumps({"metadata": metadata, "crc32": _checksum(arrays, metadata)})
    write_atomically(path, safetensors.numpy.save(arrays, {"funcnet": header}))


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a file by name, and its metadata.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of funcnet's.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 — no mapping
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from error
    if "funcnet" not in header:
        raise CheckpointError(f"{path} was not written by funcnet: its header has no funcnet metadata")
    try:
        content = json.loads(header["funcnet"])
        metadata, checksum = content["metadata"], content["crc32"]
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged: its metadata cannot be read: {error!r}") from error
    if checksum != _checksum(arrays, metadata):
        raise CheckpointError(f"{path} is damaged: its checksum does not fit its content")
    return arrays, metadata


def arrange(arrays: dict[str, np.ndarray], like: Tree, path: str | Path) -> Tree:
    """The arrays of the file at `path` as a tree of the structure, shapes and dtypes of `like`.

    Raises:
        CheckpointError: it holds other arrays than `like`.
    """
    plain = without_keys(like)
    refuse_others({name: describe(array) for name, array in arrays.items()}, plain, path)
    leaves = [arrays[name] for name in named_leaves(plain)]
    return with_keys(jax.tree.unflatten(jax.tree.structure(like), leaves), like)


def refuse_others(found: dict[str, str], like: Any, path: str | Path) -> None:
    """Nothing, if what `path` has are the arrays of `like`, as `describe` says; else a CheckpointError."""
    expected = {name: describe(leaf) for name, leaf in named_leaves(like).items()}
    for name in sorted(expected | found):
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{path} does not fit: {name} is {found.get(name, 'absent')}, expected "
                f"{expected.get(name, 'no such array')}. Was it written with another configuration, or "
                f"another optimizer?"
            )


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a tree in order, by their path: {"layer1/w": …, "layer1/b": …}."""
    try:
        leaves, _ = jax.tree.flatten_with_path(tree)
    except ValueError as error:  # JAX sorts the keys of a dictionary
        raise ParameterError(f"a dictionary's keys have no order: {error} Name all by texts.") from error
    named = {"/".join(_parts(path)): leaf for path, leaf in leaves}
    if len(named) < len(leaves):
        raise ParameterError(f"two arrays have one path among {', '.join(named)}; expected no / in a name")
    return named


def paths(tree: Any) -> dict[str, list[str]]:
    """What the path of each leaf consists of, by its name: a part may have a / in it, as haiku's have."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {"/".join(_parts(path)): _parts(path) for path, _ in leaves}


def _parts(path: tuple[Any, ...]) -> list[str]:
    return [jax.tree_util.keystr((key,), simple=True) for key in path]


def without_keys(tree: Any) -> Any:
    """A tree in which JAX's random keys, which no file has, are the numbers they are made of."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def with_keys(tree: Tree, like: Tree) -> Tree:
    """What `without_keys` has taken from a tree like this one, of the same kinds of keys."""

    def of(x: Any, like: Any) -> Any:
        return jax.random.wrap_key_data(x, impl=jax.random.key_impl(like)) if is_key(like) else x

    return jax.tree.map(of, tree, like)


def is_key(x: Any) -> bool:
    """Whether an array is one of JAX's random keys."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def nested(arrays: dict[str, Any], paths: dict[str, list[str]] | None = None) -> Any:
    """Arrays by their paths as dictionaries in dictionaries; a path's parts are between its / if not given.

    >>> nested({"layer1/w": 1, "layer1/b": 2})
    {'layer1': {'w': 1, 'b': 2}}
    """
    if [*arrays] == [""]:  # an array alone
        return arrays[""]
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = (paths or {}).get(name) or name.split("/")
        functools.reduce(lambda node, key: node.setdefault(key, {}), path, tree)[last] = array
    return tree


def fitting(params: Tree, arrays: dict[str, np.ndarray], path: str | Path) -> Tree:
    """The parameters, of which those that fit by name and shape are of the file at `path`; else an error."""
    named = named_leaves(params)
    found = {name for name, leaf in named.items() if name in arrays and arrays[name].shape == np.shape(leaf)}
    if not found:
        raise CheckpointError(
            f"{path} has no array that fits by name and shape: it has {_listed(arrays)}, expected some of "
            f"{_listed(named)}"
        )
    leaves = [
        jnp.asarray(arrays[n], jnp.result_type(leaf)) if n in found else leaf for n, leaf in named.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def _listed(arrays: dict[str, Any]) -> str:
    return ", ".join(f"{name} {list(np.shape(array))}" for name, array in arrays.items()) or "none"


def describe(array: Any) -> str:
    """The type and shape of an array, in words."""
    return f"{array.dtype} {list(array.shape)}"


def _checksum(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> int:
    checksum = zlib.crc32(json.dumps(metadata).encode())
    for name in sorted(arrays):
        checksum = zlib.crc32(arrays[name].tobytes(), zlib.crc32(name.encode(), checksum))
    return checksum
