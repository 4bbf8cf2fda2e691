"""A wrong command line ends with one line that says what to do, and exit code 2."""

import re
import sys

import numpy as np
import pytest

from funcnet.__main__ import main
from tests.cli.lines import one_line

pytestmark = pytest.mark.in_turns(2)


# the command line, and words of the one line that it ends with
WRONG = {
    "no command": (
        "",
        r"Expected one of \{train, evaluate, predict, rules, check, draw, stash, demo\}.*funcnet --help",
    ),
    "misspelt command": ("trian", r"trian: unknown; did you mean train\?"),
    "misspelt option": ("--verison", r"--verison: unknown; did you mean --version\?"),
    "misspelt flag": (
        "train --hiden 512 256",
        r"--hiden 512 256: unknown; did you mean --hidden\? .*train --help",
    ),
    "misspelt flag with =": ("train --learning_rte=1", r"did you mean --learning-rate\?"),
    "unheard-of flag": ("train --qqq", r"--qqq: unknown\. See `funcnet train --help`"),
    "flag of another command": ("evaluate RUN --epochs 3", "--epochs 3: unknown"),
    "extra word": ("evaluate RUN more", "more: unknown"),
    "no run": ("evaluate", "RUN"),
    "no file": ("predict RUN", "FILE"),
    "no value": ("train --epochs", "Missing value for argument '--epochs'"),
    "word for a number": ("train --learning-rate fast", r"--learning-rate.*'fast'.*FLOAT"),
    "fraction for a count": ("train --epochs 1.5", r"--epochs.*'1\.5'.*INT"),
    "word for a size": ("train --hidden 10 ten", r"--hidden.*'ten'"),
    "unknown activation": ("train --activation rellu", "'rellu'.*'relu', 'leaky_relu'"),
    "unknown dtype": ("train --dtype float8", "'float8'.*'bfloat16'"),
    "negative epochs": ("train --epochs -2", "epochs is -2; expected a whole number, 1 or more"),
    "negative size": ("train --hidden -3", "hidden is .*-3.*1 or more"),
    "zero learning rate": ("train --learning-rate 0", "learning_rate is 0.0; expected a number above 0"),
    "NaN learning rate": ("train --learning-rate nan", "learning_rate is nan"),
    "flags at odds": ("train --optimizer adamw --regularizer l1", "adamw"),
    "more devices than there are": (
        "train --devices 99",
        "devices is 99; expected 1 to .*, as many as there",
    ),
    "negative devices": ("train --devices -1", "--devices -1: expected a number of devices, or 0 for one"),
    "a batch that is not cut": (
        "train --devices 1 --batch-size 60 --data spiral",
        "a multiple of 8 rows, to be",
    ),
    "negative seconds": ("train --save-every -1", r"--save-every -1\.0: expected seconds, 0 or more"),
    "unknown data": ("train --data digit", "unknown data set 'digit'; expected one of digits, idx:DIR"),
    "missing idx folder": ("train --data idx:nowhere", "nowhere: no such folder.*dataset-fashion-mnist"),
    "truncated idx": ("train --data idx:cut", r"cut/train-images-idx3-ubyte: .*truncated"),
    "missing npz": ("train --data npz:no.npz", r"no\.npz: no such file"),
    "npz with NaN": ("train --data npz:nan.npz", r"nan\.npz.*NaN"),
    "folder that has a run": ("train --data spiral --out RUN", "already holds a run"),
    "folder below a file": ("train --data spiral --out nan.npz/run", r"nan\.npz/run"),
    "resume what is no run": ("train --resume .", "holds no run"),
    "resume and start from": (
        "train --resume RUN --start-from RUN",
        "--start-from .*: a resumed run has its",
    ),
    "no finished run to start from": ("train --data spiral --start-from .", "has not finished"),
    "top of too many": ("evaluate RUN --top 11", "k is 11; expected 1 to 10"),
    "resume and out": ("train --resume RUN --out here", "--out here: a resumed run stays in"),
    "missing run": ("evaluate nowhere", "nowhere holds no run"),
    "folder that is no run": ("evaluate .", "holds no run"),
    "file for a run": ("evaluate nan.npz", "holds no run"),
    "damaged run": ("evaluate damaged", "damaged"),
    "data with other classes": (
        "evaluate RUN --data npz:birds.npz",
        "2 classes, of which owl is none of the 10 that the net was trained on",
    ),
    "data with other features": ("evaluate RUN --data npz:wide.npz", r"\[\d+, 65\].*64"),
    "missing file": ("predict RUN no.npy", r"no\.npy: no such file"),
    "file of another width": ("predict RUN wide.npy", r"wide\.npy.*\[2, 65\].*\[8, 8\] or \[64\]"),
    "image of another size": ("predict RUN RUN/curves.png", r"curves\.png.*\[360, 900\].*\[8, 8\]"),
    "file of another kind": ("predict RUN RUN/config.json", r"config\.json.*expected \.npy"),
    "no arguments": ("check rules.py:right", "--args SPECS"),
    "file without a function": (
        "check rules.py --args f32[3]",
        r"rules\.py: expected MODULE:FUNCTION, as in",
    ),
    "relative module": ("check .rules:right --args f32[3]", r"\.rules:right: expected MODULE:FUNCTION"),
    "missing source file": ("check no.py:right --args f32[3]", r"no\.py: no such file"),
    "missing module": ("check no_rules:right --args f32[3]", "no_rules: no such module"),
    "missing submodule": ("check jax.no_rules:right --args f32[3]", r"jax\.no_rules: no such module"),
    "missing function": ("check rules.py:rihgt --args f32[3]", "'rules' has no attribute 'rihgt'; expected"),
    "module for a function": ("check rules.py:jax --args f32[3]", "type module; expected a function"),
    "unreadable argument": ("check rules.py:right --args f33[3]", r"argument 'f33\[3\]': expected an array"),
    "too many arguments": (
        "check rules.py:right --args 1.0,f32[3]",
        r"too many positional arguments; got 2 for right\(x\)",
    ),
    "unknown dtype to check": ("check rules.py:right --args f32[3] --dtypes f32", "f32.*expected float"),
    "negative seed": ("check rules.py:right --args f32[3] --seed -1", "--seed -1: expected .* 0 or more"),
    "picture of another kind": (
        "draw rules.py:right --args f32[3] --out g.bmp",
        r"'g\.bmp', expected a name that ends in \.svg",
    ),
    "stash of another kind": (
        "stash rules.py:right --args f32[3] --out kept.bmp",
        r"'kept\.bmp', expected a name that ends in \.png",
    ),
    "stash of integers": ("stash rules.py:right --args i32[3]", r"asked for of int32\[3\], expected floats"),
    "stash without a rule": ("stash rules.py:foreign --args f32[3]", "no gradient|no rule"),
    "stash of words": ("stash faults.py:words --args f32[3]", "returned str"),
    "negative depth": ("draw rules.py:right --args f32[3] --depth -1", "--depth -1: expected .* 0 or more"),
    "no gradient": ("draw rules.py:foreign --args f32[3]", "no gradient|no rule"),
    "too few to draw": ("draw rules.py:right --args 1.0,f32[3]", r"too many .*--args has 2, expected \(x\)"),
    "order 0": ("check rules.py:right --args f32[3] --order 0", "--order 0: expected 1, 2 or 3"),
    "order 9": ("check rules.py:right --args f32[3] --order 9", "--order 9: expected 1, 2 or 3; each takes"),
    "millions of units": (
        "train --hidden 1000000 1000000",
        r"hidden is \(1000000, 1000000\): training 1e\+12 parameters with momentum.* needs 12 TB of memory",
    ),
    "more units than numbers": ("train --hidden 99999999999999999999", "needs 90 ZB of memory"),
    "more steps than numbers": (
        "train --epochs 99999999999",
        "steps; expected 0 or more, at most 2147483647",
    ),
    "thousands of classes": (
        "train --data npz:many.npz --hidden",
        r"npz:many.npz: 600 held-out examples with 1001 .* are 1000 classes: that needs 2\.4 MB",
    ),
    "empty folder": ("train --out= --data spiral", "--out: empty; expected a value"),
    "argument larger than the memory": (
        "check rules.py:right --args f32[1000000,1000000]",
        r"argument 'f32\[1000000,1000000\]': needs 8 TB of memory.*fewer elements",
    ),
    "module of Python's name": (
        "check random.py:f --args f32[3]",
        "another module named random; rename the file",
    ),
    "module of JAX's name": (
        "check jax.py:f --args f32[3]",
        "jax.py: there is another module named jax; rename",
    ),
    "a folder for a module": ("check cut.py:f --args f32[3]", r"cut\.py: no such file"),
    "module that exits": (
        "check exits.py:f --args f32[3]",
        r"exits\.py, while it was imported, ended the program with sys\.exit\(0\); expected code that",
    ),
    "module that exits with words": ("draw leaves.py:f --args f32[3]", r"with sys\.exit\('enough'\)"),
    "function that exits": (
        "check faults.py:exits --args f32[3]",
        r"while it was called, ended .*sys\.exit\(0\)",
    ),
    "function that is drawn and exits": (
        "draw faults.py:exits --args f32[3]",
        r"called, ended .*sys\.exit\(0\)",
    ),
    "words to check": (
        "check faults.py:words --args f32[3]",
        "words: returns a str; expected arrays or numbers",
    ),
    "words to draw": (
        "draw faults.py:words --args f32[3]",
        "words: returns a str; expected arrays or numbers",
    ),
    "a generator": ("draw faults.py:yields --args f32[3]", "returns a generator; expected arrays"),
    "a run that is a file": ("train --resume faults.py", "faults.py holds no run"),
    "a picture for a folder": (
        "draw rules.py:right --args f32[3] --out cut",
        "'cut', expected a name that ends",
    ),
    "a picture in a folder's place": (
        "draw rules.py:right --args f32[3] --out taken.svg",
        "cannot write taken.svg",
    ),
    "a picture in no folder": ("draw rules.py:right --args f32[3] --out no/g.svg", "cannot write no/g.svg"),
    "a folder of examples": ("predict RUN taken.npy", r"taken\.npy: cannot be read as .*it is a folder"),
    "examples that are damaged": (
        "predict RUN damaged.npz",
        r"damaged\.npz: cannot be read as an \.npz file",
    ),
    "data that are a folder": ("train --data npz:cut", "cut: cannot be read as an .npz file.*it is a folder"),
    "several sets": (
        "train --data idx:two",
        "two: holds 2 data sets; expected one. Name it: idx:two/a, idx:two/b",
    ),
    "unknown domain": ("check rules.py:right --args f32[3] --domain disc", "domain=.disc., expected one of"),
}


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["train", "--out", ""], "--out"),
        (["train", "--resume", " "], "--resume"),
        (["evaluate", ""], "a word"),
        (["predict", "run", ""], "a word"),
        (["check", "rules.py:right", "--args", ""], "--args"),
        (["draw", "rules.py:right", "--args", "f32[3]", "--out", ""], "--out"),
        (["rules", ""], "a word"),
    ],
)
def test_an_empty_word_is_no_value(words, flag, workplace, capsys):
    """`Path("")` is the current folder, which nobody asked to fill or to read."""
    assert main(words) == 2
    assert f"{flag}: empty; expected a value. See `funcnet {words[0]} --help`." in one_line(capsys)
    assert not list(workplace.iterdir())


