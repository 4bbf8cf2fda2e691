"""What a data set is once it is loaded, and how it is standardized.

An example is a row x[i] of numbers with the integer label y[i]; an image is a row too, its pixels in
reading order, and `image_shape` tells how to fold the row back. A data set has three parts: `train`
is what gradients are computed on, `validation` is what settings are chosen by, `test` is what the
result is reported on, once.

Standardization maps each feature to zero mean and unit variance, x̂ = (x − μ) / σ, with μ and σ of the
training part only: the other two parts stand for data that nobody has seen yet. For images μ is the
mean image and σ one number for all pixels, since a σ of its own would blow up a pixel that is nearly
always dark.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from funcnet._errors import DataError


class Split(NamedTuple):
    """One part of a data set: inputs x, one row an example, and their labels y in 0 … K−1."""

    x: Float32[np.ndarray, "examples features"]
    y: Int32[np.ndarray, "examples"]


@dataclass(frozen=True)
class Dataset:
    """A data set in raw units, see `funcnet.data.load`.

    Attributes:
        name: the specification that it was loaded by.
        train, validation, test: its three parts.
        classes: the name of each label.
        image_shape: (height, width) or (height, width, 3) where a row of x is an image, else None.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    image_shape: tuple[int, ...] | None


def relabelled(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    """The data set with its labels numbered as in a list of classes that has its own among them.

    Where the two name nothing alike, as numbers and words, the labels keep their numbers.

    Raises:
        DataError: it has classes that the list has not.

    >>> from funcnet.data import load
    >>> arms = load("spiral:2")
    >>> arms.test.y[:3].tolist(), relabelled(arms, ("2", "1", "0")).test.y[-3:].tolist()
    ([1, 1, 1], [2, 2, 2])
    """
    if len(classes) == len(dataset.classes) and not {*classes} & {*dataset.classes}:
        return replace(dataset, classes=classes)
    place = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in dataset.classes if name not in place]
    if unknown:
        raise DataError(
            f"{dataset.name}: {len(dataset.classes)} classes, of which {unknown[0]} is none of the "
            f"{len(classes)} that the net was trained on. Take a data set with these."
        )
    places = np.array([place[name] for name in dataset.classes], np.int32)

    def numbered(part: Split) -> Split:
        return part._replace(y=places[part.y])

    return _mapped(dataset, numbered, classes=classes)


def _mapped(dataset: Dataset, change: Callable[[Split], Split], **others: Any) -> Dataset:
    """The data set with a change made to each part."""
    parts = {name: change(getattr(dataset, name)) for name in ("train", "validation", "test")}
    return replace(dataset, **parts, **others)


class Standardization(NamedTuple):
    """The map x̂ = (x − mean) / std, feature by feature."""

    mean: Float32[np.ndarray, "features"]
    std: Float32[np.ndarray, "features"]

    def apply(self, x: Float32[np.ndarray, "*batch features"]) -> Float32[np.ndarray, "*batch features"]:
        """The inputs x in standard units.

        >>> standardization = Standardization(np.float32([5, 0]), np.float32([2, 1]))
        >>> standardization.apply(np.float32([[7, 1], [3, 0]])).tolist()
        [[1.0, 1.0], [-1.0, 0.0]]
        """
        standardized = x - self.mean
        standardized /= self.std
        return standardized


def standardize(dataset: Dataset) -> tuple[Dataset, Standardization]:
    """The data set in standard units, and the map that brought it there, for inputs yet to come.

    Mean and standard deviation are those of the training part. Images share one standard deviation;
    a feature that never varies keeps its unit (std = 1).

    Source: CS231n course notes, "Setting up the data": mean subtraction and normalization.

    >>> from funcnet.data import load
    >>> digits, _ = standardize(load("digits"))
    >>> print(f"{digits.train.x.std():.3f}")
    1.000
    """
    standardization = _fit(dataset.train.x, one_std=dataset.image_shape is not None)

    def standardized(part: Split) -> Split:
        return part._replace(x=standardization.apply(part.x))

    return _mapped(dataset, standardized), standardization


def _fit(x: Float32[np.ndarray, "examples features"], one_std: bool) -> Standardization:
    """Mean and standard deviation, summed in float64: a float32 sum over 60,000 rows loses digits."""
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    centered = x - mean
    variance = np.einsum("nd,nd->d", centered, centered, dtype=np.float64) / len(x)
    if one_std:
        variance = np.full_like(variance, variance.mean())
    std = np.where(variance > 0, np.sqrt(variance), 1)
    return Standardization(mean, std.astype(np.float32))
