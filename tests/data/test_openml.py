"""openml:NAME, with scikit-learn's download replaced: no test needs the network."""

from http.client import IncompleteRead
from urllib.error import HTTPError, URLError

import numpy as np
import pytest

from funcnet import data
from funcnet._errors import DataError
from funcnet.data import scikit

SETS = {
    "mnist_784": (554, (28, 28), "7"),
    "Fashion-MNIST": (40996, (28, 28), "Sneaker"),
    "CIFAR_10": (40927, (32, 32, 3), "horse"),
}


@pytest.fixture
def download(monkeypatch):
    """Makes fetch_openml return or raise what a test says; gives the ids that it is asked for."""
    asked = []

    def prepare(result):
        def fetch_openml(*, data_id, as_frame, parser, return_X_y):  # noqa: N803 — scikit-learn's name
            assert (as_frame, parser, return_X_y) == (False, "liac-arff", True)
            asked.append(data_id)
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
        return asked

    return prepare


@pytest.fixture
def few_rows(monkeypatch):
    """Forty rows for training, not 60,000."""
    rows = {name: row._replace(train=40) for name, row in scikit._OPENML.items()}
    monkeypatch.setattr(scikit, "_OPENML", rows)


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize(
    ("name", "data_id", "image_shape", "seventh"), [(n, *row) for n, row in SETS.items()]
)
def test_rows_become_images(name, data_id, image_shape, seventh, download):
    x = np.random.default_rng(0).integers(0, 256, (60, np.prod(image_shape))).astype(float)
    asked = download((x, (np.arange(60) % 10).astype(str).astype(object)))
    dataset = data.load(f"openml:{name}")
    assert asked == [data_id]
    assert [len(part.y) for part in (dataset.train, dataset.validation, dataset.test)] == [36, 4, 20]
    assert (dataset.image_shape, dataset.classes[7]) == (image_shape, seventh)
    assert dataset.test.y.tolist() == [*range(10), *range(10)]
    channels = image_shape[2] if len(image_shape) == 3 else 1
    planes = (
        dataset.test.x.reshape(20, -1, channels).swapaxes(1, 2).reshape(20, -1)
    )  # back to red, green, blue
    np.testing.assert_array_equal(planes, x[40:].astype(np.float32) / np.float32(255))


FAILURES = {
    "no network": URLError("Name or service not known"),
    "not found": HTTPError("https://www.openml.org", 404, "not found", None, None),
    "cut off": IncompleteRead(b""),
    "wrong checksum": ValueError("md5 checksum of local file does not match"),
    "labels that are no numbers": (np.zeros((60, 784)), np.full(60, "shoe")),
}


@pytest.mark.parametrize("result", FAILURES.values(), ids=FAILURES)
def test_a_failed_download_says_how_else_to_get_the_data(result, download):
    download(result)
    with pytest.raises(
        DataError, match=r"https://www\.openml\.org/d/40996 failed: .*idx:DIR.*apt-get install"
    ):
        data.load("openml:Fashion-MNIST")


@pytest.mark.parametrize("pixel", [-1, 256, np.nan])
def test_pixels_out_of_range(pixel, download):
    download((np.full((60, 784), pixel), np.zeros(60, int).astype(str)))
    with pytest.raises(DataError, match=r"openml:mnist_784: pixels from .* expected 0 to 255"):
        data.load("openml:mnist_784")


def test_unknown_name():
    with pytest.raises(
        DataError, match="openml:iris: not known here; expected one of mnist_784, Fashion-MNIST, CIFAR_10"
    ):
        data.load("openml:iris")