FAULTS = """
import sys


def exits(x):
    sys.exit(0)


def words(x):
    return "done"


def yields(x):
    yield x
"""


@pytest.fixture
def wrong_files(workplace, digits_run, monkeypatch):
    x, y = np.zeros((30, 65)), np.arange(30) % 10
    for name, code in {
        "faults": FAULTS,
        "exits": "import sys; sys.exit(0)",
        "leaves": "raise SystemExit('enough')",
        "random": "f = abs",
        "jax": "f = abs",
    }.items():
        (workplace / f"{name}.py").write_text(code)
        if name not in ("random", "jax"):
            monkeypatch.delitem(sys.modules, name, raising=False)
    np.savez("birds.npz", x=x[:, :64], y=np.array(["owl", "wren"])[y % 2])
    np.savez("many.npz", x=np.arange(3000.0)[:, None], y=np.arange(3000) % 1000)
    for folder in ("taken.svg", "taken.npy", "two"):
        (workplace / folder).mkdir()
    for name in ("a", "b"):
        (workplace / f"two/{name}-train-images-idx3-ubyte").touch()
    np.savez("damaged.npz", x=x[:, :64])
    content = (workplace / "damaged.npz").read_bytes()
    (workplace / "damaged.npz").write_bytes(content[:300] + b"!" + content[301:])
    np.savez("wide.npz", x=x, y=y)
    np.savez("nan.npz", x=x + np.nan, y=y)
    np.save("wide.npy", x[:2])
    (workplace / "cut").mkdir()
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (workplace / "cut" / name).touch()
    (workplace / "cut/train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1]))
    (workplace / "cut/train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    (workplace / "damaged").mkdir()
    (workplace / "damaged/config.json").write_bytes((digits_run / "config.json").read_bytes())
    (workplace / "damaged/weights.safetensors").write_bytes(b"junk")


@pytest.mark.usefixtures("wrong_files", "rules", "no_shape_checks")
@pytest.mark.parametrize(("line", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_command_line_ends_with_one_line_and_exit_code_2(
    line, words, digits_run, capsys, monkeypatch
):
    if "many.npz" in line:  # 100,000 classes and 300,000 examples are as many for a machine of 2 MB
        monkeypatch.setattr("funcnet._memory.memory", lambda: 2_000_000)
    assert main(line.replace("RUN", str(digits_run)).split()) == 2
    assert re.search(words, one_line(capsys))
