"""`funcnet evaluate` and `funcnet predict`: what they say of a run."""

import re

import numpy as np
import pytest
from PIL import Image

import funcnet
from funcnet.__main__ import main
from funcnet.data import load
from funcnet.train import load_run
from tests.cli.lines import QUICK

pytestmark = pytest.mark.in_turns(2)


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
