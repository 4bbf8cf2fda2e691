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


def test_data_and_tensor_parallel_gradients_need_no_all_gather():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    collectives = re.findall(
        r"(all-gather|all-reduce|all-to-all|collective-permute)(?:-start)?\(", result.stdout
    )
    assert set(collectives) == {"all-reduce"}
