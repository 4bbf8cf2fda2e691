"""npz:FILE: arrays with and without a test part, and everything that is no data set."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funcnet import data
from funcnet._errors import DataError

X = np.arange(40, dtype=np.float64).reshape(20, 2)
Y = np.arange(20) % 2


def load(tmp_path, **arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    return data.load(f"npz:{tmp_path / 'set.npz'}")


SHAPES = {
    "features": ((4,), None),
    "grey images": ((3, 2), (3, 2)),
    "colour images": ((3, 2, 3), (3, 2, 3)),
}


@pytest.mark.parametrize(("shape", "image_shape"), SHAPES.values(), ids=SHAPES)
def test_shape_decides_whether_it_is_images(shape, image_shape, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    dataset = load(tmp_path, x_train=x, y_train=Y, x_test=x[:5], y_test=Y[:5])
    assert dataset.image_shape == image_shape
    np.testing.assert_array_equal(dataset.test.x, x[:5].reshape(5, -1) / np.float32(255), strict=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.int8, bool])
def test_numbers_other_than_bytes_keep_their_units(dtype, tmp_path):
    x = (X % 100).astype(dtype)
    dataset = load(tmp_path, x_train=x, y_train=Y, x_test=x, y_test=Y)
    np.testing.assert_array_equal(dataset.test.x, x.astype(np.float32), strict=True)


@pytest.mark.parametrize(
    "y", [Y[:, None], Y.astype(np.uint8), Y.astype(np.uint64)], ids=["column", "u1", "u8"]
)
def test_labels_as_keras_writes_them(y, tmp_path):
    dataset = load(tmp_path, x_train=X, y_train=y, x_test=X, y_test=y)
    np.testing.assert_array_equal(dataset.test.y, Y.astype(np.int32), strict=True)
    assert dataset.classes == ("0", "1")


LABELS = {
    "from 1": (Y + 1, ("1", "2")),
    "with a gap": (Y * 10**9, ("0", "1000000000")),
    "negative": (Y - 1, ("-1", "0")),
    "words": (np.array(["cat", "dog"])[Y], ("cat", "dog")),
}


@pytest.mark.parametrize(("y", "classes"), LABELS.values(), ids=LABELS)
def test_the_labels_themselves_are_the_names_of_the_classes(y, classes, tmp_path):
    dataset = load(tmp_path, x_train=X, y_train=y, x_test=X, y_test=y)
    assert dataset.classes == classes
    np.testing.assert_array_equal(dataset.test.y, Y)


DAMAGES = {
    "other names": ({"data": X, "labels": Y}, "the arrays data, labels; expected x_train, .* or x and y"),
    "one missing": ({"x_train": X, "y_train": Y, "x_test": X}, "holds the arrays x_train, y_train, x_test;"),
    "object array": ({"x": X, "y": Y.astype(object)}, "pickle"),
    "text": ({"x": X.astype(str), "y": Y}, "x and y: the examples are <U32; expected numbers"),
    "complex": ({"x": X + 0j, "y": Y}, "the examples are complex128; expected numbers"),
    "one axis": ({"x": X[:, 0], "y": Y}, r"the examples have shape \[20\]; expected \[examples, features\]"),
    "two channels": ({"x": np.zeros((20, 3, 3, 2)), "y": Y}, r"have shape \[20, 3, 3, 2\]; expected"),
    "no array": ({"x": np.float32(1), "y": Y}, r"have shape \[\]; expected"),
    "float labels": ({"x": X, "y": Y + 0.0}, "the labels are float64; expected integers"),
    "one-hot labels": ({"x": X, "y": np.eye(2, dtype=int)[Y]}, r"20 examples but labels of shape \[20, 2\]"),
    "too few labels": ({"x": X, "y": Y[:-1]}, r"20 examples but labels of shape \[19\]"),
    "quantities": ({"x": X, "y": np.arange(20)}, "20 different labels for 20 examples; expected few classes"),
    "one class": ({"x": X, "y": Y * 0}, "every label is 0; expected at least two classes"),
    "NaN": ({"x": np.where(X == 7, np.nan, X), "y": Y}, "1 of 20 examples hold NaN .* first is example 3"),
    "infinite": ({"x": np.where(X > 35, -np.inf, X), "y": Y}, "2 of 20 examples .* first is example 18"),
    "infinite in float32": ({"x": X * 1e37, "y": Y}, r"3 of 20 examples .* \(in float32"),
    "no examples": ({"x": X[:0], "y": Y[:0]}, r"empty, the examples have shape \[0, 2\]"),
    "no features": ({"x": X[:, :0], "y": Y}, r"empty, the examples have shape \[20, 0\]"),
    "two examples": ({"x": X[:2], "y": Y[:2]}, "too few examples for a training, a validation"),
    "an unknown label in the test part": (
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1},
        "x_test and y_test: label 2 of example 1 is out of range; expected one of 0, 1",
    ),
    "test part of another width": (
        {"x_train": X, "y_train": Y, "x_test": X[:, :1], "y_test": Y},
        r"an example has shape \[2\], but \[1\] in .*x_test",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arrays", "message"), DAMAGES.values(), ids=DAMAGES)
def test_arrays_that_are_no_data_set(arrays, message, tmp_path):
    with pytest.raises(DataError, match=f"set.npz.*{message}"):
        load(tmp_path, **arrays)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zip_of(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def flipped(content, part):
    """The archive with a bit of a part of it turned over."""
    where = content.index(part)
    return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]


def encrypted(content):
    """The archive with its first member marked as encrypted (bit 0 of the flags in the directory)."""
    flags = content.index(b"PK\x01\x02") + 8
    return content[:flags] + b"\x01" + content[flags + 1 :]


FILES = {
    "empty": b"",
    "text": b"not an archive",
    "one array in place of an archive": npy(X),
    "archive with a flipped bit": flipped(zip_of(x=npy(X), y=npy(Y)), npy(X)[-8:]),
    "archive of something else": zip_of(x=b"text", y=b"text"),
    "archive with a password": encrypted(zip_of(x=npy(X), y=npy(Y))),
    "archive with a truncated array": zip_of(x=npy(X)[:-1], y=npy(Y)),
    "array with a huge header": zip_of(
        x=npy(X).replace(b"(20, 2), }" + b" " * 12, b"(99999999999999, 2), }"), y=npy(Y)
    ),
    "array with a wild header": zip_of(x=npy(X).replace(b"(20, 2)", b"(-2, 2)"), y=npy(Y)),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_files_that_are_no_npz(content, tmp_path):
    path = tmp_path / "set.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.npz.*(cannot be read as an \.npz file|expected \[examples)"):
        data.load(f"npz:{path}")


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"no such file; expected an \.npz file"):
        data.load(f"npz:{tmp_path / 'nothing.npz'}")


@settings(deadline=None)
@given(where=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_a_data_error(where, tmp_path_factory):
    content = zip_of(x=npy(X), y=npy(Y))
    path = tmp_path_factory.mktemp("npz") / "set.npz"
    path.write_bytes(content[: int(where * len(content))])
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
        data.load(f"npz:{path}")
