"""Training on many devices: the same bits on 1, 2, 4 and 8, layouts, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

from funcnet import nn, train
from funcnet._errors import ParameterError
from funcnet.train.devices.canonical import in_one_order

SPREAD = Path(__file__).with_name("spread.py")
ROOT = SPREAD.parents[3]


def on_eight_devices(*command):
    """What a program prints, in words by line; with threads for all devices, or they may wait for good."""
    flags = "--xla_force_host_platform_device_count=8"
    environment = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "NPROC": "16", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.in_turns(2)
@pytest.mark.parametrize(
    ("net", "dtype", "devices"),
    [("mlp", "float32", "1248"), ("convnet", "bfloat16", "18")],
    ids=["mlp in float32", "convnet in bfloat16"],
)
def test_the_bits_of_a_run_do_not_depend_on_the_number_of_devices(net, dtype, devices):
    lines = on_eight_devices(SPREAD, "--net", net, "--dtype", dtype, "--devices", *devices, "--steps", "8")
    assert [line[2] for line in lines] == [*devices]
    assert len({line[3] for line in lines}) == 1


LAYOUTS = """
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import AxisType, PartitionSpec as P
from funcnet import nn, train

rng = np.random.default_rng(3)
x = rng.standard_normal((256, 8), np.float32)
data = x, np.tanh(x @ rng.standard_normal((8, 8), np.float32))
params = nn.init_mlp(jax.random.key(0), (8, 16, 8))

def loss(params, batch):
    x, y = batch
    return jnp.mean((nn.mlp(params, x) - y) ** 2), {"is": jnp.int32(3)}

def trained(params=params, batches=train.in_memory(data, 32), **options):
    seen = []
    hook = lambda state, metrics: seen.append(jax.tree.map(lambda leaf: leaf.sharding.spec, state))
    run = train.fit(loss, params, batches, optimizer=optax.adam(0.05), steps=16, hook=hook, **options)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(run.optimizer_state))
    return run.params, seen[-1]

alone = train.fit(loss, params, train.in_memory(data, 32), optimizer=optax.adam(0.05), steps=16).params
mesh = train.data_mesh(8)
cube = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
cases = {
    "replicated": trained(mesh=mesh),
    "all-reduce": trained(mesh=mesh, reproducible=False),
    "from a source": trained(batches=train.from_source(data, 32), mesh=mesh),
    "zero1": trained(mesh=mesh, layout="zero1"),
    "zero3": trained(mesh=mesh, layout="zero3"),
    "tensor": trained(train.tensor_parallel(params, cube), mesh=cube),
}
for name, (ended, _) in cases.items():
    for got, expected in zip(jax.tree.leaves(ended), jax.tree.leaves(alone)):
        assert len(got.sharding.device_set) == 1
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6, err_msg=name)
for name in "replicated", "zero1", "zero3", "tensor":
    state = cases[name][1]
    mu = state.optimizer_state[0].mu
    weights = [tree[layer]["w"] for tree in (state.params, mu) for layer in tree]
    print(name, *("".join(str(tuple(spec)).split()) for spec in weights))
