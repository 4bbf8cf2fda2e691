"""Every flag of every command changes what the command does; every setting can be given as a flag."""

import contextlib
import dataclasses
import functools
import io
import shutil
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import funcnet
from funcnet import demo
from funcnet.__main__ import main, parse
from funcnet.cli import Check, Command, Demo, Draw, Evaluate, Predict, Rules, Stash, Train, training
from funcnet.data import load
from funcnet.train import Config, fit
from funcnet.train.folder import RunFolder
from funcnet.train.models.presets import PRESETS
from tests.train.models.test_config import OTHERWISE

pytestmark = pytest.mark.usefixtures("quick")
COMMANDS = get_args(Command)
README = Path(__file__).parents[2] / "README.md"
SETTINGS = Config(data="spiral", hidden=(3,), epochs=2, batch_size=96)
TRAIN = "train --data spiral --hidden 3 --epochs 2 --batch-size 96"
CODE = """
import jax
import jax.numpy as jnp


def square(x):
    return jnp.sum(x * x)


@jax.jit
def cubed(x):
    return x * x * x


def looped(x):
    return jnp.sum(jax.lax.fori_loop(0, 2, lambda _, x: jnp.sin(x), cubed(x)))
"""

# For each command a line, and for each of its flags and words the line with another value of that.
LINES = {
    Train: (
        TRAIN,
        {
            "out": "--out here",
            "resume": "--resume one",
            "start_from": "--start-from one",
            "save_every": "--save-every 0",
            "watch": "--watch 2",
            "devices": "--devices 1",
        },
    ),
    Evaluate: (
        "evaluate one",
        {
            "run": "evaluate two",
            "data": "--data npz:other.npz",
            "top": "--top 2",
            "confusion": "--confusion",
        },
    ),
    Predict: ("predict one x.npy", {"run": "predict two x.npy", "file": "predict one more.npy"}),
    Rules: ("rules", {"primitive": "rules tanh"}),
    Check: (
        "check sums.py:square --args f32[3]",
        {
            "function": "check sums.py:looped --args f32[3]",
            "args": "check sums.py:square --args f32[4]",
            "seed": "--seed 1",
            "order": "--order 2",
            "dtypes": "--dtypes float16 float32",
            "domain": "--domain positive",
            "timeout": "--timeout 5",
        },
    ),
    Draw: (
        "draw sums.py:looped --args f32[3] --out g.dot",
        {
            "function": "draw sums.py:square --args f32[3] --out g.dot",
            "args": "draw sums.py:looped --args f32[4] --out g.dot",
            "out": "draw sums.py:looped --args f32[3] --out h.dot",
            "depth": "--depth 1",
            "unroll": "--unroll",
            "local": "--local",
            "seed": "--seed 1",
        },
    ),
    Stash: (
        "stash sums.py:square --args f32[3]",
        {
            "function": "stash sums.py:looped --args f32[3]",
            "args": "stash sums.py:square --args f32[4]",
            "out": "--out kept.svg",
        },
    ),
    Demo: ("demo", {"link": "demo hidden=3", "port": "--port 0", "browser": "--no-browser"}),
}
FLAGS = [(command, flag) for command in COMMANDS for flag in LINES.get(command, ("", {}))[1]]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with two runs of one configuration, data for them, and functions to check and to draw."""
    home = tmp_path_factory.mktemp("home")
    for name, seed in {"one": 0, "two": 1}.items():
        fit(SETTINGS, load("spiral", seed=seed), folder=home / name)
    x, y = load("spiral", seed=2).train
    np.save(home / "x.npy", x[:2])
    np.save(home / "more.npy", x[:3])
    np.savez(home / "other.npz", x_train=x, y_train=y, x_test=x[::-7], y_test=y[::-7])
    (home / "sums.py").write_text(CODE)
    return home


@pytest.fixture(scope="module")
def outcome(home, tmp_path_factory):
    """What a line does, in a copy of `home`: exit code, what it prints, files it writes, how often it saves.

    Plots are left out, and for a check and the demo their calls are printed; the tests beside this one and
    tests/demo have them.
    """
    saves = []
    save = RunFolder.save

    def counted(*args):
        saves.append(args)
        save(*args)

    def checked(function, *args, **options):
        return function.__name__, [x.tolist() for x in args], options

    def run(line):
        here = tmp_path_factory.mktemp("copy")
        shutil.copytree(home, here, dirs_exist_ok=True)
        before = {*here.rglob("*")}
        saves.clear()
        with contextlib.chdir(here), contextlib.redirect_stdout(io.StringIO()) as printed:
            code = main(line.split())
        new = {path for path in here.rglob("*") if path.is_file()} - before
        files = {
            str(path.relative_to(here)): path.suffix == ".dot" and path.read_text() for path in sorted(new)
        }
        return code, printed.getvalue(), files, len(saves)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "save", counted)
        patch.setattr(training, "_draw", lambda run, folder: None)
        patch.setattr(funcnet, "check_vjp", checked)
        patch.setattr(demo, "serve", lambda *args, **options: print(args, options))
        patch.setattr(sys, "path", [*sys.path])
        yield functools.cache(run)
    sys.modules.pop("sums", None)


def test_every_command_has_a_line_for_each_of_its_flags():
    found = {command: [each.name for each in dataclasses.fields(command)] for command in COMMANDS}
    found[Train].remove("config")
    assert found == {command: [*others] for command, (_, others) in LINES.items()}


@pytest.mark.parametrize(("command", "flag"), FLAGS, ids=lambda v: getattr(v, "__name__", v))
def test_a_flag_changes_what_its_command_does(command, flag, outcome):
    line, others = LINES[command]
    other = f"{line} {others[flag]}" if others[flag].startswith("--") else others[flag]
    plain, changed = outcome(line), outcome(other)
    assert plain[0] == changed[0] == 0
    assert plain != changed


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_the_same_when_it_is_repeated(command, outcome):
    """Or the test above would say nothing."""
    line, _ = LINES[command]
    assert outcome(line) == outcome.__wrapped__(line)


@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=lambda field: field.name)
def test_a_setting_is_a_flag_of_train(field):
    """What it changes in the run, tests/train/models/test_config.py shows."""
    value = OTHERWISE[field.name]
    words = [str(each) for each in (value if isinstance(value, tuple) else [value])]
    config = parse(["train", f"--{field.name.replace('_', '-')}", *words]).config
    start = PRESETS[value] if field.name == "net" else Config()
    assert config == dataclasses.replace(start, **{field.name: value})


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_readme_name_the_command_and_help_its_flags(command, capsys):
    name = command.__name__.lower()
    with pytest.raises(SystemExit):
        main([name, "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    settings = dataclasses.fields(Config) if command is Train else ()
    for flag in [*LINES[command][1], *(each.name for each in settings)]:
        metavar = flag.upper() if flag != "function" else "MODULE:FUNCTION"
        assert {f"--{flag.replace('_', '-')}", metavar, f"[{metavar}]"} & {*words}
    assert f"funcnet {name}" in README.read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert name in capsys.readouterr().out.split()
