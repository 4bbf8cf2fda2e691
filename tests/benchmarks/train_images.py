"""The convolutional and the randomly wired nets on Fashion-MNIST: test accuracy, and what it took.

    python -m tests.benchmarks.train_images FOLDER [convnet] [flax] [randwired]

FOLDER has the four idx files. `convnet` trains it as its preset says. `flax` takes the same steps with the
same net in flax's linen, trained by the loop that people write by hand with optax, in turns with ours.
`randwired` trains five random graphs, WS(4, 0.75) of 32 nodes a stage, each once, and beside them the regular
one, WS(4, 0), which has as many nodes and edges.
"""

import sys
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

from funcnet.data import load, standardize
from funcnet.train import advance, classifier, fit, init
from funcnet.train.models.presets import PRESETS

WIRED = replace(PRESETS["randwired"], channels=(8,), hidden=(256,), epochs=2)
ROUNDS = 5


def trained(config, dataset):
    """A run, its test accuracy, and the seconds of clock and processor that it took."""
    clock, processor = time.perf_counter(), time.process_time()
    run = fit(config, dataset)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    size = sum(leaf.size for leaf in jax.tree.leaves({**run.params, "statistics": ()}))
    return float(run.evaluate(dataset.test).accuracy), size, clock, processor


def row(name, accuracy, size, clock, processor):
    print(f"| {name} | {size:,} | {accuracy:.4f} | {clock:.0f} | {processor:.0f} |", flush=True)


def convnet(dataset):
    row("convnet", *trained(replace(PRESETS["convnet"], data=dataset.name), dataset))


def randwired(dataset):
    accuracies = []
    for seed in range(5):
        measured = trained(replace(WIRED, data=dataset.name, seed=seed), dataset)
        accuracies.append(measured[0])
        row(f"randwired, graph {seed + 1}", *measured)
    mean, spread = np.mean(accuracies), np.std(accuracies, ddof=1)
    print(f"| randwired, five graphs | | {mean:.4f} ± {spread:.4f} | | |", flush=True)
    row("regular wiring", *trained(replace(WIRED, data=dataset.name, wiring="ws:32:4:0.0"), dataset))


class ConvNet(linen.Module):
    """The net of `funcnet.nn.convnet`."""

    @linen.compact
    def __call__(self, x, *, deterministic):
        for channels in (32, 64):
            x = linen.max_pool(linen.relu(linen.Conv(channels, (3, 3))(x)), (2, 2), (2, 2))
        x = linen.relu(linen.Dense(128)(x.reshape(len(x), -1)))
        x = linen.Dropout(0.5, deterministic=deterministic)(x)
        return linen.Dense(10)(x)


def flax(dataset):
    config = replace(PRESETS["convnet"], data=dataset.name)
    standard, _ = standardize(dataset)
    loss, params, batches, update = classifier(config, standard)
    size, steps = config.batch_size, 200
    x, y = jnp.asarray(standard.train.x.reshape(-1, 28, 28, 1)), jnp.asarray(standard.train.y)
    net, key = ConvNet(), jax.random.key(0)
    theirs = net.init(key, x[:1], deterministic=True)
    optimizer = optax.adamw(1e-3, weight_decay=2 * config.regularization)

    def objective(params, x, y, key):
        scores = net.apply(params, x, deterministic=False, rngs={"dropout": key})
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    @jax.jit
    def step(params, state, rows, key):
        value, gradients = jax.value_and_grad(objective)(params, x[rows], y[rows], key)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    def by_hand():
        p, state, order = theirs, optimizer.init(theirs), np.random.default_rng(0).permutation(len(x))
        for n in range(steps):
            p, state, _ = step(p, state, order[n * size : (n + 1) * size], jax.random.fold_in(key, n))
        jax.block_until_ready(p)

    go = advance(loss, update, batches)

    def ours():
        jax.block_until_ready(go(init(params, update), steps))

    assert sum(p.size for p in jax.tree.leaves(theirs)) == sum(p.size for p in jax.tree.leaves(params))
    measured = []
    for _ in range(ROUNDS + 1):
        spent = []
        for run in (by_hand, ours):
            clock, processor = time.perf_counter(), time.process_time()
            run()
            spent.append((time.perf_counter() - clock, time.process_time() - processor))
        measured.append(spent)
    seconds = np.array(measured[1:])  # the first round compiles
    for name, of in zip(("flax and optax, by hand", "funcnet"), seconds.transpose(1, 0, 2), strict=True):
        clock, processor = np.median(of / seconds[:, 0], axis=0)
        print(f"| {name} | {1e3 * np.median(of[:, 0]) / steps:.1f} ms | {clock:.2f} | {processor:.2f} |")


def main():
    folder, *wanted = sys.argv[1:]
    dataset = load(f"idx:{folder}")
    for part in (convnet, flax, randwired):
        if part.__name__ in wanted or not wanted:
            part(dataset)


if __name__ == "__main__":
    main()
