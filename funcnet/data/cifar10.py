"""CIFAR-10 in its binary version, packed or unpacked.

It is six files of records of 3073 bytes: the label, then 32 × 32 red, green and blue values, row by row, and
batches.meta.txt, the names of the classes, one a line (A. Krizhevsky, "Learning multiple layers of features
from tiny images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html). The archive is read in memory and never
unpacked to disk; the Python version is refused, because reading a pickle runs code from the file.
"""

import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, cast

import numpy as np

from funcnet._errors import DataError
from funcnet.data.names import CIFAR10, Names
from funcnet.data.published import Part, Published
from funcnet.data.reading import damage, fits, reading

_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_NAMES = "batches.meta.txt"
_PICKLED = "data_batch_1"
_GET_IT = (
    "Fetch the “binary version (suitable for C programs)” from https://www.cs.toronto.edu/~kriz/cifar.html "
    "and give the .tar.gz as it is."
)


def cifar10(path: Path) -> Published:
    """CIFAR-10's binary version: the published tar.gz, or a folder with its files or its subfolder."""
    files = _files(path)
    if _PICKLED in files:
        raise DataError(
            f"{path}: holds CIFAR-10's Python version, which is refused: it is made of pickles, and loading "
            f"a pickle runs code from the file. {_GET_IT}"
        )
    missing = [name for name in _BATCHES if name not in files]
    if missing:
        raise DataError(f"{path}: {', '.join(missing)} not found; expected {', '.join(_BATCHES)}. {_GET_IT}")
    sizes = [len(files[name]) for name in _BATCHES]
    if len(set(sizes)) > 1 or sizes[0] % 3073:
        raise DataError(
            f"{path}: {', '.join(_BATCHES)} have {', '.join(map(str, sizes))} bytes; expected six files of "
            f"one size, a multiple of 3073. Some are truncated or damaged. {_GET_IT}"
        )
    return Published(
        _part(f"{path}, data_batch_1.bin to 5", [files[name] for name in _BATCHES[:5]]),
        _part(f"{path}, test_batch.bin", [files[_BATCHES[5]]]),
        _names(files[_NAMES]) if _NAMES in files else CIFAR10,
    )


def _part(where: str, batches: list[bytes]) -> Part:
    records = np.frombuffer(b"".join(batches), np.uint8).reshape(-1, 3073)
    return Part(where, records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0])


def _names(content: bytes) -> Names:
    lines = content.decode(errors="replace").splitlines()
    return dict(enumerate(line.strip() for line in lines if line.strip()))


def _files(path: Path) -> dict[str, bytes]:
    """The files of the set that a folder or an archive holds, by name, in memory.

    A member of an archive counts by the last part of its name and only if it is a plain file, and none
    is written to disk: names with “..” and links lead nowhere.
    """
    wanted, what = {*_BATCHES, _NAMES, _PICKLED}, "the tar.gz of CIFAR-10, or a folder with its files"
    if path.is_dir():
        with damage(path, what, _GET_IT):
            folders = (path, path / "cifar-10-batches-bin", path / "cifar-10-batches-py")
            files = (folder / name for folder in folders for name in wanted)
            return {file.name: file.read_bytes() for file in files if file.is_file()}
    contents = {}
    with reading(path, what, _GET_IT) as file, tarfile.open(fileobj=file) as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            if name in wanted and member.isreg():
                fits(member.size, f"its member {name}")
                contents[name] = cast(IO[bytes], archive.extractfile(member)).read()
    return contents
