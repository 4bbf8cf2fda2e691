"""SIGKILL at any moment: the run goes on from its last checkpoint to the very same bytes."""

import random
import signal
import subprocess
import sys
import time

import pytest

from funcnet.data import load
from funcnet.train import Config, fit
from funcnet.train.checkpoint import read

pytestmark = pytest.mark.in_turns(2)

CONFIG = Config(
    batch_size=2, epochs=4, hidden=(30,), optimizer="adam", learning_rate=1e-3
)  # 7 chunks an epoch, and a checkpoint after each

# Trains in a folder; the given call of os.fsync or os.replace, counted from the start, kills the process.
PROGRAM = """
import os, signal, sys
from funcnet.data import load
from funcnet.train import Config, fit

folder, how, config, deadly, countdown = sys.argv[1:]
countdown, call = int(countdown), getattr(os, deadly)

def killing(*args):
    global countdown
    countdown -= 1
    if countdown == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    call(*args)

setattr(os, deadly, killing)
config = Config.from_json(config)
fit(config, load(config.data), folder=folder, resume=how == "resume", save_every=0.0, watch=100)
"""


def _train(folder, how, deadly="fsync", countdown=0):
    command = [sys.executable, "-c", PROGRAM, folder, how, CONFIG.to_json(), deadly, str(countdown)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _exit_code(process):
    """The exit code; what the process printed is in the report of a test that fails."""
    _, errors = process.communicate()
    print(errors)
    return process.returncode


def _kill_after_a_checkpoint(process, folder, seconds):
    """Waits for the next checkpoint, and a little longer."""
    path = folder / "checkpoint.safetensors"
    before = path.stat().st_mtime_ns
    while path.stat().st_mtime_ns == before and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()


def _rows_without_seconds(folder):
    return [line.rsplit(",", 1)[0] for line in (folder / "metrics.csv").read_text().splitlines()]


def test_killed_and_resumed_ends_in_the_same_bytes(tmp_path):
    draw = random.Random(231)
    fit(CONFIG, load(CONFIG.data), folder=tmp_path / "whole", watch=100)
    folder = tmp_path / "killed"

    assert _exit_code(_train(folder, "start", "replace", draw.randint(2, 20))) == -signal.SIGKILL
    assert _exit_code(_train(folder, "resume", "fsync", draw.randint(1, 40))) == -signal.SIGKILL
    process = _train(folder, "resume")
    _kill_after_a_checkpoint(process, folder, draw.uniform(0, 0.1))
    assert _exit_code(process) in (-signal.SIGKILL, 0)
    assert _exit_code(_train(folder, "resume")) == 0

    weights = "weights.safetensors"
    assert (folder / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    arrays, _ = read(folder / "checkpoint.safetensors")
    expected, _ = read(tmp_path / "whole" / "checkpoint.safetensors")
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
    assert _rows_without_seconds(folder) == _rows_without_seconds(tmp_path / "whole")
    assert (folder / "watch.csv").read_bytes() == (tmp_path / "whole" / "watch.csv").read_bytes()
    assert not list(folder.glob("*.partial"))
