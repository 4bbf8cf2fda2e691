"""Features against loops written from their descriptions, colorsys, scikit-image, and plain images."""

import colorsys
import math
import sys

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from skimage import feature
from sklearn.linear_model import LogisticRegression

from funcnet._errors import DataError, MissingPackageError, ParameterError, ShapeError
from funcnet.data import load
from funcnet.data.features import color_histogram, hog, hog_cs231n, hue_histogram_cs231n, polar

BYTES = np.random.default_rng(3).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
BYTES[0, 8:16, :, :] = BYTES[0, 8:9, :1, :]  # flat, so that gradients are exactly 0 or exactly vertical there
BYTES[0, 20:, 4:9] = 255
ON_IMAGES = [color_histogram, hog, hog_cs231n, hue_histogram_cs231n]


def in_the_words_of_the_course(image, blue, modulo):
    """The 144 numbers of a 32 × 32 image, pixel by pixel, a uniform filter read at each cell's centre."""
    gray = [[0.299 * r + 0.587 * g + blue * b for r, g, b in row] for row in image.astype(float).tolist()]
    by_bin = np.zeros((9, 32, 32))
    for i in range(32):
        for j in range(32):
            gx = gray[i][j + 1] - gray[i][j] if j < 31 else 0.0
            gy = gray[i + 1][j] - gray[i][j] if i < 31 else 0.0
            degrees = math.atan2(gy, gx if modulo else gx + 1e-15) * (180 / math.pi) + 90
            if modulo:
                degrees %= 180
            for k in range(9):
                if 20 * k <= degrees < 20 * (k + 1) and (modulo or degrees > 0):
                    by_bin[k, i, j] = math.sqrt(gx**2 + gy**2)
    cells = [uniform_filter(magnitudes, size=(8, 8))[4::8, 4::8].T for magnitudes in by_bin]
    return np.stack(cells, axis=2).ravel()


def ramp(degrees):
    """A grey 32 × 32 image whose gradient has length 2 grey levels and points in one direction."""
    i, j = np.mgrid[:32, :32]
    level = 2 * (np.cos(np.radians(degrees)) * j + np.sin(np.radians(degrees)) * i)
    return ((level - level.min()) / 255)[None]


@pytest.mark.parametrize("spec", ["ring", "circle"])
def test_polar_makes_a_ring_linearly_separable(spec):
    x, y = load(spec).train
    linear = LogisticRegression(C=1e4)
    assert linear.fit(x, y).score(x, y) < 0.75
    assert linear.fit(polar(x), y).score(polar(x), y) == 1.0


def test_polar_of_complex_numbers():
    z = np.array([[1j, -1.0, -1j], [3 + 4j, -2 - 2j, 0]])
    r, theta = np.moveaxis(polar(np.stack([z.real, z.imag], axis=-1)), -1, 0)
    np.testing.assert_allclose(r, np.abs(z), rtol=1e-15)
    np.testing.assert_allclose(theta, np.angle(z), rtol=1e-15)
    np.testing.assert_allclose(r * np.exp(1j * theta), z, atol=1e-15)


def test_the_154_features_of_the_course():
    assert (hog_cs231n(BYTES).shape, hue_histogram_cs231n(BYTES).shape) == ((3, 144), (3, 10))
    assert np.concatenate([hog_cs231n(BYTES), hue_histogram_cs231n(BYTES)], axis=1).shape == (3, 154)
    assert hog_cs231n(np.zeros((2, 28, 28), np.uint8)).shape == (2, 3 * 3 * 9)
    assert hog_cs231n(np.zeros((2, 16, 40), np.uint8)).shape == (2, 2 * 5 * 9)


@pytest.mark.parametrize("compat", [True, False])
def test_hog_cs231n_pixel_by_pixel(compat):
    expected = [in_the_words_of_the_course(image, 0.144 if compat else 0.114, not compat) for image in BYTES]
    found = hog_cs231n(BYTES, compat=compat)
    # The running sums of the uniform filter err by 1e-13; the features are rounded to float32.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-11)
    assert found.min() >= 0


