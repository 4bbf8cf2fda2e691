"""Whatever else stands at the path of a data set or of examples is refused in one sentence."""

import functools
import gzip
import io
import os
import random
import socket
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from funcnet import data
from funcnet._errors import DataError
from funcnet.data import reading
from funcnet.data.inputs import read_inputs

pytestmark = pytest.mark.in_turns(2)

READERS = {
    "idx": data.read_idx,
    "cifar10": lambda path: data.load(f"cifar10:{path}"),
    "csv": lambda path: data.load(f"csv:{path}"),
    "npz": lambda path: data.load(f"npz:{path}"),
    **{
        f"predict {suffix}": lambda path, suffix=suffix: read_inputs(path.rename(f"{path}.{suffix}"), 4)
        for suffix in ("npy", "npz", "csv", "png", "jpg")
    },
}


def pipe(path):
    os.mkfifo(path)


def listening(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


# what stands at the path, and words of the message
PLACES = {
    "a folder": (lambda path: path.mkdir(), "it is a folder|data_batch_1.bin, .* not found"),
    "a pipe": (pipe, "it is a pipe"),
    "a socket": (listening, "it is a socket"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    "nothing": (lambda path: path.symlink_to("nowhere"), "no such file"),
    "itself": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links|no such file"),
    "an empty file": (lambda path: path.touch(), "it is empty"),
    "a gzip cut short": (lambda path: path.write_bytes(b"\x1f\x8b\x08"), "cannot be read"),
    "text": (lambda path: path.write_bytes(b"no numbers"), "cannot be read|starts with|no line with numbers"),
    "noise": (lambda path: path.write_bytes(random.Random(0).randbytes(999)), "cannot be read|starts with"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_is_no_file_of_the_kind_is_a_data_error(make, words, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket has to be short
    path = tmp_path / "x"
    make(path)
    with pytest.raises(DataError, match=rf"/x(\.\w+)?: .*({words})"):
        read(path)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_file_that_may_not_be_read_says_so(read, tmp_path, monkeypatch):
    """Root may read everything, so that the system's answer is given by hand."""

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reading, "open", refused, raising=False)
    (tmp_path / "x").write_bytes(b"1,2,3,4")
    with pytest.raises(DataError, match=r"permission denied; expected .* Change its permissions"):
        read(tmp_path / "x")


def npy_that_announces(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def zipped(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def png_of(width, height):
    """A PNG whose header announces its size, and whose pixels are missing."""
    chunk = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    header = (13).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    return b"\x89PNG\r\n\x1a\n" + header + (99).to_bytes(4) + b"IDAT"


# a file of at most 2 MB that unfolds to more than 80 MB, and words of the message
BOMBS = {
    "announced.npy": (npy_that_announces((10**15, 4)), r"shape \[10{15}, 4\] .* needs 16 PB of memory"),
    "too-many.npy": (npy_that_announces((2**70, 4)), "memory"),
    "wide.npy": (npy_that_announces((10**9, 3)), r"shape \[1000000000, 3\]; the net was trained on"),
    "announced.npz": (zipped("x.npy", npy_that_announces((10**15, 4))), "needs 16 PB of memory"),
    "zeros.npz": (zipped("x.npy", npy_that_announces((10**7, 3)) + bytes(12 * 10**7)), "net was trained on"),
    "size.png": (png_of(2**31 - 1, 2**31 - 1), r"exceeds limit|could be decompression bomb"),
    "large.png": (png_of(9000, 9000), r"shape \[9000, 9000\]; the net was trained on"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_unfolds(name, tmp_path):
    content, words = BOMBS[name]
    assert len(content) < 2e6
    (tmp_path / name).write_bytes(content)
    Image.init()
    warnings.simplefilter("error")
    tracemalloc.start()
    with pytest.raises(DataError, match=words):
        read_inputs(tmp_path / name, 4)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2e7


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv", "x.gz"])
def test_what_is_larger_than_the_memory_says_how_much_it_needs(name, tmp_path, monkeypatch):
    """An honest file, on a machine of 100 kB."""
    path = tmp_path / name
    match path.suffix:
        case ".npy":
            np.save(path, np.zeros((9999, 4)))
        case ".npz":
            np.savez_compressed(path, x=np.zeros((9999, 4)))
        case ".csv":
            path.write_text("1,2,3,4\n" * 20_000)
        case ".gz":
            path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 2, 0, 0]) + bytes(2 << 16)))
    monkeypatch.setattr("funcnet._memory.memory", lambda: 100_000)
    read = data.read_idx if name == "x.gz" else functools.partial(read_inputs, features=4)
    with pytest.raises(DataError, match=r"needs \d+ kB of memory, and there are 100 kB"):
        read(path)


def test_a_jpeg_that_ends_early_is_refused(tmp_path):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "x.jpg")
    content = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"x\.jpg: cannot be read as a PNG or JPEG image: [Tt]runcated"):
        read_inputs(tmp_path / "x.jpg", 4096, (64, 64))
