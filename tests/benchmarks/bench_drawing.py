"""How long a large graph takes to trace, run both ways, lay out and draw.

    python tests/benchmarks/bench_drawing.py

A graph of 500 different gates, of numbers and of vectors, and a net of 250 layers, which is folded.
"""

import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import funcnet


def tangle(x):
    """500 gates, each on the value before it and on one of any before."""
    values, rng = [x], np.random.default_rng(0)
    for _ in range(500):
        other = values[rng.integers(len(values))]
        values.append(rng.choice([lax.add, lax.sub, lax.atan2])(values[-1], other))
    return jnp.sum(values[-1])


def deep(ws, x):
    """tanh(x w), 250 times."""
    for w in ws:
        x = jnp.tanh(x @ w)
    return x.sum()


LAYERS = list(jax.random.normal(jax.random.key(0), (250, 32, 32)) * 0.2)
PROGRAMS = {
    "500 gates, numbers": (tangle, (0.5,)),
    "500 gates, vectors of 20": (tangle, (jnp.linspace(-1, 1, 20),)),
    "250 layers": (deep, (LAYERS, jnp.ones((8, 32)))),
}


def main():
    """Print seconds for each program: the diagram, and each format."""
    print(f"{'':26} gates  diagram     dot     svg     png")
    with tempfile.TemporaryDirectory() as folder:
        for name, (f, args) in PROGRAMS.items():
            seconds = []
            begin = time.perf_counter()
            picture = funcnet.draw(f)(*args)
            seconds.append(time.perf_counter() - begin)
            for suffix in ("dot", "svg", "png"):
                begin = time.perf_counter()
                picture.save(Path(folder) / f"graph.{suffix}")
                seconds.append(time.perf_counter() - begin)
            print(f"{name:26} {len(picture.diagram.gates):5}", *(f"{s:7.1f}" for s in seconds))


if __name__ == "__main__":
    main()
