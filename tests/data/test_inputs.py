"""Files of examples without labels: what they mean, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from funcnet._errors import DataError
from funcnet.data.inputs import read_inputs

X = np.array([[0.0, 0.25, 0.5], [0.75, 1.0, 2.0]], np.float32)
BYTES = np.array([[0, 51, 255], [102, 1, 254]], np.uint8)
COLOR = np.stack([BYTES, 255 - BYTES])


def npy(path, array):
    np.save(path, array)


def npz(path, array):
    np.savez(path, x=array)


def csv(path, array):
    path.write_text("\n".join(",".join(map(str, row)) for row in np.atleast_2d(array).tolist()) + "\n")


def png(path, array):
    Image.fromarray(array).save(path)


def write(content):
    return lambda path, _: path.write_bytes(content)


# how it is written, file, the array, features, image shape, the rows expected
READABLE = {
    "npy": (npy, "x.npy", X, 3, None, X),
    "npz": (npz, "x.npz", X, 3, None, X),
    "csv": (csv, "x.csv", X, 3, None, X),
    "csv with names": (write(b"a,b,c\n0,0.25,0.5\n"), "x.csv", None, 3, None, X[:1]),
    "csv with labels": (write(b"id,a,b,c,label\n1,0,0.25,0.5,9\n"), "x.csv", None, 3, None, X[:1]),
    "csv with labels in front": (write(b"9,0,0.25,0.5\n"), "x.csv", None, 3, None, X[:1]),
    "csv of pixels": (
        write(b"pixel0,pixel1,pixel2,pixel3\n0,51,255,102\n"), "x.csv", None, 4, (2, 2),
        np.array([[0, 51, 255, 102]], np.uint8) / np.float32(255),
    ),
    "one example": (npy, "x.npy", X[0], 3, None, X[:1]),
    "one example in a csv": (csv, "x.csv", X[0], 3, None, X[:1]),
    "float64": (npy, "x.npy", X.astype(np.float64), 3, None, X),
    "Fortran order": (npy, "x.npy", np.asfortranarray(X), 3, None, X),
    "integers are no pixels": (npy, "x.npy", BYTES.astype(np.int64), 3, None, BYTES.astype(np.float32)),
    "bytes are pixels": (npy, "x.npy", BYTES, 3, None, BYTES / np.float32(255)),
    "an image": (npy, "x.npy", X, 6, (2, 3), X.reshape(1, 6)),
    "images": (npy, "x.npy", np.stack([X, X + 1]), 6, (2, 3), np.stack([X, X + 1]).reshape(2, 6)),
    "rows for images": (npy, "x.npy", X.reshape(1, 6), 6, (2, 3), X.reshape(1, 6)),
    "grey png": (png, "x.png", BYTES, 6, (2, 3), BYTES.reshape(1, 6) / np.float32(255)),
    "capital suffix": (png, "X.PNG", BYTES, 6, (2, 3), BYTES.reshape(1, 6) / np.float32(255)),
    "colour png": (png, "x.png", COLOR, 12, (2, 2, 3), COLOR.reshape(1, 12) / np.float32(255)),
    "a grey png for a net in colour": (
        png, "x.png", BYTES, 18, (2, 3, 3), np.repeat(BYTES, 3, axis=-1).reshape(1, 18) / np.float32(255),
    ),
}  # fmt: skip

# how it is written, file, the array, features, image shape, words of the message
REFUSED = {
    "no such file": (write(b""), "x.npy", None, 3, None, r"elsewhere.*no such file"),
    "unknown suffix": (write(b"1,2,3"), "x.txt", None, 3, None, r"x\.txt.*expected \.npy, \.npz, \.csv"),
    "too wide": (npy, "x.npy", X, 4, None, r"shape \[2, 3\].*shape \[4\]"),
    "another image size": (npy, "x.npy", np.zeros((5, 4, 4)), 6, (2, 3), r"\[5, 4, 4\].*\[2, 3\] or \[6\]"),
    "a png of another size": (png, "x.png", BYTES, 64, (8, 8), r"\[2, 3\].*\[8, 8\]"),
    "a transposed image": (png, "x.png", BYTES, 6, (3, 2), r"\[2, 3\].*\[3, 2\]"),
    "no examples": (npy, "x.npy", np.zeros((0, 3)), 3, None, r"\[0, 3\]"),
    "NaN": (npy, "x.npy", np.array([[1, 2, 3], [1, np.nan, 3]]), 3, None, "NaN or infinite.*example 1"),
    "infinite in float32": (npy, "x.npy", np.array([[1e39, 0, 0]]), 3, None, "NaN or infinite.*example 0"),
    "complex": (npy, "x.npy", X + 1j, 3, None, "complex64.*expected numbers"),
    "text": (npy, "x.npy", np.array(["a", "b", "c"]), 3, None, "expected numbers"),
    "pickled objects": (npy, "x.npy", np.array([None, {}, ()], object), 3, None, "Object arrays cannot be"),
    "npz without x": (
        lambda path, array: np.savez(path, y=array),
        "x.npz",
        X,
        3,
        None,
        "holds the arrays y; expected x",
    ),
    "npz that is no zip": (write(b"junk"), "x.npz", None, 3, None, "cannot be read"),
    "npy that is none": (write(b"junk"), "x.npy", None, 3, None, "cannot be read"),
    "empty npy": (write(b""), "x.npy", None, 3, None, "cannot be read"),
    "empty csv": (write(b"\n"), "x.csv", None, 3, None, "no line with numbers"),
    "a word in a csv": (write(b"1,2,3\n1,b,3\n"), "x.csv", None, 3, None, "could not convert string 'b'"),
    "a ragged csv": (write(b"1,2,3\n1,2\n"), "x.csv", None, 3, None, "number of columns changed"),
    "a csv that is no text": (write(b"\xff\xfe\x00"), "x.csv", None, 3, None, "cannot be read"),
    "png that is none": (
        write(b"junk"),
        "x.png",
        None,
        6,
        (2, 3),
        "cannot be read as a PNG or JPEG image: it is none",
    ),
    "16 bits a pixel": (png, "x.png", BYTES.astype(np.uint16), 6, (2, 3), "wider than the 8 bits"),
}


@pytest.mark.parametrize(
    ("save", "name", "array", "features", "image_shape", "rows"), READABLE.values(), ids=READABLE
)
def test_a_file_of_examples_is_read(tmp_path, save, name, array, features, image_shape, rows):
    save(tmp_path / name, array)
    x = read_inputs(tmp_path / name, features, image_shape)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, rows)


@pytest.mark.parametrize(
    ("save", "name", "array", "features", "image_shape", "words"), REFUSED.values(), ids=REFUSED
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, save, name, array, features, image_shape, words):
    save(tmp_path / name, array)
    path = tmp_path / ("elsewhere.npy" if "elsewhere" in words else name)
    with pytest.raises(DataError, match=words):
        read_inputs(path, features, image_shape)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.png", "x.jpg"])
def test_a_truncated_file_is_refused_at_any_length(tmp_path, name):
    path = tmp_path / name
    {"x.npy": npy, "x.npz": npz}.get(name, png)(path, np.arange(600, dtype=np.uint8).reshape(20, 30))
    content = path.read_bytes()
    for length in range(
        0, len(content) - 20, max(1, len(content) // 40)
    ):  # a png's last 16 bytes hold no pixel
        path.write_bytes(content[:length])
        with pytest.raises(DataError):
            read_inputs(path, 600, (20, 30))
