"""States in parts on disk: back bit for bit on any mesh, or refused; a step counts once it is committed."""

import importlib.util
import shutil
import signal
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from funcnet._errors import CheckpointError, MissingPackageError, WriteError
from funcnet.train.checkpoint import named_leaves
from funcnet.train.devices import processes
from funcnet.train.devices.sharded import _checksum, in_parts, read, save
from tests.train.devices.spread import started
from tests.train.devices.test_devices import on_eight_devices
from tests.train.devices.test_processes import ended

TREE = {
    "params": {"layer1": {"w": jnp.arange(600.0).reshape(20, 30), "b": jnp.array([-0.0, jnp.nan, jnp.inf])}},
    "moments": (jnp.linspace(-1, 1, 64, dtype=jnp.bfloat16), jnp.zeros((0, 3)), jnp.int32(7)),
    "masks": [jnp.array([True, False]), jnp.array([1 + 2j, -3j], jnp.complex64)],
}
METADATA = {"log": [0.1 + 0.2, None], "name": "σ × λ"}


def accept(metadata):
    pass


def same_bits(tree, other):
    leaves, others = named_leaves(tree), named_leaves(other)
    assert [*leaves] == [*others]
    return all(
        leaf.dtype == others[name].dtype and np.asarray(leaf).tobytes() == np.asarray(others[name]).tobytes()
        for name, leaf in leaves.items()
    )


def test_a_tree_comes_back_bit_for_bit_and_the_step_before_goes(tmp_path):
    save(tmp_path / "parts", 4, jax.tree.map(jnp.zeros_like, TREE), {})
    save(tmp_path / "parts", 8, TREE, METADATA)
    tree, metadata = read(tmp_path / "parts", jax.tree.map(jnp.zeros_like, TREE), accept)
    assert same_bits(tree, TREE)
    assert metadata == METADATA
    assert [folder.name for folder in (tmp_path / "parts").iterdir()] == ["8"]


def fmix32(h):
    """The finalizer of MurmurHash3, by its author's public code, in Python's integers."""
    h ^= h >> 16
    h = h * 0x85EBCA6B & 0xFFFFFFFF
    h ^= h >> 13
    h = h * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ h >> 16


def test_fmix32_is_that_of_others():
    """Published test vectors of MurmurHash3_x86_32: of no bytes it is fmix32 of the seed."""
    assert [fmix32(1), fmix32(0x9747B28C)] == [0x514E28B7, 0xEBB6C228]


@pytest.mark.parametrize(
    ("dtype", "words"),
    [("float32", "<u4"), ("bfloat16", "<u2"), ("int8", "u1"), ("bool", "u1"), ("complex64", "<u4")],
)
def test_the_checksum_is_the_formula(dtype, words):
    x = (10 * np.random.default_rng(0).standard_normal((7, 5))).astype(
        np.dtype(getattr(ml_dtypes, dtype, dtype))
    )
    bits = np.frombuffer(x.tobytes(), words)
    expected = sum(fmix32(int(b) + i * 0x9E3779B9 & 0xFFFFFFFF) for i, b in enumerate(bits)) & 0xFFFFFFFF
    assert int(_checksum(x)) == expected


FLIPS = """
import sys
from pathlib import Path
import numpy as np
from funcnet._errors import CheckpointError
from tests.train.devices.test_sharded import METADATA, TREE, accept, read, same_bits, save

folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
save(folder, 8, TREE, METADATA)
for file in [file for file in folder.rglob("*") if file.is_file()]:
    content = file.read_bytes()
    for at in rng.integers(len(content), size=6):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << rng.integers(8)]) + content[at + 1 :])
        try:
            tree, metadata = read(folder, TREE, accept)
        except CheckpointError as error:
            print("noticed:", str(error).removeprefix(f"{folder} "))
        else:
            print("unchanged" if same_bits(tree, TREE) and metadata == METADATA else f"other: {file.name}")
    file.write_bytes(content)
"""


@pytest.mark.in_turns(2)
def test_flipped_bits_are_noticed_or_change_nothing(tmp_path):
    """In a process of its own: of damaged files orbax leaves tasks that warn when they are collected."""
    lines = on_eight_devices("-c", FLIPS, tmp_path / "parts")
    assert {line[0] for line in lines} == {"noticed:", "unchanged"}
    assert any(" ".join(line).endswith("does not fit its checksum") for line in lines)


