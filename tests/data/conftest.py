"""Data sets of a few examples, written by independent code in the formats that funcnet.data reads."""

import gzip
import struct

import numpy as np
import pytest

IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
MNIST_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@pytest.fixture(scope="session")
def idx_bytes():
    """The idx file that holds an array."""

    def to_bytes(array):
        code = IDX_CODES[array.dtype.str[1:]]
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
        return header + array.astype(array.dtype.newbyteorder(">")).tobytes()

    return to_bytes


@pytest.fixture
def images():
    """60 images of 3 × 2 bytes to train on, 20 to test on, each class as often as any other."""
    rng = np.random.default_rng(7)
    return {
        "x_train": rng.integers(0, 256, (60, 3, 2), dtype=np.uint8),
        "y_train": (np.arange(60) % 10).astype(np.uint8),
        "x_test": rng.integers(0, 256, (20, 3, 2), dtype=np.uint8),
        "y_test": (np.arange(20) % 10).astype(np.uint8),
    }


@pytest.fixture
def write_mnist(tmp_path, idx_bytes):
    """Writes arrays under MNIST's file names; returns the folder."""

    def write(arrays, name="digits", zipped=False):
        folder = tmp_path / name
        folder.mkdir()
        for key, array in arrays.items():
            data = idx_bytes(array)
            path = folder / (MNIST_FILES[key] + ".gz" * zipped)
            path.write_bytes(gzip.compress(data) if zipped else data)
        return folder

    return write
