"""`funcnet.train.fit` beside the loop that people write by hand with flax and optax.

    python -m tests.benchmarks.bench_loops

A convolutional net and a transformer of two blocks, each trained by `fit` (with funcnet's gradients, and with
`grad=jax.value_and_grad`) and by a Python loop over jitted, donated steps that gather their batch on the
device. All take the same steps from the same parameters on batches of one size. A round is five epochs of
each in turn; what counts is the median over rounds of the ratio to the loop of the same round, in the time of
the clock and in that of the processor, which other processes on the machine disturb less.
"""

import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

from funcnet import train

ROUNDS, EPOCHS = 7, 5
OPTIMIZER = optax.adamw(1e-3)


class ConvNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        for features in (16, 32):
            x = linen.avg_pool(linen.relu(linen.Conv(features, (3, 3))(x)), (2, 2), (2, 2))
        return linen.Dense(10)(x.reshape(len(x), -1))


class Transformer(linen.Module):
    @linen.compact
    def __call__(self, tokens):
        x = linen.Embed(64, 64)(tokens) + linen.Embed(64, 64)(jnp.arange(tokens.shape[-1]))
        for _ in range(2):
            y = linen.LayerNorm()(x)
            x = x + linen.MultiHeadDotProductAttention(4)(y, mask=linen.make_causal_mask(tokens))
            x = x + linen.Dense(64)(linen.gelu(linen.Dense(256)(linen.LayerNorm()(x))))
        return linen.Dense(64)(linen.LayerNorm()(x))


def images(rng):
    x = rng.standard_normal((1280, 28, 28, 1), np.float32)
    return x, rng.integers(0, 10, len(x), np.int32)


def sequences(rng):
    tokens = rng.integers(0, 64, (640, 33), np.int32)
    return tokens[:, :-1], tokens[:, 1:]


CASES = {"flax conv net": (ConvNet(), images, 64), "flax transformer": (Transformer(), sequences, 16)}


def by_hand(loss, params, data, size):
    """Epochs of jitted steps, the usual way."""
    data = jax.tree.map(jnp.asarray, data)
    state = jax.tree.map(jnp.array, (params, OPTIMIZER.init(params)))
    rng = np.random.default_rng(0)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, data, rows):
        params, optimizer_state = state
        value, gradients = jax.value_and_grad(loss)(params, jax.tree.map(lambda a: a[rows], data))
        updates, optimizer_state = OPTIMIZER.update(gradients, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), value

    def run():
        nonlocal state
        for _ in range(EPOCHS):
            losses = []
            for rows in rng.permutation(len(data[0])).reshape(-1, size):
                state, value = step(state, data, rows)
                losses.append(value)
            mean = float(np.mean(jax.device_get(losses)))
        return mean

    return run


def by_fit(loss, params, data, size, grad=None):
    """Epochs of the loop, from the parameters that the last ones ended with."""
    batches = train.in_memory(data, size)
    options = {} if grad is None else {"grad": grad}

    def run():
        nonlocal params
        steps = EPOCHS * batches.per_epoch
        done = train.fit(loss, params, batches, optimizer=OPTIMIZER, steps=steps, **options)
        params = done.params
        return done.history[-1].train_loss

    return run


WAYS = {
    "by hand": by_hand,
    "fit": by_fit,
    "fit, grad=jax.value_and_grad": functools.partial(by_fit, grad=jax.value_and_grad),
}


def measure(case):
    """For each way the ratios to the loop by hand, by round: of clock and of processor time."""
    net, make, size = CASES[case]
    data = make(np.random.default_rng(231))
    params = net.init(jax.random.key(0), data[0][:1])

    def loss(params, batch):
        x, y = batch
        return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, x), y).mean()

    runs = {name: way(loss, params, data, size) for name, way in WAYS.items()}
    first = {name: run() for name, run in runs.items()}  # compiles
    np.testing.assert_allclose([*first.values()], first["by hand"], rtol=0.05)
    ratios = {name: [] for name in runs}
    for _ in range(ROUNDS):
        times = {}
        for name, run in runs.items():
            clock, processor = time.perf_counter(), time.process_time()
            run()
            times[name] = time.perf_counter() - clock, time.process_time() - processor
        for name, its in times.items():
            ratios[name].append([mine / theirs for mine, theirs in zip(its, times["by hand"], strict=True)])
    steps = EPOCHS * (len(data[0]) // size)
    print(f"| {case}, by hand | {1e3 * times['by hand'][0] / steps:.1f} ms a step | |")
    return ratios


def main():
    print("| | clock, × the loop by hand | processor |\n|---|---:|---:|")
    for case in CASES:
        for name, measured in measure(case).items():
            clock, processor = (statistics.median(column) for column in zip(*measured, strict=True))
            print(f"| {case}, {name} | {clock:.2f} | {processor:.2f} |", flush=True)


if __name__ == "__main__":
    main()
