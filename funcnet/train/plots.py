"""A picture of a run, its curves, and how pictures are written.

Loss and accuracy by epoch, of the training and of the validation part. A gap that opens between the two is
overfitting; a training loss that stays high is underfitting or a step size that does not fit.

The figures are drawn on matplotlib's Agg canvas, without pyplot: no window, no global state.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from funcnet._files import write_atomically
from funcnet.train.run import Row

TRAIN, VALIDATION = "#0072B2", "#D55E00"  # blue and vermilion (Okabe and Ito 2008): apart for every eye


def curves(history: Sequence[Row], title: str) -> Figure:
    """Each metric by epoch, training beside validation: of a classifier loss and accuracy.

    Args:
        history: one row an epoch.
        title: printed above both panels.

    >>> history = [Row(epoch=1, train_loss=2.3, train_accuracy=0.1), Row(epoch=2, train_loss=1.9)]
    >>> [axes.get_ylabel() for axes in curves(history, "digits").axes]
    ['loss', 'accuracy']
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title, parse_math=False)
    columns = dict.fromkeys(name for row in history for name in vars(row))
    quantities = [name.removeprefix("train_") for name in columns if name.startswith("train_")]
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        for part, color, line in (("train", TRAIN, "-o"), ("validation", VALIDATION, "--s")):
            name = f"{part}_{quantity}"
            points = [(row.epoch, getattr(row, name)) for row in history if hasattr(row, name)]
            if points:
                axes.plot(*zip(*points, strict=True), line, color=color, markersize=3, label=part)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, all of it or nothing.

    Raises:
        WriteError: the file cannot be written.
    """
    png = BytesIO()
    figure.savefig(png, format="png")
    write_atomically(path, png.getvalue())
