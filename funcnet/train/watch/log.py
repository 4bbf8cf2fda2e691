"""What was watched of a run in a folder, step by step: watch.csv, and its picture watch.png.

    step,parameter/layer1/w/norm,…,activation/layer1/relu/norm,…,gradient/layer1/relu/norm,…

A row is a step; maximum and zeros have entries where they were measured. The rows are written before the
checkpoint of the same moment, so a run that goes on has those of all steps before it, drops those after it,
and measures these again: killed and resumed it ends with the same file.
"""

import csv
import io
from pathlib import Path

import numpy as np

from funcnet._errors import CheckpointError
from funcnet._files import write_atomically
from funcnet.train.watch.step import Seen, columns

WATCH_FILE, PICTURE_FILE = "watch.csv", "watch.png"


class WatchLog:
    """The rows of the steps before one, to which more are added.

    Raises:
        CheckpointError: the file in the folder is damaged.
    """

    def __init__(self, folder: Path, step: int):
        self.folder, self.names, self.lines, self.added = folder, [], [], False
        path = folder / WATCH_FILE
        if not path.exists():
            return
        try:
            header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            _, *self.names = next(csv.reader([header]))
            self.lines = [line for line in lines if int(line.partition(",")[0]) < step]
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error}. Move it away to go on without it.") from error

    def add(self, seen: Seen, step: int) -> None:
        """More rows, the first of which is that of this step; the text of a row is made once.

        Raises:
            CheckpointError: other gradients and values were watched before.
        """
        table = columns(seen)
        if self.lines and self.names != [*table]:
            raise CheckpointError(
                f"{self.folder / WATCH_FILE} has other columns than what is watched now, as {self.names[0]} "
                f"beside {next(iter(table))}. Move it away to go on without it."
            )
        self.names, self.added = [*table], True
        always = [name.endswith("/norm") for name in self.names]
        for number, row in enumerate(np.stack([*table.values()], axis=1).tolist(), step):
            cells = ("" if x != x and not norm else f"{x:.6g}" for x, norm in zip(row, always, strict=True))
            self.lines.append(f"{number},{','.join(cells)}\n")

    def save(self) -> None:
        """Writes the rows."""
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(["step", *self.names])
        text = "".join([header.getvalue(), *self.lines])
        write_atomically(self.folder / WATCH_FILE, text.encode())

    def close(self) -> None:
        """Writes the rows, if any were added, and draws their norms."""
        if not self.added:
            return
        from funcnet.train import plots  # which bring matplotlib
        from funcnet.train.watch import heatmap  # which bring matplotlib

        self.save()
        rows = [[float(cell or "nan") for cell in line.rstrip("\n").split(",")] for line in self.lines]
        table = np.array(rows)
        panels: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in heatmap.TITLES}
        for name, column in zip(self.names, table[:, 1:].T, strict=True):
            kind, rest = name.split("/", 1)
            if rest.endswith("/norm"):
                panels[kind][rest.removesuffix("/norm")] = column
        plots.save(heatmap.drawn(panels, table[:, 0].astype(int)), self.folder / PICTURE_FILE)
