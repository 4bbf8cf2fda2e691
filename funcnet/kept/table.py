"""The table of what is kept, as text and as HTML: the largest first, equal arrays in one line."""

import html
import re
from collections.abc import Iterable, Sequence

import jax.core

from funcnet._memory import amount
from funcnet.kept.held import Held
from funcnet.kept.rows import Kept

WIDTH = 100
"""So many columns the text has at most."""

SMALL = 0.002
"""Arrays that take a smaller share of the bytes stand together in the last line."""

HEAD = ("bytes", "array", "read by", "line", "why it is kept")
ELASTIC = (2, 3, 4)
"""Columns that are cut where the table would be too wide."""


def table(rows: Sequence[Kept]) -> list[Sequence[str]]:
    """The table with its head, without what is there anyway."""
    own = [row for row in rows if not row.there]
    groups: dict[tuple[str, ...], list[Kept]] = {}
    for row in own:
        cells = (array(row), ", ".join(row.rules), short(row.line), row.why)
        groups.setdefault(cells, []).append(row)
    sums = {cells: total(group) for cells, group in groups.items()}
    largest = sorted(groups, key=lambda cells: -sums[cells])
    large = sum(sums[cells] >= SMALL * total(own) for cells in largest)
    shown = largest[: large if large < len(largest) - 1 else None]
    lines: list[Sequence[str]] = [HEAD]
    for cells in shown:
        n = len(groups[cells])
        lines.append((amount(sums[cells]), f"{n} × {cells[0]}" if n > 1 else cells[0], *cells[1:]))
    others = [row for cells in largest[len(shown) :] for row in groups[cells]]
    if others:
        lines.append((amount(total(others)), f"{len(others)} small ones", "", "", ""))
    return lines


def total(rows: Iterable[Kept | Held]) -> int:
    """The bytes of all."""
    return sum(row.bytes for row in rows)


def array(row: Kept) -> str:
    """The type of an array in short, f32[64,10]."""
    return jax.core.ShapedArray(row.shape, row.dtype).str_short(short_dtypes=True)


def short(line: str) -> str:
    """A source line without folder, column and the functions around.

    >>> short("/home/ada/nets/model.py:12:8 (deep.<locals>.layer)")
    'model.py:12 (layer)'
    """
    line = re.sub(r"^.*[/\\](?=[^/\\]*:\d)", "", line)
    line = re.sub(r"(:\d+):\d+", r"\1", line)
    return re.sub(r"\(.*<locals>\.", "(", line)


def text(rows: Sequence[Sequence[str]]) -> str:
    """A table in columns, the first flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH:
        widths[max(ELASTIC, key=lambda i: widths[i])] -= 1
    padded = [
        [cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows
    ]
    return "\n".join(f"{row[0].strip():>{widths[0]}}  {'  '.join(row[1:])}".rstrip() for row in padded)


def cut(cell: str, width: int) -> str:
    """So much of a cell as there is place for."""
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"


def as_html(rows: Sequence[Sequence[str]], below: Iterable[str]) -> str:
    """A table as HTML, with lines below it."""
    head, *body = ([html.escape(cell) for cell in row] for row in rows)
    left, right = ' style="text-align: left"', ' style="text-align: right; white-space: nowrap"'
    lines = ["<table><thead><tr>", *(f"<th{left}>{cell}</th>" for cell in head), "</tr></thead><tbody>"]
    for first, *rest in body:
        cells = "".join(f"<td{left}>{cell}</td>" for cell in rest)
        lines.append(f"<tr><td{right}>{first}</td>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table>", *(f"<div>{html.escape(line)}</div>" for line in below)])
