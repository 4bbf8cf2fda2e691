"""Config: every setting has an effect and a domain, and JSON brings back what it was given."""

import dataclasses
import functools
import json
import subprocess
import sys
from typing import Literal, get_args, get_origin

import jax
import numpy as np
import pytest

from funcnet import nn, train
from funcnet._errors import CheckpointError, ParameterError
from funcnet.data import load
from funcnet.train import Config, fit, read_config
from funcnet.train.models.machine import CONTROLLERS, machine
from funcnet.train.models.nets import NETS
from funcnet.train.models.objective import OPTIMIZERS, SCHEDULES

FIELDS = dataclasses.fields(Config)
REFUSED = [
    ("data", "", "a data set"),
    ("data", None, "a data set"),
    ("net", "resnet", "one of mlp, convnet"),
    ("channels", (), "a tuple"),
    ("channels", (8, 0), "1 or more"),
    ("heads", 0, "1 or more"),
    ("wiring", "ws", "ws:N:K:P"),
    ("wiring", "sf:32:4", "ws:N:K:P"),
    ("hidden", (100, 0), "1 or more"),
    ("hidden", [100], "a tuple"),
    ("hidden", 100, "a tuple"),
    ("activation", "rellu", "one of relu, leaky_relu"),
    ("activation", None, "one of relu, leaky_relu"),
    ("init", "zeros", "one of he, glorot"),
    ("loss", "hinge", "one of softmax, svm"),
    ("regularizer", "l3", "one of l2, l1"),
    ("regularization", -1e-4, "0 or more"),
    ("regularization", float("inf"), "0 or more"),
    ("regularization", True, "0 or more"),
    ("optimizer", "adams", "one of sgd, momentum"),
    ("learning_rate", 0.0, "above 0"),
    ("learning_rate", float("nan"), "above 0"),
    ("schedule", "step", "one of constant, linear"),
    ("batch_size", 0, "1 or more"),
    ("batch_size", 12.5, "1 or more"),
    ("epochs", -3, "1 or more"),
    ("epochs", True, "1 or more"),
    ("dtype", "int8", "one of float32, float16"),
    ("seed", -1, "from 0 to"),
    ("seed", 2**32, "from 0 to"),
]


@pytest.mark.parametrize(("field", "value", "expected"), REFUSED)
def test_refuses(field, value, expected, no_shape_checks):
    with pytest.raises(ParameterError, match=rf"^{field} is .*; expected .*{expected}"):
        Config(**{field: value})


def test_every_field_has_a_refused_value_and_a_docstring():
    assert {field for field, _, _ in REFUSED} == {field.name for field in FIELDS}


def test_each_optimizer_has_its_usual_rate():
    rates = {name: Config(optimizer=name).rate for name in OPTIMIZERS}
    assert rates == {"sgd": 0.05, "momentum": 0.05, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3}
    assert Config(learning_rate=0.3).rate == 0.3


def test_adamw_decays_by_l2_only():
    with pytest.raises(ParameterError, match="regularizer is 'l1'; expected 'l2' with optimizer 'adamw'"):
        Config(optimizer="adamw", regularizer="l1")


@pytest.mark.parametrize("other", [{"hidden": ()}, {"hidden": (5, 5)}, {"activation": "tanh"}])
def test_the_other_nets_have_one_hidden_number_and_relu(other):
    with pytest.raises(ParameterError, match=r"net is 'convnet' with .*; expected one number and 'relu'"):
        Config(net="convnet", **other)


CHOICES = {
    "net": [*NETS, *CONTROLLERS],
    "activation": nn.ACTIVATIONS,
    "init": nn.INITS,
    "loss": nn.LOSSES,
    "regularizer": nn.REGULARIZERS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "dtype": ["float16", "bfloat16", "float32", "float64"],
}


def test_what_can_be_chosen_is_what_the_table_has():
    choices = {each.name: each.type for each in FIELDS if get_origin(each.type) is Literal}
    assert {name: set(get_args(kind)) for name, kind in choices.items()} == {
        name: set(table) for name, table in CHOICES.items()
    }


