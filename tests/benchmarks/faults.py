"""Runs that are broken again and again and go on with other devices: do they end in the same bytes, and when?

    python -m tests.benchmarks.faults [kills] [terminations] [of each fault]

Kills: a run in a folder is killed ten times (SIGKILL), and goes on each time on 1, 2, 4 or 8 devices, drawn
anew. Six of ten hit it while it saves: a call of fsync or rename, drawn from those to come, is its last. The
others come from outside, a moment after a step that is drawn. Then half as many hit runs in parts ("zero3",
on 4 devices each time, since bits depend on them), in which orbax saves, at a drawn moment of a save.

Terminations: so it is with SIGTERM, on which it has to save and to end; and the seconds that it took.

Faults: of two processes one, drawn, is killed, stopped, throws, or is stuck; the seconds until the other one
ends with the line that names it.

The hash of parameters and moments must be that of a run that nobody disturbed.
"""

import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import jax

from funcnet import train
from funcnet.train.devices import sharded
from funcnet.train.devices.processes import LOST_CODE
from tests.train.devices.spread import digest, started, trained

BREAKS, STEPS = 10, 1000
"""How often a run is broken, and its steps; it saves after each fourth."""

SAVE = ("fsync", "replace", "fsync") * 2
"""What a save calls of os: for the checkpoint, and for metrics.csv."""

FORK = multiprocessing.get_context("fork")
"""Processes that have imported JAX already, which has no devices before it is used."""


def dying_at(calls):
    """Makes the so many-th call of what saves call the last of this process."""

    def counted(call):
        def deadly(*args):
            nonlocal calls
            calls -= 1
            if calls == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            call(*args)

        return deadly

    for name in set(SAVE):
        setattr(os, name, counted(getattr(os, name)))


def dying_in(calls, moment):
    """Makes the so many-th save of parts this process's last one, so many seconds after its begin."""
    save = sharded.save

    def deadly(*args):
        nonlocal calls
        calls -= 1
        if calls == 0:
            threading.Timer(moment, os.kill, (os.getpid(), signal.SIGKILL)).start()
        save(*args)

    sharded.save = deadly


