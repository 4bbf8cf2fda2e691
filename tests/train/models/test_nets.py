"""The nets of a configuration beside the mlp: trained, resumed, read back; their pictures."""

import dataclasses
import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import nn
from funcnet.__main__ import main, parse
from funcnet._errors import CheckpointError, ParameterError
from funcnet.data import load, standardize
from funcnet.train import Config, classifier, fit, load_run
from funcnet.train.models.config import read_config
from funcnet.train.models.net import evaluate, evaluate_in_chunks, forward, initial
from funcnet.train.models.nets import NETS, STATISTICS, layers, wirings
from funcnet.train.models.objective import transposed
from funcnet.train.models.presets import PRESETS
from funcnet.train.models.wiring import dot

DIGITS = load("digits")
CONVNET = Config(net="convnet", hidden=(8,), channels=(4,), batch_size=300, epochs=2)
RANDWIRED = Config(net="randwired", hidden=(8,), channels=(4,), wiring="ba:2:1", batch_size=300, epochs=2)
SMALL = pytest.mark.parametrize("config", [CONVNET, RANDWIRED], ids=lambda config: config.net)


@functools.cache
def trained(config):
    """A run that nothing has disturbed."""
    return fit(config, DIGITS)


@SMALL
def test_a_run_that_was_stopped_goes_on_and_is_read_back(config, tmp_path):
    def stop(state, metrics):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(config, DIGITS, folder=tmp_path / "run", hook=stop)
    resumed = fit(config, DIGITS, folder=tmp_path / "run", resume=True)
    again, x = load_run(tmp_path / "run"), DIGITS.test.x[:7]
    jax.tree.map(np.testing.assert_array_equal, resumed.params, trained(config).params)
    jax.tree.map(np.testing.assert_array_equal, again.params, resumed.params)
    np.testing.assert_array_equal(again.scores(x), resumed.scores(x))


@SMALL
def test_gradients_are_those_of_jax(config):
    loss, params, batches, _ = classifier(config, standardize(DIGITS)[0])
    batch, key = batches(0), jax.random.key(3)
    found, expected = (
        jax.jit(grad(lambda p: loss(p, batch, key)[0]))(params) for grad in (funcnet.grad, jax.grad)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), found, expected)


def test_statistics_follow_the_data_and_are_not_trained():
    run = trained(RANDWIRED)
    statistics = run.params[STATISTICS]
    before = initial(RANDWIRED, (8, 8, 1), 10, jax.random.key(0))[STATISTICS]
    assert all((a != b).all() for a, b in zip(*map(jax.tree.leaves, (statistics, before)), strict=True))
    x = DIGITS.test.x[:5]
    np.testing.assert_allclose(run.scores(x[2:3])[0], run.scores(x)[2], rtol=1e-4, atol=1e-5)


def test_dropout_is_for_training_only():
    params = initial(CONVNET, (8, 8, 1), 10, jax.random.key(0))
    x = jnp.ones((2, 8, 8, 1))
    dropped, other = (forward(CONVNET, params, x, jax.random.key(seed))[0] for seed in (0, 1))
    np.testing.assert_array_equal(forward(CONVNET, params, x)[0], nn.convnet(params, x))
    assert (dropped != other).any()


@SMALL
def test_chunks_measure_what_the_whole_does(config, monkeypatch):
    monkeypatch.setattr("funcnet.train.models.net.IMAGES", 50)
    params = initial(config, (8, 8, 1), 10, jax.random.key(0))
    x, y = DIGITS.validation
    x = x.reshape(-1, 8, 8, 1)
    np.testing.assert_allclose(
        evaluate_in_chunks(config, params, x, y), evaluate(config, params, x, y), rtol=1e-5
    )


def test_no_images_have_no_scores():
    run = trained(CONVNET)
    assert run.scores(DIGITS.test.x[:0]).shape == (0, 10)


def test_only_matrices_are_turned():
    turned = transposed(initial(RANDWIRED, (8, 8, 1), 10, jax.random.key(0)))
    assert turned["conv1"]["w"].shape == (3, 3, 1, 2)
    assert turned["head"]["w"].shape == (8, 16)
    assert turned["stage1"]["node0"]["depthwise"].shape == (3, 3, 4)


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (227, 227, 3)])
def test_alexnet_takes_images_of_any_size(shape):
    config = PRESETS["alexnet"]
    params = jax.eval_shape(lambda: initial(config, shape, 10, jax.random.key(0)))
    x = jax.ShapeDtypeStruct((2, *shape), np.float32)
    assert jax.eval_shape(lambda params, x: forward(config, params, x)[0], params, x).shape == (2, 10)


