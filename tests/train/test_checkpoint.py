"""Trees on disk: back bit for bit, or a CheckpointError; and an old file that nothing can half replace."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from funcnet import _files
from funcnet._errors import CheckpointError, WriteError
from funcnet._files import remove_folder, write_atomically
from funcnet.train.checkpoint import arrange, named_leaves, read, save


class Pair(NamedTuple):
    first: Any
    second: Any


TREE = {"a": Pair(np.float32([[1, np.nan], [-0.0, np.inf]]), np.int32(7)), "b": (np.arange(3.0),)}


def load(path, like):
    arrays, metadata = read(path)
    return arrange(arrays, like, path), metadata


def _bits(tree):
    return {name: (leaf.dtype, leaf.shape, leaf.tobytes()) for name, leaf in named_leaves(tree).items()}


@pytest.mark.parametrize(
    "dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int32, np.bool_]
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
def test_arrays_come_back_bit_for_bit(dtype, shape, tmp_path):
    tree = {"w": np.ones(shape, dtype)}
    save(tmp_path / "tree", tree, {})
    assert _bits(load(tmp_path / "tree", tree)[0]) == _bits(tree)


def test_structure_names_and_metadata(tmp_path):
    metadata = {"history": [[1, 0.1 + 0.2]], "name": "σ × λ", "none": None}
    save(tmp_path / "tree", TREE, metadata)
    tree, again = load(tmp_path / "tree", TREE)
    assert isinstance(tree["a"], Pair)
    assert _bits(tree) == _bits(TREE)
    assert again == metadata
    assert set(read(tmp_path / "tree")[0]) == {"a/first", "a/second", "b/0"}


def test_a_transposed_array_is_stored_as_it_reads(tmp_path):
    w = np.arange(6.0).reshape(2, 3).T
    save(tmp_path / "tree", {"w": w}, {})
    np.testing.assert_array_equal(load(tmp_path / "tree", {"w": w})[0]["w"], w)


OTHERS = [
    ({"w": np.zeros((2, 3), np.float32)}, r"w is float32 \[2, 2\], expected float32 \[2, 3\]"),
    ({"w": np.zeros((2, 2), np.float16)}, r"w is float32 \[2, 2\], expected float16 \[2, 2\]"),
    ({"v": np.zeros((2, 2), np.float32)}, r"v is absent, expected float32 \[2, 2\]"),
    ({}, r"w is float32 \[2, 2\], expected no such array"),
]


@pytest.mark.parametrize(("like", "words"), OTHERS)
def test_other_arrays_than_expected(like, words, tmp_path):
    save(tmp_path / "tree", {"w": np.zeros((2, 2), np.float32)}, {})
    with pytest.raises(CheckpointError, match=rf"does not fit: {words}.*another configuration"):
        load(tmp_path / "tree", like)


def test_every_truncation_is_noticed(tmp_path):
    save(tmp_path / "tree", TREE, {"step": 3})
    content = (tmp_path / "tree").read_bytes()
    for length in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            load(tmp_path / "cut", TREE)


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path):
    save(tmp_path / "tree", TREE, {"step": 3})
    content = (tmp_path / "tree").read_bytes()
    noticed = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "damaged").write_bytes(damaged)
        try:
            tree, metadata = load(tmp_path / "damaged", TREE)
        except CheckpointError:
            noticed += 1
        else:  # the header has blanks for padding
            assert _bits(tree) == _bits(TREE)
            assert metadata == {"step": 3}
    assert noticed > 0.9 * len(content)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(CheckpointError, match="cannot read"):
        read(tmp_path / "nowhere")
    import safetensors.numpy

    safetensors.numpy.save_file({"w": np.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="not written by funcnet"):
        read(tmp_path / "foreign")


def _full_disk(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(call, tmp_path, monkeypatch):
    path = tmp_path / "tree"
    write_atomically(path, b"old")
    monkeypatch.setattr(_files.os, call, _full_disk)
    with pytest.raises(WriteError, match=r"cannot write .*tree: No space left on device; what was there"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["tree"]


def test_a_folder_that_is_missing_or_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "missing" / "tree", tmp_path / "file" / "tree"):
        with pytest.raises(WriteError, match="cannot write"):
            save(path, TREE, {})


def test_what_a_killed_write_left_is_overwritten(tmp_path):
    (tmp_path / "tree.partial").write_bytes(b"half")
    write_atomically(tmp_path / "tree", b"whole")
    assert [path.name for path in Path(tmp_path).iterdir()] == ["tree"]
    assert (tmp_path / "tree").read_bytes() == b"whole"


def test_a_folder_goes_as_a_whole_whatever_a_kill_has_left_of_one_before(tmp_path):
    """The rest of one that was half removed has another name."""
    for folder in "parts", "parts.partial":
        (tmp_path / folder / "8").mkdir(parents=True)
    remove_folder(tmp_path / "parts")
    remove_folder(tmp_path / "parts")
    assert not [*tmp_path.iterdir()]