@pytest.mark.parametrize("step", range(18))
def test_a_ramp_is_in_the_bin_of_its_direction(step):
    """In the course's form only half of all directions are: those to the right."""
    degrees = -80 + 20 * step
    first_cell = hog_cs231n(ramp(degrees))[0, :9]
    np.testing.assert_allclose(first_cell, 2 * np.eye(9)[step % 9], atol=1e-5)
    as_the_course = hog_cs231n(ramp(degrees), compat=True)[0, :9]
    np.testing.assert_allclose(as_the_course, 2 * np.eye(9)[step % 9] * (step < 9), atol=1e-5)


@pytest.mark.parametrize(
    ("levels", "compat"),
    [((0, 2), 8), ((0, 4), None), ((4, 0), 0), ((8, 0), None)],
)
def test_vertical_gradients(levels, compat):
    """The 10⁻¹⁵ added to g_x brings a vertical gradient into a bin, if its length does not swallow it."""
    image = np.repeat(np.uint8(levels), 4)[None, :, None] * np.ones((1, 1, 8), np.uint8)
    mean = sum(levels) / 8  # one row of eight has a gradient
    expected = np.zeros(9) if compat is None else mean * np.eye(9)[compat]
    np.testing.assert_array_equal(hog_cs231n(image, compat=True)[0], expected)
    np.testing.assert_array_equal(hog_cs231n(image)[0], mean * np.eye(9)[0])


def test_the_blue_weight_of_the_course():
    """Half of the image is blue or white, the other black: 255 × the weights is the step between them."""
    for color, steps in [((0, 0, 255), (0.144, 0.114)), ((255, 255, 255), (1.03, 1.0))]:
        image = np.zeros((1, 8, 8, 3), np.uint8)
        image[:, :, 4:] = color
        for compat, step in zip((True, False), steps, strict=True):
            np.testing.assert_allclose(hog_cs231n(image, compat=compat).sum(), step * 255 / 8, rtol=1e-6)


def test_a_negative_has_the_same_edges():
    """The course counts half of them in the image and the other half in its negative."""
    image = np.random.default_rng(4).uniform(size=(5, 32, 32))
    image[:, :, -1] = 0.5  # no gradient is vertical
    np.testing.assert_allclose(hog_cs231n(1 - image), hog_cs231n(image), rtol=1e-5)
    halves = hog_cs231n(image, compat=True) + hog_cs231n(1 - image, compat=True)
    np.testing.assert_allclose(halves, hog_cs231n(image), rtol=1e-5)


@pytest.mark.parametrize(
    ("color", "bin"),
    [
        ((255, 0, 0), 0),
        ((0, 255, 0), 3),
        ((0, 0, 255), 6),
        ((255, 255, 0), 1),
        ((0, 255, 255), 5),
        ((255, 0, 255), 8),
        ((255, 0, 1), 9),
        ((90, 90, 90), 0),
    ],
)
def test_hue_of_a_plain_color(color, bin):
    image = np.full((1, 4, 5, 3), color, np.uint8)
    assert hue_histogram_cs231n(image)[0].tolist() == np.eye(10)[bin].tolist()


def test_hues_pixel_by_pixel():
    for image, found in zip(BYTES, hue_histogram_cs231n(BYTES), strict=True):
        hues = [255 * colorsys.rgb_to_hsv(*pixel)[0] for pixel in image.reshape(-1, 3) / 255]
        density, edges = np.histogram(hues, bins=10, range=(0, 255), density=True)
        np.testing.assert_allclose(found, density * np.diff(edges), atol=1e-7)


def test_colors_pixel_by_pixel():
    for image, found in zip(BYTES, color_histogram(BYTES, bins=3), strict=True):
        counts, _ = np.histogramdd(image.reshape(-1, 3) / 255, bins=3, range=[(0, 1)] * 3)
        np.testing.assert_allclose(found, counts.ravel() / 1024, atol=1e-7)
    assert color_histogram(BYTES).shape == (3, 64)


