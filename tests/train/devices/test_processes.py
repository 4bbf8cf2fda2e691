"""Several processes: the bits of one, a lost one that is named, and a run that goes on elsewhere."""

import os
import signal

import pytest

from funcnet._errors import CheckpointError, ParameterError
from funcnet.train.devices import processes
from funcnet.train.folder import RunFolder
from tests.train.devices.spread import started
from tests.train.devices.test_devices import on_eight_devices


def ended(runs):
    """Exit code, last line of output and last line of errors of each."""
    last = []
    try:
        for run in runs:
            out, errors = run.communicate(timeout=600)  # four processes of two busy cores took 300
            last.append((run.returncode, *(text.strip().rpartition("\n")[2] for text in (out, errors))))
    finally:
        for run in runs:
            run.kill()
    return last


@pytest.mark.in_turns(2)
@pytest.mark.parametrize(("rank", "words"), [(1, "has given no sign of life for 10 s"), (0, "has ended")])
def test_a_run_of_two_processes_of_which_one_is_killed_goes_on_in_one_to_the_same_bits(rank, words, tmp_path):
    ways = "--steps", 16, "--folder", tmp_path / "run"
    last = ended(started(*ways, "--fault", "killed", rank, 8, count=2))
    assert last[rank][0] == -signal.SIGKILL
    code, _, line = last[1 - rank]
    assert code == processes.LOST_CODE
    assert line.startswith(
        f"funcnet: process {rank} of 2 {words}. Process {1 - rank} ends; start all of them"
    )
    (resumed,) = ended(started(*ways, "--resume", devices=2))
    (whole,) = ended(started("--steps", 16, devices=2))
    assert resumed[0] == whole[0] == 0, (resumed, whole)
    assert resumed[1] == whole[1]


@pytest.mark.in_turns(2)
@pytest.mark.parametrize("kind", ["throws", "terminated"])
def test_two_processes_end_together(kind, tmp_path):
    """Where one throws, the other names it; where both are asked to end, both save and do."""
    last = ended(started("--steps", 400, "--folder", tmp_path / "run", "--fault", kind, 1, 8, count=2))
    if kind == "throws":
        code, _, line = last[0]
        assert code == processes.LOST_CODE
        assert "process 1 of 2 ended with KeyError: 'no such name'. Process 0 ends" in line
    else:
        assert [code for code, _, _ in last] == [1, 1]
        assert all("Interrupted: stopped at step 8 of 400; the run is saved in" in line for *_, line in last)


SAVED_ON_EIGHT = """
import shutil, sys
from pathlib import Path
from funcnet import train
from tests.train.devices.spread import digest, trained

home = Path(sys.argv[1])

def ended(steps, devices, **ways):
    return digest(trained("mlp", "float32", steps, mesh=train.data_mesh(devices), **ways))

ended(8, 8, folder=home / "one")
for copy in "two", "processes":
    shutil.copytree(home / "one", home / copy)
on_two, on_one = (ended(16, n, folder=home / to, resume=True) for n, to in ((2, "two"), (1, "one")))
print(ended(16, 8), on_two, on_one)
"""


@pytest.mark.in_turns(2)
def test_what_eight_devices_have_saved_goes_on_on_two_on_one_and_in_two_processes(tmp_path):
    ((whole, on_two, on_one),) = on_eight_devices("-c", SAVED_ON_EIGHT, tmp_path)
    assert on_two == on_one == whole
    last = ended(started("--steps", 16, "--folder", tmp_path / "processes", "--resume", count=2))
    assert [line.split()[-1:] for _, line, _ in last] == [[whole]] * 2, last


@pytest.mark.in_turns(2)
def test_what_two_processes_have_in_parts_is_saved_whole(tmp_path):
    ways = "--steps", 8, "--folder", tmp_path / "run", "--all-reduce"
    parts = ended(started(*ways, "--layout", "zero3", count=2))
    (whole,) = ended(started(*ways, "--resume"))
    assert [code for code, *_ in (*parts, whole)] == [0] * 3, (parts, whole)
    assert {line.split()[-1] for _, line, _ in (*parts, whole)} == {whole[1].split()[-1]}


@pytest.mark.in_turns(2)
def test_a_folder_that_is_not_the_same_for_all_processes_is_refused(tmp_path):
    """Else the others would go on from what their own host has there, if it has anything."""
    last = ended(started("--steps", 8, "--folder", tmp_path / "of {rank}", count=2))
    for rank, (code, _, line) in enumerate(last):
        assert code == 1
        assert f"of {rank} is another folder for some of the 2 processes" in line


def test_a_copy_of_the_folder_is_not_the_folder(tmp_path):
    """Made while process 0, of another number then, had its lock there."""
    folder = RunFolder(tmp_path, {}, {}, mine=False)
    (tmp_path / "lock").write_text(f"{os.getpid() + 1}")
    with pytest.raises(CheckpointError, match="do not see what process 0 has written there"):
        folder.check_shared(processes.Peers())
    (tmp_path / "lock").write_text(f"{os.getpid()}")
    folder.check_shared(processes.Peers())


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "1"}, False),
        ({"SLURM_NTASKS": "4"}, True),
        ({"JOB_COMPLETION_INDEX": "0"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, True),
    ],
)
def test_where_there_are_no_others_nothing_is_initialized(environment, told, monkeypatch):
    calls = []
    monkeypatch.setattr("jax.distributed.initialize", lambda **options: calls.append(options))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    processes.join()
    assert len(calls) == told


@pytest.mark.parametrize(("count", "index"), [("2", ""), ("", "0"), ("two", "0")])
def test_half_of_what_is_needed_is_refused(count, index, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1234")
    monkeypatch.setenv("JAX_NUM_PROCESSES", count)
    monkeypatch.setenv("JAX_PROCESS_ID", index)
    with pytest.raises(ParameterError, match=r"JAX_PROCESS_ID are 'localhost:1234', .* expected an address"):
        processes.join()
