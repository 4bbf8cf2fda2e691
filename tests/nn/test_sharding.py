"""Sharded weights stay where they are: forward and backward move activations and sums, never a weight."""

import os
import re
import subprocess
import sys

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from funcnet import nn

mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
shard = lambda array, *axes: jax.device_put(array, NamedSharding(mesh, P(*axes)))

params = nn.init_mlp(jax.random.key(0), (32, 64, 8))
x, y = jax.random.normal(jax.random.key(1), (16, 32)), jnp.arange(16) % 8
sharded = {
    "layer1": {"w": shard(params["layer1"]["w"], None, "model"), "b": shard(params["layer1"]["b"], "model")},
    "layer2": {"w": shard(params["layer2"]["w"], "model", None), "b": shard(params["layer2"]["b"])},
}
arguments = sharded, shard(x, "data", None), shard(y, "data")
gradient = jax.jit(jax.grad(lambda p, x, y: nn.softmax_loss(nn.mlp(p, x), y).mean()))
for got, expected in zip(jax.tree.leaves(gradient(*arguments)), jax.tree.leaves(gradient(params, x, y))):
    np.testing.assert_allclose(got, expected, atol=1e-6)
assert gradient(*arguments)["layer1"]["w"].sharding.spec == P(None, "model")
print(gradient.lower(*arguments).compile().as_text())
"""


def run_on_four_devices(program):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


EXPLICIT = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import funcnet
from funcnet import nn

mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
rng = np.random.default_rng(0)
arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((8, 4), (4, 6), (6, 2))]
specs = P("data", None), P(None, "model"), P("model", None)

def of_jax(x, w, v):
    return jnp.sum(jnp.matmul(jnp.tanh(x @ w), v, out_sharding=spread) ** 2)

def of_gates(x, w, v):
    return jnp.sum(nn.tanh(nn.affine(x, w, jnp.zeros_like(w[0]))) ** 2)

spread = None
cases = {of_jax: (0, 1, 2), of_gates: (0, 1)}
alone = {f: jax.jit(jax.grad(f, of))(*arrays) for f, of in cases.items()}
spread = P("data", None)
with jax.set_mesh(mesh):
    on = [jax.device_put(array, NamedSharding(mesh, spec)) for array, spec in zip(arrays, specs)]
    for grad in jax.grad, funcnet.grad:
        for f, of in cases.items():
            for got, expected, spec in zip(jax.jit(grad(f, of))(*on), alone[f], specs):
                np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
                assert got.sharding.spec == spec, (grad, f, got.sharding.spec)

    x = on[0]
    cases = {
        "slice": lambda x: x[:, 1:3],
        "reversed": lambda x: x[:, ::-1],
        "pad": lambda x: jnp.pad(x, ((0, 0), (1, 2))),
        "reshape": lambda x: x.reshape(8, 2, 2),
        "transpose": jnp.transpose,
        "concatenate": lambda x: jnp.concatenate([x, x * 2], axis=1),
        "stack": lambda x: jnp.stack([x, x]),
        "split": lambda x: jnp.split(x, 2, axis=1)[1],
        "squeeze": lambda x: x[:, None].squeeze(1),
        "max": lambda x: x.max(1),
        "min over the spread axis": lambda x: x.min(0),
        "cumsum": lambda x: jnp.cumsum(x, 1),
        "where": lambda x: jnp.where(x > 0, x, 0),
        "softmax": lambda x: jax.nn.softmax(x),
        "dynamic slice": lambda x: jax.lax.dynamic_slice(x, (0, 1), (8, 2)),
        "update": lambda x: jax.lax.dynamic_update_slice(x, x[:, :2], (0, 1)),
        "scan": lambda x: jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=3)[0],
        "broadcast": lambda x: jnp.broadcast_to(x[None], (3, 8, 4)),
        "converted": lambda x: x.astype(jnp.bfloat16),
    }
    for name, f in cases.items():
        loss = lambda x: (f(x).astype(jnp.float32) * jnp.arange(1.0, 1 + f(x).shape[-1])).sum()
        got, expected = (jax.jit(grad(loss))(x) for grad in (funcnet.grad, jax.grad))
        np.testing.assert_allclose(got, expected, atol=1e-6, err_msg=name)
        assert got.sharding == expected.sharding == x.sharding, (name, got.sharding)
print("as they are")
"""


def test_where_shardings_are_types_gradients_are_spread_as_what_they_are_of():
    """Of gates and of JAX's functions, by JAX's differentiation and by funcnet's."""
    assert run_on_four_devices(EXPLICIT) == "as they are\n"


def test_data_and_tensor_parallel_gradients_need_no_all_gather():
    kinds = r"(all-gather|all-reduce|all-to-all|collective-permute)(?:-start)?\("
    assert set(re.findall(kinds, run_on_four_devices(PROGRAM))) == {"all-reduce"}
