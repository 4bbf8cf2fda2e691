"""`funcnet train` as a shell sees it: exit code, stdout, stderr, files written."""

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

from funcnet.__main__ import main, parse
from funcnet.cli import Train, training
from funcnet.train import Config, load_run
from tests.cli.lines import COMMAND, QUICK, one_line

pytestmark = pytest.mark.in_turns(2)


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
