"""Features: what a linear classifier is given in place of raw coordinates or pixels.

CS231n 2019, lecture 4, slides 10 and 11. A linear classifier cannot tell a disc from a ring around it in
(x, y), yet one threshold does it in (r, θ). For images the course takes two histograms together, one of
colours that knows nothing of places and one of edge directions that knows nothing of colours:

    polar                   (x, y) ↦ (r, θ)
    color_histogram         the colours of an image, in boxes of RGB space
    hog                     edge directions, cell by cell, each block of cells brought to one norm
    hog_cs231n              the 4 · 4 · 9 = 144 edge features of the course's assignment 1
    hue_histogram_cs231n    its 10 colour features; beside the 144 they make 154

Images are a batch [images, height, width] in grey or [images, height, width, 3] in colour: floats from 0
to 1, as in a `Dataset` before `standardize` (whose rows fold back by `image_shape`), or bytes. Each
image becomes a row of float32 numbers.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, UInt8

from funcnet._errors import DataError, MissingPackageError, ParameterError, ShapeError

Images = (
    UInt8[np.ndarray, "images height width"]
    | UInt8[np.ndarray, "images height width 3"]
    | Float[np.ndarray, "images height width"]
    | Float[np.ndarray, "images height width 3"]
)
Features = Float32[np.ndarray, "images features"]
Pixels = Float64[np.ndarray, "images height width *color"]

CELL, ORIENTATIONS, HUES = 8, 9, 10  # of the course's features
CHUNK = 1000  # images in float64 at a time


def polar(x: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
    """Points (x, y) as (r, θ), with r = √(x² + y²) and θ = atan2(y, x) in (−π, π].

    Raises:
        ShapeError: the last axis does not hold two coordinates.

    Source: CS231n 2019, lecture 4, slide 10.

    >>> polar(np.array([[0.0, 2.0], [-3.0, 0.0]])).round(3).tolist()
    [[2.0, 1.571], [3.0, 3.142]]
    """
    if x.shape[-1:] != (2,):
        raise ShapeError(f"polar: the points have shape {list(x.shape)}; expected two coordinates, [..., 2].")
    first, second = x[..., 0], x[..., 1]
    return np.stack([np.hypot(first, second), np.arctan2(second, first)], axis=-1)


def color_histogram(images: Images, *, bins: int = 4) -> Features:
    """Which part of an image's pixels has its colour in each of bins³ equal boxes of RGB space.

    The boxes are in reading order, blue fastest; an image's features sum to 1.

    Raises:
        ShapeError: no batch of colour images.
        DataError: floats outside 0 … 1.
        ParameterError: `bins` is below 1.

    Source: Swain and Ballard, "Color indexing", 1991; CS231n 2019, lecture 4, slide 11.

    >>> red_above_black = np.array([[[[255, 0, 0]], [[0, 0, 0]]]], np.uint8)
    >>> color_histogram(red_above_black, bins=2).tolist()
    [[0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0]]
    """
    if bins < 1:
        raise ParameterError(f"color_histogram: bins is {bins}; expected 1 or more for each of R, G and B.")

    def histogram(pixels: Pixels) -> Float64[np.ndarray, "images features"]:
        digits = np.minimum(pixels * bins / 255, bins - 1).astype(int)
        boxes = digits @ [bins**2, bins, 1]
        return _histograms(boxes.reshape(len(boxes), -1), bins**3)

    return _rows(histogram(pixels) for pixels in _chunks("color_histogram", images, color=True))


def hog(images: Images, *, orientations: int = 9, cell: int = 8, block: int = 2) -> Features:
    """Histograms of oriented gradients, scikit-image's, one image after the other (0.4 ms each at 32 × 32).

    A pixel's gradient adds its length to the bin of its direction, modulo 180°, in the histogram of its
    cell; block × block neighbouring cells are then brought to one norm (L2-Hys), and blocks overlap. In
    colour, a pixel's longest gradient among R, G and B counts.

    Args:
        images: see the module's docstring.
        orientations: bins of directions.
        cell: side of a cell in pixels.
        block: side of a block in cells.

    Raises:
        ShapeError: no batch of images, or images smaller than a block.
        DataError: floats outside 0 … 1.
        ParameterError: `orientations`, `cell` or `block` is below 1.
        MissingPackageError: scikit-image is not installed; it is funcnet's extra `features`.

    Source: Dalal and Triggs, "Histograms of oriented gradients for human detection", 2005, whose 9 bins,
    8 × 8 pixels and 2 × 2 cells are the defaults.

    >>> hog(np.zeros((5, 32, 32, 3), np.uint8)).shape  # 3 · 3 blocks of 2 · 2 cells of 9 bins
    (5, 324)
    """
    if min(orientations, cell, block) < 1:
        raise ParameterError(
            f"hog: orientations, cell and block are {orientations}, {cell}, {block}; expected 1 or more each."
        )
    try:
        from skimage import feature
    except ImportError as error:
        raise MissingPackageError(
            "hog: scikit-image computes it and is not installed; run `pip install scikit-image`, or take "
            "hog_cs231n, which needs nothing."
        ) from error

    def features(image: Float64[np.ndarray, "height width *color"]) -> np.ndarray:
        return feature.hog(
            image,
            orientations,
            pixels_per_cell=(cell, cell),
            cells_per_block=(block, block),
            channel_axis=2 if image.ndim == 3 else None,
        )

    chunks = _chunks("hog", images, side=cell * block)
    return _rows(np.stack([features(image) for image in pixels / 255]) for pixels in chunks)


def hog_cs231n(images: Images, *, compat: bool = False) -> Features:
    """The edge features of the course's assignment 1: 4 · 4 · 9 = 144 for images of 32 × 32 pixels.

    Grey levels are Y = 0.299 R + 0.587 G + 0.114 B, from 0 to 255. A pixel's gradient is the difference
    g_x to the pixel on its right and g_y to the one below, 0 at the border; it adds its length to one of
    nine bins of 20°, floor(atan2(g_y, g_x) / 20° + 4.5) mod 9. A feature is the mean over a cell of 8 × 8
    pixels. Cells come column by column; what does not fill one is left out.

    The course's own numbers differ by two mistakes, which `compat=True` makes as well:

        the blue weight     is 0.144 in place of 0.114, so that white has grey level 262.65;
        the orientations    are not taken modulo 180°, and those outside 0° < atan2(g_y, g_x) + 90° < 180°
                            fall into no bin: a gradient to the left, at an edge from bright to dark,
                            does not count, nor does a vertical one. (The course adds 10⁻¹⁵ to g_x, which
                            saves some vertical gradients of less than 6 grey levels from rounding.)

    Raises:
        ShapeError: no batch of images, or images without one full cell.
        DataError: floats outside 0 … 1.

    Source: CS231n, assignment 1, `hog_feature`, after Dalal and Triggs 2005 without their blocks.

    >>> hog_cs231n(np.zeros((5, 32, 32, 3), np.uint8)).shape
    (5, 144)
    """

    def histogram(pixels: Pixels) -> Float64[np.ndarray, "images features"]:
        gray = _gray(pixels, blue=0.144 if compat else 0.114)
        gx = np.diff(gray, axis=2, append=gray[:, :, -1:])
        gy = np.diff(gray, axis=1, append=gray[:, -1:])
        angle = np.arctan2(gy, gx + 1e-15 if compat else gx) * (180 / np.pi) + 90
        length = np.hypot(gx, gy)
        if compat:
            length = np.where((angle > 0) & (angle < 180), length, 0)
        bins = (angle // 20).astype(int) % ORIENTATIONS
        return _histograms(_cells(bins), ORIENTATIONS, _cells(length)).reshape(len(pixels), -1)

    return _rows(histogram(pixels) for pixels in _chunks("hog_cs231n", images, side=CELL))


def hue_histogram_cs231n(images: Images) -> Features:
    """The colour features of the course's assignment 1: which part of the pixels is in each of ten hues.

    Hue runs from red at 0 by green at 1/3 and blue at 2/3 back to red at 1, in ten equal bins. Black,
    white and grey have hue 0 and so count as red.

    Raises:
        ShapeError: no batch of colour images.
        DataError: floats outside 0 … 1.

    Source: CS231n, assignment 1, `color_histogram_hsv`; Smith, "Color gamut transform pairs", 1978.

    >>> green = np.zeros((1, 32, 32, 3))
    >>> green[..., 1] = 0.8
    >>> hue_histogram_cs231n(green).tolist()
    [[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    from matplotlib.colors import rgb_to_hsv

    edges = np.linspace(0, 255, HUES + 1)[1:-1]

    def histogram(pixels: Pixels) -> Float64[np.ndarray, "images features"]:
        hue = rgb_to_hsv(pixels / 255)[..., 0] * 255
        return _histograms(np.digitize(hue, edges).reshape(len(hue), -1), HUES)

    return _rows(histogram(pixels) for pixels in _chunks("hue_histogram_cs231n", images, color=True))


def _chunks(name: str, images: Images, *, color: bool = False, side: int = 1) -> Iterator[Pixels]:
    """The images, a thousand at a time, with pixels in 0 … 255: exactly, where they were bytes once."""
    allowed = (4,) if color else (3, 4)
    if images.ndim not in allowed or images.shape[3:] not in ((), (3,)) or 0 in images.shape:
        grey = "" if color else "[images, height, width] or "
        raise ShapeError(
            f"{name}: the images have shape {list(images.shape)}; expected {grey}[images, height, width, 3]. "
            f"A data set's rows fold back with x.reshape(-1, *image_shape)."
        )
    if min(images.shape[1:3]) < side:
        raise ShapeError(
            f"{name}: the images have {images.shape[1]} × {images.shape[2]} pixels; expected {side} × {side} "
            f"or more."
        )
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise ShapeError(f"{name}: the images are {images.dtype}; expected floats from 0 to 1, or uint8.")
    if images.dtype != np.uint8 and not (images.min() >= 0 and images.max() <= 1):
        raise DataError(
            f"{name}: pixels from {images.min():g} to {images.max():g}; expected 0 to 1, or uint8. Take the "
            f"images before they are standardized, and divide by 255 what runs from 0 to 255."
        )
    scale = 1 if images.dtype == np.uint8 else images.dtype.type(255)
    for start in range(0, len(images), CHUNK):
        yield (images[start : start + CHUNK] * scale).astype(np.float64)


def _rows(chunks: Iterator[Float64[np.ndarray, "_ features"]]) -> Features:
    return np.concatenate([*chunks], dtype=np.float32)


def _gray(pixels: Pixels, blue: float) -> Float64[np.ndarray, "images height width"]:
    """Luma (ITU-R BT.601), with another weight of blue where asked for; grey images stay as they are."""
    if pixels.ndim == 3:
        return pixels
    return 0.299 * pixels[..., 0] + 0.587 * pixels[..., 1] + blue * pixels[..., 2]


def _cells(values: np.ndarray) -> np.ndarray:
    """Values [images, height, width] as [images · cells, 64]: a row a cell, columns of cells first."""
    images, rows, columns = len(values), values.shape[1] // CELL, values.shape[2] // CELL
    full = values[:, : rows * CELL, : columns * CELL].reshape(images, rows, CELL, columns, CELL)
    return full.transpose(0, 3, 1, 2, 4).reshape(-1, CELL * CELL)


def _histograms(
    bins: Int[np.ndarray, "rows pixels"],
    size: int,
    amounts: Float64[np.ndarray, "rows pixels"] | None = None,
) -> Float64[np.ndarray, "rows {size}"]:
    """For each row, the amounts (1 each if None) added up bin by bin and divided by the number of pixels."""
    rows, pixels = bins.shape
    places = bins + size * np.arange(rows)[:, None]
    weights = None if amounts is None else amounts.ravel()
    return np.bincount(places.ravel(), weights, rows * size).reshape(rows, size) / pixels
