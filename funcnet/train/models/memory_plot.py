"""A picture of what a Neural Turing Machine does with its memory, after figure 6 of Graves et al. 2014.

Time goes from left to right in all panels. On the left is what a write head does, on the right what a read
head does: what comes in and what goes out; what is added and what is read; where. A net that has learned to
copy writes each vector to a place of its own, one beside the other, and reads them in the same order. Outputs
are probabilities, and shown where they count.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from funcnet.data.procedural import Episode
from funcnet.nn.ntm import Trace

NOTHING = "#dddddd"
"""Where no output counts."""

SOME, MARGIN = 0.05, 3
"""A place is shown if a head was there with so much of its weight, and so many places around it."""


def memory_use(trace: Trace, episode: Episode) -> Figure:
    """Inputs and outputs, adds and reads, weightings, over time, of the first write and the first read head.

    Args:
        trace: of a sequence, as `funcnet.nn.ntm_trace` gives it.
        episode: the sequence.

    >>> import jax
    >>> from funcnet import nn
    >>> from funcnet.data.procedural import copy
    >>> episode = copy(jax.random.key(0), (5, 5))
    >>> trace = nn.ntm_trace(nn.init_ntm(jax.random.key(1), 9, 8), episode.inputs)
    >>> [axes.get_title() for axes in memory_use(trace, episode).axes[:6]]
    ['inputs', 'outputs', 'adds', 'reads', 'write weightings', 'read weightings']
    """
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    grid = figure.subplots(3, 2, sharex=True, height_ratios=(1, 1.6, 2.4))
    for axes, (title, label, values, options) in zip(grid.flat, _panels(trace, episode), strict=True):
        image = axes.imshow(values.T, aspect="auto", interpolation="nearest", **options)
        axes.set(title=title, ylabel=label, facecolor=NOTHING)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if axes in grid[:, 1]:
            figure.colorbar(image, ax=axes, pad=0.02)
    for axes in grid[-1]:
        axes.set_xlabel("step")
    return figure


def _panels(trace: Trace, episode: Episode) -> list[tuple[str, str, np.ndarray, dict[str, Any]]]:
    """Of each panel the title, what its rows are, the values [step, row] and how they are shown."""
    steps = int(episode.length)
    inputs, outputs, counts, adds, reads, *weightings = (
        np.asarray(array)[:steps]
        for array in (
            episode.inputs,
            trace.outputs,
            episode.counts,
            trace.adds[0],
            trace.reads[0],
            trace.write_weightings[0],
            trace.read_weightings[0],
        )
    )
    probabilities = np.where(counts[:, None], 1 / (1 + np.exp(-outputs)), np.nan)
    largest = max(np.abs(adds).max(), np.abs(reads).max())
    first, last = _used(weightings)
    bits = {"cmap": "gray_r", "vmin": min(0, inputs.min()), "vmax": 1}
    signed = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    shares = {"cmap": "viridis", "vmin": 0, "vmax": 1, "extent": (-0.5, steps - 0.5, last + 0.5, first - 0.5)}
    writes, looks = (w[:, first : last + 1] for w in weightings)
    return [
        ("inputs", "channel", inputs, bits),
        ("outputs", "bit", probabilities, bits | {"vmin": 0}),
        ("adds", "component", adds, signed),
        ("reads", "component", reads, signed),
        ("write weightings", "place", writes, shares),
        ("read weightings", "place", looks, shares),
    ]


def _used(weightings: Sequence[np.ndarray]) -> tuple[int, int]:
    """The first and the last place that a head was at, and a few around them."""
    places = np.flatnonzero(np.max([w.max(0) for w in weightings], axis=0) > SOME)
    last = weightings[0].shape[1] - 1
    if not places.size:
        return 0, last
    return max(0, int(places[0]) - MARGIN), min(last, int(places[-1]) + MARGIN)
