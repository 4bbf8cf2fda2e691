"""Gates of images, sequences and memories beside JAX's own: forward and backward, seconds and bytes.

    python tests/benchmarks/bench_gates.py

Ratios of the least processor time of each of the two in turns, and of the temporary bytes that XLA plans.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import lax

from funcnet import nn

ROUNDS = 9
LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolution(x, w, groups=1, stride=1):
    return lax.conv_general_dilated(
        x, w, (stride,) * 2, "SAME", dimension_numbers=LAYOUT, feature_group_count=groups
    )


def depthwise(x, w, stride=1):
    return convolution(x, w[:, :, None], x.shape[-1], stride)


def pool(x, init, combine, size, stride):
    return lax.reduce_window(x, init, combine, (1, size, size, 1), (1, stride, stride, 1), "VALID")


@dataclass(frozen=True)
class Row:
    gate: Callable
    shapes: tuple[tuple[int, ...], ...]
    of_jax: Callable | None = None
    """The primal by default."""
    params: dict = field(default_factory=dict)
    name: str = ""

    def sample(self):
        keys = jax.random.split(jax.random.key(0), len(self.shapes))
        return [jax.random.uniform(key, shape) for key, shape in zip(keys, self.shapes, strict=True)]


def right_classes(x, w):
    return jnp.arange(len(x)) * 997 % w.shape[1]


def linear_softmax_loss(x, w):
    return nn.linear_softmax_loss(x, w, right_classes(x, w))


def of_all_scores(x, w):
    return nn.softmax_loss(x @ w, right_classes(x, w))


IMAGES, CHANNELS = (32, 28, 28, 32), (32,)
ROWS = [
    Row(nn.conv, ((32, 28, 28, 16), (3, 3, 16, 32)), convolution, {"padding": "same"}),
    Row(nn.depthwise_conv, (IMAGES, (3, 3, 32)), depthwise),
    Row(nn.depthwise_conv, (IMAGES, (3, 3, 32)), functools.partial(depthwise, stride=2),
        {"stride": 2, "padding": ((0, 1), (0, 1))}, "stride 2"),
    Row(nn.max_pool, (IMAGES,), lambda x: pool(x, -jnp.inf, lax.max, 2, 2)),
    Row(nn.max_pool, (IMAGES,), lambda x: pool(x, -jnp.inf, lax.max, 3, 2),
        {"size": (3, 3), "stride": 2}, "overlapping"),
    Row(nn.avg_pool, (IMAGES,), lambda x: pool(x, 0.0, lax.add, 2, 2) / 4),
    Row(nn.avg_pool, (IMAGES,), lambda x: pool(x, 0.0, lax.add, 3, 2) / 9,
        {"size": (3, 3), "stride": 2}, "overlapping"),
    Row(nn.local_response_norm, ((8, 27, 27, 96),)),
    Row(nn.batch_norm, (IMAGES, CHANNELS, CHANNELS)),
    Row(nn.batch_norm_inference, (IMAGES, CHANNELS, CHANNELS, CHANNELS, CHANNELS)),
    Row(nn.layer_norm, ((256, 128, 64), (64,), (64,))),
    Row(nn.cosine_similarity, ((64, 20), (64, 128, 20))),
    Row(nn.circular_convolution, ((256, 128), (256, 3))),
    Row(linear_softmax_loss, ((1024, 64), (64, 100_000)), of_all_scores),
    Row(linear_softmax_loss, ((512, 256), (256, 100_000)), of_all_scores, name="of 256 inputs"),
    Row(nn.lstm_cell, ((256, 64), (256, 128), (256, 128), (192, 512), (512,))),
]  # fmt: skip


def both_ways(function, xs):
    """Forward and backward, compiled, and what it is asked with."""

    def some(y):
        return jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)

    def run(xs, y_bar):
        y, vjp = jax.vjp(function, *xs)
        return y, vjp(y_bar)

    asked = xs, jax.tree.map(some, jax.eval_shape(function, *xs))
    return jax.jit(run).lower(*asked).compile(), asked


def seconds(run, asked):
    start = time.process_time()
    jax.block_until_ready(run(*asked))
    return time.process_time() - start


def main():
    print("| gate | seconds | temporary bytes |\n|---|---:|---:|")
    for row in ROWS:
        xs = row.sample()
        ours, theirs = (
            both_ways(function, xs)
            for function in (functools.partial(row.gate, **row.params), row.of_jax or row.gate.primal)
        )
        times = [[seconds(*one) for one in (ours, theirs)] for _ in range(ROUNDS)]
        least = [min(column) for column in zip(*times, strict=True)]
        temporary = [one.memory_analysis().temp_size_in_bytes for one, _ in (ours, theirs)]
        name = f"{row.gate.__name__} {row.name}".strip()
        print(
            f"| {name} | {least[0] / least[1]:.2f} | {temporary[0] / 1e6:.1f} / {temporary[1] / 1e6:.1f} MB |"
        )


if __name__ == "__main__":
    main()