def test_every_net_has_a_preset():
    assert get_args(Config.__annotations__["net"]) == (*PRESETS,)


@pytest.mark.parametrize("name", NETS)
def test_the_layers_of_every_net_have_an_order(name):
    shape = (64,) if name == "mlp" else (8, 8, 1)
    params = jax.eval_shape(lambda: initial(PRESETS[name], shape, 10, jax.random.key(0)))
    params.pop(STATISTICS, None)
    assert sorted(layers(params)) == sorted(params)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_where_the_command_line_starts(name):
    assert PRESETS[name].net == name
    assert parse(["train", "--net", name]).config == PRESETS[name]
    other = parse(["train", "--net", name, "--epochs", "7"]).config
    assert other == dataclasses.replace(PRESETS[name], epochs=7)


def test_layers_stand_in_the_order_of_the_forward_pass():
    params = jax.eval_shape(lambda: initial(PRESETS["randwired"], (28, 28, 1), 10, jax.random.key(0)))
    names = [name for name in params if name != STATISTICS]
    assert layers(dict.fromkeys(names)) == [
        "conv1", "conv2", "stage1", "stage2", "stage3", "head", "scores"
    ]  # fmt: skip


def test_the_seed_draws_the_wiring():
    assert wirings(RANDWIRED) == wirings(dataclasses.replace(RANDWIRED, epochs=9))
    graphs = wirings(PRESETS["randwired"])
    assert len({graph.edges for graph in [*graphs, *wirings(Config(net="randwired", seed=1))]}) == 6


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--net convnet --data spiral", "net is 'convnet', and the examples of spiral are 2 numbers each"),
        ("--net convnet --channels 2 2 2 2", "an image that 4 poolings leave something of"),
        ("--net randwired --wiring ws:8:3:0.5", "ws with 3; expected an even number k"),
        ("--net randwired --wiring ws:8:2:0.5.5", "could not convert string to float"),
        ("--net randwired --channels 1", "of channels ≥ 2"),
        ("--net randwired --hidden 5 5", "expected one number and 'relu'"),
        ("--net resnet", "resnet"),
    ],
)
def test_what_cannot_be_trained_is_one_line(line, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *line.split()]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_run_of_another_net_is_not_gone_on_with(tmp_path):
    fit(CONVNET, DIGITS, folder=tmp_path / "run")
    with pytest.raises(CheckpointError, match="net was 'convnet' and is 'mlp' now"):
        fit(dataclasses.replace(CONVNET, net="mlp"), DIGITS, folder=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("line", "pictures"),
    [
        ("--net convnet", {"filters.png"}),
        ("--net randwired --wiring ba:2:1", {"filters.png", "wiring.png"}),
    ],
)
def test_the_command_line_trains_draws_and_measures(line, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line += " --hidden 8 --channels 4 --batch-size 300 --epochs 1 --out run"
    assert main(["train", *line.split()]) == 0
    assert pictures <= {file.name for file in (tmp_path / "run").iterdir()}
    accuracy = capsys.readouterr().out.splitlines()[-2]
    assert main(["evaluate", "run", "--top", "2"]) == 0
    assert accuracy in capsys.readouterr().out
    assert read_config(tmp_path / "run").net == line.split()[1]


def test_an_edge_is_as_wide_as_its_weight():
    graph = nn.Wiring(3, ((0, 1), (0, 2), (1, 2)))
    text = dot({"stage1": {"edges": jnp.log(jnp.array([1.0, 3.0, 1 / 3]))}}, [graph])
    for start, end, width in ((0, 1, "2.50"), (0, 2, "3.75"), (1, 2, "1.25")):
        assert f"stage1_{start} -> stage1_{end} [penwidth={width}" in text
    assert "3 nodes, 3 edges, σ(w) 0.25 to 0.75" in text
    assert "stage1_in -> stage1_0" in text
    assert "stage1_2 -> stage1_out" in text


def test_a_sweep_is_of_mlps():
    with pytest.raises(ParameterError, match="sweep: net is 'convnet'; expected 'mlp'"):
        funcnet.train.sweep(CONVNET, DIGITS)
