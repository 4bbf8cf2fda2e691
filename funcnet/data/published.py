"""From a data set as somebody published it to a Dataset that training can rely on.

A reader returns what the files say: bytes or numbers x with one example along the first axis, [n, d] for
features, [n, h, w] or [n, h, w, 3] for images, and labels y. Here that is checked, what the publisher
did not hold out is held out, and bytes, which are pixels, are brought to [0, 1]:

    published train ──▶ every tenth example: validation, the others: train
    published test  ──▶ test; where there is none, every fifth example of train

Every tenth means every tenth of a random order sorted by class, so that each class gives its share.
Bytes become float32 after that, so a large data set exists in floating point only once.
"""

from typing import NamedTuple

import numpy as np

from funcnet._errors import DataError
from funcnet.data.dataset import Dataset, Split


class Part(NamedTuple):
    """Examples and labels as read, and where they were read, for the messages."""

    where: str
    x: np.ndarray
    y: np.ndarray


class Published(NamedTuple):
    """A data set as read; `test` is None if nothing was held out, `classes` if they have no names."""

    train: Part
    test: Part | None
    classes: tuple[str, ...] | None


def to_dataset(name: str, published: Published, rng: np.random.Generator) -> Dataset:
    """The published data set, checked, split and in float32; `rng` decides what is held out.

    Raises:
        DataError: what was read is no data set; the message says where, what and why.
    """
    train = _checked(published.train)
    classes = published.classes or _numbered_classes(train)
    if len(np.unique(train.y)) < 2:
        raise DataError(f"{train.where}: every label is {train.y[0]}; expected at least two classes.")
    if published.test is None:
        train, test = _hold_out(train, 5, rng)
    else:
        test = _checked(published.test)
    _check_pair(train, test, classes)
    train, validation = _hold_out(train, 10, rng)
    image_shape = train.x.shape[1:] if train.x.ndim > 2 else None
    return Dataset(name, _split(train), _split(validation), _split(test), classes, image_shape)


def _checked(part: Part) -> Part:
    """The part with numbers for x, all of them finite, and one integer label for each example."""
    where, x, y = part
    if not (x.ndim in (2, 3) or (x.ndim == 4 and x.shape[3] == 3)):
        raise DataError(
            f"{where}: the examples have shape {list(x.shape)}; expected [examples, features], "
            f"[examples, height, width] or [examples, height, width, 3]. Reshape them."
        )
    if x.size == 0:
        raise DataError(f"{where}: empty, the examples have shape {list(x.shape)}. Fetch or write it again.")
    if x.dtype.kind not in "buif":
        raise DataError(f"{where}: the examples are {x.dtype}; expected numbers. Convert them.")
    if y.dtype.kind not in "ui":
        raise DataError(f"{where}: the labels are {y.dtype}; expected integers 0 to K − 1. Convert them.")
    if y.shape not in {(len(x),), (len(x), 1)}:
        raise DataError(
            f"{where}: {len(x)} examples but labels of shape {list(y.shape)}; expected one label for each "
            f"example. The two come from different sets, or one is incomplete: fetch both again."
        )
    return Part(where, _finite(where, x), y.reshape(len(x)))


def _finite(where: str, x: np.ndarray) -> np.ndarray:
    """Bytes as they are, other numbers in float32, in which 1e39 is infinite too."""
    if x.dtype == np.uint8:
        return x
    with np.errstate(over="ignore"):
        x = x.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
    if len(bad):
        raise DataError(
            f"{where}: {len(bad)} of {len(x)} examples hold NaN or infinite values (in float32), the first "
            f"is example {bad[0]}. Remove or repair them."
        )
    return x


def _numbered_classes(part: Part) -> tuple[str, ...]:
    """The labels themselves as names; they must be 0, 1 … K−1, for K outputs of a net are numbered so."""
    labels = np.unique(part.y)
    if not np.array_equal(labels, np.arange(len(labels))):
        missing = next(k for k, label in enumerate([*labels, -1]) if k != label)
        raise DataError(
            f"{part.where}: {len(labels)} different labels from {labels[0]} to {labels[-1]}; expected the "
            f"integers 0 to {len(labels) - 1}, and {missing} is missing. Renumber them: "
            f"np.unique(y, return_inverse=True)[1] does it."
        )
    return tuple(str(label) for label in labels)


def _check_pair(train: Part, test: Part, classes: tuple[str, ...]) -> None:
    """Two parts of one data set: examples of one shape, labels of the same K classes."""
    if train.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"{train.where}: an example has shape {list(train.x.shape[1:])}, but {list(test.x.shape[1:])} in "
            f"{test.where}; expected one shape. The two parts belong to different data sets."
        )
    for where, _, y in (train, test):
        bad = np.flatnonzero((y < 0) | (y >= len(classes)))
        if len(bad):
            raise DataError(
                f"{where}: label {y[bad[0]]} of example {bad[0]} is out of range; expected 0 to "
                f"{len(classes) - 1} ({', '.join(classes)}). The file is damaged or another data set's."
            )


def _hold_out(part: Part, every: int, rng: np.random.Generator) -> tuple[Part, Part]:
    """The part without, and only with, every n-th example of each class."""
    where, x, y = part
    if len(y) < 2:
        raise DataError(
            f"{where}: too few examples for a training, a validation and a test part. Give the data set more."
        )
    order = rng.permutation(len(y))
    by_class = order[np.argsort(y[order], kind="stable")]
    held_out = np.zeros(len(y), bool)
    held_out[by_class[::every]] = True
    return Part(where, x[~held_out], y[~held_out]), Part(where, x[held_out], y[held_out])


def _split(part: Part) -> Split:
    """The part in float32, its images as rows, pixels from 0 … 255 brought to 0 … 1."""
    x = part.x.reshape(len(part.x), -1)
    if x.dtype == np.uint8:
        x = np.divide(x, 255, dtype=np.float32)
    return Split(x, part.y.astype(np.int32))
