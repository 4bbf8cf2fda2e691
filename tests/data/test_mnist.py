"""idx:DIR: MNIST's four files, whole and damaged; the real Fashion-MNIST where it is installed."""

import gzip

import numpy as np
import pytest

from funcnet import data
from funcnet._errors import DataError

pytestmark = pytest.mark.in_turns(2)


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


# how the files are named, the folder that they are in, what is given to idx:
LAYOUTS = {
    "as published": ("{t10k}-{kind}-idx{axes}-ubyte", "digits", "digits"),
    "as published, zipped": ("{t10k}-{kind}-idx{axes}-ubyte.gz", "digits", "digits"),
    "with a point": ("{t10k}-{kind}.idx{axes}-ubyte", "digits", "digits"),
    "with a point, zipped": ("{t10k}-{kind}.idx{axes}-ubyte.gz", "digits", "digits"),
    "test for t10k": ("{test}-{kind}-idx{axes}-ubyte", "digits", "digits"),
    "torchvision's root": ("{t10k}-{kind}-idx{axes}-ubyte", "data/MNIST/raw", "data"),
    "torchvision's folder": ("{t10k}-{kind}-idx{axes}-ubyte", "data/MNIST/raw", "data/MNIST"),
    "torchvision's raw": ("{t10k}-{kind}-idx{axes}-ubyte", "data/MNIST/raw", "data/MNIST/raw"),
    "the only set of its folder": ("qmnist-{test}-{kind}-idx{axes}-ubyte.gz", "QMNIST/raw", "QMNIST"),
    "a set by its name": ("qmnist-{test}-{kind}-idx{axes}-ubyte", "QMNIST/raw", "QMNIST/raw/qmnist"),
}


def write_set(home, images, idx_bytes, name, folder):
    (home / folder).mkdir(parents=True, exist_ok=True)
    for key, array in images.items():
        kind, part = key.split("_")
        path = (
            home
            / folder
            / name.format(
                t10k={"test": "t10k"}.get(part, part),
                test=part,
                kind={"x": "images", "y": "labels"}[kind],
                axes=array.ndim,
            )
        )
        content = idx_bytes(array)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize(("name", "folder", "given"), LAYOUTS.values(), ids=LAYOUTS)
def test_files_are_found_by_the_names_that_people_have(name, folder, given, images, idx_bytes, tmp_path):
    write_set(tmp_path, images, idx_bytes, name, folder)
    dataset = data.load(f"idx:{tmp_path / given}")
    np.testing.assert_array_equal(dataset.test.y, images["y_test"])
    np.testing.assert_array_equal(dataset.test.x * 255, images["x_test"].reshape(20, 6))


def test_of_a_plain_and_a_zipped_file_the_plain_one_is_read(images, idx_bytes, tmp_path):
    write_set(tmp_path, images, idx_bytes, "{t10k}-{kind}-idx{axes}-ubyte", ".")
    for key in images:
        part = "train" if "train" in key else "t10k"
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(b"damaged")
    assert data.load(f"idx:{tmp_path}").test.x.shape == (20, 6)


@pytest.mark.parametrize(
    ("folder", "first", "last"),
    [
        ("mnist", "0", "9"),
        ("fashion-mnist", "T-shirt/top", "Ankle boot"),
        ("FashionMNIST/raw", "T-shirt/top", "Ankle boot"),
        ("KMNIST/raw", "o", "wo"),
    ],
)
def test_the_folders_name_decides_the_class_names(folder, first, last, images, idx_bytes, tmp_path):
    write_set(tmp_path, images, idx_bytes, "{t10k}-{kind}-idx{axes}-ubyte", folder)
    for given in {folder, folder.removesuffix("/raw")}:
        classes = data.load(f"idx:{tmp_path / given}").classes
        assert (classes[0], classes[9], len(classes)) == (first, last, 10)


# a split of EMNIST, its smallest label, how many classes, some of their names; Cohen et al. 2017, table II
EMNIST = [
    ("byclass", 0, 62, {0: "0", 10: "A", 36: "a", 61: "z"}),
    ("bymerge", 0, 47, {9: "9", 35: "Z", 36: "a", 38: "d", 46: "t"}),
    ("balanced", 0, 47, {9: "9", 35: "Z", 37: "b", 43: "n", 46: "t"}),
    ("letters", 1, 26, {0: "A", 25: "Z"}),
    ("digits", 0, 10, {9: "9"}),
    ("mnist", 0, 10, {0: "0"}),
]


