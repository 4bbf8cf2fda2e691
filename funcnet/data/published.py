"""From a data set as somebody published it to a Dataset that training can rely on.

A reader returns what the files say: bytes or numbers x with one example along the first axis, [n, d] for
features, [n, h, w] or [n, h, w, 3] for images, and labels y, integers or words. Here that is checked, the
labels are numbered from 0, what the publisher did not hold out is held out, and bytes, which are pixels, are
brought to [0, 1]:

    published train ──▶ every tenth example: validation, the others: train
    published test  ──▶ test; where there is none, every fifth example of train

Every tenth means every tenth of a random order sorted by class, so that each class gives its share.
Bytes become float32 after that, so a large data set exists in floating point only once.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from funcnet._errors import DataError
from funcnet.data.dataset import Dataset, Split


class Part(NamedTuple):
    """Examples and labels as read, and where they were read, for the messages."""

    where: str
    x: np.ndarray
    y: np.ndarray


class Published(NamedTuple):
    """A data set as read.

    `test` is None if nothing was held out. `names` has the name of each label's class; where it is None, the
    labels of the training part are the names.
    """

    train: Part
    test: Part | None
    names: Mapping[Any, str] | None


def to_dataset(name: str, published: Published, rng: np.random.Generator) -> Dataset:
    """The published data set, checked, split and in float32; `rng` decides what is held out.

    Raises:
        DataError: what was read is no data set; the message says where, what and why.
    """
    train = _checked(published.train)
    names = published.names or _own_names(train)
    if len(np.unique(train.y)) < 2:
        raise DataError(f"{train.where}: every label is {train.y[0]}; expected at least two classes.")
    train = _numbered(train, names)
    if published.test is None:
        train, test = _hold_out(train, 5, rng)
    else:
        test = _numbered(_checked(published.test), names)
    if train.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"{train.where}: an example has shape {list(train.x.shape[1:])}, but {list(test.x.shape[1:])} in "
            f"{test.where}; expected one shape. The two parts belong to different data sets."
        )
    train, validation = _hold_out(train, 10, rng)
    image_shape = train.x.shape[1:] if train.x.ndim > 2 else None
    classes = tuple(names.values())
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
    if y.dtype.kind not in "uiU":
        raise DataError(f"{where}: the labels are {y.dtype}; expected integers or words. Convert them.")
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


def _own_names(part: Part) -> dict[Any, str]:
    """The labels themselves as names, in their order."""
    labels = np.unique(part.y)
    if 2 * len(labels) > len(part.y) > 3:
        raise DataError(
            f"{part.where}: {len(labels)} different labels for {len(part.y)} examples; expected few "
            f"classes with many examples each. Are these quantities, or numbers of the examples?"
        )
    return {label: str(label) for label in labels.tolist()}


def _numbered(part: Part, names: Mapping[Any, str]) -> Part:
    """The part with its labels replaced by their places among the known ones."""
    known = np.array([*names])
    order = np.argsort(known)
    place = order[np.searchsorted(known, part.y, sorter=order).clip(max=len(known) - 1)]
    bad = np.flatnonzero(known[place] != part.y)
    if len(bad):
        raise DataError(
            f"{part.where}: label {part.y[bad[0]]} of example {bad[0]} is out of range; expected one of "
            f"{_few(names)}. The file is damaged or another data set's."
        )
    return part._replace(y=place)


def _few(names: Mapping[Any, str]) -> str:
    """All labels and their names, or the first and the last of many."""
    words = [name if name == str(label) else f"{label} ({name})" for label, name in names.items()]
    return ", ".join(words if len(words) <= 12 else [*words[:3], "…", words[-1]])


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
