"""Runs, folders and files that the tests of the command line start from."""

import sys

import pytest

from funcnet.__main__ import main
from tests.cli.lines import QUICK


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """A finished run on the digits, and the folder that it was started in."""
    home = tmp_path_factory.mktemp("digits")
    out = home / "run"
    assert main(["train", "--hidden", "20", "--epochs", "5", "--seed", "3", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def spiral_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("spiral") / "run"
    assert main([*QUICK, "--out", str(out)]) == 0
    return out


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rules(workplace, monkeypatch):
    """Here a file rules.py with the square and its rules: right, right once, and wrong."""
    definition = """
@jax.custom_vjp
def {name}(x):
    return x * x


{name}.defvjp(lambda x: (x * x, x), lambda x, y_bar: ({x_bar},))
"""
    x_bars = {"right": "2 * x * y_bar", "once": "2 * jax.lax.stop_gradient(x) * y_bar", "wrong": "x * y_bar"}
    rules = [definition.format(name=name, x_bar=x_bar) for name, x_bar in x_bars.items()]
    others = """
class Home:
    rule = right


def saturated(x, bias):
    return jax.numpy.sum(jax.numpy.tanh(1e3 * (x + 5) + bias))


def foreign(x):
    return jax.pure_callback(lambda x: x, x, x)
"""
    (workplace / "rules.py").write_text("\n".join(["import jax", *rules, others]))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("rules", None)
