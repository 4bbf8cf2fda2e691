"""Train a deep net in less memory than its plain gradient needs.

    python -m tests.benchmarks.train_within

The same training runs twice, each time in a process of its own that may have so many more bytes of address
space than it has when JAX is ready (as by `ulimit -v`): once as it is, which the system ends, and once with
a budget of that many bytes for the gradient, which trains.
"""

import resource
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import funcnet

DEPTH, WIDTH, BATCH, STEPS = 32, 64, 2**16, 5
ALLOWED = 960 * 2**20
BUDGET = "384 MiB"


def loss(layers, x, y):
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    return jnp.mean((x @ w + b - y) ** 2)


def train(budget):
    rng = np.random.default_rng(231)
    layers = [
        (
            rng.normal(size=(WIDTH, WIDTH), scale=(2 / WIDTH) ** 0.5).astype(np.float32),
            np.zeros(WIDTH, np.float32),
        )
        for _ in range(DEPTH)
    ]
    x, y = (jnp.asarray(rng.normal(size=(BATCH, WIDTH)), jnp.float32) for _ in range(2))
    layers, optimizer = jax.tree.map(jnp.asarray, layers), optax.adam(1e-3)
    state = optimizer.init(layers)

    @jax.jit
    def step(layers, state):
        value, gradients = funcnet.value_and_grad(loss, budget=budget)(layers, x, y)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(layers, updates), state, value

    compiled = step.lower(layers, state).compile()
    print(f"temporary bytes: {compiled.memory_analysis().temp_size_in_bytes / 2**20:.0f} MiB", flush=True)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ALLOWED, taken + ALLOWED))
    for _ in range(STEPS):
        layers, state, value = compiled(layers, state)
        print(f"loss {float(value):.4f}", flush=True)


def main():
    for budget in ("None", BUDGET):
        print(f"budget {budget}, {ALLOWED / 2**20:.0f} MiB allowed", flush=True)
        command = [sys.executable, "-m", "tests.benchmarks.train_within", budget]
        status = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        print(f"exit status {status.returncode}", *status.stderr.strip().splitlines()[-1:], flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        train(None if sys.argv[1] == "None" else sys.argv[1])
    else:
        main()
