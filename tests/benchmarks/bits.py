"""The bits of a run on any number of devices and processes: `python -m tests.benchmarks.bits [steps]`.

An MLP and a conv net, computed in float32 and in bfloat16, are trained on 1, 2, 4 and 8 devices of one
process, and on those of two and four processes, which meet by `jax.distributed`. One row for each layout,
with the first digits of the hashes of parameters and moments after 8 steps of Adam under a clipped global
norm; it fails where a column has two.
"""

import subprocess
import sys

from tests.train.devices.spread import started

LAYOUTS = (1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (4, 1), (2, 2), (2, 4)
"""Processes, and devices of each."""

NETS, DTYPES = ("mlp", "convnet"), ("float32", "bfloat16")
SECONDS = 900


def hashes(processes, devices, steps):
    """What all processes have found for each net and dtype, by their names."""
    ways = "--net", *NETS, "--dtype", *DTYPES, "--steps", steps
    runs = started(*ways, count=processes, devices=devices)
    try:
        printed = [run.communicate(timeout=SECONDS) for run in runs]
    except subprocess.TimeoutExpired:
        for run in runs:
            run.kill()
        raise
    for run, (_, errors) in zip(runs, printed, strict=True):
        if run.returncode:
            sys.exit(f"{processes} × {devices}: exit code {run.returncode}\n{errors}")
    seen = [[line for line in out.splitlines() if line.startswith(NETS)] for out, _ in printed]
    assert all(each == seen[0] for each in seen), seen
    lines = [line.split() for line in seen[0]]
    assert all(int(size) == processes * devices for _, _, size, _ in lines)
    return {f"{net}, {dtype}": digest[:8] for net, dtype, _, digest in lines}


def main(steps=8):
    found = []
    for layout in LAYOUTS:
        found.append(hashes(*layout, steps))
        if len(found) == 1:
            print(f"| processes × devices | {' | '.join(found[0])} |\n|---|{'---|' * len(found[0])}")
        print(f"| {layout[0]} × {layout[1]} | {' | '.join(found[-1].values())} |", flush=True)
    sys.exit(0 if all(each == found[0] for each in found) else "the bits depend on the layout")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
