"""The command line as a shell sees it: exit code, stdout, stderr, files written."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import funcnet
from funcnet.__main__ import _sentences, main, parse
from funcnet.cli import Evaluate, Predict, Train, training
from funcnet.data import load
from funcnet.train import Config, load_run

pytestmark = pytest.mark.in_turns(2)

QUICK = ["train", "--data", "spiral", "--hidden", "10", "--epochs", "2", "--batch-size", "100"]
COMMAND = [sys.executable, "-m", "funcnet"]


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A finished run on the digits, and the folder that it was started in."""
    home = tmp_path_factory.mktemp("digits")
    out = home / "run"
    assert main(["train", "--hidden", "20", "--epochs", "5", "--seed", "3", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
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


def one_line(capsys):
    """The one line that stderr must hold; what it says to do stands in it."""
    err = capsys.readouterr().err
    assert err.startswith("funcnet: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    return err


def test_train_shows_the_net_and_ends_with_accuracy_and_folder(workplace, capsys):
    assert main(QUICK) == 0
    *table, accuracy, wrote = capsys.readouterr().out.splitlines()
    assert table == [
        "2-layer net for spiral",
        "layer   weights  biases  activation  parameters",
        "layer1   2 × 10      10        relu          30",
        "layer2   10 × 3       3                      33",
        "total                                        63",
    ]
    assert re.fullmatch(r"test accuracy \d\.\d{3}", accuracy)
    assert wrote.startswith("wrote runs/spiral: ")
    files = wrote.removeprefix("wrote runs/spiral: ").split(", ")
    assert sorted(files) == sorted(os.listdir("runs/spiral"))
    assert {"config.json", "metrics.csv", "weights.safetensors", "curves.png"} <= set(files)
    assert "templates.png" not in files


def test_an_image_data_set_has_its_templates_drawn(digits_run):
    with Image.open(digits_run / "templates.png") as image:
        assert image.format == "PNG"


def test_default_folders_are_numbered_and_never_reused(workplace, capsys):
    for folder in ["runs/spiral", "runs/spiral-2", "runs/spiral-3"]:
        assert main(QUICK) == 0
        assert f"wrote {folder}: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spec", "folder"),
    [
        ("idx:/usr/share/datasets/fashion-mnist", "runs/fashion-mnist"),
        ("idx:data/", "runs/idx_data"),
        ("npz:data/birds.npz", "runs/birds"),
        ("spiral:2", "runs/spiral_2"),
        ("openml:mnist_784", "runs/openml_mnist_784"),
        ("idx:/", "runs/idx"),
    ],
)
def test_a_run_folder_is_named_after_its_data(workplace, spec, folder):
    assert str(training._new_folder(spec)) == folder


def test_every_flag_reaches_the_run(workplace):
    flags = {
        "data": "moons", "net": "mlp", "hidden": [6, 5], "channels": [3], "wiring": "er:2:0.0", "heads": 2,
        "activation": "maxout", "init": "glorot", "loss": "svm",
        "regularizer": "elastic_net", "regularization": 0.01, "optimizer": "rmsprop", "learning_rate": 0.003,
        "schedule": "exponential", "batch_size": 50, "epochs": 2, "dtype": "float64", "seed": 7,
    }  # fmt: skip
    argv = ["train", "--out", "here", "--save-every", "0"]
    for name, value in flags.items():
        values = value if isinstance(value, list) else [value]
        argv += [f"--{name.replace('_', '-')}", *map(str, values)]
    assert main(argv) == 0
    assert json.loads((workplace / "here/config.json").read_text()) == flags
    assert set(flags) == set(Config.__dataclass_fields__)


def test_a_command_line_in_a_fresh_process(workplace):
    """The real thing once, by its module: nothing on stderr but the bar, which a pipe does not get."""
    done = subprocess.run([*COMMAND, *QUICK], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith("wrote runs/spiral: ")


def test_a_net_that_diverges_exits_with_1(workplace, capsys):
    assert main([*QUICK, "--learning-rate", "1e30"]) == 1
    assert re.search(r"step \d forward: affine makes ∞.*layer\d.*learning rate", one_line(capsys))
    assert (workplace / "runs/spiral/checkpoint.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_ctrl_c_saves_and_says_how_to_go_on(workplace, capsys):
    argv = [*QUICK, "--epochs", "600"]
    with subprocess.Popen(
        [*COMMAND, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (workplace / "runs/spiral/checkpoint.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert re.fullmatch(r"funcnet: .*saved.*`funcnet train --resume runs/spiral`\.\n", err)

    assert main(["evaluate", "runs/spiral"]) == 2
    assert "not finished" in one_line(capsys)
    assert main(["train", "--resume", "runs/spiral"]) == 0
    assert "wrote runs/spiral: " in capsys.readouterr().out


def test_resuming_takes_the_settings_of_the_run(spiral_run):
    command = parse(["train", "--resume", str(spiral_run), "--epochs", "2"])
    assert isinstance(command, Train)
    assert command.config == Config(data="spiral", hidden=(10,), epochs=2, batch_size=100)


def test_resuming_with_another_setting_is_refused(spiral_run, capsys):
    assert main(["train", "--resume", str(spiral_run), "--batch-size", "50"]) == 2
    assert re.search(r"batch_size was 100 and is 50", one_line(capsys))


def test_resuming_with_an_edited_configuration_is_refused(workplace, capsys):
    assert main([*QUICK, "--out", "run"]) == 0
    config = workplace / "run/config.json"
    config.write_text(config.read_text().replace('"seed": 0', '"seed": 1'))
    capsys.readouterr()
    assert main(["train", "--resume", "run"]) == 2
    assert re.search(r"seed was 0 and is 1 now", one_line(capsys))


def test_a_finished_run_goes_on_for_more_epochs_in_other_steps(workplace, capsys):
    assert main([*QUICK, "--out", "run"]) == 0
    assert main(["train", "--resume", "run", "--epochs", "4", "--learning-rate", "0.5"]) == 0
    assert [row.epoch for row in load_run("run").history] == [1, 2, 3, 4]
    settings = json.loads((workplace / "run/config.json").read_text())
    assert (settings["epochs"], settings["learning_rate"]) == (4, 0.5)
    assert main(["train", "--resume", "run"]) == 0  # under the settings that it went on with


def test_a_run_starts_from_the_weights_that_fit(digits_run, workplace, capsys):
    """The first layer is that of the other run, the second has another shape."""
    line = ["train", "--hidden", "20", "5", "--epochs", "1", "--learning-rate", "1e-30", "--out", "run"]
    assert main([*line, "--start-from", str(digits_run)]) == 0
    ours, theirs = (load_run(folder).params for folder in ("run", digits_run))
    np.testing.assert_array_equal(ours["layer1"]["w"], theirs["layer1"]["w"])
    assert ours["layer2"]["w"].shape == (20, 5)
    capsys.readouterr()
    assert main(["train", "--data", "spiral", "--start-from", str(digits_run), "--hidden", "7"]) == 2
    assert "no array that fits by name and shape" in one_line(capsys)


def test_runs_that_start_together_take_different_folders(workplace):
    """Each makes its folder before it trains, and a folder is made by one only."""
    with ThreadPoolExecutor(8) as pool:
        folders = [*pool.map(training._new_folder, ["spiral"] * 16)]
    assert sorted(folders) == sorted(path for path in Path("runs").iterdir())
    assert len({*folders}) == 16


def test_evaluate_counts_confusions_and_near_hits(digits_run, capsys):
    assert main(["evaluate", str(digits_run), "--top", "3", "--confusion"]) == 0
    *_, accuracy, top, header, zeros, ones = capsys.readouterr().out.splitlines()[:6]
    run, test = load_run(digits_run), load("digits", seed=3).test
    ranks = (-run.scores(test.x)).argsort(axis=1)
    assert top == f"test top-3 accuracy {np.mean((ranks[:, :3] == test.y[:, None]).any(axis=1)):.3f}"
    assert accuracy == f"test accuracy {np.mean(ranks[:, 0] == test.y):.3f}"
    assert header.split() == [*run.classes]
    for label, line in enumerate((zeros, ones)):
        counts = [int(np.sum(ranks[test.y == label, 0] == other)) for other in range(10)]
        assert line.split() == [str(label), *map(str, counts)]


def test_evaluate_repeats_the_test_accuracy(workplace, capsys):
    assert main([*QUICK, "--out", "run"]) == 0
    (accuracy,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("test accuracy"))
    assert main(["evaluate", "run"]) == 0
    loss, again = capsys.readouterr().out.splitlines()
    assert again == accuracy
    assert re.fullmatch(r"test loss \d\.\d{4}", loss)


def test_evaluate_takes_another_data_set(digits_run, workplace, capsys):
    """The training part of the run's own data as a test part: by hand from the library's answer."""
    x, y = load("digits", seed=3).train
    np.savez("train.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert main(["evaluate", str(digits_run), "--data", "npz:train.npz"]) == 0
    accuracy = np.mean(funcnet.train.load_run(digits_run).predict(x) == y)
    assert capsys.readouterr().out.splitlines()[-1] == f"test accuracy {accuracy:.3f}"


def test_predict_prints_index_class_and_probability(digits_run, workplace, capsys):
    x = load("digits", seed=3).test.x[:3]
    scores = funcnet.train.load_run(digits_run).scores(x)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = [f"{i}  {row.argmax()}  {row.max():.3f}" for i, row in enumerate(probabilities)]
    np.save("x.npy", x.reshape(3, 8, 8))
    np.savetxt("x.csv", x, delimiter=",")
    for file in ["x.npy", "x.csv"]:
        assert main(["predict", str(digits_run), file]) == 0
        assert capsys.readouterr().out.splitlines() == expected


def test_predict_reads_an_image(digits_run, workplace, capsys):
    pixels = np.round(load("digits", seed=3).test.x[0] * 255).astype(np.uint8)
    Image.fromarray(pixels.reshape(8, 8)).save("digit.png")
    np.save("digit.npy", pixels)
    answers = []
    for file in ["digit.png", "digit.npy"]:
        assert main(["predict", str(digits_run), file]) == 0
        answers.append(capsys.readouterr().out)
    assert re.fullmatch(r"0  \d  \d\.\d{3}\n", answers[0])
    assert answers[0] == answers[1]


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("name", ["rules.py:right", "./rules.py:right", "rules:right", "rules:Home.rule"])
def test_check_prints_the_report_of_a_right_rule(name, capsys):
    assert main(["check", name, "--args", "f32[4, 3]"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("right: right")
    assert re.search(r"^ *x\[4,3\] +float32 ", out, re.MULTILINE)
    assert "bfloat16" not in out


@pytest.mark.usefixtures("rules")
def test_check_ends_a_wrong_rule_with_its_message_and_exit_code_1(capsys):
    def message(seed):
        assert main(["check", "rules.py:wrong", "--args", "f32[3]", "--seed", str(seed)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        return err

    assert re.match(r"WRONG: wrong, x: float64\[3\].*\n(?s:.*)hint .* 0\.5 .*\n(?s:.*)key=0", message(0))
    assert message(0) == message(0)
    numbers = [re.search("worst.*", message(seed))[0] for seed in (0, 1)]
    assert numbers[0] != numbers[1]


@pytest.mark.usefixtures("rules")
def test_the_flags_of_check_reach_the_check(capsys):
    assert main(["check", "rules.py:once", "--args", "f32[3]", "--dtypes", "float16", "bfloat16"]) == 0
    dtypes = re.findall(r"^ *x\[3\] +(\S+) ", capsys.readouterr().out, re.MULTILINE)
    assert dtypes == ["float64", "float16", "bfloat16"]
    assert main(["check", "rules.py:right", "--args", "f32[3]", "--order", "2"]) == 0
    assert main(["check", "rules.py:once", "--args", "f32[3]", "--order", "2"]) == 1
    assert capsys.readouterr().err.startswith("WRONG: ")


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("out", ["g.svg", "g.png", "g.pdf", "g.dot", None])
def test_draw_writes_the_picture_and_says_what_is_marked(workplace, out, capsys):
    line = ["draw", "rules.py:saturated", "--args", "f32[3], 0.5", "--depth", "1", "--local", "--unroll"]
    assert main([*line, *(("--out", out) if out else ())]) == 0
    file = out or "saturated.svg"
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph"}
    assert (workplace / file).read_bytes().startswith(starts[file[-3:]])
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"wrote {file}: 5 gates"
    assert re.fullmatch(r"tanh: no gradient passes .*rules\.py:\d+:\d+ \(saturated\)", printed[0])


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize("out", ["kept.png", "kept.svg", "kept.pdf", None])
def test_stash_prints_what_is_kept_and_writes_the_picture(workplace, out, capsys):
    line = ["stash", "rules.py:saturated", "--args", "f32[300,4], f32[4]"]
    assert main([*line, *(("--out", out) if out else ())]) == 0
    head, row, *printed = capsys.readouterr().out.splitlines()
    assert head.split() == ["bytes", "array", "read", "by", "line", "why", "it", "is", "kept"]
    assert re.fullmatch(r" *4\.8 kB +f32\[300,4\] +tanh +rules\.py:\d+ \(saturated\) +elementwise .*", row)
    assert any(re.search("XLA's program takes", line) for line in printed)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    if out:
        assert (workplace / out).read_bytes().startswith(starts[out[-3:]])
        assert printed[-1] == f"wrote {out}"


# the command line, and words of the one line that it ends with
WRONG = {
    "no command": (
        "",
        r"Expected one of \{train, evaluate, predict, rules, check, draw, stash\}.*funcnet --help",
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


# what bad.py holds, and words of the last line on stderr
THEIRS = {
    "raises": ("1 / 0", "py, while it was imported, raised ZeroDivisionError: division by zero"),
    "recurses": (
        "def f():\n    f()\n\n\nf()",
        "py, while it was imported, raised RecursionError: maximum recursion",
    ),
    "is no Python": ("def f(:", r"raised SyntaxError: invalid syntax \(bad.py, line 1\)"),
    "is no text": ("\0", "raised SyntaxError: source code .*null bytes"),
    "raises no Exception": ("raise BaseException('odd')", "raised BaseException: odd"),
    "imports what is missing": (
        "import no_such_package",
        "raised ModuleNotFoundError: No module named 'no_such",
    ),
    "imports from nowhere": ("from . import f", "raised ImportError: attempted relative import"),
    "asserts": (
        "def f(x):\n    assert len(x) == 9, 'nine'",
        "py:f, while it was called, raised AssertionError: nine",
    ),
    "calls itself": ("def f(x):\n    return f(x)", "py:f, while it was called, raised RecursionError"),
    "does not fit": ("def f(x):\n    return x @ x.reshape(1, 3)", "called, raised TypeError"),
    "needs NumPy": (
        "import numpy\n\n\ndef f(x):\n    return numpy.sin(x)",
        "raised TracerArrayConversionError",
    ),
}


@pytest.mark.parametrize("command", ["check", "draw", "stash"])
@pytest.mark.parametrize(("code", "words"), THEIRS.values(), ids=THEIRS)
def test_the_users_own_error_shows_its_own_lines(command, code, words, workplace, monkeypatch, capsys):
    """It starts at the user's first line, is not too long, and the last line says whose it is."""
    (workplace / "bad.py").write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "bad", raising=False)
    assert main([command, "bad.py:f", "--args", "f32[3]"]) == 2
    *shown, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"funcnet: bad.*{words}.* Its own traceback, not one of funcnet's, is above.", last)
    assert "bad.py" in "".join([*shown, last][:2])
    assert not re.search("foreign.py|importlib|lookup.py", "".join(shown))
    assert len(shown) < 60


def test_a_module_that_imports_what_is_missing_is_not_taken_for_missing(workplace, monkeypatch, capsys):
    (workplace / "needy.py").write_text("import no_such_package")
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["check", "needy:f", "--args", "f32[3]"]) == 2
    assert "needy, while it was imported, raised ModuleNotFoundError: No" in capsys.readouterr().err


def test_a_function_of_a_library_that_does_not_fit_is_announced_too(workplace, monkeypatch, capsys):
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["check", "jax.numpy:matmul", "--args", "f32[3,4], f32[3,4]"]) == 2
    assert "jax.numpy:matmul, while it was called, raised TypeError: dot_general" in capsys.readouterr().err


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
