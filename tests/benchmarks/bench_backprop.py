"""What a gradient costs: `funcnet.value_and_grad` / `jax.value_and_grad`.

    python -m tests.benchmarks.bench_backprop

One row a program of tests/backprop/programs.py. Tracing is timed with a new
function object each time, so that no trace is found again; "first" is the first trace of a new process, with
all that it loads. Timings are medians over rounds in which the two take turns, so that a disturbance of the
machine hits both; FLOPs and bytes are counts of the compiled program. Run it on an idle machine.
"""

import math
import os
import platform
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp

import funcnet
from tests.backprop.programs import MEASURES, PROGRAMS, compiled, ratio

CONTENDERS = {"funcnet": funcnet.value_and_grad, "jax": jax.value_and_grad}
ROUNDS = 21
DEPTHS = 10, 30, 100, 300, 1000


def trace(value_and_grad, function, arguments):
    """Seconds to trace the value and gradient of a function that was never traced before."""
    fresh = jax.jit(value_and_grad(lambda *args: function(*args)))
    start = time.perf_counter()
    fresh.trace(*arguments)
    return time.perf_counter() - start


def step(run, arguments, calls):
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(run(*arguments))
    return (time.perf_counter() - start) / calls


def medians(seconds, rounds=ROUNDS):
    """The median of each contender's seconds; they take turns, and the first round does not count."""
    times = [[seconds(of) for of in CONTENDERS.values()] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def first_trace(program, rounds=3):
    """The ratio of the first traces in new processes."""

    def seconds(of):
        name = next(name for name, contender in CONTENDERS.items() if contender is of)
        command = [sys.executable, "-m", "tests.benchmarks.bench_backprop", str(program), name]
        return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    ours, theirs = medians(seconds, rounds)
    return ours / theirs


def ratios(program):
    """funcnet's cost, JAX's being 1, in the order of the table's columns."""
    arguments = program.sample()
    ours, theirs = medians(lambda of: trace(of, program.function, arguments))
    runs = {of: compiled(program, of) for of in CONTENDERS.values()}
    counts = [ratio(program, measure) for measure in MEASURES.values()]
    calls = math.ceil(0.01 / step(runs[jax.value_and_grad], arguments, 3))
    our_step, their_step = medians(lambda of: step(runs[of], arguments, calls))
    return [ours / theirs, first_trace(program), *counts, our_step / their_step]


def chain(layers):
    """A deep net of tanh layers of width 2, and its arguments."""

    def loss(weights, x):
        for w in weights:
            x = jnp.tanh(x @ w)
        return jnp.mean(x**2)

    return loss, ([jnp.ones((2, 2))] * layers, jnp.ones((3, 2)))


def main():
    columns = ["tracing", "first", *MEASURES, "step time"]
    print(f"{'program':22}", *(f"{column:>15}" for column in columns))
    rows = []
    for program in PROGRAMS:
        rows.append(ratios(program))
        print(line(str(program), rows[-1]), flush=True)
    print(line("geometric mean", [statistics.geometric_mean(column) for column in zip(*rows, strict=True)]))
    print(f"\n{'layers':>6} {'funcnet ms':>12} {'jax ms':>8} {'ratio':>6}")
    for layers in DEPTHS:
        loss, arguments = chain(layers)
        ours, theirs = medians(lambda of: trace(of, loss, arguments), rounds=7)  # noqa: B023
        print(f"{layers:6} {ours * 1e3:12.1f} {theirs * 1e3:8.1f} {ours / theirs:6.2f}", flush=True)
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"\n{machine}; Python {platform.python_version()}, jax {jax.__version__}")


def line(name, numbers):
    return " ".join([f"{name:22}", *(f"{number:15.3f}" for number in numbers)])


if __name__ == "__main__":
    if sys.argv[1:]:
        program = next(program for program in PROGRAMS if str(program) == sys.argv[1])
        print(trace(CONTENDERS[sys.argv[2]], program.function, program.sample()))
    else:
        main()
