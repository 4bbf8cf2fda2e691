"""A finished run: what was trained, kept and read back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funcnet._errors import CheckpointError
from funcnet.train import checkpoint
from funcnet.train.log import Row

WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True)
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

    def save(self, path: str | Path) -> None:
        """Writes the parameters to a safetensors file, each under its path in the tree: "layer1/w".

        Raises:
            WriteError: the file cannot be written.
        """
        checkpoint.save(path, self.params, {})


def finished(folder: Path) -> Path:
    """Where a folder's weights are.

    Raises:
        CheckpointError: the run has not finished.
    """
    path = folder / WEIGHTS_FILE
    if not path.exists():
        raise CheckpointError(f"the run in {folder} has not finished: it has no {WEIGHTS_FILE}. Resume it.")
    return path
