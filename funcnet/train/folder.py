"""A run on disk, from its first second to the last: what is written, and how it is found again.

    config.json             the configuration; a folder that has it holds a run
    checkpoint.safetensors  State and Log at the end of some chunk: all that the run needs to go on
    metrics.csv             the epochs of that Log, for people
    weights.safetensors     the trained net (`funcnet.train.run`), once the run has finished

Each file is replaced as a whole (`funcnet._files`), and only the checkpoint matters for going on.
"""

from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp

from funcnet._errors import CheckpointError
from funcnet._files import write_atomically
from funcnet.data import Dataset
from funcnet.train import checkpoint
from funcnet.train.config import CONFIG_FILE, Config, read_config
from funcnet.train.log import METRICS_FILE, EpochMetrics, Log, write_metrics
from funcnet.train.run import WEIGHTS_FILE
from funcnet.train.state import State

CHECKPOINT_FILE = "checkpoint.safetensors"


def start(folder: Path, config: Config) -> None:
    """Makes the folder of a new run.

    Raises:
        CheckpointError: it already holds one, or cannot be written.
    """
    for name in (CONFIG_FILE, CHECKPOINT_FILE, METRICS_FILE, WEIGHTS_FILE):
        if (folder / name).exists():
            raise CheckpointError(
                f"{folder} already holds a run (it has {name}), and nothing is overwritten. "
                f"Resume that run, or choose another folder."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot make the folder {folder}: {error.strerror}") from error
    write_atomically(folder / CONFIG_FILE, config.to_json().encode())


def save(folder: Path, dataset: Dataset, state: State, log: Log) -> None:
    """Writes checkpoint and metrics."""
    checkpoint.save(folder / CHECKPOINT_FILE, state, {"data": _sizes(dataset), "log": log._asdict()})
    write_metrics(folder, log.history)


def restore(folder: Path, config: Config, dataset: Dataset, initial: State) -> tuple[State, Log]:
    """The state and log to go on with; the initial ones if the run was killed before it saved any.

    Raises:
        CheckpointError: the folder holds no run, a damaged one, or one of another configuration or data set.
    """
    _refuse_other("configuration", asdict(read_config(folder)), asdict(config), folder)
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return initial, Log()
    state, metadata = checkpoint.load(path, initial)
    _refuse_other("data set", metadata["data"], _sizes(dataset), folder)
    history = tuple(EpochMetrics(*row) for row in metadata["log"].pop("history"))
    return jax.tree.map(jnp.asarray, state), Log(history, **metadata["log"])


def _sizes(dataset: Dataset) -> dict[str, int]:
    examples, features = dataset.train.x.shape
    return {"training examples": examples, "features": features, "classes": len(dataset.classes)}


def _refuse_other(what: str, was: dict, now: dict, folder: Path) -> None:
    """Raises if a run would go on with other settings than it began with."""
    for name, value in was.items():
        if now[name] != value:
            raise CheckpointError(
                f"{folder} cannot be resumed with another {what}: {name} was {value!r} and is {now[name]!r} "
                f"now. Leave it as it was, or start a new run in another folder."
            )
