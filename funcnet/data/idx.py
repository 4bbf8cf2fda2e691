"""The idx format, and the sets that come in it: MNIST, Fashion-MNIST, KMNIST, QMNIST and EMNIST.

The format (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"), numbers big-endian:

    00 00 | type | axes | size of each axis, 4 bytes each | the values, last axis fastest

A set is four files, each plain or gzipped, by the names that it was published under or that unpacking gives:

    train-images-idx3-ubyte  train-labels-idx1-ubyte  t10k-…    MNIST, Fashion-MNIST, KMNIST
    train-images.idx3-ubyte  …                                  the same, unpacked by other programs
    emnist-letters-train-images-idx3-ubyte  …-test-…            EMNIST, the name of its split in the middle
    qmnist-train-images-idx3-ubyte  …-labels-idx2-int           QMNIST, with eight numbers for a label

They stand in the folder, or one or two below it, as in torchvision's MNIST/raw.
"""

import gzip
import io
import math
import os
import re
import struct
from pathlib import Path

import numpy as np

from funcnet._errors import DataError
from funcnet.data.names import known_names, lies_on_its_side
from funcnet.data.published import Part, Published
from funcnet.data.reading import fits, reading

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_FILE = re.compile(r"(.*?)(train|test|t10k)-(images|labels)[-.]idx[123]-(?:ubyte|int)(?:\.gz)?")
_FILES = ("train-images", "train-labels", "test-images", "test-labels")
_GET_IT = (
    "For Fashion-MNIST, `apt-get install dataset-fashion-mnist` (Debian, Ubuntu) puts the four files into "
    "/usr/share/datasets/fashion-mnist."
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
    with reading(path, "an idx file") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not zipped:
            return _array(path, file)
        with gzip.GzipFile(fileobj=file) as unzipped:
            return _array(path, unzipped)


def _array(path: str | os.PathLike, file: io.BufferedIOBase) -> np.ndarray:
    dtype, shape = _header(path, file)
    expected = math.prod(shape) * dtype.itemsize
    announced = f"its header announces shape {list(shape)} of {dtype.name}"
    fits(expected, f"{announced}, which")
    values = file.read(expected + 1)
    if len(values) != expected:
        came = f"{len(values)} bytes" if len(values) < expected else "more bytes"
        raise DataError(
            f"{path}: {came} of values, but {announced}, {expected} bytes. The file is truncated or damaged: "
            f"fetch it again."
        )
    return np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _header(path: str | os.PathLike, file: io.BufferedIOBase) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of the array."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0":
        raise DataError(
            f"{path}: starts with the bytes “{start.hex(' ')}”; an idx file starts with 00 00, the type "
            f"and the number of axes. It is another kind of file, or an incomplete one: fetch it again."
        )
    code, axes = start[2:]
    if code not in _TYPES:
        known = ", ".join(f"{known:02x}" for known in _TYPES)
        raise DataError(
            f"{path}: type code {code:02x}; an idx file has one of {known}. Fetch the file again."
        )
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise DataError(
            f"{path}: ends after {4 + len(sizes)} bytes, within its header of {4 + 4 * axes}. It is "
            f"truncated: fetch it again."
        )
    return np.dtype(_TYPES[code]), struct.unpack(f">{axes}I", sizes)


def mnist(path: Path) -> Published:
    """A set in idx files: the one in a folder, or `folder/name` where a folder has several."""
    folder, name, files = _find(path)
    missing = [each for each in _FILES if each not in files]
    if missing:
        names = [name + (each if name else each.replace("test", "t10k")) for each in missing]
        raise DataError(f"{folder}: {', '.join(names)} not found; expected a set's four files. {_GET_IT}")
    of_whom = name or (folder.resolve().parent if folder.name == "raw" else folder.resolve()).name

    def part(which: str) -> Part:
        images, labels = (files[f"{which}-{kind}"] for kind in ("images", "labels"))
        x, y = _images(images), _labels(labels)
        return Part(f"{images}, {labels.name}", x.swapaxes(1, 2) if lies_on_its_side(of_whom) else x, y)

    return Published(part("train"), part("test"), known_names(of_whom))


def _find(path: Path) -> tuple[Path, str, dict[str, Path]]:
    """The folder of a set, what its files' names begin with, and the files."""
    home = path if path.is_dir() else path.parent
    sets = {}
    for below in (".", "*", "*/raw"):
        folders = [home] if below == "." else sorted(home.glob(below))
        found = {(folder, name): files for folder in folders for name, files in _sets(folder).items()}
        sets = {key: files for key, files in found.items() if path == home or key[1] == f"{path.name}-"}
        if sets:
            break
    if len(sets) > 1:
        choices = ", ".join(f"idx:{folder / name.rstrip('-')}" for folder, name in sets)
        raise DataError(f"{path}: holds {len(sets)} data sets; expected one. Name it: {choices}.")
    for (folder, name), files in sets.items():
        return folder, name, files
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; expected one with the four files of MNIST. {_GET_IT}")
    raise DataError(
        f"{path}: none of the files of MNIST is in it; expected train-images-idx3-ubyte, also with .gz, and "
        f"three more. {_GET_IT}"
    )


def _sets(folder: Path) -> dict[str, dict[str, Path]]:
    """The sets in a folder, by what the names of their files begin with; of two of a kind the plain one."""
    sets: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*")):
        match = _FILE.fullmatch(path.name)
        if match and path.is_file():
            name, part, kind = match.groups()
            sets.setdefault(name, {}).setdefault(f"{'train' if part == 'train' else 'test'}-{kind}", path)
    return sets


def _images(path: Path) -> np.ndarray:
    return _checked(path, read_idx(path), axes=3, dtype="uint8")


def _labels(path: Path) -> np.ndarray:
    """The labels; of QMNIST's eight numbers for each image the first, which is its class."""
    y = read_idx(path)
    if y.ndim == 2 and "-idx2-" in path.name and y.shape[1] > 0:
        y = y[:, 0]
        return _checked(path, y, axes=1, dtype="int32")
    return _checked(path, y, axes=1, dtype="uint8")


def _checked(path: Path, array: np.ndarray, axes: int, dtype: str) -> np.ndarray:
    if array.ndim != axes or array.dtype != dtype:
        raise DataError(
            f"{path}: {array.ndim} axes of {array.dtype}; expected {axes} of {dtype}. Is it another file of "
            f"the set under this name?"
        )
    return array
