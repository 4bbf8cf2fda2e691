"""A picture of what was watched: layers × steps, where gradients vanish or explode over a run.

A row is a parameter or a named value, in the order of the forward pass, and its color log₁₀ of the norm, on
a scale for each panel. What is exactly 0 is black and what is no number vermilion: neither is on the scale.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps, colors
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from funcnet._errors import ShapeError
from funcnet.train.watch.sizes import Statistics
from funcnet.train.watch.step import Seen, rows

TITLES = {
    "activation": "activations",
    "gradient": "gradients of activations",
    "parameter": "gradients of parameters",
}
ZERO, NO_NUMBER = "black", "#D55E00"
MOST = 60
"""So many rows have their names written beside them; of more, every second or third has."""


def heatmap(seen: Seen, steps: Sequence[int] | None = None) -> Figure:
    """log₁₀ of the norms of activations, of their gradients and of the parameters' gradients, by step.

    Args:
        seen: of many steps, stacked along the first axis, as a scan over steps gives it.
        steps: the numbers of these steps; 0, 1, 2, … by default.

    Raises:
        ShapeError: there is one step only, without an axis for steps, or `steps` has another length.

    >>> from funcnet.train.watch.step import Place
    >>> twenty_steps = Seen(np.ones((20, 3, 17)), tuple(Place(kind, "first") for kind in TITLES))
    >>> [axes.get_title(loc="left") for axes in heatmap(twenty_steps).axes[:3]]
    ['activations', 'gradients of activations', 'gradients of parameters']
    """
    if np.ndim(seen.numbers) == 2:
        raise ShapeError("heatmap: got one step; expected statistics stacked by step, as a scan gives them")
    length = len(seen.numbers)
    if steps is not None and len(steps) != length:
        raise ShapeError(f"heatmap: got {len(steps)} numbers for {length} steps; expected one for each")
    panels = {"activation": seen.activations, "gradient": seen.gradients, "parameter": seen.parameters}
    norms = {kind: _norms(statistics) for kind, statistics in panels.items()}
    return drawn(norms, np.arange(length) if steps is None else np.asarray(steps))


def drawn(panels: Mapping[str, Mapping[str, np.ndarray]], steps: np.ndarray) -> Figure:
    """The picture of norms by kind, name and step; steps between the first and the last may be missing."""
    panels = {kind: table for kind, table in panels.items() if table}
    counts = [len(table) for table in panels.values()]
    figure = Figure(
        figsize=(9, 1.6 + 0.2 * sum(min(n, MOST) for n in counts) + 0.5 * len(counts)), layout="constrained"
    )
    grid = figure.subplots(len(counts), 1, squeeze=False, sharex=True, height_ratios=counts)
    for axes, (kind, table) in zip(grid[:, 0], panels.items(), strict=True):
        _panel(axes, TITLES[kind], table, steps)
    grid[-1, 0].set_xlabel("step")
    return figure


def _norms(statistics: Mapping[str, Statistics]) -> dict[str, np.ndarray]:
    """The norms by step, of each step of a scan in a row of its own."""
    return {name: np.asarray(norm, np.float64) for name, norm in rows(statistics, "norm").items()}


def _panel(axes: Axes, title: str, table: Mapping[str, np.ndarray], steps: np.ndarray) -> None:
    """One panel, with a scale of its own."""
    norms = np.stack(list(table.values()))
    usual = norms[np.isfinite(norms) & (norms > 0)]
    low, high = (np.log10(usual.min()), np.log10(usual.max())) if usual.size else (-1.0, 1.0)
    scale = Normalize(low, max(high, low + 1))
    colored = colormaps["viridis"](scale(np.log10(np.where((norms > 0) & np.isfinite(norms), norms, 1.0))))
    for color, where in ((ZERO, norms == 0), (NO_NUMBER, ~np.isfinite(norms))):
        colored[where] = colors.to_rgba(color)
    first, last = steps[0], steps[-1]
    image = np.zeros((len(table), last - first + 1, 4))  # transparent where a step is missing
    image[:, steps - first] = colored
    extent = first - 0.5, last + 0.5, len(table) - 0.5, -0.5
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=extent)
    every = -(-len(table) // MOST)
    axes.set_yticks(range(0, len(table), every), list(table)[::every], fontsize=7, parse_math=False)
    axes.set_title(title, loc="left", fontsize=9)
    axes.figure.colorbar(ScalarMappable(scale, "viridis"), ax=axes, label="log₁₀ norm", pad=0.01)
