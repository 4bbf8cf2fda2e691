"""Data sets in files: idx (MNIST and its kin), the binary version of CIFAR-10, NumPy's npz.

Files are read as bytes into memory and nothing else: no pickle is ever loaded, since loading one runs
code from the file, and no archive is unpacked to disk. Whatever is wrong with a file becomes a
DataError that names it.

The idx format (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"), numbers
big-endian:

    00 00 | type | axes | size of each axis, 4 bytes each | the values, last axis fastest

CIFAR-10's binary version (A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009)
is six files of records of 3073 bytes: the label, then 32 × 32 red, green and blue values.
"""

import gzip
import math
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.lib.npyio import NpzFile

from funcnet._errors import DataError
from funcnet.data.published import Part, Published

DIGITS = tuple("0123456789")
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_PICKLED_BATCH = "data_batch_1"
_LIBRARY_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    MemoryError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
)

_GET_MNIST = (
    "For Fashion-MNIST, `apt-get install dataset-fashion-mnist` (Debian, Ubuntu) puts the four files into "
    "/usr/share/datasets/fashion-mnist."
)
_GET_CIFAR10 = (
    "Fetch the “binary version (suitable for C programs)” from https://www.cs.toronto.edu/~kriz/cifar.html "
    "and give the .tar.gz as it is."
)


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """The array in an idx file, plain or gzipped, in this machine's byte order.

    Raises:
        DataError: there is no such file, or it is not exactly one complete idx array.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(bytes([0, 0, 0x08, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    ...     file.flush()
    ...     read_idx(file.name).tolist()
    [[1, 2, 3], [4, 5, 6]]
    """
    with _damage(path, "an idx file"):
        data = Path(path).read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        dtype, shape, start = _idx_header(path, data)
        expected = math.prod(shape) * dtype.itemsize
        if len(data) - start != expected:
            raise DataError(
                f"{path}: {len(data) - start} bytes of values, but its header announces shape {list(shape)} "
                f"of {dtype.name}, {expected} bytes. The file is truncated or damaged: fetch it again."
            )
        return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _idx_header(path: str | os.PathLike, data: bytes) -> tuple[np.dtype, tuple[int, ...], int]:
    """Type and shape of the array, and where its values start."""
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(
            f"{path}: starts with the bytes “{data[:4].hex(' ')}”; an idx file starts with 00 00, the type "
            f"and the number of axes. It is another kind of file, or an incomplete one: fetch it again."
        )
    code, axes = data[2:4]
    start = 4 + 4 * axes
    if code not in _IDX_TYPES:
        known = ", ".join(f"{known:02x}" for known in _IDX_TYPES)
        raise DataError(
            f"{path}: type code {code:02x}; an idx file has one of {known}. Fetch the file again."
        )
    if len(data) < start:
        raise DataError(
            f"{path}: ends after {len(data)} bytes, within its header of {start}. It is truncated: fetch it "
            f"again."
        )
    return np.dtype(_IDX_TYPES[code]), struct.unpack(f">{axes}I", data[4:start]), start


