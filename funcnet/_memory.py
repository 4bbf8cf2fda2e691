"""How much memory there is, so that what needs more is refused before it is asked for; and keeping it.

An operating system promises more memory than it has, and stops whoever makes use of the promise: a machine
that hangs, or a process that ends without a word. What will be needed is known beforehand, from the shapes.
"""

import contextlib
import ctypes
import os
import sys
from pathlib import Path

from funcnet._errors import ParameterError

_CONTROL_GROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory() -> int:
    """Bytes of memory that this process may have: the machine's, or its container's if that has fewer."""
    limits = [sys.maxsize]
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _CONTROL_GROUP:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text()))
    return min(limits)


def excess(needed: int) -> str | None:
    """What is wrong with needing so many bytes: that there are fewer. None where there is enough.

    >>> excess(8 * 10**20).split(",")[0]
    'needs 800 EB of memory'
    >>> excess(1000)
    """
    if needed <= memory():
        return None
    return f"needs {amount(needed)} of memory, and there are {amount(memory())}"


def check_memory(needed: int, what: str, instead: str) -> None:
    """Nothing, if there are so many bytes.

    Raises:
        ParameterError: there are fewer.
    """
    if too_much := excess(needed):
        raise ParameterError(f"{what}: that {too_much}. {instead}.")


def amount(count: int) -> str:
    """So many bytes in words, with three digits.

    >>> amount(8_051_000_000_000), amount(999_600)
    ('8.05 TB', '1 MB')
    """
    exponent = int(f"{count:.2e}".partition("e")[2])
    power = min(exponent // 3, 8)
    unit = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")[power]
    return f"{count / 1000**power:.3g} {unit}"


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc


def keep_freed() -> None:
    """From here on, what this process frees stays with it for the next array, where malloc is glibc's.

    Else the pages of each large array go back to the kernel and come again full of zeros, in every step: a
    quarter of the time of a convolutional net's on a processor (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28)):
            mallopt(option, value)
