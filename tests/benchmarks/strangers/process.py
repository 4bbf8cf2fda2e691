"""A row in a process of its own, which is killed when it takes too long: a hang is an answer."""

import contextlib
import math
import multiprocessing
import os
import resource
import signal
import time
from multiprocessing.connection import Connection
from typing import NamedTuple

from tests.benchmarks.strangers import loops, solvers
from tests.benchmarks.strangers.models import MODELS
from tests.benchmarks.strangers.mutants import MUTANTS
from tests.benchmarks.strangers.rows import Row
from tests.benchmarks.strangers.rules import RULES

ROWS = (*RULES, *MUTANTS, *MODELS, *solvers.ROWS, *loops.ROWS)

LIMIT = 60
"""Seconds of CPU time that a check may take."""

WALL = 10 * LIMIT
"""Seconds after which it is given up even if it used none: it waits for something."""


class Answer(NamedTuple):
    """What became of a row: the verdict of the first check, its message, and the seconds of both."""

    row: Row
    verdict: str
    message: str
    first: float = math.nan
    second: float = math.nan

    @property
    def good(self) -> bool:
        return self.row.agrees(self.verdict) and not math.isnan(self.second)


def ask(row: Row) -> Answer:
    """Check a row twice, in one process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(row.name, sender))
    process.start()
    sender.close()
    said: list[tuple[str, str, float]] = []
    with contextlib.suppress(EOFError):  # it has ended
        while len(said) < 2 and receiver.poll(WALL):
            said.append(receiver.recv())
    process.join(timeout=30)
    hangs = process.exitcode in (None, -signal.SIGXCPU)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)  # it, and what it has started
    process.join()
    seconds = [one for *_, one in said]
    if process.exitcode == 0:
        return Answer(row, *said[0][:2], *seconds)
    message = f"the process ended with {process.exitcode} in check {len(said) + 1} of 2"
    return Answer(row, "hangs" if hangs else "dies", message, *seconds)


def _answer(name: str, sender: Connection) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # some packages print
    (row,) = (row for row in ROWS if row.name == name)
    try:
        function, *args = row.make()
    except Exception as error:  # another version of its package, or none
        return sender.send((type(error).__name__, str(error), math.nan))
    for _ in range(2):
        used = math.ceil(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (used + LIMIT, resource.RLIM_INFINITY))
        began = _cpu_seconds()
        verdict, message = row.verdict(function, *args)
        sender.send((verdict, message, _cpu_seconds() - began))


def _cpu_seconds() -> float:
    """Of this process, and of its children that have ended."""
    return sum(os.times()[:4])