BRIEF = Config(data="spiral", hidden=(4,), batch_size=100, epochs=2)
IMAGES = Config(net="convnet", hidden=(4,), channels=(2,), batch_size=400, epochs=1)
WIRED = Config(net="randwired", hidden=(4,), channels=(2,), wiring="ba:2:1", batch_size=1000, epochs=1)
MACHINE = {"data": "copy", "net": "ntm", "hidden": (4,), "optimizer": "rmsprop", "schedule": "cosine"}
BASES = {"net": dataclasses.replace(IMAGES, net="mlp"), "channels": IMAGES, "wiring": WIRED}
"""What a setting changes that says nothing in the brief run."""

OTHERWISE = {
    "data": "moons",
    "net": "convnet",
    "channels": (3,),
    "wiring": "er:2:0.0",
    "heads": 2,
    "hidden": (5,),
    "activation": "tanh",
    "init": "glorot",
    "loss": "svm",
    "regularizer": "l1",
    "regularization": 0.1,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "schedule": "constant",
    "batch_size": 150,
    "epochs": 3,
    "dtype": "bfloat16",
    "seed": 1,
}


@functools.cache
def trained(config):
    """The parameters after a run."""
    return jax.tree.leaves(fit(config, load(config.data, seed=config.seed)).params)


def test_the_number_of_heads_changes_the_machine():
    one, two = (machine(Config(**MACHINE, heads=heads))[1] for heads in (1, 2))
    assert set(two) - set(one) == {"read_head2", "write_head2"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("field", [field for field in FIELDS if field.name != "heads"], ids=lambda f: f.name)
def test_a_setting_changes_the_parameters(field):
    base = BASES.get(field.name, BRIEF)
    same, other = trained(base), trained(dataclasses.replace(base, **{field.name: OTHERWISE[field.name]}))
    assert [leaf.shape for leaf in other] != [leaf.shape for leaf in same] or any(
        not np.array_equal(a, b) for a, b in zip(other, same, strict=True)
    )


@pytest.mark.parametrize(
    "config",
    [Config(), Config(hidden=()), Config(hidden=(512, 256), learning_rate=0.1 + 0.2, seed=2**32 - 1)],
)
def test_json_round_trip(config):
    again = Config.from_json(config.to_json())
    assert again == config
    assert hash(again) == hash(config)


def test_a_configuration_from_before_there_were_other_nets():
    values = json.loads(Config(hidden=(7,)).to_json())
    for name in ("net", "channels", "wiring", "heads"):
        del values[name]
    assert Config.from_json(json.dumps(values)) == Config(hidden=(7,))


DAMAGED = [
    ("{", "not JSON"),
    ("[1, 2]", "a JSON list; expected an object"),
    (json.dumps({**json.loads(Config().to_json()), "momentum": 0.9}), "unknown: momentum; missing: none"),
    ('{"data": "digits", "depth": 3}', "unknown: depth; missing: activation, .*, seed"),
    (Config().to_json().replace('"relu"', '"rellu"'), "damaged: activation is 'rellu'"),
    (Config().to_json().replace("100", '"many"'), "damaged: hidden is"),
]


@pytest.mark.parametrize(("text", "words"), DAMAGED)
def test_damaged_json(text, words, tmp_path, no_shape_checks):
    with pytest.raises(CheckpointError, match=words):
        Config.from_json(text)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{words}"):
        read_config(tmp_path)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(CheckpointError, match="holds no run: cannot read"):
        read_config(tmp_path / "nowhere")


def test_public_names():
    assert train.__all__ == sorted(train.__all__) == dir(train)
    for name in train.__all__:
        assert getattr(train, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'fits'; it has Batches, Config, "):
        _ = train.fits


def test_config_needs_no_jax():
    program = "import sys; from funcnet.train import Config; Config(); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
