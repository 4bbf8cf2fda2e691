"""NumPy's files: .npy, one array, and .npz, a zip of several; never with pickles.

A header is looked at before any memory is taken: a file of a kilobyte can announce terabytes, and a zip of a
megabyte can hold a gigabyte.
"""

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np

from funcnet._errors import DataError
from funcnet.data.published import Part, Published
from funcnet.data.reading import fits, reading

Accept = Callable[[tuple[int, ...]], None]
"""Raises an error where an array of a shape is not wanted."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(file: io.BufferedIOBase, accept: Accept = lambda shape: None) -> np.ndarray:
    """The array in an open .npy file, if the shape in its header is accepted and fits into memory.

    Raises:
        ValueError: it is none, it holds objects, or there is too little memory.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format has version {version}, and plain arrays have 1.0 or 2.0")
    shape, _, dtype = _HEADERS[version](file)
    accept(shape)
    fits(math.prod(shape) * dtype.itemsize, f"an array of shape {list(shape)} and type {dtype}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def read_member(archive: zipfile.ZipFile, name: str, accept: Accept = lambda shape: None) -> np.ndarray:
    """An array of an .npz file; see `read_npy`."""
    with archive.open(f"{name}.npy") as member:
        return read_npy(cast(io.BufferedIOBase, member), accept)


def array_names(archive: zipfile.ZipFile) -> list[str]:
    """The names of the arrays in an .npz file."""
    return [name.removesuffix(".npy") for name in archive.namelist()]


def npz(path: Path) -> Published:
    """x_train, y_train, x_test, y_test as Keras names them, or x and y, in a file made by `np.savez`."""
    wanted = "an .npz file of arrays of numbers (not of objects: those are pickles)"
    with reading(path, wanted, "Write it with np.savez.") as file, zipfile.ZipFile(file) as archive:
        names = array_names(archive)
        if {"x_train", "y_train", "x_test", "y_test"} <= {*names}:
            return Published(_part(path, archive, "_train"), _part(path, archive, "_test"), None)
        if {"x", "y"} <= {*names}:
            return Published(_part(path, archive, ""), None, None)
        raise DataError(
            f"{path}: holds the arrays {', '.join(names)}; expected x_train, y_train, x_test and y_test, or "
            f"x and y. Rename them."
        )


def _part(path: Path, archive: zipfile.ZipFile, suffix: str) -> Part:
    x, y = (f"{name}{suffix}" for name in "xy")
    return Part(f"{path}, {x} and {y}", read_member(archive, x), read_member(archive, y))
