"""idx:DIR: MNIST's four files, whole and damaged; the real Fashion-MNIST where it is installed."""

import numpy as np
import pytest

from funcnet import data
from funcnet._errors import DataError


@pytest.mark.parametrize("zipped", [False, True])
def test_values_are_the_files_bytes_over_255(zipped, images, write_mnist):
    dataset = data.load(f"idx:{write_mnist(images, zipped=zipped)}")
    assert dataset.image_shape == (3, 2)
    np.testing.assert_array_equal(
        dataset.test.x, images["x_test"].reshape(20, 6) / np.float32(255), strict=True
    )
    np.testing.assert_array_equal(dataset.test.y, images["y_test"].astype(np.int32), strict=True)
    rest = np.concatenate([dataset.train.x, dataset.validation.x]) * 255
    np.testing.assert_array_equal(
        sorted(rest.round().tolist()), sorted(images["x_train"].reshape(60, 6).tolist())
    )


@pytest.mark.parametrize(
    ("folder", "first", "last"),
    [
        ("mnist", "0", "9"),
        ("fashion-mnist", "T-shirt/top", "Ankle boot"),
        ("FashionMNIST", "T-shirt/top", "Ankle boot"),
    ],
)
def test_the_folders_name_decides_the_class_names(folder, first, last, images, write_mnist):
    classes = data.load(f"idx:{write_mnist(images, name=folder)}").classes
    assert (classes[0], classes[9], len(classes)) == (first, last, 10)


def test_home_folder_is_expanded(images, write_mnist, monkeypatch):
    monkeypatch.setenv("HOME", str(write_mnist(images).parent))
    assert data.load("idx:~/digits").test.x.shape == (20, 6)


DAMAGES = {
    "one label short": ({"y_train": np.zeros(59, "u1")}, r"train-labels.*60 examples but .* \[59\]"),
    "test images wider": ({"x_test": np.zeros((20, 3, 3), "u1")}, r"shape \[3, 2\], but \[3, 3\] in .*t"),
    "label out of range": ({"y_test": np.full(20, 10, "u1")}, "t10k-labels.*label 10 of example 0 is out"),
    "labels for images": ({"x_train": np.zeros(60, "u1")}, "train-images.*1 axes of uint8; expected"),
    "images of floats": ({"x_train": np.zeros((60, 3, 2), "f4")}, "train-images.*of float32; expected 3"),
    "no images": ({"x_test": np.zeros((0, 3, 2), "u1"), "y_test": np.zeros(0, "u1")}, "t10k-images.*empty"),
    "images without pixels": ({"x_train": np.zeros((60, 0, 2), "u1")}, "train-images.*empty"),
    "a single class": ({"y_train": np.full(60, 3, "u1")}, "train-labels.*every label is 3; expected at"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), DAMAGES.values(), ids=DAMAGES)
def test_files_that_do_not_fit_together(change, message, images, write_mnist):
    folder = write_mnist(images | change)
    with pytest.raises(DataError, match=message):
        data.load(f"idx:{folder}")


def test_missing_folder_says_how_to_get_the_files(tmp_path):
    with pytest.raises(DataError, match=r"no such folder.*apt-get install dataset-fashion-mnist"):
        data.load(f"idx:{tmp_path / 'nowhere'}")


def test_missing_file_says_how_to_get_it(images, write_mnist):
    folder = write_mnist(images)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"neither t10k-labels-idx1-ubyte nor .*\.gz.*apt-get install"):
        data.load(f"idx:{folder}")


def test_fashion_mnist_is_the_published_one(fashion_mnist):
    dataset = data.load(f"idx:{fashion_mnist}")
    labels = data.read_idx(fashion_mnist / "train-labels-idx1-ubyte.gz")
    assert np.bincount(labels).tolist() == [6000] * 10  # Xiao, Rasul, Vollgraf 2017: balanced classes
    assert [len(part.y) for part in (dataset.train, dataset.validation, dataset.test)] == [
        54_000,
        6_000,
        10_000,
    ]
    assert np.bincount(dataset.validation.y).tolist() == [600] * 10
    assert np.bincount(dataset.test.y).tolist() == [1000] * 10
    assert dataset.train.x.shape[1] == 784
    assert dataset.image_shape == (28, 28)
    assert (dataset.train.x.min(), dataset.train.x.max()) == (0, 1)
