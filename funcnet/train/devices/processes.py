"""One run in several processes: how they meet, and how each notices that another one is lost.

    export JAX_COORDINATOR_ADDRESS=host:port JAX_NUM_PROCESSES=4
    JAX_PROCESS_ID=0 python -m funcnet train --devices 4                    and so with 1, 2 and 3

Under SLURM, Open MPI, Kubernetes and on TPU slices JAX finds these three by itself. Every process runs the
same program on the same data; process 0 writes the run's folder, which all of them read.

A collective waits for all processes, for good if one is lost. So each process has a thread that leaves a word
with the coordinator every second: how often it has done so, and whether the process waits for the others.
Who leaves no word, who has said that it ends with an error, or who lets the others wait while it does not, is
lost; the others then end with one line that names it, and the run goes on from its last checkpoint when all
are started again.
"""

import contextlib
import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from funcnet import _jax
from funcnet._errors import ParameterError

SILENT, STUCK = 10.0, 20.0
"""After how many seconds a process is lost that leaves no word, or lets the others wait."""

LOST_CODE = 75
"""The exit code of a process that another one is lost to: EX_TEMPFAIL, to be started again."""

_CLUSTERS = "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "TPU_WORKER_HOSTNAMES"
"""What says how many processes there are, where they find each other by themselves."""

_INDEX = "JOB_COMPLETION_INDEX"
"""What Kubernetes gives each of the processes of an indexed job."""

_STATUS = re.compile("(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED): ")
"""How XLA's errors begin, of whatever class JAX makes them, that are not of the program but of its run."""

_WORDS = "funcnet/processes/"


def join() -> None:
    """Meets the other processes of a run, if the environment speaks of any; before JAX is used.

    Raises:
        ParameterError: it says only a part of what is needed.
    """
    names = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
    address, count, index = map(os.environ.get, names)
    told = {}
    if count or index:
        if not (address and count and index and count.isdecimal() and index.isdecimal()):
            raise ParameterError(
                f"{', '.join(names)} are {address!r}, {count!r}, {index!r}; expected an address "
                f"host:port and two whole numbers, for one process of several, or none of the three"
            )
        told = {"coordinator_address": address, "num_processes": int(count), "process_id": int(index)}
        if address.startswith(("localhost:", "127.")):
            told["coordinator_bind_address"] = address
    elif _INDEX not in os.environ and not any(_several(os.environ.get(name, "")) for name in _CLUSTERS):
        return
    jax.distributed.initialize(**told, heartbeat_timeout_seconds=60, shutdown_timeout_seconds=20)


def _several(value: str) -> bool:
    """Whether a cluster's variable speaks of several processes: a number, or a list of names."""
    return "," in value or (value.isdecimal() and int(value) > 1)


class Peers:
    """The processes of a run as one of them sees them."""

    def __init__(self) -> None:
        self.index, self.count = jax.process_index(), jax.process_count()
        self._doing, self._waits_since = "works", 0.0
        self._answered = time.monotonic()
        self._seen: dict[str, tuple[str, float]] = {}
        self._over = threading.Event()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Within the block this process waits for all others, in a collective."""
        self._waits_since, self._doing = time.monotonic(), "waits"
        yield
        self._doing = "works"

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Within the block the others wait for this one for as long as it takes."""
        self._doing = "saves"
        yield
        self._doing = "works"

    def agree(self, *flags: bool) -> list[bool]:
        """Of each flag, whether it is true in any process."""
        if self.count == 1:
            return [*flags]
        with self.waiting():
            return np.any(multihost_utils.process_allgather(np.array(flags)), axis=0).tolist()

    def of_the_first(self, number: int) -> int:
        """What process 0 gives here, in all of them."""
        if self.count == 1:
            return number
        with self.waiting():
            return int(multihost_utils.broadcast_one_to_all(np.int32(number)))

    def talk(self) -> None:
        """Leaves a word and reads those of the others, again and again."""
        turn = 0
        while not self._over.wait(1.0):
            turn += 1
            _jax.put_word(f"{_WORDS}{self.index}", f"{self._doing} {turn}")
            now = time.monotonic()
            for other, word in _jax.words_under(_WORDS).items():
                if self._seen.get(other, ("",))[0] != word:
                    self._seen[other] = word, now
            self._answered = now

    def watch(self) -> None:
        """Ends this process when another one is lost."""
        while not self._over.wait(0.5):
            if why := self._why_lost(time.monotonic()):
                _end(why)

    def _why_lost(self, now: float) -> str:
        """Which process is lost and why, or nothing."""
        if now - self._answered > SILENT:
            return self._line("0", f"has not answered for {SILENT:.0f} s")
        for other, (word, since) in self._seen.items():
            doing, _, rest = word.partition(" ")
            if doing == "ended":
                if rest:
                    return self._line(other, f"ended with {rest}")
            elif now - since > SILENT:
                return self._line(other, f"has given no sign of life for {SILENT:.0f} s")
            elif doing == "works" and self._doing == "waits" and now - self._waits_since > STUCK:
                return self._line(other, f"has let the others wait for {STUCK:.0f} s")
        return ""

    def _line(self, other: str, what: str) -> str:
        return (
            f"process {other} of {self.count} {what}. Process {self.index} ends; start all of them again, "
            f"with --resume, to go on from the last checkpoint."
        )

    def abandoned(self) -> NoReturn:
        """Ends this process where the coordinator has ended."""
        _end(self._why_lost(time.monotonic()) or self._line("0", "has ended"))

    def end(self, error: BaseException | None) -> None:
        """Says that this process is through, and with which error if there is one.

        Where a collective has broken, the one that broke it is another process, for which `watch` is waited.
        """
        together = error is None or isinstance(error, KeyboardInterrupt)  # all have agreed on it
        said = "" if together else " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if isinstance(error, ValueError | RuntimeError) and _STATUS.match(str(error)):
            self._doing = "waits"
            time.sleep(SILENT + STUCK)
        self._over.set()
        _jax.put_word(f"{_WORDS}{self.index}", f"ended {said}")


@contextlib.contextmanager
def _aborting(end: Callable[[], object]) -> Iterator[None]:
    """Within the block this is what happens when JAX aborts the process, after it has printed its stack.

    It does so as soon as the coordinator's connection breaks, from a thread of C++, which Python's own
    handlers of signals do not hear of.
    """
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: end())
    system = ctypes.CDLL(None)
    system.signal(signal.SIGABRT, handler)
    try:
        yield
    finally:
        system.signal(signal.SIGABRT, ctypes.c_void_p(0))


@contextlib.contextmanager
def peers() -> Iterator[Peers]:
    """Within the block the other processes of this run are watched, if there are any."""
    mine = Peers()
    if mine.count == 1:
        yield mine
        return
    for loop in (mine.talk, mine.watch):
        threading.Thread(target=loop, daemon=True).start()
    with _aborting(mine.abandoned):
        try:
            yield mine
        except BaseException as error:
            mine.end(error)
            raise
        mine.end(None)


def _end(why: str) -> NoReturn:
    """The end, from a thread, of a process whose main thread waits for good."""
    print("funcnet:", why, file=sys.stderr, flush=True)
    os._exit(LOST_CODE)
