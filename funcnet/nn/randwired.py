"""Randomly wired nets: the wiring is drawn, the weights are learned (Xie, Kirillov, Girshick and He 2019).

CS231n 2019, lecture 4, slide 34. A stage is a random graph whose edges go from smaller numbers to larger. A
node sums what comes in by learned weights and passes it through one convolution,

    y = batch norm(W ∗ relu(Σ σ(wₑ) xₑ)),    W ∗: 3×3 for each channel, then 1×1 across them

A node that nothing leads to reads what comes into the stage, at every second place; what comes out of it is
the mean of the nodes that lead nowhere. `funcnet.nn.wiring` draws the graphs.

Parameters and running statistics are plain pytrees, {"stage1": {"edges": […], "node0": {…}, …}, …}.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32

from funcnet._errors import ParameterError
from funcnet.nn.activations import relu, sigmoid
from funcnet.nn.affine import affine, linear
from funcnet.nn.convolutions import conv, depthwise_conv
from funcnet.nn.normalization import batch_norm, batch_norm_inference
from funcnet.nn.wiring import Wiring

DECAY = 0.9
"""What is kept of a running mean or variance in a step."""


def init_randwired(
    key: Key[Array, ""] | UInt32[Array, "2"],
    graphs: Sequence[Wiring],
    classes: int,
    *,
    inputs: int = 3,
    channels: int = 78,
    head: int = 1280,
) -> tuple[Any, Any]:
    """Draws the parameters of a randomly wired net, and its running statistics.

    The small regime of table 2 of the paper is three graphs of 32 nodes with 78 channels: 5.6 M parameters.

    Args:
        key: source of the randomness.
        graphs: the wiring of each stage; a stage has twice the channels of the one before.
        classes: scores of an image.
        inputs: channels of an image.
        channels: of the first stage; half as many come before it.
        head: channels before the scores.

    Returns:
        Parameters: kernels with deviation √(2 / fan in) (He et al. 2015), weights of edges 0, so that σ is ½.
        Statistics: mean 0 and variance 1 of every batch normalization.

    Raises:
        ParameterError: a number below 1, or no graph.

    >>> from funcnet.nn import random_graph
    >>> graphs = [random_graph("ws", 8, 4, 0.75, seed=seed) for seed in range(2)]
    >>> params, statistics = init_randwired(jax.random.key(0), graphs, 10, channels=4, head=16)
    >>> sorted(params)
    ['conv1', 'conv2', 'head', 'scores', 'stage1', 'stage2']
    """
    if not graphs or min(classes, inputs, channels // 2, head) < 1:
        raise ParameterError(
            f"init_randwired: {len(graphs)} graphs, {classes} classes, {inputs} inputs, {channels} channels, "
            f"head {head}; expected a graph, and numbers ≥ 1, of channels ≥ 2"
        )
    params: dict[str, Any] = {
        "conv1": _kernel(3, 3, inputs, channels // 2),
        "conv2": _kernel(3, 3, channels // 2, channels),
    }
    before, width = channels, channels
    for n, graph in enumerate(graphs, start=1):
        stage: dict[str, Any] = {"edges": jnp.zeros(len(graph.edges))}
        for node in range(graph.nodes):
            fan_in = width if graph.sources(node) else before
            stage[f"node{node}"] = {
                "depthwise": Normal((3, 3, fan_in), (2 / 9) ** 0.5),
                **_kernel(fan_in, width),
            }
        params[f"stage{n}"], before, width = stage, width, 2 * width
    params["head"] = _kernel(before, head)
    params["scores"] = {"w": Normal((head, classes), head**-0.5), "b": jnp.zeros(classes)}
    params = _drawn(key, params)
    return params, _statistics(params)


class Normal(NamedTuple):
    """A parameter that is to be drawn."""

    shape: tuple[int, ...]
    deviation: float


def _kernel(*shape: int) -> dict[str, Any]:
    """A kernel and the batch normalization behind it."""
    w = Normal(shape, (2 / math.prod(shape[:-1])) ** 0.5)
    return {"w": w, "scale": jnp.ones(shape[-1]), "shift": jnp.zeros(shape[-1])}


def _drawn(key: Array, params: Any) -> Any:
    """The parameters with all that is to be drawn cut from one row of numbers: one draw compiles at once."""
    leaves, structure = jax.tree.flatten(params, is_leaf=lambda leaf: isinstance(leaf, Normal))
    sizes = [math.prod(leaf.shape) if isinstance(leaf, Normal) else 0 for leaf in leaves]
    parts = jnp.split(jax.random.normal(key, (sum(sizes),)), np.cumsum(sizes)[:-1])
    return structure.unflatten(
        leaf.deviation * part.reshape(leaf.shape) if isinstance(leaf, Normal) else leaf
        for leaf, part in zip(leaves, parts, strict=True)
    )


def _statistics(params: Any) -> Any:
    if "scale" in params:
        return {"mean": jnp.zeros_like(params["scale"]), "variance": jnp.ones_like(params["scale"])}
    layers = {name: p for name, p in params.items() if isinstance(p, dict) and name != "scores"}
    return {name: _statistics(p) for name, p in layers.items()}


def randwired(
    params: Any,
    statistics: Any,
    x: Float[Array, "batch height width channels"],
    *,
    graphs: Sequence[Wiring],
    training: bool = False,
) -> tuple[Float[Array, "batch classes"], Any]:
    """Scores of a randomly wired net, and its running statistics after them.

    Args:
        params: as `init_randwired` makes them.
        statistics: likewise.
        x: images.
        graphs: the wiring of each stage.
        training: whether to normalize by the batch, and to follow its statistics; by the running ones if not.

    Raises:
        ShapeError: parameters that are not those of the graphs.
    """
    after: dict[str, Any] = {}
    for name in ("conv1", "conv2"):
        with jax.named_scope(name):
            x = relu(x) if name == "conv2" else x
            y = conv(x, params[name]["w"], stride=2, padding="same")
            x, after[name] = _normed(params[name], statistics[name], y, training)
    for n, graph in enumerate(graphs, start=1):
        with jax.named_scope(f"stage{n}"):
            x, after[f"stage{n}"] = _stage(params[f"stage{n}"], statistics[f"stage{n}"], x, graph, training)
    with jax.named_scope("head"):
        y = linear(relu(x), params["head"]["w"])
        x, after["head"] = _normed(params["head"], statistics["head"], y, training)
        x = jnp.mean(relu(x), axis=(1, 2))
    with jax.named_scope("scores"):
        return affine(x, params["scores"]["w"], params["scores"]["b"]), after


def _normed(p: Any, running: Any, x: Array, training: bool) -> tuple[Array, Any]:
    """The normalized x, and the running statistics after it."""
    if not training:
        y = batch_norm_inference(x, p["scale"], p["shift"], running["mean"], running["variance"])
        return y, running
    y, mean, variance = batch_norm(x, p["scale"], p["shift"])
    found = jax.lax.stop_gradient({"mean": mean, "variance": variance})
    return y, jax.tree.map(lambda old, new: DECAY * old + (1 - DECAY) * new, running, found)


def _stage(params: Any, statistics: Any, x: Array, graph: Wiring, training: bool) -> tuple[Array, Any]:
    values, after = [], {}
    weights = sigmoid(params["edges"])
    for node in range(graph.nodes):
        name, edges = f"node{node}", graph.sources(node)
        with jax.named_scope(name):
            p = params[name]
            terms = [weights[edge] * values[graph.edges[edge][0]] for edge in edges] or [x]
            y = depthwise_conv(relu(sum(terms[1:], terms[0])), p["depthwise"], stride=1 if edges else 2)
            y, after[name] = _normed(p, statistics[name], linear(y, p["w"]), training)
            values.append(y)
    ends = [values[node] for node in graph.last]
    return sum(ends[1:], ends[0]) / len(ends), after
