"""A run on disk, from its first second to the last: what is written, and how it is found again.

    config.json             the settings; a folder that has it holds a run
    checkpoint.safetensors  State and Log at the end of some chunk: all that the run needs to go on
    checkpoint/             in its place, where State is spread over devices: `funcnet.train.devices.sharded`
    metrics.csv             the rows of that Log, for people
    weights.safetensors     the trained parameters (`funcnet.train.run`), once the run has finished
    lock                    while a process trains here, the number of that process

Each file is replaced as a whole (`funcnet._files`), and only the checkpoint matters for going on; where a
kill has left both kinds, either is of the same run. A run starts in a folder that is new or empty, or holds
a run that saved no step, so it never meets a file that is not its own.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from funcnet._errors import CheckpointError, WriteError
from funcnet._files import remove_folder, write_atomically
from funcnet.train import checkpoint
from funcnet.train.checkpoint import with_keys, without_keys
from funcnet.train.devices import sharded
from funcnet.train.devices.mesh import on_the_host, placed
from funcnet.train.devices.processes import Peers
from funcnet.train.run import METRICS_FILE, Log, write_metrics
from funcnet.train.settings import CONFIG_FILE, read_settings
from funcnet.train.state import State
from funcnet.train.watch.log import PICTURE_FILE, WATCH_FILE

CHECKPOINT_FILE, PARTS_FOLDER = "checkpoint.safetensors", "checkpoint"
LOCK_FILE = "lock"
BEGUN = frozenset({CONFIG_FILE, CHECKPOINT_FILE, METRICS_FILE, WATCH_FILE, PICTURE_FILE})
"""What a run has written before it has finished."""

MAY_CHANGE = "epochs", "learning_rate"
"""Settings that a run may go on with changed: it goes on for longer, or in other steps."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, its settings, what its data are, and whether this process is to write it."""

    path: Path
    settings: Mapping[str, Any]
    data: Mapping[str, Any]
    mine: bool = True

    def check_shared(self, others: Peers) -> None:
        """Nothing, if all processes of the run see the folder that process 0 has locked.

        Raises:
            CheckpointError: one does not, and none of them trains.
        """
        lock, owner = self.path / LOCK_FILE, others.of_the_first(os.getpid())
        sees = lock.is_file() and lock.read_text() == str(owner)
        if any(others.agree(not sees)):
            raise CheckpointError(
                f"{self.path} is another folder for some of the {others.count} processes: they do not see "
                f"what process 0 has written there. Take one on a file system that all of their hosts share."
            )

    def start(self, state: State) -> tuple[State, Log]:
        """State and log of a new run, saved.

        Raises:
            CheckpointError: the folder holds a run, or anything else.
        """
        own = {LOCK_FILE, f"{CONFIG_FILE}.partial"}  # what a run leaves that was killed before it began
        found = {file.name for file in self.path.iterdir()} - own if self.mine else set()
        if found and not self._has_no_step(found):
            name = CONFIG_FILE if CONFIG_FILE in found else min(found)
            what = "already holds a run" if CONFIG_FILE in found else "is not empty"
            raise CheckpointError(
                f"{self.path} {what} (it has {name}), and nothing is overwritten. Resume that run, or choose "
                f"another folder."
            )
        self.discard()
        try:
            return self._begin(state, Log())
        except WriteError:  # a full disk has room for the settings alone
            self.discard()
            raise

    def _has_no_step(self, found: set[str]) -> bool:
        """Whether these files are of a run that ended before it saved a step: nothing is lost with them."""
        return found <= BEGUN and _step(self.path / CHECKPOINT_FILE) == 0

    def discard(self) -> None:
        """Takes away what a new run has written that has saved no step."""
        if self.mine:
            for name in BEGUN:
                (self.path / name).unlink(missing_ok=True)
            remove_folder(self.path / PARTS_FOLDER)

    def restore(self, initial: State) -> tuple[State, Log]:
        """State and log to go on with; the initial ones if the run was killed before it saved any.

        Raises:
            CheckpointError: the folder holds no run, a damaged one, or one of other settings or data.
        """
        settings, path, like = read_settings(self.path), self.path / CHECKPOINT_FILE, without_keys(initial)
        if found := sharded.read(self.path / PARTS_FOLDER, like, self._refuse_other_run):
            saved, metadata = found
        elif path.exists():
            arrays, metadata = checkpoint.read(path)
            self._refuse_other_run(metadata)
            whole = checkpoint.arrange(arrays, like, path)
            saved = jax.tree.map(lambda leaf, like: placed(leaf, like.sharding), whole, like)
        else:
            self._refuse_other("configuration", settings, self.settings)
            return self._begin(initial, Log())
        return self._begin(with_keys(saved, initial), Log.from_json(metadata["log"]))

    def _refuse_other_run(self, metadata: Mapping[str, Any]) -> None:
        """Raises if a checkpoint's metadata are those of other settings or data."""
        self._refuse_other("configuration", metadata["settings"], self.settings)
        self._refuse_other("data set", metadata["data"], self.data)

    def _begin(self, state: State, log: Log) -> tuple[State, Log]:
        if self.mine:
            content = json.dumps(self.settings, indent=2) + "\n"
            write_atomically(self.path / CONFIG_FILE, content.encode())
        self.save(state, log)
        return state, log

    def save(self, state: State, log: Log) -> None:
        """Writes checkpoint and metrics: each process its parts of the state, or this one all of it."""
        metadata = {"settings": self.settings, "data": self.data, "log": log.to_json()}
        file, parts = self.path / CHECKPOINT_FILE, self.path / PARTS_FOLDER
        step, state = int(state.step), without_keys(state)
        if sharded.in_parts(state):
            sharded.save(parts, step, state, metadata)
            if self.mine:
                file.unlink(missing_ok=True)
        else:
            whole = on_the_host(state, self.mine)
            if self.mine:
                checkpoint.save(file, whole, metadata)
                remove_folder(parts)
        if self.mine:
            write_metrics(self.path, log.history)

    def _refuse_other(self, what: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Raises if a run would go on with other settings or data than it began with."""
        now = json.loads(json.dumps(now))
        for name in [*was, *now]:
            if name not in MAY_CHANGE and was.get(name) != now.get(name):
                raise CheckpointError(
                    f"{self.path} cannot be resumed with another {what}: {name} was {was.get(name)!r} and is "
                    f"{now.get(name)!r} now. Leave it as it was, or start a new run in another folder."
                )


def _step(file: Path) -> int | None:
    """The step of a checkpoint; None if there is none."""
    return int(checkpoint.read(file)[0]["step"]) if file.exists() else None


@contextlib.contextmanager
def opened(
    path: Path, settings: Mapping[str, Any], data: Mapping[str, Any], mine: bool = True
) -> Iterator[RunFolder]:
    """Within the block the folder, which is made if there is none, is this process's alone.

    Of several processes of one run, one has it, and the others read what it writes.

    The system takes the lock from a process that ends, however it ends.

    Raises:
        CheckpointError: another process, or another thread, trains there; or the folder cannot be made.
    """
    if not mine:
        yield RunFolder(path, settings, data, mine=False)
        return
    import fcntl  # Windows has none

    lock = path / LOCK_FILE
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = open(lock, "a+")  # noqa: SIM115 — closed below, whatever happens
    except OSError as error:
        raise CheckpointError(f"cannot make the folder {path}, or write there: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not lock.exists() or not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                raise BlockingIOError  # its owner has just finished and taken the file away
        except BlockingIOError:
            file.seek(0)
            raise CheckpointError(
                f"{path} is in use: process {file.read() or 'unknown'} trains there. Wait for it, end it, or "
                f"choose another folder."
            ) from None
        except OSError as error:  # of a network's file system
            raise CheckpointError(f"{path} cannot be locked, take another: {error.strerror}") from error
        file.truncate(0)
        print(os.getpid(), end="", file=file, flush=True)
        os.fsync(file.fileno())  # a network's file system shows it to others no sooner
        try:
            yield RunFolder(path, settings, data)
        finally:
            lock.unlink(missing_ok=True)
