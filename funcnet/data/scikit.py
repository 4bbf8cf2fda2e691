"""Data sets that come through scikit-learn: one inside the package, three by download."""

import warnings
from http.client import HTTPException
from typing import NamedTuple

import numpy as np

from funcnet._errors import DataError
from funcnet.data.names import CIFAR10, DIGITS, FASHION, Names
from funcnet.data.published import Part, Published


class _OpenML(NamedTuple):
    """Where a data set is at OpenML, and what its flat rows mean; the first `train` rows are for training."""

    data_id: int
    train: int
    channels_first: tuple[int, ...]
    names: Names


_OPENML = {
    "mnist_784": _OpenML(554, 60_000, (28, 28), DIGITS),
    "Fashion-MNIST": _OpenML(40996, 60_000, (28, 28), FASHION),
    "CIFAR_10": _OpenML(40927, 50_000, (3, 32, 32), CIFAR10),
}


def digits() -> Published:
    """1797 handwritten digits, 8 × 8 pixels with values 0 … 16, brought to 0 … 1.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998.
    """
    from sklearn.datasets import load_digits

    pixels, labels = map(np.asarray, load_digits(return_X_y=True))
    return Published(Part("digits", pixels.reshape(-1, 8, 8) / 16, labels), None, DIGITS)


def openml(name: str) -> Published:
    """A data set of https://www.openml.org, downloaded on first use, then from scikit-learn's cache."""
    if name not in _OPENML:
        raise DataError(f"openml:{name}: not known here; expected one of {', '.join(_OPENML)}.")
    data_id, train, channels_first, names = _OPENML[name]
    x, y = _fetch(name, data_id)
    if not (x.min() >= 0 and x.max() <= 255):
        raise DataError(
            f"openml:{name}: pixels from {x.min()} to {x.max()}; expected 0 to 255. Clear the cache."
        )
    images = x.astype(np.uint8).reshape(-1, *channels_first)
    if len(channels_first) == 3:
        images = images.transpose(0, 2, 3, 1)
    where = f"openml:{name}"
    return Published(
        Part(f"{where}, training part", images[:train], y[:train]),
        Part(f"{where}, test part", images[train:], y[train:]),
        names,
    )


def _fetch(name: str, data_id: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one for each retry; the error below says it once
            # The other parsers need pandas.
            x, y = fetch_openml(data_id=data_id, as_frame=False, parser="liac-arff", return_X_y=True)
        return x, y.astype(np.int64)
    except (OSError, ValueError, HTTPException) as error:
        raise DataError(
            f"openml:{name}: the download from https://www.openml.org/d/{data_id} failed: {error}. Try "
            f"again, or get the files another way and use idx:DIR (for Fashion-MNIST, `apt-get install "
            f"dataset-fashion-mnist` on Debian or Ubuntu), cifar10:PATH or npz:FILE."
        ) from error
