"""What CONTRIBUTING sends a newcomer to is there, and no room is left out of its map."""

import pkgutil
import re
from pathlib import Path

import pytest

import funcnet

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


def test_it_is_short():
    assert len(TEXT.split()) <= 1300
