"""README and the guides show code that runs, links that lead somewhere, and two commands that CI finds."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from funcnet.__main__ import main

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "funcnet").glob("*.md")),
    *sorted((ROOT / "funcnet/docs").glob("*.md")),
]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
README = TEXTS["README.md"]

BLOCKS = [
    (name, block)
    for name, text in TEXTS.items()
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]
CLAIM = re.compile(r"^(\S.*?)  # (-?\d[\d.]*(?:e-\d+)?)(?:, .*)?$", re.MULTILINE)


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_python_blocks_run_and_give_the_values_in_their_comments(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(block, page, "exec"), names)
    for line, value in CLAIM.findall(block):
        assert float(eval(line, names)) == pytest.approx(float(value), rel=1e-4)


COMMANDS = {
    shlex.join(shlex.split(line, comments=True))
    for text in TEXTS.values()
    for line in re.findall(r"^funcnet ((?:rules|check|draw|stash) .*)$", text, re.MULTILINE)
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_commands_run(command, tmp_path, monkeypatch, capsys):
    """On functions of libraries, and on the one that README says to save as softplus.py."""
    (softplus,) = (block for page, block in BLOCKS if page == "README.md" and "check_vjp" in block)
    (tmp_path / "softplus.py").write_text(softplus, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(shlex.split(command)) == 0, capsys.readouterr().err
    sys.modules.pop("softplus", None)


def test_values_are_claimed():
    claims = {name: 0 for name, _ in BLOCKS}
    for name, block in BLOCKS:
        claims[name] += len(CLAIM.findall(block))
    assert claims["README.md"] == 5
    assert claims["funcnet/docs/gradients.md"] == 7
    assert claims["funcnet/docs/checking.md"] == 2


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"```.*?```", "", TEXTS[page], flags=re.DOTALL))
    missing = [
        link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()
    ]
    assert missing == []


def test_the_first_screen_has_the_two_commands():
    commands = [line for line in README.splitlines()[:24] if line.startswith("python3 -m venv .venv && ")]
    assert [command.split("/")[-1] for command in commands] == ["funcnet train", "pytest"]


def test_readme_is_short():
    assert len(README.split()) <= 1300