same = [cases["replicated"][0], cases["from a source"][0]]
print("same", len({tuple(np.asarray(l).tobytes() for l in jax.tree.leaves(p)) for p in same}))
"""


def test_layouts_train_to_the_same_numbers_and_stay_where_they_are():
    replicated, zero1, zero3, tensor, same = on_eight_devices("-c", LAYOUTS)
    none, rows, columns = "()", "('data',)", "(None,'data')"
    assert replicated[1:] == [none] * 4
    assert zero1[1:] == [none, none, columns, rows]
    assert zero3[1:] == [columns, rows] * 2
    assert tensor[1:] == ["(None,'model')", "('model',)"] * 2
    assert same == ["same", "1"]


def test_a_key_in_the_optimizers_state_is_returned_as_it_is():
    run = train.fit(
        squares,
        jnp.zeros(3),
        train.in_memory(np.ones((16, 3), np.float32), 8),
        optimizer=optax.chain(optax.add_noise(0.01, 0.55, jax.random.key(0)), optax.sgd(0.1)),
        steps=2,
        mesh=train.data_mesh(1),
    )
    (key,) = [leaf for leaf in jax.tree.leaves(run.optimizer_state) if isinstance(leaf, jax.Array)]
    assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def squares(params, batch):
    return jnp.mean((params - batch) ** 2)


def test_the_loss_in_one_order_is_the_mean_over_chunks():
    """So are metrics and gradients; each chunk has a key of its own."""

    def measure(params, rows, key):
        return jnp.mean(params * rows), {"rows": len(rows) + 0 * rows[0].astype(int)}, jax.random.normal(key)

    rows, key = jnp.arange(32.0), jax.random.key(1)
    mean, metrics, noise = in_one_order(measure)(jnp.float32(2), rows, key)
    assert mean == 2 * np.mean(np.arange(32))
    assert metrics["rows"] == 4.0
    keys = [jax.random.normal(jax.random.fold_in(key, i)) for i in range(8)]
    np.testing.assert_allclose(noise, np.mean(keys), rtol=1e-6)


def test_a_loss_that_is_a_mean_is_trained_as_ever():
    """Up to the order of additions."""
    data = train.in_memory(np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32), 16)
    ours, theirs = (
        train.fit(squares, jnp.zeros(3), data, optimizer=optax.sgd(0.1), steps=9, reproducible=reproducible)
        for reproducible in (True, False)
    )
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-5, atol=1e-7)
    assert ours.history[-1].train_loss == pytest.approx(theirs.history[-1].train_loss, rel=1e-5)


def mesh_of(*names):
    return jax.make_mesh((1,) * len(names), names, axis_types=(AxisType.Auto,) * len(names))


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mesh": 8}, "mesh is 8; expected a jax.sharding.Mesh with an axis 'data'"),
        ({"mesh": mesh_of("rows")}, "expected a jax.sharding.Mesh with an axis 'data'"),
        ({"layout": "zero3"}, "layout is 'zero3' without a mesh"),
        (
            {"layout": "zero2", "mesh": mesh_of("data")},
            "layout is 'zero2'; expected one of replicated, zero1",
        ),
        ({"reproducible": True, "watch": 5}, "reproducible is True, and watch measures .* whole batches"),
        (
            {"reproducible": True, "mesh": mesh_of("data", "model")},
            r"reproducible is True, and the mesh is {'data': 1, 'model': 1}: take 1, 2, 4 or 8 devices",
        ),
        (
            {"reproducible": True, "size": 12},
            r"the batch has an array of shape \[12, 3\]; expected a multiple",
        ),
    ],
)
def test_what_cannot_be_spread_is_refused(options, words):
    batches = train.in_memory(np.zeros((64, 3), np.float32), options.pop("size", 16))
    with pytest.raises(ParameterError, match=words):
        train.fit(squares, jnp.zeros(3), batches, optimizer=optax.sgd(0.1), steps=2, **options)


def test_a_random_key_that_is_kept_has_no_mean_over_chunks():
    params = {"w": jnp.zeros(3), "key": jax.random.key(0)}
    batches = train.in_memory(np.zeros((64, 3), np.float32), 16)
    with pytest.raises(ParameterError, match="the loss keeps or measures a random key, and keys of 8 chunks"):
        train.fit(
            lambda params, x: (squares(params["w"], x), {}, {"key": params["key"]}),
            params,
            batches,
            optimizer=optax.sgd(0.1),
            steps=2,
            reproducible=True,
        )


@pytest.mark.usefixtures("no_shape_checks")
def test_more_devices_than_there_are_and_layers_that_cannot_be_split_are_refused():
    with pytest.raises(
        ParameterError, match=r"devices is 99; expected 1 to \d+, .*device_count=99 makes it so"
    ):
        train.data_mesh(99)
    with pytest.raises(ParameterError, match="axis is 'model'; expected one of the mesh's, data"):
        train.tensor_parallel(nn.init_mlp(jax.random.key(0), (2, 3, 2)), mesh_of("data"))
