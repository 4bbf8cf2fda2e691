"""csv:FILE: tables as Kaggle and others publish them, with names and labels and without."""

import numpy as np
import pytest

from funcnet import data
from funcnet._errors import DataError

pytestmark = pytest.mark.in_turns(2)

PIXELS = np.random.default_rng(1).integers(0, 256, (12, 64), dtype=np.uint8)
PIXELS[0, 0] = 255
LABELS = np.arange(12) % 3


def lines(*columns, names=None):
    """A table: one line of names, if there are any, and one for each row of the columns side by side."""
    rows = [
        ",".join(map(str, row)) for row in np.column_stack([np.array(c, object) for c in columns]).tolist()
    ]
    return "\n".join([*([",".join(names)] if names else []), *rows, ""])


def numbered(start, pattern="pixel{}"):
    return [pattern.format(i) for i in range(start, start + 64)]


# the table, in which the twelve images and their labels stand
OF_IMAGES = {
    "Digit Recognizer": lines(LABELS, PIXELS, names=["label", *numbered(0)]),
    "Fashion-MNIST": lines(LABELS, PIXELS, names=["label", *numbered(1)]),
    "MNIST in CSV": lines(LABELS, PIXELS, names=["label", *(f"{i}x{j}" for i in range(8) for j in range(8))]),
    "without names": lines(LABELS, PIXELS),
    "names in quotes": lines(LABELS, PIXELS, names=['"label"', *numbered(0)]),
    "labels last": lines(PIXELS, LABELS, names=[*numbered(0), "Class"]),
    "numbers for names": lines(PIXELS, LABELS, names=[*numbered(0, "{}"), "target"]),
    "lines counted": lines(range(12), LABELS, PIXELS, names=["", "label", *numbered(0)]),
    "with a byte order mark": "\ufeff" + lines(LABELS, PIXELS, names=["label", *numbered(0)]),
    "with the lines of Windows": lines(LABELS, PIXELS, names=["label", *numbered(0)]).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("text", OF_IMAGES.values(), ids=OF_IMAGES)
def test_a_table_of_pixels_is_images(text, tmp_path):
    (tmp_path / "digits.csv").write_text(text, encoding="utf-8", newline="")
    dataset = data.load(f"csv:{tmp_path / 'digits.csv'}")
    assert dataset.image_shape == (8, 8)
    assert dataset.classes == ("0", "1", "2")
    parts = (dataset.train, dataset.validation, dataset.test)
    expected = np.column_stack([LABELS, PIXELS])
    rows = [np.column_stack([part.y, np.round(part.x * 255)]).astype(int) for part in parts]
    np.testing.assert_array_equal(np.unique(np.concatenate(rows), axis=0), np.unique(expected, axis=0))


# what the columns are named, the first row of the two last, and what it should be
OF_NUMBERS = {
    "fractions": (["label", "a", "b"], [0.5, 1], [0.5, 1]),
    "whole numbers": (["label", "a", "b"], [5, 255], [5, 255]),
    "without names": (None, [5, 9], [5, 9]),
    "pixels of no square": (["label", "1", "2"], [51, 255], [0.2, 1]),
    "pixels out of range": (["label", "1", "2"], [5, 256], [5, 256]),
}


@pytest.mark.parametrize(("names", "first", "expected"), OF_NUMBERS.values(), ids=OF_NUMBERS)
def test_other_numbers_keep_their_units(names, first, expected, tmp_path):
    text = lines([0, 1, 0, 1], np.array([first, [6, 2], [7, 3], [8, 4]], object), names=names)
    (tmp_path / "table_train.csv").write_text(text)
    (tmp_path / "table_test.csv").write_text(text)
    dataset = data.load(f"csv:{tmp_path / 'table_train.csv'}")
    assert dataset.image_shape is None
    np.testing.assert_array_equal(dataset.test.x[0], np.float32(expected))
    np.testing.assert_array_equal(dataset.test.y, [0, 1, 0, 1])


def test_words_may_be_labels_and_are_the_names(tmp_path):
    kinds = ["Iris-setosa", "Iris-virginica"] * 4
    numbers = np.random.default_rng(0).normal(size=(8, 3)).round(2)
    for text in (
        lines(numbers, kinds),
        lines(range(8), numbers, kinds, names=["Id", "a", "b", "c", "Class"]),
    ):
        (tmp_path / "iris.csv").write_text(text)
        dataset = data.load(f"csv:{tmp_path / 'iris.csv'}")
        assert dataset.classes == ("Iris-setosa", "Iris-virginica")
        assert dataset.train.x.shape[1] == 3


@pytest.mark.parametrize(
    ("train", "test"),
    [("train.csv", "test.csv"), ("mnist_train.csv", "mnist_test.csv"), ("t-train-1.csv", "t-test-1.csv")],
)
def test_the_neighbour_is_the_test_part_if_it_has_labels(train, test, tmp_path):
    for names in (["label", *numbered(0)], None):
        (tmp_path / train).write_text(lines(LABELS, PIXELS, names=names))
        (tmp_path / test).write_text(lines(LABELS[:2], PIXELS[:2], names=names))
        dataset = data.load(f"csv:{tmp_path / train}")
        np.testing.assert_array_equal(dataset.test.x * 255, PIXELS[:2])
        (tmp_path / test).write_text(lines(PIXELS[:2], names=names and names[1:]))
        assert len(data.load(f"csv:{tmp_path / train}").test.y) == 3


def test_the_files_name_tells_of_fashion_and_of_letters(tmp_path):
    (tmp_path / "fashion-mnist_train.csv").write_text(lines(LABELS, PIXELS))
    assert data.load(f"csv:{tmp_path / 'fashion-mnist_train.csv'}").classes[9] == "Ankle boot"
    (tmp_path / "emnist-letters-train.csv").write_text(lines(LABELS + 1, PIXELS))
    (tmp_path / "emnist-letters-test.csv").write_text(lines(LABELS + 1, PIXELS))
    letters = data.load(f"csv:{tmp_path / 'emnist-letters-train.csv'}")
    assert letters.classes[25] == "Z"
    np.testing.assert_array_equal(
        letters.test.x.reshape(-1, 8, 8) * 255, PIXELS.reshape(-1, 8, 8).swapaxes(1, 2)
    )


DAMAGES = {
    "empty": ("", "cannot be read as a table of numbers separated by commas: it is empty"),
    "blank": ("\n\n", "no line with numbers; expected a table"),
    "names alone": ("label,a,b\n", "no line with numbers"),
    "no labels": (lines(PIXELS, names=numbered(0)), r"\(pixel0, .*\) is named label or class or target"),
    "a short line": ("label,a\n1,2\n1\n", "the number of columns changed from 2 to 1 at row"),
    "a long line": ("label,a\n1,2\n1,2,3\n", "the number of columns changed from 2 to 3"),
    "a missing number": ("label,a\n1,\n", "could not convert string ''"),
    "another separator": ("label;a\n1;2\n", "could not convert|is named label"),
    "NaN": ("label,a\n0,1\n1,nan\n0,1\n1,2\n", r"1 of 4 examples hold NaN"),
    "labels alone": ("label\n0\n1\n0\n1\n", r"empty, the examples have shape \[4, 0\]"),
    "classes last": (lines(range(8), [0, 1] * 4), "classes in its first column, .* 8 different numbers"),
    "fractions first": (lines(np.arange(8) / 4, range(8)), r"first column, .* as 0\.0\. Write a first line"),
    "quantities": (lines(range(9), np.arange(9) / 2, names=["a", "label"]), "9 different labels for 9 ex"),
    "one class": (lines(range(9), [3] * 9, names=["a", "label"]), "every label is 3"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), DAMAGES.values(), ids=DAMAGES)
def test_files_that_are_no_table(text, message, tmp_path):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError, match=rf"table\.csv: .*{message}"):
        data.load(f"csv:{tmp_path / 'table.csv'}")


def test_text_that_is_none_and_no_file(tmp_path):
    (tmp_path / "table.csv").write_bytes(b"label,a\n1,\xff\xfe")
    with pytest.raises(DataError, match=r"table\.csv: cannot be read as a table"):
        data.load(f"csv:{tmp_path / 'table.csv'}")
    with pytest.raises(DataError, match=r"other\.csv: no such file; expected a table"):
        data.load(f"csv:{tmp_path / 'other.csv'}")
