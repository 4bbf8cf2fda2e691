"""What a run has measured, a row for each epoch, and what came of it: parameters, kept and read back."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np

from funcnet._errors import CheckpointError
from funcnet._files import write_atomically
from funcnet.train import checkpoint

METRICS_FILE, WEIGHTS_FILE = "metrics.csv", "weights.safetensors"


class Row(SimpleNamespace):
    """A row of metrics.csv: epoch, step, train_…, validation_…, seconds.

    Training metrics are means over the epoch's steps, each taken before its update; validation metrics are
    those of the parameters at the epoch's end. Seconds are those that the epoch took. Where batches have no
    epochs a row stands for the steps of one call, 100 at most.
    """


class Log(NamedTuple):
    """Finished epochs; sums over the steps of the running one, their number and the seconds they took."""

    history: tuple[Row, ...] = ()
    sums: Mapping[str, float] = {}
    steps: int = 0
    seconds: float = 0.0

    def add(self, metrics: Mapping[str, np.ndarray], steps: int, seconds: float) -> "Log":
        """With so many more steps of so many seconds; real scalars that all steps have had are summed."""
        real = {name: each for name, each in metrics.items() if each.ndim == 1 and np.isrealobj(each)}
        real = {name: each for name, each in real.items() if name in self.sums or not self.steps}
        sums = {name: self.sums.get(name, 0.0) + float(x.sum(dtype=np.float64)) for name, x in real.items()}
        return Log(self.history, sums, self.steps + steps, self.seconds + steps * seconds)

    def close(self, epoch: int, step: int, validation: Mapping[str, float]) -> "Log":
        """With the running epoch finished."""
        row = Row(
            epoch=epoch,
            step=step,
            **{f"train_{name}": total / self.steps for name, total in self.sums.items()},
            **validation,
            seconds=round(self.seconds, 4),
        )
        return Log((*self.history, row))

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return self._asdict() | {"history": [vars(row) for row in self.history]}

    @classmethod
    def from_json(cls, log: dict[str, Any]) -> "Log":
        """The log that `to_json` gave."""
        history = tuple(Row(**row) for row in log.pop("history"))
        return cls(history, **log)


def write_metrics(folder: Path, history: tuple[Row, ...]) -> None:
    """Writes metrics.csv, a line for each row, under the names of all columns."""
    columns = dict.fromkeys(name for row in history for name in vars(row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or ["epoch", "step", "seconds"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(vars, history))
    write_atomically(folder / METRICS_FILE, text.getvalue().encode())


def read_metrics(folder: Path) -> tuple[Row, ...]:
    """The rows of metrics.csv.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    path = folder / METRICS_FILE
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        if not {"epoch", "step", "seconds"} <= {*header}:
            raise ValueError(f"its columns are {', '.join(header)}")
        kinds = [int if name in ("epoch", "step") else float for name in header]
        return tuple(
            Row(**{name: kind(text) for name, kind, text in zip(header, kinds, row, strict=True)})
            for row in rows
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged: {error}") from error


@dataclass(frozen=True, repr=False)
class Run:
    """A trained pytree of parameters.

    Attributes:
        params: of the structure that was trained.
        history: a `Row` for each epoch.
        optimizer_state: as optax left it, averages of the parameters in it; None in a run that was read back.
    """

    params: Any
    history: tuple[Row, ...] = ()
    optimizer_state: Any = None

    def __repr__(self) -> str:
        arrays = jax.tree.leaves(self.params)
        last = f", {self.history[-1]!r}" if self.history else ""
        return (
            f"{type(self).__name__}({sum(x.size for x in arrays)} parameters in {len(arrays)} arrays{last})"
        )

    def save(self, path: str | Path) -> None:
        """Writes the parameters to a safetensors file, each under its path in the tree: "layer1/w".

        Raises:
            WriteError: the file cannot be written.
        """
        checkpoint.save(path, self.params, {"paths": checkpoint.paths(self.params)})


def finished(folder: Path) -> Path:
    """Where a folder's weights are; a file of weights, as `Run.save` writes it, is that itself.

    Raises:
        CheckpointError: the run has not finished.
    """
    path = folder if is_file(folder) else folder / WEIGHTS_FILE
    if not path.exists():
        raise CheckpointError(f"the run in {folder} has not finished: it has no {WEIGHTS_FILE}. Resume it.")
    return path


def is_file(folder: Path) -> bool:
    """Whether that is a file of weights."""
    return folder.suffix == Path(WEIGHTS_FILE).suffix
