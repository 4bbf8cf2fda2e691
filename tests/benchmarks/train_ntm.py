"""The copy task of the Neural Turing Machine, with several seeds: what is left of the error, in bits.

    python tests/benchmarks/train_ntm.py
    python tests/benchmarks/train_ntm.py --controller lstm --seeds 0 1 2 3 4 --sequences 60000

Graves, Wayne and Danihelka 2014, §4.1 and 4.6: 8 random bits, 1 to 20 vectors, a memory of 128 × 20, 100
units, a read and a write head, one sequence a step. A row has the seed, what a sequence of the trained
lengths costs and its wrong bits, means over 1000; what longer ones cost, means over 50; after how many
sequences the mean of 1000 was first below 0.1 and 0.01 bits; and the seconds of the processor, compiling
included.
"""

import argparse
import functools
import time

import jax
import numpy as np

from funcnet import data, nn, train

LONGER = 40, 80, 120


def trained(controller, seed, sequences, rate):
    """The parameters, and the mean cost of each thousand sequences on the way."""
    params = nn.init_ntm(jax.random.key(seed), 9, 8, controller=controller)
    run = train.fit(
        train.sequence_loss,
        params,
        train.procedural(data.procedural.copy),
        optimizer=train.rmsprop(rate, sequences),
        steps=sequences,
        seed=seed,
    )
    costs = np.array([row.train_loss for row in run.history])  # means over a hundred
    return run.params, costs[: len(costs) // 10 * 10].reshape(-1, 10).mean(1)


def errors(params, lengths, number):
    draw = functools.partial(data.procedural.copy, lengths=lengths)
    return jax.tree.map(float, train.sequence_errors(params, draw, jax.random.key(10_000), number))


def row(controller, seed, sequences, rate):
    start = time.process_time()
    params, costs = trained(controller, seed, sequences, rate)
    seconds = time.process_time() - start
    first = [
        1000 * (int(np.argmax(costs < bound)) + 1) if (costs < bound).any() else "—" for bound in (0.1, 0.01)
    ]
    usual = errors(params, (1, 20), 1000)
    longer = [f"{errors(params, (n, n), 50)['loss']:.2f}" for n in LONGER]
    return [seed, f"{usual['loss']:.4f}", f"{usual['wrong_bits']:.4f}", *longer, *first, f"{seconds:.0f}"]


def main():
    parser = argparse.ArgumentParser(description="Train the copy task.")
    parser.add_argument("--controller", default="feedforward", choices=["feedforward", "lstm"])
    parser.add_argument("--seeds", type=int, nargs="+", default=range(6))
    parser.add_argument("--sequences", type=int, default=40_000)
    parser.add_argument("--rate", type=float, default=3e-4)
    options = parser.parse_args()
    print(f"{options.controller}, {options.sequences} sequences, rate {options.rate}, jax {jax.__version__}")
    names = ["seed", "1–20", "wrong bits", *LONGER, "below 0.1 after", "below 0.01 after", "CPU s"]
    print(f"| {' | '.join(map(str, names))} |\n|{'---:|' * len(names)}")
    for seed in options.seeds:
        print(
            f"| {' | '.join(map(str, row(options.controller, seed, options.sequences, options.rate)))} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
