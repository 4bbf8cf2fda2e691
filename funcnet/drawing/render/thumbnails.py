"""How an array is shown in the little room that a wire has, as text in Graphviz's HTML.

    one number             to three digits
    vectors, matrices      a table, up to 8 entries or 6 rows and columns
    all others             dtype and shape, the range around a histogram, what is not finite, the norm, the
                           share of zeros; of a matrix a heat map too, of its blocks' means if it is large

In a heat map blue is below zero and brown above (apart for every eye), and black holds a NaN.
"""

import html
from collections.abc import Callable
from typing import Any

import numpy as np

from funcnet.drawing.diagram.arrays import is_numeric, plain, uniform
from funcnet.drawing.render.numbers import aligned, array_type, number, summary

MOST_ENTRIES, MOST_ROWS, TINY = 8, 6, 3
CELLS = 10
"""So many cells a heat map has at most along an axis."""

BELOW, ABOVE = (33, 102, 172), (179, 88, 6)
"""The colours of a heat map's ends (ColorBrewer's RdBu and PuOr)."""

Ink = Callable[[str], str]
"""What puts a piece of escaped text in its colour and slant."""


def thumbnail(value: Any, ink: Ink, *, typed: bool = True) -> str:
    """A value as the content of a cell.

    Args:
        value: an array, or a tuple of arrays that are summarized together.
        ink: see `Ink`.
        typed: whether a summary says dtype and shape.

    >>> thumbnail(np.float32(-0.53444666), "<I>{}</I>".format)
    '<I>−0.534</I>'
    """
    if is_number(value):
        return ink(number(plain(value).item()))
    if fits_a_table(value):
        return _numbers(plain(value), ink)
    lines = [array_type(value)] if typed else []
    lines += summary(value)
    rows = [ink(escaped(line)) for line in lines]
    if not isinstance(value, tuple) and is_numeric(value) and (picture := _heat_map(plain(value), ink)):
        rows.append(picture)
    return html_table([[row] for row in rows])


def is_number(value: Any) -> bool:
    """Whether a value is one number."""
    return not isinstance(value, tuple) and is_numeric(value) and np.ndim(value) == 0


def fits_a_table(value: Any) -> bool:
    """Whether a value is shown number by number; an array that is one number everywhere is if it is tiny."""
    if isinstance(value, tuple) or not is_numeric(value):
        return False
    shape = np.shape(value)
    if len(shape) > 2 or any(not 0 < n <= (MOST_ROWS if len(shape) == 2 else MOST_ENTRIES) for n in shape):
        return False
    return np.size(value) <= TINY or uniform(value) is None


def thumbnail_width(value: Any) -> int:
    """About how wide a thumbnail is, in points."""
    if is_number(value):
        return 35
    return 35 * (np.shape(value)[1] if np.ndim(value) == 2 else 1) if fits_a_table(value) else 125


def html_table(
    rows: list[list[str]], attributes: str = 'CELLPADDING="1"', border: int = 0, align: str = "CENTER"
) -> str:
    """Cells as a table."""
    lines = ("".join(f'<TD ALIGN="{align}">{cell}</TD>' for cell in row) for row in rows)
    body = "".join(f"<TR>{line}</TR>" for line in lines)
    return f'<TABLE BORDER="{border}" CELLBORDER="0" CELLSPACING="0" {attributes}>{body}</TABLE>'


def escaped(text: str) -> str:
    r"""Any text as it is written in Graphviz's HTML.

    >>> print(escaped(r'a<b & "c\N"'))
    a&lt;b &amp; &quot;c\\N&quot;
    """
    printable = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    return html.escape(printable).replace("\\", r"\\").replace("\n", "&#10;")


def _numbers(array: np.ndarray, ink: Ink) -> str:
    """A vector as a column or a matrix, between two bars."""
    texts = iter(aligned([x.item() for x in array.flat]))
    rows = [[ink(f" {next(texts)} ") for _ in row] for row in (array if array.ndim == 2 else array[:, None])]
    return html_table(rows, 'SIDES="LR" CELLPADDING="1"', border=1, align="RIGHT")


def _heat_map(array: np.ndarray, ink: Ink) -> str:
    """A matrix in colours with what the darkest stands for; empty where there is nothing to see."""
    if array.ndim != 2 or min(array.shape) < 2 or array.dtype.kind not in "if":
        return ""
    means = block_means(array.astype(np.float64))
    finite = np.abs(means[np.isfinite(means)])
    if not finite.size or finite.max() == 0 or np.ptp(means) == 0:
        return ""
    side = 'WIDTH="5" HEIGHT="5"'
    lines = ("".join(f'<TD {side} BGCOLOR="{_color(x / finite.max())}"></TD>' for x in row) for row in means)
    cells = "".join(f"<TR>{line}</TR>" for line in lines)
    picture = f'<TABLE BORDER="1" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">{cells}</TABLE>'
    return html_table([[picture], [ink(f"colours to ±{number(finite.max().item())}")]])


def block_means(matrix: np.ndarray) -> np.ndarray:
    """The means of a matrix's blocks, so many that there are at most CELLS along each axis.

    >>> block_means(np.arange(24.0).reshape(1, 24))[0, :3]
    array([0.5, 2.5, 5. ])
    """
    for axis in (0, 1):
        n = matrix.shape[axis]
        starts = np.linspace(0, n, min(n, CELLS), endpoint=False).astype(int)
        lengths = np.diff([*starts, n])
        matrix = np.add.reduceat(matrix, starts, axis) / np.expand_dims(lengths, 1 - axis)
    return matrix


def _color(x: float) -> str:
    """A colour for a number from −1 to 1; black for NaN."""
    if not np.isfinite(x):
        return "#000000"
    end = BELOW if x < 0 else ABOVE
    return "#" + "".join(f"{round(255 + (c - 255) * abs(x)):02x}" for c in end)
