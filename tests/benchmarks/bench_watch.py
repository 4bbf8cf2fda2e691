"""What a step pays for the flag of finite numbers, for norms, and for more than norms in each hundredth step.

    python -m tests.benchmarks.bench_watch

An MLP 784-512-256-10 and a transformer of two blocks take the same steps in one loop each way: without the
flag, with it (what `fit` always does: it keeps a copy of the state, and looks at the state and the losses at
the end), with all norms, and watched (`watch=100`). A round is one call of each in turn; what counts is the
ratio of the fastest calls, in the time of the clock and of the processor.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from funcnet import nn, train, value_and_grad
from funcnet.train import state as one
from funcnet.train import steps as many
from tests.benchmarks.bench_loops import CASES

ROUNDS = 15


def mlp():
    """Loss, parameters, data and batch size of the MLP."""
    rng = np.random.default_rng(231)
    x, y = rng.standard_normal((6400, 784), np.float32), rng.integers(0, 10, 6400, np.int32)

    def loss(params, batch):
        return nn.softmax_loss(nn.mlp(params, batch[0], activation=nn.relu), batch[1]).mean()

    return loss, nn.init_mlp(jax.random.key(0), (784, 512, 256, 10)), (x, y), 64


def transformer():
    """The same of the transformer of `bench_loops`."""
    net, make, size = CASES["flax transformer"]
    data = make(np.random.default_rng(231))

    def loss(params, batch):
        x, y = batch
        return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, x), y).mean()

    return loss, net.init(jax.random.key(0), data[0][:1]), data, size


def call(loss, params, data, size, watch, flag, first):
    """A function that takes the steps that are loaded at once, from the first on, and returns how many."""
    optimizer = optax.sgd(1e-3, 0.9)
    batches = train.in_memory(data, size)
    way = one.Way(lambda p, b: loss(p, b), optimizer, value_and_grad)
    task = many.Task.of(way, batches, 0, watch)
    state = train.init(params, optimizer)._replace(step=jnp.int32(first))
    steps = min(100, batches.turns) - first

    def run():
        nonlocal state
        data = batches.load(0, first, steps)
        if flag:
            after, *_, good = many.take_chunk(task, state, data, first, steps)
            assert good
        else:
            after, _ = many.take_steps(task, state, data, first, steps, batches.turns)
        state = jax.block_until_ready(after)._replace(step=jnp.int32(first))
        return steps

    return run


def main():
    print("| | clock | processor |\n|---|---:|---:|")
    for name, make in {"MLP 784-512-256-10": mlp, "transformer, 2 blocks": transformer}.items():
        runs = {way: call(*make(), *options) for way, options in WAYS.items()}
        for run in runs.values():
            run()  # compiles
        best = {way: [np.inf, np.inf] for way in runs}
        for _ in range(ROUNDS):
            for way, run in runs.items():
                clock, processor = time.perf_counter(), time.process_time()
                steps = run()
                its = (time.perf_counter() - clock) / steps, (time.process_time() - processor) / steps
                best[way] = [*map(min, best[way], its)]
        for way, base in (("flag", "bare"), ("norms", "flag"), ("watched", "flag")):
            ratios = [mine / theirs for mine, theirs in zip(best[way], best[base], strict=True)]
            print(f"| {name}, {way} / {base} | {ratios[0]:.3f} | {ratios[1]:.3f} |", flush=True)


WAYS = {"bare": (0, False, 0), "flag": (0, True, 0), "norms": (100, True, 1), "watched": (100, True, 0)}
"""How many steps lie between those in which more than norms are measured, the flag, and the first step."""

if __name__ == "__main__":
    main()
