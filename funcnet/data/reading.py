"""A file of somebody else's, opened and read without trust.

It may be missing, a folder, a pipe that never ends, cut short, damaged, or made to fill the memory. All of
that becomes a `DataError` of one sentence, before it costs anything: what is no plain file is not opened, and
of what a header announces nothing is allocated that the machine does not have.
"""

import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError

from funcnet._errors import DataError
from funcnet._memory import excess

_KINDS = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
_LIBRARY_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    RuntimeError,
    MemoryError,
    OverflowError,
    SyntaxError,
    struct.error,
    zlib.error,
    LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)
"""What gzip, tarfile, zipfile, Pillow and NumPy raise on damaged files."""


@contextmanager
def reading(
    path: str | os.PathLike, wanted: str, remedy: str = "Fetch it again."
) -> Iterator[io.BufferedReader]:
    """The file at a path, open; what is raised over it in the block becomes a DataError.

    Args:
        path: the file.
        wanted: what it should be, for the message.
        remedy: what to do, for the message.
    """
    with damage(path, wanted, remedy):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"it is a {_KINDS.get(stat.S_IFMT(mode), 'device')}")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise ValueError("it is empty")
            fits(size, "it")
            yield file


@contextmanager
def damage(path: str | os.PathLike, wanted: str, remedy: str) -> Iterator[None]:
    """Turns what libraries raise on a missing, unreadable or damaged file into a DataError."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected {wanted}. {remedy}") from error
    except PermissionError as error:
        raise DataError(f"{path}: permission denied; expected {wanted}. Change its permissions.") from error
    except _LIBRARY_ERRORS as error:
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read as {wanted}: {what.rstrip('.')}. {remedy}") from error


def fits(size: int, what: str) -> None:
    """Raises ValueError if so many bytes are more than the memory."""
    if too_much := excess(size):
        raise ValueError(f"{what} {too_much}")
