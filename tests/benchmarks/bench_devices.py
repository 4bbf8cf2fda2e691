"""What the same bits on any number of devices cost: steps in one order beside steps with an all-reduce.

    python tests/benchmarks/bench_devices.py

Devices are forced ones of this CPU, which share its cores; each number of them is a process of its own, with
two threads for each, as they wait for each other. Ratios of the least processor time of each of the two, in
turns, for 20 steps of Adam on an MLP of 784, 512, 512 and 10 units and batches of 256; and the first digits
of the hash of parameters and moments after them.
"""

import hashlib
import os
import subprocess
import sys
import time

import jax
import numpy as np
import optax

from funcnet import nn, train

ROUNDS, STEPS = 5, 20
OPTIMIZER = optax.adam(1e-3)


def loss(params, batch):
    return nn.softmax_loss(nn.mlp(params, batch[0]), batch[1]).mean()


def begun(mesh):
    state = train.init(nn.init_mlp(jax.random.key(0), (784, 512, 512, 10)), OPTIMIZER)
    return jax.device_put(state, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def runs(mesh, reproducible):
    """A function that takes so many steps, and what they lead to."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2560, 784), np.float32), np.arange(2560, dtype=np.int32) % 10
    batches = train.in_memory((x, y), 256)
    return train.advance(loss, OPTIMIZER, batches.on(mesh), mesh=mesh, reproducible=reproducible)


def measured(go, state):
    start = time.process_time()
    state, _ = jax.block_until_ready(go(state, STEPS))
    return time.process_time() - start, state


def digest(state):
    return hashlib.sha256(
        b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state))
    ).hexdigest()[:8]


def row(devices):
    """A line of the table, measured in this process, which has so many devices."""
    mesh = train.data_mesh(devices)
    ways = [runs(mesh, reproducible) for reproducible in (True, False)]
    hashes = [digest(measured(go, begun(mesh))[1]) for go in ways]
    times = [[measured(go, begun(mesh))[0] for go in ways] for _ in range(ROUNDS)]
    ours, theirs = (min(column) for column in zip(*times, strict=True))
    return f"| {devices} | {ours / theirs:.2f} | {hashes[0]} | {hashes[1]} |"


def main():
    print("| devices | in one order / all-reduce | hash in one order | of all-reduce |")
    print("|---:|---:|---|---|", flush=True)
    for devices in (1, 2, 4, 8):
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "NPROC": str(2 * devices)}
        subprocess.run([sys.executable, __file__, str(devices)], env=os.environ | environment, check=True)


if __name__ == "__main__":
    if arguments := sys.argv[1:]:
        print(row(int(arguments[0])), flush=True)
    else:
        main()
