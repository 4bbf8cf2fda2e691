"""The Neural Turing Machine by a configuration: what it is made of, the command line, a run that goes on."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from funcnet import nn
from funcnet.__main__ import main
from funcnet._errors import ParameterError
from funcnet.data import load
from funcnet.data.procedural import PROCEDURAL
from funcnet.train import Config, fit
from funcnet.train.models.machine import LONGER, fit_machine, machine, read_machine, task
from funcnet.train.models.presets import PRESETS

SMALL = replace(PRESETS["ntm"], hidden=(10,), epochs=1)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("funcnet.train.models.machine.EPOCH", 120)


def size(config):
    return sum(p.size for p in jax.tree.leaves(machine(config)[1]))


def test_it_is_the_papers_machine():
    """The counts are those of tests/nn/test_ntm.py, by part and by hand."""
    assert size(PRESETS["ntm"]) == 13_536
    assert size(PRESETS["ntm_lstm"]) == 62_736
    expected = nn.init_ntm(jax.random.key(0), 9, 8, read_heads=2, write_heads=2)
    assert size(replace(PRESETS["ntm"], heads=2)) == sum(p.size for p in jax.tree.leaves(expected))


@pytest.mark.parametrize("name", PROCEDURAL)
def test_every_task_has_inputs_and_longer_sequences(name):
    config = replace(SMALL, data=name)
    loss, params, batches, _ = machine(config)
    assert np.isfinite(loss(params, batches(0))[0])
    longest = jax.eval_shape(task(config), jax.random.key(0)).inputs.shape[0]
    for draw in LONGER[name].values():
        episode = draw(jax.random.key(0))
        assert episode.length == episode.inputs.shape[0] > longest


def test_a_batch_of_several_is_their_mean():
    loss, params, batches, _ = machine(replace(SMALL, batch_size=3))
    episodes = batches(0)
    each = [loss(params, jax.tree.map(lambda array, i=i: array[i], episodes))[0] for i in range(3)]
    np.testing.assert_allclose(loss(params, episodes)[0], np.mean(each), rtol=1e-5)


def test_a_run_that_was_stopped_is_the_same_run(tmp_path):
    def stop(state, metrics):
        raise KeyboardInterrupt

    whole = fit_machine(SMALL)
    with pytest.raises(KeyboardInterrupt):
        fit_machine(SMALL, folder=tmp_path / "run", hook=stop)
    resumed = fit_machine(SMALL, folder=tmp_path / "run", resume=True)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    config, params = read_machine(tmp_path / "run")
    assert config == SMALL
    jax.tree.map(np.testing.assert_array_equal, params, whole.params)
    assert resumed.history[-1].train_loss < resumed.history[0].train_loss


def test_the_command_line_trains_draws_and_measures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--net", "ntm", "--hidden", "10", "--epochs", "1", "--out", "run"]) == 0
    errors = capsys.readouterr().out.splitlines()[1:-1]
    assert [line.split("  ")[0] for line in errors] == [
        "as in training",
        "length 40",
        "length 80",
        "length 120",
    ]
    assert {"memory.png", "curves.png"} <= {file.name for file in (tmp_path / "run").iterdir()}
    assert main(["evaluate", "run"]) == 0
    assert capsys.readouterr().out.splitlines() == errors


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--data digits", "data is 'digits' with net 'ntm'; expected one of copy, repeat_copy"),
        ("--optimizer adam", "optimizer is 'adam' with net 'ntm'; expected 'rmsprop'"),
        ("--dtype bfloat16", "dtype is 'bfloat16' with net 'ntm'; expected 'float32'"),
        ("--hidden 5 5", "expected one number"),
        ("--heads 0", "heads is 0; expected a whole number, 1 or more"),
    ],
)
def test_what_cannot_be_trained_is_one_line(line, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--net", "ntm", *line.split()]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_classifier_is_no_machine():
    with pytest.raises(ParameterError, match="net is 'ntm', which is trained on sequences"):
        fit(Config(net="ntm"), load("digits"))
