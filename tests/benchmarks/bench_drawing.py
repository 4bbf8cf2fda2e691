"""How large pictures are and what they cost: gates, seconds of the clock and of processors, points.

    python -m tests.benchmarks.bench_drawing [FOLDER] [PICTURE …]

From a function to its SVG, after one picture that warms JAX up; a page is 1000 points wide. With a folder the
pictures are put there too, as PNG, to be looked at. The last table is in funcnet/docs/pictures.md.
"""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import funcnet
from funcnet import lecture, nn

KEY = jax.random.key(0)
PAGE = 1000
"""A page is so many points wide."""

Program = tuple[Callable, tuple[Any, ...], dict[str, Any]]
"""A function, its arguments, and what `draw` is told beside them."""


def neuron() -> Program:
    """Lecture 4, slide 61."""
    return lecture.EXAMPLES["sigmoid_gates"].function, lecture.EXAMPLES["sigmoid_gates"].arguments, {}


def two_layer_net() -> Program:
    """A net with ten hidden units, its loss and its penalty."""
    return lecture.EXAMPLES["two_layer"].function, lecture.EXAMPLES["two_layer"].arguments, {}


def twelve_layers() -> Program:
    """relu(x w + b), twelve times, written out by Python."""

    def net(params: Any, x: Any) -> Any:
        for p in params:
            x = jax.nn.relu(x @ p["w"] + p["b"])
        return jnp.mean(x**2)

    params = [{"w": w, "b": jnp.zeros(8)} for w in jax.random.normal(KEY, (12, 8, 8)) / 2]
    return net, (params, jnp.ones((4, 8))), {}


