"""Pictures of what a first layer has learned: the templates of its units, the filters of a convolution.

A unit's weights have as many entries as the image has pixels, so they are an image themselves, and the
unit's score is the inner product of the two (CS231n 2019, lecture 4, slide 6: one template per class).
Weights above zero ask for ink, weights below zero forbid it, and zero does not care; all panels share one
scale that is symmetric about zero. Filters are the same of a convolution.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib import colormaps
from matplotlib.figure import Figure

MAX_PANELS = 100
BETWEEN = 0.8  # grey between the panels, so that weights of zero, which are white, end where the panel ends


def templates(
    params: Mapping[str, Mapping[str, ArrayLike]], image_shape: tuple[int, ...], classes: Sequence[str]
) -> Figure:
    """The first layer's weights as images: a panel per class, or per hidden unit, the strongest first.

    A hidden unit's strength is |w_in| · |w_out|, the norms of its incoming and outgoing weights: what
    it can add to the next layer. Dividing one and multiplying the other changes nothing that a ReLU net
    computes, nor this product. A maxout unit's panel holds its pieces side by side.

    Args:
        params: the net, `params["layer1"]["w"]` of shape [pixels, units] or [pixels, pieces, units].
        image_shape: (height, width) or (height, width, 3).
        classes: the names above the panels of a linear classifier.

    >>> net = {"layer1": {"w": np.eye(4)}}
    >>> [text.get_text() for text in templates(net, (2, 2), ["cat", "dog", "ship", "truck"]).axes[0].texts]
    ['cat', 'dog', 'ship', 'truck']
    """
    w = np.asarray(params["layer1"]["w"], np.float32)
    pictures = _as_pictures(w, image_shape)
    if "layer2" not in params:
        return _mosaic(pictures[:MAX_PANELS], "Templates of the classes", names=classes[:MAX_PANELS])
    w_out = np.asarray(params["layer2"]["w"], np.float32)
    strongest = np.argsort(-_norms(w, axis=-1) * _norms(w_out, axis=0), kind="stable")[:MAX_PANELS]
    some = f"{MAX_PANELS} of " if len(pictures) > MAX_PANELS else ""
    pieces = f", {w.shape[1]} pieces each" if w.ndim == 3 else ""
    title = f"Templates of {some}the {len(pictures)} hidden units{pieces}, the strongest first"
    return _mosaic(pictures[strongest], title)


def filters(w: ArrayLike) -> Figure:
    """The kernels of a first convolution as images, one panel an output.

    Args:
        w: [height, width, inputs, outputs]; of three inputs, which are colours, a panel is in colour, of
            others its inputs stand side by side.

    >>> len(filters(np.ones((5, 5, 3, 8))).axes)
    1
    """
    kernels = np.moveaxis(np.asarray(w, np.float32), -1, 0)
    outputs, height, _, inputs = kernels.shape
    if inputs != 3:
        kernels = np.moveaxis(kernels, -1, 2).reshape(outputs, height, -1)
    some = f"{MAX_PANELS} of " if outputs > MAX_PANELS else ""
    return _mosaic(kernels[:MAX_PANELS], f"{some}{outputs} filters of the first layer")


def _as_pictures(w: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    """Weights [pixels, *pieces, units] as images [units, height, pieces × width, *colour]."""
    height, width, *color = image_shape
    units = w.shape[-1]
    by_piece = w.reshape(height, width, *color, -1, units)
    return np.moveaxis(by_piece, (-1, -2), (0, 2)).reshape(units, height, -1, *color)


def _norms(w: np.ndarray, axis: int) -> np.ndarray:
    """The norm of each slice of w along one axis."""
    return np.linalg.norm(np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1), axis=1)


def _mosaic(pictures: np.ndarray, title: str, names: Sequence[str] = ()) -> Figure:
    """Pictures [panels, height, width, *colour] in rows, on one scale that is symmetric about zero."""
    panels, height, width, *color = pictures.shape
    columns = min(panels, math.ceil(math.sqrt(2 * panels * height / width)))
    gap = max(1, height // 12)
    above = 3 * gap if names else gap
    canvas = _tiled(pictures, columns, above, gap)
    limit = float(np.quantile(np.abs(pictures), 0.995)) or 1.0

    inches = (1.1 if names else 0.65) / height
    size = max(6.0, canvas.shape[1] * inches + 1.2), canvas.shape[0] * inches + 0.6
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots()
    axes.set_axis_off()
    if color:
        axes.imshow(np.nan_to_num((canvas / limit).clip(-1, 1) / 2 + 0.5, nan=BETWEEN))
    else:
        blue_to_red = colormaps["RdBu_r"].with_extremes(bad=str(BETWEEN))
        image = axes.imshow(canvas, cmap=blue_to_red, vmin=-limit, vmax=limit)
        figure.colorbar(image, ax=axes, label="weight", shrink=0.8, extend="both")
    for panel, name in enumerate(names):
        row, column = divmod(panel, columns)
        x, y = column * (gap + width) + gap + width / 2, row * (above + height) + 0.8 * above
        axes.text(x, y, name, ha="center", va="bottom", fontsize=8, parse_math=False)
    return figure


def _tiled(pictures: np.ndarray, columns: int, above: int, gap: int) -> np.ndarray:
    """One picture of all, in rows, with NaN around them: `above` pixels above each, `gap` elsewhere."""
    panels, height, width, *color = pictures.shape
    rows = math.ceil(panels / columns)
    tiles = np.full((rows * columns, above + height, gap + width, *color), np.nan, np.float32)
    tiles[:panels, above:, gap:] = pictures
    grid = tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    joined = grid.reshape(rows * (above + height), columns * (gap + width), *color)
    return np.pad(joined, [(0, gap), (0, gap), *[(0, 0)] * len(color)], constant_values=np.nan)
