"""README shows code that runs, and two commands that the CI finds."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_blocks_run(block):
    exec(compile(block, "README.md", "exec"), {})


def test_values_in_comments_are_what_their_lines_give():
    claims = re.findall(r"^(\S.*?)\s+# (-?[\d.]+(?:e-\d+)?)(?:, the truth)?$", README, re.MULTILINE)
    assert len(claims) == 4
    names: dict = {}
    exec("import jax, jax.numpy as jnp; from funcnet import nn", names)
    exec("scores = jnp.array([60.0, 0.0, 1.0])", names)
    for line, value in claims:
        assert float(eval(line, names)) == pytest.approx(float(value), rel=1e-4)


def test_the_first_screen_has_the_two_commands():
    commands = [line for line in README.splitlines()[:24] if line.startswith("python3 -m venv .venv && ")]
    assert [command.split("/")[-1] for command in commands] == ["funcnet train", "pytest"]