def lstm(depth: int) -> Program:
    """An LSTM over six steps, whose loop is a scan, and the loss of its last state."""

    def loss(params: Any, xs: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            h, c = carry
            z = x @ params["w"] + h @ params["u"] + params["b"]
            i, f, g, o = jnp.split(z, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        start = jnp.zeros((2, 8)), jnp.zeros((2, 8))
        (h, _), _ = lax.scan(step, start, xs)
        return jnp.mean((h @ params["out"]) ** 2)

    shapes = {"w": (5, 32), "u": (8, 32), "b": (32,), "out": (8, 3)}
    params = {name: jax.random.normal(KEY, shape) / 3 for name, shape in shapes.items()}
    return loss, (params, jax.random.normal(KEY, (6, 2, 5))), {"depth": depth}


class Block(flax.linen.Module):
    """A block of a transformer, with its norms before."""

    @flax.linen.compact
    def __call__(self, x: Any) -> Any:
        x = x + flax.linen.SelfAttention(num_heads=4, deterministic=True)(flax.linen.LayerNorm()(x))
        h = flax.linen.gelu(flax.linen.Dense(64)(flax.linen.LayerNorm()(x)))
        return x + flax.linen.Dense(16)(h)


def transformer(depth: int) -> Program:
    """A block of flax's, closed to its layers or open to its gates."""
    block, x = Block(), jax.random.normal(KEY, (2, 6, 16))
    return (
        lambda params, x: jnp.mean(jnp.square(block.apply(params, x))),
        (block.init(KEY, x), x),
        {"depth": depth},
    )


def convnet() -> Program:
    """A small convolutional net with its loss."""
    params = nn.init_convnet(KEY, (16, 16, 1), 10)

    def loss(params: Any, x: Any) -> Any:
        return nn.softmax_loss(nn.convnet(params, x), jnp.arange(4)).mean()

    return loss, (params, jax.random.normal(KEY, (4, 16, 16, 1))), {}


def alexnet() -> Program:
    """AlexNet, with fewer units in its last layers, and its loss."""

    def loss(params: Any, x: Any) -> Any:
        return nn.softmax_loss(nn.alexnet(params, x), jnp.array([3])).mean()

    return loss, (nn.init_alexnet(KEY, hidden=64), jax.random.normal(KEY, (1, 227, 227, 3))), {}


def irregular() -> Program:
    """170 different operations, each on any two values before it, and the sum of them all."""
    draws = np.random.default_rng(0).integers(6, size=(170, 3))

    def tangle(x: Any) -> Any:
        values = [x]
        for op, i, j in draws:
            a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
            values.append((a + b, a - b, a * b, lax.sin(a), lax.cos(b), lax.tanh(a))[op])
        return sum(values)

    return tangle, (jnp.linspace(0, 1, 60).reshape(6, 10),), {}


def random_dag(depth: int) -> Program:
    """Tanh nodes wired as lecture 4, slide 34, draws them; each edge has a weight, each node a matrix."""
    graph = nn.random_graph("ws", 32, 4, 0.75, seed=0)

    def net(params: Any, x: Any) -> Any:
        values = []
        for n in range(graph.nodes):
            p, sources = params[f"node{n}"], [graph.edges[edge][0] for edge in graph.sources(n)]
            terms = [w * values[source] for w, source in zip(p["edges"], sources, strict=True)] or [x]
            values.append(jnp.tanh(sum(terms) @ p["w"]))
        return jnp.mean(sum(values[n] for n in graph.last) ** 2)

    def node(n: int) -> dict[str, Any]:
        edges = [jnp.float32(0.5)] * len(graph.sources(n))
        return {"edges": edges, "w": jax.random.normal(jax.random.fold_in(KEY, n), (4, 4)) / 2}

    params = {f"node{n}": node(n) for n in range(graph.nodes)}
    return net, (params, jnp.ones((2, 4))), {"depth": depth}


def random_stage() -> Program:
    """A randomly wired net of one stage, opened to its nodes."""
    graphs = [nn.random_graph("ws", 8, 4, 0.75, seed=0)]
    params, statistics = nn.init_randwired(KEY, graphs, 3, inputs=1, channels=4, head=8)

    def score(params: Any, x: Any) -> Any:
        return nn.randwired(params, statistics, x, graphs=graphs, training=True)[0][0, 0]

    return score, (params, jax.random.normal(KEY, (2, 16, 16, 1))), {"depth": 1}


def external_memory(**options: Any) -> Program:
    """A Neural Turing Machine over three inputs."""
    params = nn.init_ntm(KEY, inputs=5, outputs=4, units=40, places=24, width=10)
    return nn.ntm, (params, jnp.ones((3, 5))), options


def different(x: Any) -> Program:
    """500 gates, each on the value before it and on one of any before."""

    def tangle(x: Any) -> Any:
        values, random = [x], np.random.default_rng(0)
        for _ in range(500):
            other = values[random.integers(len(values))]
            gate = (lax.add, lax.sub, lax.atan2)[random.integers(3)]
            values.append(gate(values[-1], other))
        return jnp.sum(values[-1])

    return tangle, (x,), {}


def deep() -> Program:
    """tanh(x w), 250 times."""

    def net(ws: Any, x: Any) -> Any:
        for w in ws:
            x = jnp.tanh(x @ w)
        return x.sum()

    return net, (list(jax.random.normal(KEY, (250, 32, 32)) * 0.2), jnp.ones((8, 32))), {}


PICTURES: dict[str, Callable[[], Program]] = {
    "neuron": neuron,
    "two-layer net": two_layer_net,
    "12 equal layers": twelve_layers,
    "LSTM, rolled": lambda: lstm(0),
    "LSTM, opened": lambda: lstm(2),
    "flax transformer block": lambda: transformer(1),
    "flax transformer block, opened": lambda: transformer(9),
    "convolutional net with its loss": convnet,
    "AlexNet": alexnet,
    "200 irregular operations": irregular,
    "random DAG of 32 nodes, weighted edges": lambda: random_dag(0),
    "the same, opened": lambda: random_dag(9),
    "a randomly wired stage, opened": random_stage,
    "three steps with external memory": lambda: external_memory(unroll=True),
    "the same, rolled and opened": lambda: external_memory(depth=3),
    "500 different gates, numbers": lambda: different(0.5),
    "500 different gates, vectors of 20": lambda: different(jnp.linspace(-1, 1, 20)),
    "250 layers": deep,
}


def measured(name: str, folder: Path | None) -> str:
    """A row of the table."""
    f, args, options = PICTURES[name]()
    began, busy = time.perf_counter(), time.process_time()
    picture = funcnet.draw(f, **options)(*args)
    svg = picture._repr_svg_() or ""
    clock, processor = time.perf_counter() - began, time.process_time() - busy
    width, height = re.findall(r'(?:width|height)="(\d+)pt"', svg)[:2]
    if folder:
        picture.save(folder / f"{name.replace(' ', '_')}.png")
    count, wide = len(picture.diagram.gates), " wider than a page" * (int(width) > PAGE)
    return f"| {name} | {count} | {clock:.1f} | {processor:.1f} | {width} × {height} |{wide}"


def main() -> None:
    """The rows of all pictures, or of those that are named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    _ = funcnet.draw(jnp.sin)(0.5)._repr_svg_()
    print("| picture | gates | seconds | processor seconds | points wide × high |\n|---|---:|---:|---:|---:|")
    for name in sys.argv[2:] or PICTURES:
        print(measured(name, folder), flush=True)


if __name__ == "__main__":
    main()
