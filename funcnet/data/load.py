"""One specification string for every data set, in the library and on the command line.

A specification is a name, `digits`, or a scheme, a colon and what to read, `idx:DIR`. SOURCES is the table
of all there is: how it is written (the argument in capitals), how it is read, one line of help.
"""

import os.path
from collections.abc import Callable
from pathlib import Path
from string import ascii_uppercase
from typing import NamedTuple

import numpy as np

from funcnet._errors import DataError, ParameterError
from funcnet.data import scikit, toy
from funcnet.data.arrays import npz
from funcnet.data.cifar10 import cifar10
from funcnet.data.dataset import Dataset, Split
from funcnet.data.idx import mnist
from funcnet.data.published import Published, to_dataset
from funcnet.data.tables import table

Reader = Callable[[str, str, np.random.Generator], Dataset]


class Source(NamedTuple):
    """A row of SOURCES; `read` gets the specification, the argument in it and what to draw from."""

    read: Reader
    help: str


def load(spec: str, *, seed: int = 0) -> Dataset:
    """The data set that a specification names, in raw units: pixels in [0, 1], coordinates as published.

    `digits`, `idx:DIR`, `cifar10:PATH`, `csv:FILE`, `npz:FILE`, `openml:NAME`, and in two dimensions `ring`,
    `spiral`, `spiral:2`, `circle`, `moons`, `simple`, `random`. A published test part stays the test part;
    what has none gives a fifth of its examples, and a tenth of the others becomes the validation part, class
    by class. A toy set's three parts are three draws (the 13 points of `simple` are all three). Classes are
    those that the files or their publisher name, or else the labels of the training part.

    Args:
        spec: which data set.
        seed: decides which examples are held out, and the points of a toy set.

    Raises:
        DataError: no such data set, or its files are missing, damaged or not what they claim to be.
        ParameterError: a negative seed.

    >>> digits = load("digits")
    >>> digits.train.x.shape, digits.validation.x.shape, digits.test.x.shape
    ((1293, 64), (144, 64), (360, 64))
    >>> load("spiral", seed=1).classes
    ('0', '1', '2')
    """
    if seed < 0:
        raise ParameterError(f"seed {seed}: expected an integer ≥ 0.")
    for usage, source in SOURCES.items():
        prefix = usage.rstrip(ascii_uppercase)
        argument = spec.removeprefix(prefix)
        if spec.startswith(prefix) and bool(argument) == prefix.endswith(":"):
            return source.read(spec, argument, np.random.default_rng(seed))
    raise DataError(f"unknown data set {spec!r}; expected one of {', '.join(SOURCES)}.")


def _published(read: Callable[[str], Published]) -> Reader:
    return lambda spec, argument, rng: to_dataset(spec, read(argument), rng)


def _files(read: Callable[[Path], Published]) -> Reader:
    return _published(lambda argument: read(Path(os.path.expanduser(argument))))


def _toy(draw: Callable[[np.random.Generator], Split]) -> Reader:
    def read(spec: str, argument: str, rng: np.random.Generator) -> Dataset:
        train, validation, test = (draw(rng) for _ in range(3))
        classes = tuple(str(label) for label in np.unique(train.y))
        return Dataset(spec, train, validation, test, classes, image_shape=None)

    return read


SOURCES = {
    "digits": Source(_published(lambda _: scikit.digits()), "1797 handwritten digits, 8 × 8, no download"),
    "idx:DIR": Source(_files(mnist), "a folder with the four files of MNIST, Fashion-MNIST, EMNIST, …"),
    "cifar10:PATH": Source(_files(cifar10), "CIFAR-10's binary version, tar.gz or folder"),
    "csv:FILE": Source(_files(table), "a table with a column `label`, as Kaggle has MNIST"),
    "npz:FILE": Source(_files(npz), "arrays x_train, y_train, x_test, y_test, or x, y"),
    "openml:NAME": Source(_published(scikit.openml), "mnist_784, Fashion-MNIST or CIFAR_10, downloaded"),
    "ring": Source(_toy(toy.ring), "a disc inside a ring"),
    "spiral": Source(_toy(toy.spiral), "three arms of 100 points, the course's case study"),
    "spiral:2": Source(_toy(toy.two_arm_spiral), "two arms of 100 points, from ConvNetJS"),
    "circle": Source(_toy(toy.circle), "50 points within a circle of 50, from ConvNetJS"),
    "moons": Source(_toy(toy.moons), "two interleaved half circles"),
    "simple": Source(_toy(toy.simple), "13 fixed points, from ConvNetJS"),
    "random": Source(_toy(toy.random), "40 points with random labels, from ConvNetJS"),
}
