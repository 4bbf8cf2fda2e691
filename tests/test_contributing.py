"""What CONTRIBUTING sends a newcomer to is there, and no room is left out of its map."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import funcnet
from funcnet import _jax

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "funcnet/CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
FILES = sorted({word for word in CODE if re.fullmatch(r"[\w./]*(\.\w+|/)", word) and "/" in word})


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_there(name):
    """Of the tests by its path in the repository, others by that in the package."""
    assert (ROOT / name if name.startswith(("tests/", ".ci/")) else ROOT / "funcnet" / name).exists()


def test_the_map_has_every_room():
    rooms = {module.name for module in pkgutil.iter_modules(funcnet.__path__)} - {"__main__"}
    assert rooms - {*CODE} == set()


def test_the_table_of_jax_has_every_file_and_who_knows_of_a_difference():
    files = {module.name for module in pkgutil.iter_modules(_jax.__path__)}
    assert {*re.findall(r"^    (\w+) +", _jax.__doc__, re.MULTILINE)} == files
    for file, name in re.findall(r"^    (\w+)\.(\w+) +", _jax.__doc__, re.MULTILINE):
        assert hasattr(importlib.import_module(f"funcnet._jax.{file}"), name), f"{file}.{name}"


def test_it_is_short():
    assert len(TEXT.split()) <= 1300
