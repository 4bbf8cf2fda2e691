"""What a check says when nothing is wrong: what was measured, and what the forward pass keeps."""

import functools
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from funcnet._compiled import undisturbed
from funcnet.check.answers import Answers, elsewhere
from funcnet.check.case import Case
from funcnet.check.disputes import rulings
from funcnet.check.noise import Comparison, largest
from funcnet.check.precision import shorts
from funcnet.kept.residuals import Residuals, residuals


@dataclass(frozen=True)
class Row:
    """One line of a report: the gradient of one argument in one dtype.

    Attributes:
        argument: its name.
        shape: its shape.
        dtype: the dtype in which the rule ran.
        error: the largest error, in units of the rounding noise.
        relative: the largest error relative to the largest element.
        smallest: the smallest scale error that would have been seen.
    """

    argument: str
    shape: tuple[int, ...]
    dtype: str
    error: float
    relative: float
    smallest: float


@dataclass(frozen=True)
class Report:
    """A gradient that passed its check, with what was measured.

    Attributes:
        function: the name of the function under test.
        rows: one for each argument and dtype.
        stash: what the forward pass keeps; None of a rule of forward mode.
        own_rules: how many custom rules the function has; 0 means that the gradient is JAX's own.
        probes: how many points and directions were tried.
        calls: how many compiled programs were run for them.
        notes: what else is worth knowing.
    """

    function: str
    rows: tuple[Row, ...]
    stash: Residuals | None
    own_rules: int
    probes: int
    calls: int
    notes: tuple[str, ...] = field(default=())

    @property
    def smallest(self) -> float:
        """The largest of the scale errors that each argument's best dtype would have missed."""
        names = {row.argument for row in self.rows}
        best = (min(row.smallest for row in self.rows if row.argument == name) for name in names)
        return max(best, default=0.0)

    @property
    def _title(self) -> str:
        n = self.own_rules
        rules = f"{n} custom rule{'s' * (n != 1)}" if n else "JAX's own rules"
        return f"{self.function}: right ({rules}; {self.probes} probes in {self.calls} compiled calls)"

    @property
    def _below(self) -> list[str]:
        return [str(self.stash)] * (self.stash is not None) + list(self.notes)

    def __str__(self) -> str:
        rows = table([_HEAD, *map(_cells, self.rows)])
        return "\n".join([self._title, *rows, *(f"  {note}" for note in self._below)])

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Sequence[str]) -> str:
            return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

        rows = row("th", _HEAD) + "".join(row("td", _cells(one)) for one in self.rows)
        notes = "".join(f"<li>{html.escape(text)}</li>" for text in self._below)
        return f"<p><b>{html.escape(self._title)}</b></p><table>{rows}</table><ul>{notes}</ul>"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table: its columns as wide as what stands in them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


_HEAD = ("argument", "dtype", "error in roundings", "relative error", "smallest error seen")


def _cells(row: Row) -> tuple[str, ...]:
    shape = f"{row.argument}[{','.join(map(str, row.shape))}]"
    return shape, row.dtype, f"{row.error:.2g}", f"{row.relative:.1e}", f"{row.smallest:.1e}"


@undisturbed()
def report(seen: Answers) -> Report:
    """What was measured."""
    case, own, short = seen.case, rulings(seen), shorts(seen)
    compared = [(case.base, [one.compared for one in own]), *((one.dtype, one.compared) for one in short)]
    rows = [_row(case, i, one, dtype) for dtype, ones in compared for i, one in enumerate(ones)]
    ruled = [*own, *(ruling for there in elsewhere(seen) for ruling in rulings(there))]
    notes = [*case.notes, *(ruling.note for ruling in ruled), *seen.left_out]
    flat = functools.partial(case.flat, case.subject.rest)
    kept = residuals(flat, *case.subject.at(None)) if case.mode.is_reverse else None
    name, tried = case.subject.name, (seen.runner.asked, len(seen.runner.programs))
    told = tuple(dict.fromkeys(filter(None, notes)))
    return Report(name, tuple(rows), kept, case.own_rules, *tried, told)


def _row(case: Case, i: int, one: Comparison, dtype: Any) -> Row:
    x, size = case.types(dtype)[i], largest(one.truth)
    relative = largest(one.error) / size if size else 0.0
    return Row(case.name(i), x.shape, str(x.dtype), one.roundings, relative, one.smallest)
