"""One training step of the 3072-100-10 net, beside what else one would train it with.

    python tests/benchmarks/bench_training.py

Every contender trains the same net (ReLU, softmax loss, L2 on the weights) from the same initial weights
with the same optimizer (SGD with momentum 0.9, not Nesterov's) in float32 on the same CIFAR-shaped data,
shuffled anew in each epoch. One round is one epoch of 100 steps by each contender in turn, so that a
disturbance of the machine hits all of them; the first round, which compiles, is not counted. The loss over
all the data must fall to the same value for all, within 1 % for their different shuffles. Run it on an idle
machine: PyTorch and scikit-learn wait for their slowest thread and lose far more than XLA when others run.
"""

import functools
import os
import platform
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sklearn
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_info

from funcnet import data, nn, train

try:
    import torch
except ImportError:
    raise SystemExit("PyTorch, to which all are compared, is missing: pip install -e '.[torch]'") from None

SIZES = 3072, 100, 10
BATCH, STEPS, ROUNDS = 128, 100, 15
EXAMPLES = BATCH * STEPS
LEARNING_RATE, MOMENTUM, REG = 1e-3, 0.9, 1e-3


def data_loss(weights, x, y):
    """Mean softmax loss of the net, in plain jnp."""
    w1, b1, w2, b2 = weights
    scores = jax.nn.relu(x @ w1 + b1) @ w2 + b2
    return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()


def funcnet(x, y, weights):
    """funcnet.train.advance: the 100 steps are one jitted call."""
    config = train.Config(
        hidden=SIZES[1:2],
        regularization=REG,
        optimizer="momentum",
        learning_rate=LEARNING_RATE,
        schedule="constant",
        batch_size=BATCH,
    )
    part = data.Split(x, y.astype(np.int32))
    dataset = data.Dataset("random", part, part, part, tuple("0123456789"), None)
    loss, _, batches, optimizer = train.classifier(config, dataset)
    w1, b1, w2, b2 = map(jnp.array, weights)
    params = {"layer1": {"w": w1.T, "b": b1}, "layer2": {"w": w2.T, "b": b2}}
    go, state = train.advance(loss, optimizer, batches), train.init(params, optimizer)

    def epoch():
        nonlocal state
        state, _ = go(state, STEPS)
        layer1, layer2 = jax.block_until_ready(state.params).values()
        return [layer1["w"].T, layer1["b"], layer2["w"].T, layer2["b"]]

    return epoch


def pytorch(x, y, weights):
    """Eager torch.nn.Sequential and torch.optim.SGD."""
    x, y, w1, b1, w2, b2 = map(torch.tensor, (x, y, *weights))
    net = torch.nn.Sequential(torch.nn.Linear(*SIZES[:2]), torch.nn.ReLU(), torch.nn.Linear(*SIZES[1:]))
    net.load_state_dict({"0.weight": w1.T, "0.bias": b1, "2.weight": w2.T, "2.bias": b2})
    matrices, biases = [net[0].weight, net[2].weight], [net[0].bias, net[2].bias]
    groups = [{"params": matrices, "weight_decay": 2 * REG}, {"params": biases}]
    optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=MOMENTUM)

    def epoch():
        for batch in torch.randperm(EXAMPLES).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
        return [p.detach().numpy().T for p in net.parameters()]

    return epoch


def scikit_learn(x, y, weights):
    """MLPClassifier.partial_fit on all examples, which is one epoch of minibatches."""
    net = MLPClassifier(
        SIZES[1:2],
        solver="sgd",
        batch_size=BATCH,
        learning_rate_init=LEARNING_RATE,
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        alpha=2 * REG * BATCH,  # scikit-learn's penalty is alpha/2 · Σ w² / batch
    )
    net.partial_fit(x[:BATCH], y[:BATCH], classes=np.arange(SIZES[-1]))  # makes the arrays
    for array, initial in zip(net.coefs_ + net.intercepts_, weights[::2] + weights[1::2], strict=True):
        array[...] = initial

    def epoch():
        with sklearn.config_context(assume_finite=True):  # no scan of the data for NaN in every epoch
            net.partial_fit(x, y)
        return [net.coefs_[0], net.intercepts_[0], net.coefs_[1], net.intercepts_[1]]

    return epoch


def jitted_steps(x, y, weights):
    """A Python loop of jitted steps: jax.grad, optax, the data on the device."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    optimizer = optax.sgd(LEARNING_RATE, MOMENTUM)
    params = [jnp.array(array) for array in weights]
    state = params, optimizer.init(params)
    generator = np.random.default_rng(0)

    def loss(params, x, y):
        return data_loss(params, x, y) + REG * sum((w**2).sum() for w in params[::2])

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, x, y, batch):
        params, momenta = state
        updates, momenta = optimizer.update(jax.grad(loss)(params, x[batch], y[batch]), momenta)
        return optax.apply_updates(params, updates), momenta

    def epoch():
        nonlocal state
        for batch in generator.permutation(EXAMPLES).reshape(STEPS, BATCH):
            state = step(state, x, y, batch)
        return jax.block_until_ready(state[0])

    return epoch


REFERENCE = "PyTorch, eager"
CONTENDERS = {
    "funcnet": funcnet,
    REFERENCE: pytorch,
    "scikit-learn MLPClassifier": scikit_learn,
    "Python loop of jitted steps, `jax.grad` + optax": jitted_steps,
}


def make_data():
    """Standard normal pixels, and labels by a random linear map of them."""
    generator = np.random.default_rng(231)
    x = generator.standard_normal((EXAMPLES, SIZES[0]), np.float32)
    return x, (x @ generator.standard_normal((SIZES[0], SIZES[-1]), np.float32)).argmax(axis=1)


def make_weights():
    """w1, b1, w2, b2 by the initialization of He et al. 2015."""
    params = nn.init_mlp(jax.random.key(231), SIZES)
    return [np.array(params[layer][name]) for layer in ("layer1", "layer2") for name in ("w", "b")]


def main():
    (x, y), initial = make_data(), make_weights()
    epochs = {name: contender(x, y, initial) for name, contender in CONTENDERS.items()}
    trained = {name: epoch() for name, epoch in epochs.items()}
    times = {name: [] for name in epochs}
    for _ in range(ROUNDS):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            trained[name] = epoch()
            times[name].append((time.perf_counter() - start) / STEPS * 1e6)
    before, *after = (float(data_loss(weights, x, y)) for weights in (initial, *trained.values()))
    assert after[0] < before / 2
    np.testing.assert_allclose(after, after[0], rtol=0.01)
    print(table(times), machine(), f"Loss: {before:.3f} before, {after[0]:.3f} after.", sep="\n\n")


def table(times):
    """Markdown: medians over the rounds, and the fastest round."""
    rows = ["| contender | µs per step | ratio | fastest round | ratio |", "|---|---:|---:|---:|---:|"]
    for name, measured in times.items():
        columns = [name]
        for statistic in statistics.median, min:
            value, reference = statistic(measured), statistic(times[REFERENCE])
            columns += [f"{value:.0f}", f"{value / reference:.2f}"]
        rows.append(f"| {' | '.join(columns)} |")
    return "\n".join(rows)


def machine():
    """What the numbers belong to: processor, load of the last minute, versions, threads."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next(line.split(": ")[1] for line in cpuinfo if line.startswith("model name"))
    libraries = ", ".join(f"{module.__name__} {module.__version__}" for module in (jax, torch, sklearn, np))
    pools = sorted({f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()})
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{cpu}, {cores}; Python {platform.python_version()}, {libraries}; threads: {', '.join(pools)}."


if __name__ == "__main__":
    main()
