"""README shows code that runs, and two commands that the CI finds."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
CLAIM = re.compile(r"^(\S.*?)  # (-?\d[\d.]*(?:e-\d+)?)(?:, .*)?$", re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run_and_give_the_values_in_their_comments(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    for line, value in CLAIM.findall(block):
        assert float(eval(line, names)) == pytest.approx(float(value), rel=1e-4)


def test_values_are_claimed():
    assert [len(CLAIM.findall(block)) for block in BLOCKS] == [4, 3, 1, 2, 0, 0]


def test_the_first_screen_has_the_two_commands():
    commands = [line for line in README.splitlines()[:24] if line.startswith("python3 -m venv .venv && ")]
    assert [command.split("/")[-1] for command in commands] == ["funcnet train", "pytest"]
