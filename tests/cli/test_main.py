"""Help, terminals, mistakes and interruptions: what all commands share."""

import os
import re
import subprocess
import sys

import pytest

import funcnet
from funcnet.__main__ import _sentences, main
from funcnet.cli import Evaluate, Predict
from funcnet.train import Config
from tests.cli.lines import COMMAND, QUICK, one_line

pytestmark = pytest.mark.in_turns(2)


def test_an_ascii_terminal_gets_the_same_line_and_table(workplace):
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    wrong = subprocess.run([*COMMAND, "train", "--epochs", "x"], capture_output=True, text=True, env=env)
    assert re.fullmatch(r"funcnet: Error parsing --epochs: .*'x'.*`funcnet train --help`\.\n", wrong.stderr)
    right = subprocess.run([*COMMAND, *QUICK], capture_output=True, text=True, env=env)
    assert right.returncode == 0
    assert "layer1   2 ? 10 " in right.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_colour_terminal_gets_the_same_line_and_the_help_in_colours():
    import pty

    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm"}

    def run(*argv):
        return subprocess.run([*COMMAND, *argv], stdout=theirs, stderr=subprocess.PIPE, text=True, env=env)

    wrong = run("train", "--epochs", "x")
    assert re.fullmatch(r"funcnet: Error parsing --epochs: .*'x'.*`funcnet train --help`\.\n", wrong.stderr)
    assert run("rules", "--help").stderr == ""
    os.close(theirs)
    assert b"\x1b[1musage:" in os.read(ours, 10_000)


# how tyro draws a mistake, or might; and the sentences in it
BOXES = {
    "in Unicode": (
        """\
╭─ Value error ───────────────────────╮
│ Error parsing --epochs: not a       │
│ number: 'x|'.                       │
│ ─────────────────────────────────── │
│ Argument helptext:                  │
│     --epochs INT                    │
│ ─────────────────────────────────── │
│ For full helptext, see funcnet      │
│ train --help                        │
╰─────────────────────────────────────╯
""",
        "Error parsing --epochs: not a number: 'x|'. Argument helptext: --epochs INT",
    ),
    "in ASCII": (
        """\
 Value error
 -----------------------------------
  Error parsing --epochs: not a
  number: 'x|'.
  ----------------------------------
  Argument helptext:
      --epochs INT
  ----------------------------------
  For full helptext, see funcnet
  train --help

""",
        "Error parsing --epochs: not a number: 'x|'. Argument helptext: --epochs INT",
    ),
    "with corners in ASCII": (
        """\
+-- Required options -----------+
| Missing from funcnet predict: |
|     RUN                       |
+===============================+
| --help tells more             |
+-------------------------------+
""",
        "Missing from funcnet predict: RUN",
    ),
    "with blank lines for rules": (
        "Missing argument\n\nMissing value for --epochs.\n\nRun: funcnet train --help\n",
        "Missing value for --epochs",
    ),
    "without a pointer to the help": ("╭ Missing ╮\n│ RUN │\n╰─────────╯\n", "RUN"),
    "its title alone": ("╭─ Missing argument ─╮\n╰────────────────────╯\n", "Missing argument"),
    "no box": ("missing argument\n", "missing argument"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("box", "sentences"), BOXES.values(), ids=BOXES)
def test_the_sentences_are_found_however_the_box_is_drawn(box, sentences):
    assert _sentences(box) == sentences


def test_where_tyro_says_nothing_the_line_says_what_came(monkeypatch, capsys):
    def silent(*_, **__):
        raise SystemExit(2)

    monkeypatch.setattr("tyro.cli", silent)
    assert main(["train", "--epochs", "x"]) == 2
    assert one_line(capsys) == "funcnet: train --epochs x: not understood. See `funcnet train --help`.\n"


def test_a_path_that_the_system_refuses_is_one_line(monkeypatch, capsys):
    def refused(self):
        raise PermissionError(13, "Permission denied", "runs")

    monkeypatch.setattr(Evaluate, "__call__", refused)
    assert main(["evaluate", "runs"]) == 2
    assert "runs: Permission denied" in one_line(capsys)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("no path in it")])
def test_a_bug_keeps_its_traceback(monkeypatch, error):
    def broken(self):
        raise error

    monkeypatch.setattr(Evaluate, "__call__", broken)
    with pytest.raises(type(error), match=str(error)):
        main(["evaluate", "runs"])


def test_ctrl_c_anywhere_else_exits_with_130(monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predict, "__call__", interrupted)
    assert main(["predict", "run", "x.npy"]) == 130
    assert one_line(capsys) == "funcnet: interrupted.\n"


HELP = {
    "--help": ["train", "evaluate", "predict", "check", "--version"],
    "train --help": [
        *(f"--{field.replace('_', '-')}" for field in Config.__dataclass_fields__),
        "--out FOLDER",
    ],
    "evaluate --help": ["RUN", "--data DATA"],
    "predict --help": ["RUN", "FILE", ".npy", ".csv", ".png"],
    "check --help": [
        "MODULE:FUNCTION",
        "--args SPECS",
        "--seed",
        "--order",
        "--dtypes DTYPE",
        "--domain NAME",
    ],
    "stash --help": ["MODULE:FUNCTION", "--args SPECS", "--out FILE"],
    "draw --help": ["MODULE:FUNCTION", "--args SPECS", "--out FILE", "--depth", "--unroll", "--local"],
}


@pytest.mark.parametrize(("line", "words"), HELP.items())
def test_help_names_what_there_is(line, words, capsys):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [word for word in words if word not in out] == []


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"funcnet {funcnet.__version__}\n"


def test_help_needs_no_heavy_library():
    script = (
        "import sys; from funcnet.__main__ import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "tyro" in done.stderr.split()
    assert {"jax", "numpy", "optax", "sklearn", "matplotlib"}.isdisjoint(done.stderr.split())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports a closed pipe differently")
def test_a_reader_that_went_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "--help"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
