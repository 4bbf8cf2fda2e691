"""Files that a crash cannot leave half written.

The bytes go to a neighbour named *.partial, reach the disk (fsync), and take the old file's place in
one step (rename), which then reaches the disk as well. Killed at any moment, the machine holds the
old file or the new one. The neighbour's name is fixed, so what a killed run left is overwritten by
the next.
"""

import contextlib
import os
import shutil
from pathlib import Path

from funcnet._errors import WriteError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Makes `path` a file of this content, or leaves it as it was.

    Raises:
        WriteError: the folder is missing or not writable, or the disk is full.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "notes.txt", b"kept")
    ...     (Path(folder) / "notes.txt").read_bytes()
    b'kept'
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _fsync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise WriteError(
            f"cannot write {path}: {error.strerror}; what was there before is kept. "
            f"Make room, or choose a folder that can be written."
        ) from error


def remove_folder(path: Path) -> None:
    """Removes a folder, if it is there, and all in it: its name in one step (rename), and then the rest."""
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    if path.is_dir():
        os.replace(path, partial)
        shutil.rmtree(partial)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
