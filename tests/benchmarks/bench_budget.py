"""What a memory budget saves and costs: `funcnet.value_and_grad(f, budget=…)` / `jax.value_and_grad(f)`.

    python -m tests.benchmarks.bench_budget [--time] [part of a program's name …]

One row a program, one column a contender: temporary bytes of the compiled program, and its FLOPs, those of
`jax.value_and_grad` being 1. Beside the budgets stand jax.checkpoint with each of its policies, around every
layer. A budget that is too small for a program is replaced by the smallest possible one, marked with a star.
Batches are much larger than layers are wide: else XLA hides what is kept in buffers of results. Bytes
and FLOPs are counts by XLA (`memory_analysis`, `cost_analysis`); as that counts the body of a loop once, the
FLOPs of programs with a scan are counted in the traced program, product by product. `--time` adds the
processor's time a step, the contenders taking turns.
"""

import functools
import itertools
import math
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import funcnet
from funcnet import nn
from funcnet._errors import ParameterError
from tests.backprop.programs import MEASURES, block, convolve, cross_entropy, transformer_layer

BUDGETS = 1, "auto", 0.75, 0.5, 0.25
SAVE = jax.checkpoint_policies
POLICIES = {
    "nothing": SAVE.nothing_saveable,
    "dots": SAVE.dots_saveable,
    "no batch": SAVE.dots_with_no_batch_dims_saveable,
    "everything": SAVE.everything_saveable,
}


@dataclass(frozen=True, eq=False)
class Deep:
    """A deep net: `loss(around, params, *data)`, where `around` is put around each of its layers."""

    name: str
    loss: Callable[..., Any]
    arguments: Callable[[np.random.Generator], tuple[Any, ...]]
    scanned: bool = False

    def sample(self):
        return jax.tree.map(_in_float32, self.arguments(np.random.default_rng(231)))

    def plain(self):
        return functools.partial(self.loss, lambda layer: layer)


def _in_float32(x):
    return jnp.asarray(x, jnp.float32 if np.issubdtype(np.asarray(x).dtype, np.floating) else None)


def mlp(activation):
    def loss(around, layers, x):
        layer = around(lambda p, x: activation(x @ p[0] + p[1]))
        for p in layers:
            x = layer(p, x)
        return jnp.mean(x**2)

    return loss


def mlp_arguments(rng, depth=32, width=128, batch=1024):
    layers = [
        (rng.normal(size=(width, width)) / np.sqrt(width), rng.normal(size=width) / 10) for _ in range(depth)
    ]
    return layers, rng.normal(size=(batch, width))


def transformer(around, params, tokens):
    layer = around(block)
    x = params["embedding"][tokens[:, :-1]]
    for p in params["layers"]:
        x = layer(p, x)
    return cross_entropy(x @ params["embedding"].T, tokens[:, 1:])


def scanned_transformer(around, params, tokens):
    layer = around(block)
    x = params["embedding"][tokens[:, :-1]]
    x, _ = lax.scan(lambda x, p: (layer(p, x), None), x, params["layers"])
    return cross_entropy(x @ params["embedding"].T, tokens[:, 1:])


def transformer_arguments(rng, stacked, depth=8, batch=32, length=33, vocabulary=50, features=64):
    layers = [transformer_layer(rng, features) for _ in range(depth)]
    params = {"embedding": rng.normal(size=(vocabulary, features)) / 6, "layers": layers}
    if stacked:
        params["layers"] = jax.tree.map(lambda *ws: np.stack(ws), *layers)
    return params, rng.integers(vocabulary, size=(batch, length), dtype=np.int32)


def residual(around, kernels, x):
    layer = around(lambda p, x: x + convolve(jax.nn.relu(convolve(x, p[0])), p[1]))
    for p in kernels:
        x = layer(p, x)
    return jnp.mean(x**2)