@pytest.mark.parametrize("name", ["params/layer1/w", "moments/0", "masks/0", "masks/1"])
def test_an_array_of_other_values_is_refused(name, tmp_path):
    """As damage that no layer below has noticed gives."""
    save(tmp_path / "parts", 8, TREE, METADATA)
    (tmp_path / "other").mkdir()
    leaves, structure = jax.tree.flatten(TREE)
    number = [*named_leaves(TREE)].index(name)
    first = leaves[number].ravel()[0]
    leaves[number] = (
        leaves[number].at[(0,) * leaves[number].ndim].set(~first if first.dtype == bool else first + 1)
    )
    save(tmp_path / "other", 8, structure.unflatten(leaves), METADATA)
    shutil.rmtree(tmp_path / "parts/8/state")
    shutil.copytree(tmp_path / "other/8/state", tmp_path / "parts/8/state")
    with pytest.raises(CheckpointError, match=f"is damaged: {name} does not fit its checksum"):
        read(tmp_path / "parts", TREE, accept)


def test_other_arrays_and_refused_metadata(tmp_path):
    save(tmp_path / "parts", 8, TREE, METADATA)
    with pytest.raises(CheckpointError, match=r"masks/0 is bool \[2\], expected no such array"):
        read(tmp_path / "parts", {**TREE, "masks": []}, accept)

    def refuse(metadata):
        raise CheckpointError(f"not {metadata['name']}")

    with pytest.raises(CheckpointError, match="not σ × λ"):
        read(tmp_path / "parts", TREE, refuse)


def test_a_step_that_was_not_committed_does_not_count(tmp_path):
    assert read(tmp_path / "parts", TREE, accept) is None
    save(tmp_path / "parts", 8, TREE, METADATA)
    (tmp_path / "parts/8").rename(tmp_path / "parts/12.orbax-checkpoint-tmp")
    assert read(tmp_path / "parts", TREE, accept) is None


def test_a_folder_that_cannot_be_written_and_orbax_that_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a person's own")
    with pytest.raises(WriteError, match=r"cannot write .*file: .*the checkpoint before it is kept"):
        save(tmp_path / "file", 8, TREE, METADATA)
    assert (tmp_path / "file").read_text() == "a person's own"
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'funcnet\[distributed\]'"):
        read(tmp_path, TREE, accept)


def test_a_spread_state_is_in_parts_where_orbax_is_more_than_a_namespace(monkeypatch):
    spread, whole = (
        SimpleNamespace(sharding=SimpleNamespace(is_fully_replicated=one)) for one in (False, True)
    )
    assert [in_parts([whole, spread]), in_parts([whole, whole])] == [True, False]
    monkeypatch.setattr(importlib.util, "find_spec", {"orbax": True, "orbax.checkpoint": None}.get)
    assert not in_parts([whole, spread])


RUNS = """
import sys
from pathlib import Path
from funcnet import train
from tests.train.devices.spread import digest, trained

home = Path(sys.argv[1])

def ended(steps, devices, layout="zero3", **ways):
    run = trained("mlp", "float32", steps, mesh=train.data_mesh(devices), layout=layout, **ways)
    print(digest(run), *sorted(path.name for path in home.iterdir() if path.name.startswith("checkpoint")))

ended(16, 8)
ended(8, 8, folder=home)
ended(16, 8, folder=home, resume=True)
ended(16, 2, folder=home, resume=True)
ended(16, 1, folder=home, resume=True)
ended(16, 8, folder=home, resume=True)
ended(16, 2, "replicated", folder=home, resume=True)
"""


@pytest.mark.in_turns(2)
def test_a_run_in_parts_goes_on_on_any_mesh(tmp_path):
    """A run of no more steps gives what was saved, on any mesh; where nothing is spread it is one file."""
    (whole, *none), (_, *first), *rest = on_eight_devices("-c", RUNS, tmp_path)
    assert (none, first) == ([], ["checkpoint"])
    assert {line[0] for line in rest} == {whole}
    file = "checkpoint.safetensors"
    assert [line[1:] for line in rest] == [["checkpoint"], ["checkpoint"], [file], ["checkpoint"], [file]]


@pytest.mark.in_turns(2)
def test_two_processes_write_their_parts_of_which_one_is_killed(tmp_path):
    ways = "--steps", 16, "--all-reduce", "--layout", "zero3"
    last = ended(started(*ways, "--folder", tmp_path / "run", "--fault", "killed", 1, 8, count=2))
    assert [code for code, *_ in last] == [processes.LOST_CODE, -signal.SIGKILL]
    assert (tmp_path / "run/checkpoint").is_dir()
    resumed = ended(started(*ways, "--folder", tmp_path / "run", "--resume", count=2))
    whole = ended(started(*ways, count=2))
    assert {line.split()[-1] for _, line, _ in (*resumed, *whole)} == {whole[0][1].split()[-1]}, resumed
