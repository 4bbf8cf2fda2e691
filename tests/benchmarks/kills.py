"""Runs that are killed again and again at random moments, and resumed: do they end in the same bytes?

    python -m tests.benchmarks.kills [kills]

By turns an MLP (`fit(config, dataset)`) and a convolutional net of flax with dropout and running statistics
(`fit(loss, …)`) are trained on the digits in processes of their own. A run is killed ten times by KILL, TERM
or INT, each time when it has reached a step drawn from all of its steps, and after a moment more. Its
weights, the state of its optimizer and the rows of watch.csv must be those of a run that nobody disturbed.
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from funcnet.train.checkpoint import read

KILLS_A_RUN = 10
SIGNALS = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
STEPS = {"mlp": 20_000, "conv": 1_000}


def mlp(**options):
    """The classifier, a chunk of 93 steps at a time."""
    from funcnet.data import load
    from funcnet.train import Config, fit

    config = Config(hidden=(64,), batch_size=2, epochs=-(-STEPS["mlp"] // 646), optimizer="adam")
    return fit(config, load("digits"), **options)


def conv(**options):
    """A net of flax, on batches that a thread reads ahead."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen

    from funcnet.data import load
    from funcnet.train import fit, from_source

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x, training):
            x = linen.relu(linen.Conv(8, (3, 3), strides=2)(x.reshape(-1, 8, 8, 1)))
            x = linen.BatchNorm(use_running_average=not training)(x.reshape(len(x), -1))
            return linen.Dense(10)(linen.Dropout(0.1, deterministic=not training)(x))

    def loss(variables, batch, key):
        x, y = batch
        scores, kept = net.apply(variables, x, True, rngs={"dropout": key}, mutable=["batch_stats"])
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, y)
        return jnp.mean(losses), {"accuracy": jnp.mean(scores.argmax(1) == y)}, kept

    net, digits = Net(), load("digits")
    variables = net.init(jax.random.key(0), digits.train.x[:1], False)
    source = from_source(tuple(digits.train), 64)
    return fit(loss, variables, source, optimizer=optax.adamw(1e-3), steps=STEPS["conv"], **options)


def start(net, folder, cache):
    """A process that trains in the folder, goes on with what is there, and prints how far it is."""
    code = (
        "import jax\n"
        f"jax.config.update('jax_compilation_cache_dir', {str(cache)!r})\n"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
        "from pathlib import Path\n"
        "from tests.benchmarks import kills\n"
        f"folder = Path({str(folder)!r})\n"
        "def say(state, metrics):\n"
        "    print(int(state.step), flush=True)\n"
        "begun = (folder / 'config.json').exists()\n"
        f"kills.{net}(folder=folder, resume=begun, save_every=0.2, watch=100, hook=say)\n"
    )
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def disturbed(net, folder, cache, draw, count):
    """Trains to the end, and is killed so often on the way; the signals that it was killed by."""
    moments = sorted(draw.randrange(STEPS[net]) for _ in range(KILLS_A_RUN))
    for moment in moments:
        with start(net, folder, cache) as process:
            for line in process.stdout:
                if int(line) >= moment:
                    time.sleep(draw.uniform(0, 0.1))
                    break
            kill = draw.choice(SIGNALS)
            process.send_signal(kill)
            process.stdout.read()
        count[kill.name] += process.returncode != 0  # 0: it was over before it could be killed
    with start(net, folder, cache) as process:
        process.stdout.read()
    assert process.returncode == 0


def same(one, other):
    """Whether two folders hold the same parameters, optimizer state, weights and rows, bit for bit."""
    states = [read(folder / "checkpoint.safetensors")[0] for folder in (one, other)]
    bits = [{name: array.tobytes() for name, array in state.items()} for state in states]
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (one, other)]
    rows = [(folder / "watch.csv").read_bytes() for folder in (one, other)]
    return bits[0] == bits[1] and weights[0] == weights[1] and rows[0] == rows[1]


def main(kills=100):
    draw, count, good = random.Random(231), Counter(), Counter()
    with tempfile.TemporaryDirectory() as home:
        home = Path(home)
        for net in STEPS:
            with start(net, home / net, home / "cache") as process:
                process.stdout.read()
            assert process.returncode == 0
        for run in range(kills // KILLS_A_RUN):
            net = [*STEPS][run % len(STEPS)]
            folder = home / f"{net}-{run}"
            disturbed(net, folder, home / "cache", draw, count)
            good[net] += same(home / net, folder)
            print(f"{net}: {dict(count)} so far; runs that ended in the same bytes: {dict(good)}", flush=True)
            assert good.total() == run + 1
    print(
        f"{count.total()} kills, {dict(count)}: {good.total()} of {kills // KILLS_A_RUN} runs bit-identical"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