def residual_arguments(rng, depth=16, channels=8, batch=16, size=16):
    kernels = [
        tuple(rng.normal(size=(3, 3, channels, channels)) / 20 for _ in range(2)) for _ in range(depth)
    ]
    return kernels, rng.normal(size=(batch, size, size, channels))


def lstm(around, params, xs, targets):
    w, u, b, out = params

    @around
    def step(state, x):
        h, c = state
        i, f, g, o = jnp.split(x @ w + h @ u + b, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    start = jnp.zeros((xs.shape[1], len(u)), xs.dtype)
    (h, _), _ = lax.scan(step, (start, start), xs)
    return jnp.mean((h @ out - targets) ** 2)


def lstm_arguments(rng, steps=64, batch=256, inputs=8, units=32, outputs=4):
    w, u = rng.normal(size=(inputs, 4 * units)) / 4, rng.normal(size=(units, 4 * units)) / 6
    params = w, u, rng.normal(size=4 * units), rng.normal(size=(units, outputs)) / 6
    return params, rng.normal(size=(steps, batch, inputs)), rng.normal(size=(batch, outputs))


def u_shaped(around, params, x):
    """Ronneberger et al. 2015: down, with what was there kept, and up again."""
    layer = around(lambda ws, x: functools.reduce(lambda x, w: jax.nn.relu(convolve(x, w)), ws, x))
    skips = []
    for ws in params["down"]:
        skips.append(x := layer(ws, x))
        x = lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    x = layer(params["middle"], x)
    for ws, skip in zip(params["up"], reversed(skips), strict=True):
        x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        x = layer(ws, jnp.concatenate([x, skip], axis=-1))
    return jnp.mean(x**2)


def u_shaped_arguments(rng, batch=16, size=32, channels=4, levels=3):
    def kernels(*widths):
        return [rng.normal(size=(3, 3, m, n)) / np.sqrt(9 * m) for m, n in itertools.pairwise(widths)]

    widths = [channels * 2**level for level in range(levels + 1)]
    down = [kernels(a // 2 if a > channels else channels, a, a, a) for a in widths[:-1]]
    up = [kernels(b + a, a, a, a) for a, b in zip(reversed(widths[:-1]), reversed(widths[1:]), strict=True)]
    params = {"down": down, "middle": kernels(widths[-2], widths[-1], widths[-1]), "up": up}
    return params, rng.normal(size=(batch, size, size, channels))


def our_convnet(around, params, images, labels):
    return nn.softmax_loss(around(nn.convnet)(params, images), labels).mean()


def our_convnet_arguments(rng, batch=64, size=32):
    params = nn.init_convnet(jax.random.key(231), (size, size, 3), 10, channels=(8, 16, 32, 32), hidden=32)
    return params, rng.normal(size=(batch, size, size, 3)), rng.integers(10, size=batch, dtype=np.int32)


WIRING = [nn.random_graph("ws", 12, 4, 0.75, seed=seed) for seed in range(2)]


def our_randwired(around, params, statistics, images, labels):
    net = around(functools.partial(nn.randwired, graphs=WIRING, training=True))
    return nn.softmax_loss(net(params, statistics, images)[0], labels).mean()


def our_randwired_arguments(rng, batch=16, size=32):
    params, running = nn.init_randwired(jax.random.key(231), WIRING, 10, channels=8, head=32)
    return (
        params,
        running,
        rng.normal(size=(batch, size, size, 3)),
        rng.integers(10, size=batch, dtype=np.int32),
    )


PROGRAMS = [
    Deep("MLP, 32 tanh", mlp(jnp.tanh), mlp_arguments),
    Deep("MLP, 32 relu", mlp(jax.nn.relu), mlp_arguments),
    Deep("MLP, 32 gelu", mlp(jax.nn.gelu), mlp_arguments),
    Deep("MLP, 48 silu", mlp(jax.nn.silu), functools.partial(mlp_arguments, depth=48, width=64)),
    Deep("transformer, 8", transformer, functools.partial(transformer_arguments, stacked=False)),
    Deep(
        "transformer, scanned",
        scanned_transformer,
        functools.partial(transformer_arguments, stacked=True),
        True,
    ),
    Deep("residual conv, 16", residual, residual_arguments),
    Deep("LSTM, 64 steps", lstm, lstm_arguments, True),
    Deep("U-shaped", u_shaped, u_shaped_arguments),
    Deep("our conv net", our_convnet, our_convnet_arguments),
    Deep("our randwired", our_randwired, our_randwired_arguments),
]


def possible(program, budget, arguments):
    """The function from the arguments to value and gradient within a budget, or within the smallest one."""
    function = funcnet.value_and_grad(program.plain(), budget=budget)
    try:
        jax.eval_shape(function, *arguments)
    except ParameterError as error:
        (least,) = re.findall(r"the smallest possible one is ([\d.]+)", str(error))
        return funcnet.value_and_grad(program.plain(), budget=float(least)), "*"
    return function, ""


def contenders(program):
    """By name, functions from the arguments to value and gradient; the first is the measure."""
    found = {"jax": (jax.value_and_grad(program.plain()), "")}
    for budget in BUDGETS:
        found[f"{budget}"] = possible(program, budget, program.sample())
    for name, policy in POLICIES.items():
        around = functools.partial(jax.checkpoint, policy=policy)
        found[name] = jax.value_and_grad(functools.partial(program.loss, around)), ""
    return found


def operations(jaxpr):
    """FLOPs of the products in a traced program, a loop's as often as it runs."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            lengths = (eqn.invars[0].aval.shape[axis] for axis in contracted)
            total += 2 * eqn.outvars[0].aval.size * math.prod(lengths)
        for inner in eqn.params.values():
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                total += eqn.params.get("length", 1) * operations(inner)
    return total


def costs(program, function):
    """Temporary bytes, FLOPs and the compiled function."""
    arguments = program.sample()
    traced = jax.jit(function).trace(*arguments)
    compiled = traced.lower().compile()
    flops = operations(traced.jaxpr.jaxpr) if program.scanned else MEASURES["FLOPs"](compiled)
    return MEASURES["temporary bytes"](compiled), flops, compiled


def seconds(compiled, arguments):
    """The processor's seconds a step."""
    start = time.process_time()
    jax.block_until_ready(compiled(*arguments))
    return time.process_time() - start


def times(runs, arguments, rounds=15):
    """For each contender its median time, that of the first being 1; they take turns."""
    rows = [[seconds(run, arguments) for run in runs] for _ in range(rounds + 2)][2:]
    return [statistics.median(row[i] / row[0] for row in rows) for i in range(len(runs))]


def main(only, timed):
    chosen = [p for p in PROGRAMS if not only or any(part in p.name for part in only)]
    names = list(contenders(chosen[0]))[1:]
    print(f"{'bytes @ FLOPs':22}", *(f"{name:>13}" for name in names))
    table = []
    for program in chosen:
        functions, marks = zip(*contenders(program).values(), strict=True)
        found = [costs(program, function) for function in functions]
        table.append([(bytes_ / found[0][0], flops / found[0][1]) for bytes_, flops, _ in found[1:]])
        print(line(program.name, table[-1], marks[1:]), flush=True)
        if timed:
            ratios = times([compiled for *_, compiled in found], program.sample())
            print(f"{'  processor time':22}", *(f"{ratio:13.2f}" for ratio in ratios[1:]), flush=True)
    means = [
        tuple(map(statistics.geometric_mean, zip(*column, strict=True)))
        for column in zip(*table, strict=True)
    ]
    print(line("geometric mean", means, [""] * len(means)))
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}")


def line(name, pairs, marks):
    cells = [f"{a:.2f} @ {b:.2f}{mark}" for (a, b), mark in zip(pairs, marks, strict=True)]
    return " ".join([f"{name:22}", *(f"{cell:>13}" for cell in cells)])


if __name__ == "__main__":
    options = sys.argv[1:]
    main([option for option in options if option != "--time"], "--time" in options)
