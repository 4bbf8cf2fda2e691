"""Tables of numbers, one example a line, as Kaggle publishes MNIST and as a spreadsheet saves them.

    label,pixel0,pixel1,…      Kaggle's "Digit Recognizer" (train.csv); fashion-mnist_train.csv from pixel1
    label,1x1,1x2,…            mnist_train.csv, "MNIST in CSV"
    pixel0,pixel1,…            Kaggle's test.csv: examples without labels
    7,0,0,…                    without a first line of names: the label comes first, as in EMNIST's tables;
                               refused where another column looks more like it

The column of the labels, integers or words, has the name label, class or target. Columns named id, or not
named among others that are, only count the lines, and are left out. Columns named like pixels are an image if
all of them are whole numbers from 0 to 255 and they are as many as a square has; columns without names
too, for squares from 8 × 8 pixels on. Beside a file of a name with `train` in it, the one with `test` in its
place is the test part if it has labels.
"""

import csv
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from funcnet._errors import DataError
from funcnet.data.names import known_names, lies_on_its_side
from funcnet.data.published import Part, Published
from funcnet.data.reading import reading

_LABELS = ("label", "class", "target")
_COUNTERS = ("", "id", "unnamed: 0")
_PIXEL = re.compile(r"(pixel_?)?\d+|\d+x\d+")
_WANTED = "a table of numbers separated by commas"
_ADVICE = "Write it with a comma between columns and a number in each of their cells."


class Columns(NamedTuple):
    """What the first line of a table says: names, if it has any; which column holds labels, which count."""

    names: list[str] | None
    number: int
    label: int | None
    counters: list[int]

    @property
    def features(self) -> int:
        """How many columns describe an example."""
        return self.number - len(self.counters) - (self.label is not None)


def table(path: Path) -> Published:
    """The data set in a table with labels, and in its neighbour for testing."""
    train = _part(path)
    if columns(path).names is None and train.x.size:
        _check_first_column(train)
    neighbour = path.with_name("test".join(path.name.rsplit("train", 1)))
    has_test = (
        neighbour != path and neighbour.is_file() and columns(neighbour, train.x[0].size).label is not None
    )
    return Published(train, _part(neighbour) if has_test else None, known_names(path.name))


def _part(path: Path) -> Part:
    x, y = read_table(path)
    if y is None:
        names = ", ".join((columns(path).names or [])[:4])
        raise DataError(
            f"{path}: none of its columns ({names}, …) is named {' or '.join(_LABELS)}; expected one with "
            f"the classes. Rename it."
        )
    return Part(str(path), x, y)


def _check_first_column(part: Part) -> None:
    """Nothing, if the classes may well be in the first column, or where there are words, of no names.

    Raises:
        DataError: it has fractions, or the last column has fewer different numbers, all of them whole.
    """
    y, last = part.y, part.x.reshape(len(part.x), -1)[:, -1]
    fractions = y.dtype.kind == "U" and _is_number(y[0])
    few = part.x.dtype != np.uint8 and 1 < len(np.unique(last)) < len(np.unique(y))
    if fractions or (y.dtype.kind != "U" and few and np.array_equal(last, np.floor(last))):
        raise DataError(
            f"{part.where}: a table without names has the classes in its first column, where this one has "
            f"{len(np.unique(y))} different numbers, as {y[0]}. Write a first line of names; that of the "
            f"column of the classes is {_LABELS[0]}."
        )


def read_table(path: Path, features: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The examples of a table, in bytes and folded to images where they are pixels; and its labels, if any.

    Args:
        path: the file.
        features: how many numbers an example has, if that is known: without names, one more is its label.

    Raises:
        DataError: there is no such file, or it is no table of numbers.
    """
    head, labels = columns(path, features), []

    def keep(text: str) -> float:
        labels.append(text)
        return 0.0

    converters: dict[int | str, Callable[[str], float]] = dict.fromkeys(head.counters, lambda text: 0.0)
    if head.label is not None:
        converters[head.label] = keep
    with _text(path) as text:
        values = np.loadtxt(
            text,
            np.float32,
            comments=None,
            delimiter=",",
            quotechar='"',
            skiprows=int(head.names is not None),
            ndmin=2,
            converters=converters or None,
            encoding=None,
        )
    if not values.size:
        raise DataError(f"{path}: no line with numbers; expected {_WANTED}. {_ADVICE}")
    x = np.delete(values, [int(column) for column in converters], axis=1)
    return _pixels(path.name, head, x), _integers(labels) if labels else None


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOWrapper]:
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # of no lines; an error says so
        reading(path, _WANTED, _ADVICE) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        yield text


def columns(path: Path, features: int | None = None) -> Columns:
    """The columns of a table, from its first line; see `read_table`."""
    with _text(path) as text:
        first = next(csv.reader(text), [])
    cells = [cell.strip().lower() for cell in first]
    words = [i for i, cell in enumerate(cells) if not _is_number(cell)]
    label = next((cells.index(name) for name in _LABELS if name in cells), None)
    if label is not None or len(words) == len(cells) > 0:
        counters = [i for i, cell in enumerate(cells) if cell in _COUNTERS]
        return Columns(first, len(cells), label, counters)
    if len(cells) == features:
        return Columns(None, len(cells), None, [])
    return Columns(None, len(cells), words[0] if words else 0, [])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _pixels(name: str, head: Columns, x: np.ndarray) -> np.ndarray:
    """Images in bytes where the columns are pixels, x elsewhere."""
    side = math.isqrt(x.shape[1])
    is_square = side * side == x.shape[1] and side >= 8
    if head.names is None:
        may_be = is_square and x.max(initial=0) > 1
    else:
        described = [cell for i, cell in enumerate(head.names) if i != head.label and i not in head.counters]
        may_be = all(_PIXEL.fullmatch(cell.strip().lower()) for cell in described)
    if not may_be or not ((x >= 0) & (x <= 255) & (x == np.floor(x))).all():
        return x
    x = x.astype(np.uint8)
    if not is_square:
        return x
    images = x.reshape(-1, side, side)
    return images.swapaxes(1, 2) if lies_on_its_side(name) else images


def _integers(labels: list[str]) -> np.ndarray:
    """The labels as integers if that is what they are, else as the words that they are."""
    words = np.array([label.strip() for label in labels])
    try:
        numbers = words.astype(np.float64)
    except ValueError:
        return words
    return numbers.astype(np.int64) if np.array_equal(numbers, np.floor(numbers)) else words