def goes_on(says, folder, devices, layout, calls, moment):
    """Trains in a folder from where it is to the end, and says each step that is reached, and the hash."""
    os.environ |= {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "NPROC": "16",
    }
    os.dup2(os.open(folder.with_suffix(".errors"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    jax.config.update("jax_compilation_cache_dir", str(folder.parent / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    dying_in(calls, moment) if layout else dying_at(calls)
    run = trained(
        "mlp",
        "float32",
        STEPS,
        mesh=train.data_mesh(devices),
        layout=layout,
        folder=folder,
        resume=(folder / "config.json").exists(),
        save_every=0,
        hook=lambda state, metrics: says.send(int(state.step)),
    )
    says.send(digest(run))


class Runs:
    """Processes that train in one folder, one after the other, each on devices of a number that is drawn."""

    def __init__(self, folder, draw, layout=None):
        self.folder, self.draw, self.layout = folder, draw, layout

    def start(self, calls=0):
        """A process, and what it says; it dies at the so many-th call of a save, if not 0."""
        hears, says = FORK.Pipe(duplex=False)
        devices = 4 if self.layout else self.draw.choice([1, 2, 4, 8])
        moment = self.draw.uniform(0, 0.05)
        process = FORK.Process(target=goes_on, args=(says, self.folder, devices, self.layout, calls, moment))
        process.start()
        says.close()
        return process, said_in(hears)

    def to_the_end(self):
        """The hash that the run ends with."""
        process, said = self.start()
        *_, last = said
        process.join()
        return last

    def killed_while_saving(self, step, last):
        """At a call drawn from those of the saves from one step to another; the exit code."""
        saves = max((step - last) // 4, 1)
        process, said = self.start(self.draw.randint(1, saves * (1 if self.layout else len(SAVE))))
        list(said)
        process.join()
        return process.exitcode

    def struck(self, step, number):
        """By a signal, a moment after a step; the exit code, last words, and the seconds until its end."""
        process, said = self.start()
        for reached in said:
            if isinstance(reached, str) or reached >= step:
                break
        time.sleep(self.draw.uniform(0, 0.05))
        os.kill(process.pid, number)
        began = time.monotonic()
        process.join()
        took = time.monotonic() - began
        errors = self.folder.with_suffix(".errors").read_text()
        return process.exitcode, errors.strip().rpartition("\n")[2], took


def said_in(pipe):
    """What comes out of a pipe until its other end is closed."""
    try:
        while True:
            yield pipe.recv()
    except (EOFError, ConnectionResetError):
        return


def moments(draw):
    """The steps at which a run is broken, in its first half, as it goes on before it is hit."""
    return sorted(draw.randrange(4, STEPS // 2) for _ in range(BREAKS))


def kills(home, draw, expected, count, layout=None):
    """Whether so many kills hit their runs, and these ended in the same hash."""
    seen, good = Counter(), 0
    for number in range(count // BREAKS):
        runs, last = Runs(home / f"kills{layout}{number}", draw, layout), 0
        for i, step in enumerate(moments(draw)):
            saving = i % 5 < 3
            code = runs.killed_while_saving(step, last) if saving else runs.struck(step, signal.SIGKILL)[0]
            seen["while saving" if saving else "from outside"] += code == -signal.SIGKILL
            last = step
        good += runs.to_the_end() == expected
        print(f"{seen.total()} kills, {dict(seen)}; runs with the same hash: {good}", flush=True)
    return seen.total() == count and good == count // BREAKS


def terminations(home, draw, expected, count):
    """Whether at so many SIGTERMs a run was saved and ended, and these ended in the same hash."""
    seconds, good = [], 0
    for number in range(count // BREAKS):
        runs = Runs(home / f"terminations{number}", draw)
        for step in moments(draw):
            code, words, took = runs.struck(step, signal.SIGTERM)
            seconds += [took] if code == 1 and "Interrupted: stopped at step" in words else []
        good += runs.to_the_end() == expected
        print(
            f"{len(seconds)} SIGTERMs, at most {max(seconds):.1f} s; with the same hash: {good}", flush=True
        )
    return len(seconds) == count and good == count // BREAKS


def noticed(kind, rank, folder):
    """Seconds from a fault of one of two processes to the end of the other, and its last words."""
    runs = started("--steps", 100_000, "--folder", folder, "--fault", kind, rank, 40, count=2)
    lost, other = runs[rank], runs[1 - rank]
    _, errors = other.communicate()
    now = time.time()
    lost.kill()
    out, _ = lost.communicate()
    (when,) = [line.split()[1] for line in out.splitlines() if line.startswith(kind)]
    words = errors.strip().rpartition("\n")[2]
    assert other.returncode == LOST_CODE, words
    assert f"process {rank} of 2 " in words, words
    return now - float(when), words.removeprefix(f"funcnet: process {rank} of 2 ").partition(" Process ")[0]


def faults(home, draw, count):
    print(f"| one of two processes | the other ends after | and says that it |\n|---|{'---|' * 2}")
    for kind in "killed", "stopped", "throws", "stuck":
        found = [noticed(kind, draw.randrange(2), home / f"{kind}{i}") for i in range(count)]
        seconds = ", ".join(f"{took:.1f}" for took, _ in sorted(found))
        print(f"| {kind} | {seconds} s | {' or '.join(sorted({words for _, words in found}))} |", flush=True)
        if max((took for took, _ in found), default=0) > 30:
            return False
    return True


def main(to_kill=100, to_end=20, of_each=5):
    draw = random.Random(231)
    with tempfile.TemporaryDirectory() as home:
        home = Path(home)
        expected = Runs(home / "whole", draw).to_the_end()
        in_parts = Runs(home / "parts", draw, "zero3").to_the_end()
        well = [
            kills(home, draw, expected, to_kill),
            kills(home, draw, in_parts, to_kill // 2, "zero3"),
            terminations(home, draw, expected, to_end),
            faults(home, draw, of_each),
        ]
    sys.exit(0 if all(well) else 1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