@pytest.mark.parametrize("histogram", [color_histogram, hue_histogram_cs231n])
def test_colors_know_nothing_of_places(histogram):
    features = histogram(BYTES)
    np.testing.assert_allclose(features.sum(axis=1), 1, rtol=1e-6)
    for moved in (BYTES[:, ::-1], np.rot90(BYTES, axes=(1, 2)), np.roll(BYTES, 5, axis=2)):
        np.testing.assert_array_equal(histogram(moved), features)


@pytest.mark.parametrize("color", [True, False])
def test_hog_is_scikit_images(color):
    images = BYTES if color else BYTES[..., 0]
    expected = feature.hog(
        images[1] / 255, 9, (8, 8), (2, 2), block_norm="L2-Hys", channel_axis=-1 if color else None
    )
    np.testing.assert_allclose(hog(images)[1], expected, rtol=1e-6)
    assert hog(images, orientations=4, cell=4, block=1).shape == (3, 8 * 8 * 4)


@pytest.mark.parametrize("function", ON_IMAGES)
def test_bytes_and_floats_are_the_same_images(function):
    """A byte k and the k/255 that `load` makes of it, which times 255 is k again, without rounding."""
    features = function(BYTES)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(function((BYTES / np.float32(255)).astype(np.float32)), features)
    np.testing.assert_array_equal(function(BYTES / 255), features)
    every_byte = np.arange(256, dtype=np.uint8)
    for dtype in (np.float16, np.float32, np.float64):
        np.testing.assert_array_equal((every_byte / 255).astype(dtype) * dtype(255), every_byte)


def test_an_image_does_not_depend_on_its_batch(monkeypatch):
    features = hog_cs231n(BYTES)
    monkeypatch.setattr("funcnet.data.features.CHUNK", 2)
    np.testing.assert_array_equal(hog_cs231n(BYTES), features)


@pytest.mark.parametrize("function", ON_IMAGES)
@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (BYTES[0, :, :, 0], ShapeError, r"the images have shape \[32, 32\]; expected .*height, width, 3\]"),
        (BYTES[..., :2], ShapeError, r"\[3, 32, 32, 2\]; expected .*rows fold back with x.reshape"),
        (BYTES[:0], ShapeError, r"\[0, 32, 32, 3\]"),
        (BYTES.astype(int), ShapeError, r"the images are int64; expected floats from 0 to 1, or uint8"),
        (BYTES / 1.0, DataError, r"pixels from 0 to 255; expected 0 to 1, .* divide by 255"),
        (BYTES / 255 - 0.5, DataError, "from -0.5 to 0.5; .*Take the images before they are standardized"),
        (np.full((1, 16, 16, 3), np.nan), DataError, "pixels from nan to nan"),
    ],
)
def test_what_is_no_batch_of_images(function, images, error, words, no_shape_checks):
    with pytest.raises(error, match=f"{function.__name__}: .*{words}"):
        function(images)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: polar(np.zeros((5, 3))), ShapeError, r"polar: .* \[5, 3\]; expected two coordinates"),
        (lambda: color_histogram(BYTES[..., 0]), ShapeError, r"\[3, 32, 32\]; expected \[images"),
        (lambda: hue_histogram_cs231n(BYTES[..., 0]), ShapeError, r"\[3, 32, 32\]; expected \[images"),
        (lambda: hog_cs231n(BYTES[:, :7]), ShapeError, "have 7 × 32 pixels; expected 8 × 8 or more"),
        (lambda: hog(BYTES[:, :, :15]), ShapeError, "have 32 × 15 pixels; expected 16 × 16 or more"),
        (lambda: hog(BYTES, cell=0), ParameterError, "hog: .*block are 9, 0, 2; expected 1"),
        (lambda: color_histogram(BYTES, bins=0), ParameterError, "color_histogram: bins is 0; expected 1"),
    ],
)
def test_what_is_refused(call, error, words, no_shape_checks):
    with pytest.raises(error, match=words):
        call()


def test_without_scikit_image_hog_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingPackageError, match=r"hog: .*pip install scikit-image.*or take hog_cs231n"):
        hog(BYTES)
    assert hog_cs231n(BYTES).shape == (3, 144)