def mnist(folder: Path) -> Published:
    """The four files of MNIST, Fashion-MNIST or another set in their layout, each plain or gzipped."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with the four files of MNIST. {_GET_MNIST}")

    def part(prefix: str) -> Part:
        images, labels = (_idx_path(folder, f"{prefix}-{name}") for name in ("images-idx3", "labels-idx1"))
        return Part(f"{images}, {labels.name}", _read_bytes(images, axes=3), _read_bytes(labels, axes=1))

    classes = FASHION if "fashion" in folder.resolve().name.lower() else DIGITS
    return Published(part("train"), part("t10k"), classes)


def _idx_path(folder: Path, stem: str) -> Path:
    names = [f"{stem}-ubyte", f"{stem}-ubyte.gz"]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder}: neither {names[0]} nor {names[1]} is in it. {_GET_MNIST}")


def _read_bytes(path: Path, axes: int) -> np.ndarray:
    array = read_idx(path)
    if array.ndim != axes or array.dtype != np.uint8:
        raise DataError(
            f"{path}: {array.ndim} axes of {array.dtype}; expected {axes} of uint8. Is it another file of "
            f"the set under this name?"
        )
    return array


def cifar10(path: Path) -> Published:
    """CIFAR-10's binary version: the published tar.gz, or a folder with its files or its subfolder."""
    batches = _cifar10_batches(path)
    if _PICKLED_BATCH in batches:
        raise DataError(
            f"{path}: holds CIFAR-10's Python version, which is refused: it is made of pickles, and loading "
            f"a pickle runs code from the file. {_GET_CIFAR10}"
        )
    missing = [name for name in _BATCHES if name not in batches]
    if missing:
        raise DataError(
            f"{path}: {', '.join(missing)} not found; expected {', '.join(_BATCHES)}. {_GET_CIFAR10}"
        )
    sizes = [len(batches[name]) for name in _BATCHES]
    if len(set(sizes)) > 1 or sizes[0] % 3073:
        raise DataError(
            f"{path}: {', '.join(_BATCHES)} have {', '.join(map(str, sizes))} bytes; expected six files of "
            f"one size, a multiple of 3073. Some are truncated or damaged. {_GET_CIFAR10}"
        )
    return Published(
        _cifar10_part(f"{path}, data_batch_1.bin to 5", [batches[name] for name in _BATCHES[:5]]),
        _cifar10_part(f"{path}, test_batch.bin", [batches[_BATCHES[5]]]),
        CIFAR10,
    )


def _cifar10_part(where: str, batches: list[bytes]) -> Part:
    records = np.frombuffer(b"".join(batches), np.uint8).reshape(-1, 3073)
    return Part(where, records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0])


def _cifar10_batches(path: Path) -> dict[str, bytes]:
    """The batches that a folder or an archive holds, by name, in memory.

    A member of an archive counts by the last part of its name and only if it is a plain file, and none
    is written to disk: names with “..” and links lead nowhere.
    """
    wanted = {*_BATCHES, _PICKLED_BATCH}
    with _damage(path, "the tar.gz of CIFAR-10, or a folder with its files", _GET_CIFAR10):
        if path.is_dir():
            folders = (path, path / "cifar-10-batches-bin", path / "cifar-10-batches-py")
            files = (folder / name for folder in folders for name in wanted)
            return {file.name: file.read_bytes() for file in files if file.is_file()}
        batches = {}
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                content = archive.extractfile(member) if member.isreg() and name in wanted else None
                if content is not None:
                    batches[name] = content.read()
        return batches


def npz(path: Path) -> Published:
    """x_train, y_train, x_test, y_test as Keras names them, or x and y, in a file made by `np.savez`."""
    wanted = "an .npz file of arrays of numbers (not of objects: those are pickles)"
    with (
        _damage(path, wanted, "Write it with np.savez."),
        path.open("rb") as file,
        NpzFile(file, allow_pickle=False) as arrays,
    ):
        if {"x_train", "y_train", "x_test", "y_test"} <= set(arrays):
            return Published(_npz_part(path, arrays, "_train"), _npz_part(path, arrays, "_test"), None)
        if {"x", "y"} <= set(arrays):
            return Published(_npz_part(path, arrays, ""), None, None)
        raise DataError(
            f"{path}: holds the arrays {', '.join(arrays)}; expected x_train, y_train, x_test and y_test, or "
            f"x and y. Rename them."
        )


def _npz_part(path: Path, arrays: NpzFile, suffix: str) -> Part:
    x, y = (f"{name}{suffix}" for name in "xy")
    return Part(f"{path}, {x} and {y}", np.asarray(arrays[x]), np.asarray(arrays[y]))


@contextmanager
def _damage(path: str | os.PathLike, wanted: str, remedy: str = "Fetch it again.") -> Iterator[None]:
    """Turns what libraries raise on a missing, unreadable or damaged file into a DataError."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected {wanted}. {remedy}") from error
    except _LIBRARY_ERRORS as error:
        raise DataError(f"{path}: cannot be read as {wanted}: {error}. {remedy}") from error
