"""Programs for eight H200s and a TPU v5e slice of eight, compiled without one: what they send, and keep.

    python -m venv venv && venv/bin/pip install -e '.[dev]' jax-cuda12-plugin jax-cuda12-pjrt libtpu
    venv/bin/python tests/benchmarks/compile_programs.py

One row for each net, platform and way to spread it: the bytes that a device sends in a step, as a ring does
it, against the least that there is, and the temporary bytes of a device. With P bytes of parameters on N
devices, (N − 1) / N times

    all-reduce    2 P        gradients are summed and come back (Patarasuk and Yuan 2009)
    one order     2 P        so they are: an all-to-all of P, and an all-gather of P
    zero3         3 P        parameters gathered for the way there and for the way back, gradients scattered
                             (Rajbhandari et al. 2020, §7.2.2); 2 P where XLA keeps what it has gathered

It fails where a program sends more than 1.01 times that. Steps of Adam in float32, 32 examples a device.
"""

import collections
import functools
import math
import os
import re
import sys

FLAGS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"  # tuning would need the card
os.environ |= {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": FLAGS,
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # nothing runs there, so nobody is in the way
}

import jax  # noqa: E402 — the environment comes first
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax.experimental import topologies  # noqa: E402
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec  # noqa: E402

from funcnet import nn  # noqa: E402
from funcnet.train.devices.mesh import Devices, layout_of  # noqa: E402
from funcnet.train.state import State, Way, step_key, taken  # noqa: E402

H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 150754820096 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H200"
"""
"""NVIDIA's data sheet and CUDA's properties of compute capability 9.0, as XLA wants them."""

PLATFORMS = {
    "H200 × 8": {"platform": "cuda", "topology_name": "", "topology": "1x1x8", "target_config": H200},
    "v5e-8": {"platform": "tpu", "topology_name": "v5e:2x4"},
}
BATCH = 256


def mlp():
    return functools.partial(nn.init_mlp, sizes=(1024,) * 5), nn.mlp, (1024,)


def convnet():
    def init(key):
        shapes = (3, 3, 3, 64), (3, 3, 64, 128), (128 * 8 * 8, 512)
        return [0.1 * jax.random.normal(key, shape) for shape in shapes]

    def net(params, x):
        for kernel in params[:2]:
            x = nn.max_pool(nn.relu(nn.conv(x, kernel, padding="same")))
        return nn.linear(x.reshape(len(x), -1), params[2])

    return init, net, (32, 32, 3)


def alexnet():
    return nn.init_alexnet, nn.alexnet, (227, 227, 3)


NETS = {"MLP": mlp, "conv net": convnet, "AlexNet": alexnet}
WAYS = {"all-reduce": (2, None, False), "one order": (2, None, True), "zero3": (3, "zero3", False)}
"""For each the multiple of P that it may send, the layout, and whether in one order."""


def compiled(net, mesh, layout, reproducible):
    """A step's program, and the bytes of the parameters."""
    init, apply, shape = NETS[net]()
    optimizer = optax.adam(1e-3)

    def loss(params, batch):
        return nn.softmax_loss(apply(params, batch[0]), batch[1]).mean()

    def begun(key):
        params = init(key)
        return State(params, optimizer.init(params), jnp.int32(0))

    state = jax.eval_shape(begun, jax.random.key(0))
    where = layout_of(state, mesh, layout)
    devices = Devices(mesh, tuple(jax.tree.leaves(where)), reproducible)

    def step(state, batch):
        return taken(Way(loss, optimizer, jax.value_and_grad, devices), state, batch, step_key(0))

    def on(leaf, sharding):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    rows = NamedSharding(mesh, PartitionSpec("data"))
    batch = jax.ShapeDtypeStruct((BATCH, *shape), "float32"), jax.ShapeDtypeStruct((BATCH,), "int32")
    arguments = jax.tree.map(on, state, where), jax.tree.map(lambda leaf: on(leaf, rows), batch)
    program = jax.jit(step, donate_argnums=0).lower(*arguments).compile()
    return program, sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state.params))


WIDTHS = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
SENT = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1, "collective-permute": 1}
"""How often a ring sends what a collective is about: its whole operand, or what it is gathered to."""


def sent(text, devices):
    """The bytes that a device sends for each kind of collective in a program, counted from above.

    A TPU's program has a collective that runs beside other work once for each of its stages, under one
    channel and chain.
    """
    computations, stages = computations_of(text), {}
    for computation, lines in computations.items():
        for number, line in enumerate(lines):
            if match := re.search(rf"= (.*?) ({'|'.join(SENT)})(?:-done)?\(", line):
                chain = re.search(r'channel_id=(\d+),.*chain_id="(\d+)"', line)
                one = (match[2], *chain.groups()) if chain else (computation, number)
                stages.setdefault(one, []).append((computation, *match.groups()))
    total, turns = {}, turns_of(computations)
    for places in stages.values():
        computation, result, kind = min(places, key=lambda place: turns[place[0]])
        size = sum(
            WIDTHS[dtype] * math.prod(int(n) for n in dims.split(",") if n)
            for dtype, dims in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", result)
            if dtype in WIDTHS
        )
        if kind == "reduce-scatter":
            size *= devices  # of which the result is a part
        if computation.startswith("%all-reduce-scatter"):
            kind = "reduce-scatter"  # as TPUs have it: a fusion of an all-reduce with the slice of it
        share = 1 if kind == "collective-permute" else (devices - 1) / devices
        total[kind] = total.get(kind, 0) + SENT[kind] * share * size * turns[computation]
    return total


def computations_of(text):
    """The lines of each computation of a program, by its name; the program's own is named ENTRY."""
    found = {}
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY")):
            lines = found[line.split(" ")[0]] = []
        elif line.startswith(" "):
            lines.append(line)
    return found


def turns_of(computations):
    """How often each computation runs: in a loop, as often as the largest number in its condition at most."""
    turns = collections.Counter()
    called = re.compile(r"\b(calls|to_apply|condition|body|true_computation|false_computation)=(%[\w.-]+)")

    def run(computation, times):
        turns[computation] += times
        for line in computations[computation]:
            inner = dict(called.findall(line))
            for how, name in inner.items():
                run(name, times * limit(inner["condition"]) if how == "body" else times)

    def limit(condition):
        return max(int(n) for n in re.findall(r"constant\((\d+)\)", "".join(computations[condition])))

    run("ENTRY", 1)
    return dict(turns)


def main():
    nets = sys.argv[1:] or list(NETS)
    too_much = []
    print("| net | on | way | sent / bound | of which | temporary |\n|---|---|---|---:|---|---:|")
    for net in nets:
        for platform, described in PLATFORMS.items():
            devices = topologies.get_topology_desc(**described).devices
            mesh = Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))
            for way, (multiple, layout, reproducible) in WAYS.items():
                program, size = compiled(net, mesh, layout, reproducible)
                kinds = sent(program.as_text(), len(devices))
                bound = multiple * size * (len(devices) - 1) / len(devices)
                ratio = sum(kinds.values()) / bound
                each = ", ".join(f"{kind} {count / size:.2f} P" for kind, count in kinds.items())
                temporary = program.memory_analysis().temp_size_in_bytes
                print(
                    f"| {net} | {platform} | {way} | {ratio:.3f} | {each} | {temporary / 2**20:.0f} MiB |",
                    flush=True,
                )
                if ratio > 1.01:
                    too_much.append(f"{net} on {platform}, {way}")
    sys.exit(f"more than 1.01 times the bound: {'; '.join(too_much)}" if too_much else 0)


if __name__ == "__main__":
    main()
