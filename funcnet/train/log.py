"""What a run has measured: a row for each epoch, and the sums of the epoch under way."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from funcnet._errors import CheckpointError
from funcnet._files import write_atomically
from funcnet.train.state import Metrics

METRICS_FILE = "metrics.csv"


class EpochMetrics(NamedTuple):
    """A row of metrics.csv.

    Training loss and accuracy are means over the epoch's steps, each taken before its update;
    validation loss and accuracy are those of the parameters at the epoch's end. Losses are data
    losses, without the penalty. Seconds are those that the epoch took.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


class Log(NamedTuple):
    """Finished epochs, and sums over the steps of the running one."""

    history: tuple[EpochMetrics, ...] = ()
    loss: float = 0.0
    accuracy: float = 0.0
    seconds: float = 0.0

    def add(self, metrics: Metrics, steps: int, seconds: float) -> "Log":
        """With another chunk of the running epoch: its mean metrics, over so many steps."""
        return self._replace(
            loss=self.loss + steps * float(metrics.loss),
            accuracy=self.accuracy + steps * float(metrics.accuracy),
            seconds=self.seconds + seconds,
        )

    def close(self, step: int, steps: int, validation: Metrics) -> "Log":
        """With the running epoch, of so many steps, finished."""
        row = EpochMetrics(
            epoch=len(self.history) + 1,
            step=step,
            train_loss=self.loss / steps,
            train_accuracy=self.accuracy / steps,
            validation_loss=float(validation.loss),
            validation_accuracy=float(validation.accuracy),
            seconds=round(self.seconds, 4),
        )
        return Log((*self.history, row))


def write_metrics(folder: Path, history: tuple[EpochMetrics, ...]) -> None:
    """Writes metrics.csv, one row an epoch."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(EpochMetrics._fields)
    writer.writerows(history)
    write_atomically(folder / METRICS_FILE, text.getvalue().encode())


def read_metrics(folder: Path) -> tuple[EpochMetrics, ...]:
    """The rows of metrics.csv.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    path = folder / METRICS_FILE
    try:
        header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        if tuple(header) != EpochMetrics._fields:
            raise ValueError(f"its columns are {', '.join(header)}")
        kinds = EpochMetrics.__annotations__.values()
        return tuple(
            EpochMetrics(*(kind(text) for kind, text in zip(kinds, row, strict=True))) for row in rows
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged: {error}") from error
