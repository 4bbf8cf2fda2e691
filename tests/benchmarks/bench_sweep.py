"""A grid of runs in one jitted call, beside a Python loop of the same runs.

    python tests/benchmarks/bench_sweep.py

3 seeds × 3 widths × 3 λ × 2 activations, 54 nets on the 300 points of the spiral, by `funcnet.train.sweep`
and by `funcnet.train.fit` one after the other. The first round compiles, the sweep one program and the loop
one for each setting; the others are taken in turn, and the fastest counts. Both must end at the same losses:
they differ by rounding, which 300 steps of Adam amplify.
"""

import itertools
import time
from dataclasses import replace

import jax
import numpy as np

from funcnet.data import load
from funcnet.train import Config, fit, sweep

CONFIG = Config(
    data="spiral", batch_size=300, epochs=300, optimizer="adam", learning_rate=0.03, schedule="cosine"
)
AXES = {
    "seed": (0, 1, 2),
    "hidden": ((3,), (6,), (20,)),
    "regularization": (1e-3, 1e-2, 1e-1),
    "activation": ("relu", "tanh"),
}
ROUNDS = 3


def together(dataset):
    """The losses [3, 3, 3, 2] of all runs, trained by one call."""
    return sweep(CONFIG, dataset, **AXES).train.loss


def one_by_one(dataset):
    """The same losses, trained by a loop."""
    settings = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*AXES.values())]
    runs = [fit(replace(CONFIG, **setting), dataset) for setting in settings]
    losses = [float(run.evaluate(dataset.train).loss) for run in runs]
    return np.reshape(losses, [len(values) for values in AXES.values()])


def main():
    dataset = load(CONFIG.data)
    seconds = {together: [], one_by_one: []}
    losses = {}
    for _ in range(1 + ROUNDS):
        for train, times in seconds.items():
            start = time.perf_counter()
            losses[train] = train(dataset)
            times.append(time.perf_counter() - start)
    difference = np.abs(losses[together] - losses[one_by_one]).max()
    assert difference < 1e-3
    print(f"jax {jax.__version__}, {losses[together].size} runs; seconds, and how many times the sweep's")
    for name, statistic in [
        ("compiling", lambda times: times[0]),
        ("compiled", lambda times: min(times[1:])),
    ]:
        of_sweep, of_loop = statistic(seconds[together]), statistic(seconds[one_by_one])
        print(f"{name:9}   sweep {of_sweep:6.2f}   loop {of_loop:6.2f}   {of_loop / of_sweep:.1f} ×")
    print(f"largest difference between two losses: {difference:.1e}")


if __name__ == "__main__":
    main()
