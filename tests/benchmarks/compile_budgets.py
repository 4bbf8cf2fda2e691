"""A memory budget on an H200 and a TPU v5e, in programs compiled without one: is the recomputation kept?

    python -m venv venv && venv/bin/pip install -e '.[dev]' jax-cuda12-plugin jax-cuda12-pjrt libtpu
    venv/bin/python -m tests.benchmarks.compile_budgets [part of a program's name …]

Temporary bytes of the compiled value and gradient, those of `jax.value_and_grad` being 1, for programs of
bench_budget: `funcnet.value_and_grad` by its budget (a star marks the smallest possible one), and
`jax.checkpoint` that saves nothing around every layer. Batches are 32 times larger than there: a TPU's fast
memory would take the small ones whole, and an H200's products want 32 MiB for themselves.
"""

import functools
import sys

from tests.benchmarks.compile_programs import PLATFORMS, topologies  # first: it tells JAX of them

import jax  # isort: skip

from tests.benchmarks.bench_budget import POLICIES, PROGRAMS, possible

BUDGETS = 1, 0.5, 0.25
LEFT_OUT = "MLP, 32 gelu", "MLP, 48 silu", "our randwired"
GROWN = 32


def grown(program):
    """The types of a program's arguments with larger batches."""
    params, *data = program.sample()

    def larger(x, axis):
        shape = tuple(n * GROWN if i == axis else n for i, n in enumerate(x.shape))
        return jax.ShapeDtypeStruct(shape, x.dtype)

    axes = [1 if program.name.startswith("LSTM") and x.ndim == 3 else 0 for x in data]
    return jax.eval_shape(lambda: params), *map(larger, data, axes)


def temporary(function, arguments, device):
    """Temporary bytes of a function compiled for a device."""
    sharding = jax.sharding.SingleDeviceSharding(device)
    types = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), arguments)
    return jax.jit(function).lower(*types).compile().memory_analysis().temp_size_in_bytes


def contenders(program):
    """The functions to compile, each with its mark."""
    around = functools.partial(jax.checkpoint, policy=POLICIES["nothing"])
    found = [possible(program, budget, grown(program)) for budget in BUDGETS]
    return [*found, (jax.value_and_grad(functools.partial(program.loss, around)), "")]


def main():
    chosen = [p for p in PROGRAMS if p.name not in LEFT_OUT]
    chosen = [p for p in chosen if not sys.argv[1:] or any(part in p.name for part in sys.argv[1:])]
    devices = {
        name.split()[0]: topologies.get_topology_desc(**described).devices[0]
        for name, described in PLATFORMS.items()
    }
    print(f"| | on | jax | {' | '.join(f'budget={b}' for b in BUDGETS)} | checkpoint |")
    print(f"|---|---|---:|{'---:|' * len(BUDGETS)}---:|")
    for platform, device in devices.items():
        for program in chosen:
            arguments = grown(program)
            plain = temporary(jax.value_and_grad(program.plain()), arguments, device)
            shares = [(temporary(f, arguments, device) / plain, mark) for f, mark in contenders(program)]
            cells = " | ".join(f"{share:.2f}{mark}" for share, mark in shares)
            print(f"| {program.name} | {platform} | {plain / 2**20:.0f} MiB | {cells} |", flush=True)
    print(f"\njax {jax.__version__}")


if __name__ == "__main__":
    main()
