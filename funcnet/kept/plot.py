"""The mountain of backpropagation: what is kept grows along the forward pass, and goes on the way back.

The figure is drawn on matplotlib's Agg canvas, without pyplot: no window, no global state.
"""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from funcnet._memory import amount
from funcnet.kept.rows import AGAIN, Kept
from funcnet.kept.table import total

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")  # Okabe and Ito 2008: apart for every eye
OTHERS, CHEAP = "#777777", "#CCCCCC"
"""The colours of further reasons, and of what is elementwise of the rest."""


class Drawn(Figure):
    """A figure that a notebook shows, with pyplot or without."""

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


def mountain(rows: Sequence[Kept], forward: Sequence[int], backward: Sequence[int], name: str) -> Figure:
    """A bar for each operation: the bytes that are kept while it runs, by why they are kept.

    Args:
        rows: what is kept.
        forward: what is alive in all while each operation of the forward pass runs: the line.
        backward: likewise on the way back.
        name: what the function is called.
    """
    alive = (*forward, *backward)
    steps = np.arange(len(alive))
    figure = Drawn(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    below = np.zeros(len(alive))
    for (why, group), color in _by_reason(rows):
        height = kept_at(group, len(forward), len(alive))
        axes.bar(steps, height, width=1, bottom=below, color=color, label=why, linewidth=0)
        below += height
    axes.step(steps, alive, where="mid", color="#444444", linewidth=0.6, label="alive, as XLA fuses it")
    axes.axvline(len(forward) - 0.5, color="black", linestyle=":", linewidth=0.8)
    kept = total(row for row in rows if not row.there)
    axes.set(xlim=(-0.5, max(len(alive), 1) - 0.5), title=f"What {name} keeps: {amount(kept)}")
    axes.set_xlabel("operation: left of the dotted line the forward pass, right of it the way back")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: amount(round(count))))
    figure.legend(fontsize="small", loc="outside right upper")
    return figure


def kept_at(rows: Sequence[Kept], forward: int, steps: int) -> np.ndarray:
    """The bytes of these arrays that are kept while each of so many operations runs."""
    change = np.zeros(steps + 1)
    for row in rows:
        change[row.made_at] += row.bytes
        change[forward + row.read_until + 1] -= row.bytes
    return np.cumsum(change)[:steps]


def _by_reason(rows: Sequence[Kept]) -> list[tuple[tuple[str, list[Kept]], str]]:
    """What takes memory by why it is kept, the largest first, in a colour each; what is cheap comes last."""
    groups: dict[str, list[Kept]] = {}
    for row in rows:
        if not row.there and not row.cheap:
            groups.setdefault(row.why, []).append(row)
    largest = sorted(groups.items(), key=lambda group: -total(group[1]))
    named = list(zip(largest, COLORS, strict=False))
    others = [row for _, group in largest[len(COLORS) :] for row in group]
    cheap = [row for row in rows if row.cheap]
    return [*named, *[(("others", others), OTHERS)] * bool(others), *[((AGAIN, cheap), CHEAP)] * bool(cheap)]
