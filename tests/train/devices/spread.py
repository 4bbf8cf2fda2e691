"""Runs of small nets on a mesh.

`python tests/train/devices/spread.py --net mlp --devices 1 8` prints their hashes.

The hash is that of parameters and moments after the last step. As one of several processes, which
`funcnet.train.devices.processes` knows by its environment, it has a mesh of all their devices.
"""

import argparse
import functools
import hashlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from funcnet import nn, train
from funcnet.train.devices.processes import join

EXAMPLES, CLASSES = 256, 10


def mlp(params, images):
    return nn.mlp(params, images.reshape(len(images), -1))


def init_mlp(key):
    return nn.init_mlp(key, (64, 50, 40, CLASSES))


def convnet(params, images):
    hidden = nn.max_pool(nn.relu(nn.conv(images[..., None], params["first"], padding="same")))
    hidden = nn.relu(nn.conv(hidden, params["second"], padding="same"))
    return nn.linear(hidden.reshape(len(hidden), -1), params["last"])


def init_convnet(key):
    shapes = {"first": (3, 3, 1, 8), "second": (3, 3, 8, 16), "last": (16 * 4 * 4, CLASSES)}
    keys = jax.random.split(key, len(shapes))
    return {
        name: 0.1 * jax.random.normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


NETS = {"mlp": (init_mlp, mlp), "convnet": (init_convnet, convnet)}


def loss(net, dtype, params, batch):
    images, labels = batch
    params, images = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, images))
    return nn.softmax_loss(net(params, images), labels).mean()


@functools.cache
def loss_of(net, dtype):
    return functools.partial(loss, NETS[net][1], dtype)


OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-2))
"""The norm is a sum over all parameters, which has its order too."""


def trained(net, dtype, steps, **options):
    """The State that a run ends with, as a Run of parameters and moments."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((EXAMPLES, 8, 8), np.float32)
    labels = rng.integers(CLASSES, size=EXAMPLES, dtype=np.int32)
    return train.fit(
        loss_of(net, dtype),
        NETS[net][0](jax.random.key(0)),
        train.in_memory((images, labels), 64),
        optimizer=OPTIMIZER,
        steps=steps,
        **options,
    )


def digest(run):
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves((run.params, run.optimizer_state)):
        sha.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8))
    return sha.hexdigest()


FAULTS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "stuck": lambda: time.sleep(600),
    "terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "throws": lambda: {}["no such name"],
}


def with_fault(kind, rank, step):
    """A hook that breaks one process at a step."""

    def hook(state, metrics):
        print("step", state.step, flush=True)
        if jax.process_index() == rank and state.step >= step:
            print(kind, time.time(), flush=True)
            FAULTS[kind]()

    return hook


def started(*arguments, count=1, devices=1):
    """So many processes of one run of this program, with so many devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    several = {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": str(count)}
    environment = {
        **os.environ,
        **(several if count > 1 else {}),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "NPROC": "16",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    return [
        subprocess.Popen(
            [sys.executable, __file__, *map(str, arguments)],
            env=environment | ({"JAX_PROCESS_ID": str(index)} if count > 1 else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--net", choices=NETS, nargs="+", default=["mlp"])
    parser.add_argument("--dtype", nargs="+", default=["float32"])
    parser.add_argument("--devices", type=int, nargs="+", default=[None])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--all-reduce", action="store_true")
    parser.add_argument("--layout")
    parser.add_argument("--folder")
    parser.add_argument("--fault", nargs=3, metavar=("KIND", "RANK", "STEP"))
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    join()
    options = {}
    if args.folder:
        folder = args.folder.format(rank=jax.process_index())
        options = {"folder": folder, "resume": args.resume, "save_every": 0}
    if args.fault:
        kind, rank, step = args.fault
        options["hook"] = with_fault(kind, int(rank), int(step))
    for net, dtype, devices in itertools.product(args.net, args.dtype, args.devices):
        mesh = train.data_mesh(devices)
        run = trained(
            net,
            jnp.dtype(dtype),
            args.steps,
            mesh=mesh,
            reproducible=not args.all_reduce,
            layout=args.layout,
            **options,
        )
        print(net, dtype, mesh.size, digest(run), flush=True)


if __name__ == "__main__":
    main()