@pytest.fixture
def emnist(idx_bytes, tmp_path):
    """Writes a split of EMNIST, as gzip.zip holds it; returns its test images."""

    def write(split, first, classes):
        y = (np.arange(4 * classes) % classes + first).astype(np.uint8)
        x = np.random.default_rng(0).integers(0, 256, (len(y), 3, 3), dtype=np.uint8)
        parts = {"x_train": x, "y_train": y, "x_test": x[::-1], "y_test": y[::-1]}
        write_set(
            tmp_path, parts, idx_bytes, f"emnist-{split}-{{test}}-{{kind}}-idx{{axes}}-ubyte.gz", "gzip"
        )
        return x[::-1]

    return write


@pytest.mark.parametrize(("split", "first", "classes", "names"), EMNIST)
def test_a_split_of_emnist_has_its_classes_and_its_images_upright(
    split, first, classes, names, emnist, tmp_path
):
    x = emnist(split, first, classes)
    dataset = data.load(f"idx:{tmp_path / 'gzip'}")
    assert len(dataset.classes) == len(set(dataset.classes)) == classes
    assert {place: dataset.classes[place] for place in names} == names
    assert sorted(set(dataset.test.y.tolist())) == [*range(classes)]
    np.testing.assert_array_equal(dataset.test.x * 255, x.transpose(0, 2, 1).reshape(len(x), 9))


def test_of_several_sets_one_has_to_be_named(emnist, tmp_path):
    emnist("letters", 1, 26)
    emnist("digits", 0, 10)
    choices = f"idx:{tmp_path}/gzip/emnist-digits, idx:{tmp_path}/gzip/emnist-letters"
    with pytest.raises(DataError, match=f"gzip: holds 2 data sets; expected one. Name it: {choices}"):
        data.load(f"idx:{tmp_path / 'gzip'}")
    assert len(data.load(f"idx:{tmp_path / 'gzip/emnist-letters'}").classes) == 26
    assert len(data.load(f"idx:{tmp_path / 'emnist-digits'}").classes) == 10
    with pytest.raises(DataError, match="emnist-byclass: no such folder"):
        data.load(f"idx:{tmp_path / 'gzip/emnist-byclass'}")


def test_the_letters_of_emnist_start_at_1(emnist, tmp_path):
    emnist("letters", 0, 26)
    with pytest.raises(DataError, match=r"label 0 of example 0 is .* one of 1 \(A\), 2 \(B\)"):
        data.load(f"idx:{tmp_path / 'gzip'}")


def test_of_the_eight_numbers_of_a_label_of_qmnist_the_first_is_the_class(images, idx_bytes, tmp_path):
    """QMNIST's README, "Using the QMNIST extended labels": column 0 is the character class."""
    extended = {
        key: np.column_stack([array, *[np.full(len(array), 7)] * 7]).astype(">i4") if key[0] == "y" else array
        for key, array in images.items()
    }
    name = "qmnist-{test}-{kind}-idx{axes}-ubyte"
    write_set(tmp_path, {key: array for key, array in images.items() if key[0] == "x"}, idx_bytes, name, ".")
    labels = {key: array for key, array in extended.items() if key[0] == "y"}
    write_set(tmp_path, labels, idx_bytes, name.replace("ubyte", "int"), ".")
    dataset = data.load(f"idx:{tmp_path}")
    np.testing.assert_array_equal(dataset.test.y, images["y_test"])
    assert dataset.classes == tuple("0123456789")


def test_sets_of_their_own_have_the_classes_of_their_labels(images, write_mnist):
    odd = {key: array if key[0] == "x" else array % 3 * 2 + 1 for key, array in images.items()}
    dataset = data.load(f"idx:{write_mnist(odd, name='shapes')}")
    assert dataset.classes == ("1", "3", "5")
    np.testing.assert_array_equal(dataset.test.y, images["y_test"] % 3)


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
    with pytest.raises(DataError, match="none of the files of MNIST is in it"):
        data.load(f"idx:{tmp_path}")


def test_missing_file_says_how_to_get_it(images, write_mnist):
    folder = write_mnist(images)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        DataError, match=r"t10k-labels not found; expected a set's four files.*apt-get install"
    ):
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
