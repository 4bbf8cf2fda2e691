"""A picture of a randomly wired net: its graphs, with the weight of each edge as learned.

The look is that of Xie, Kirillov, Girshick and He 2019, figure 1: what comes in at the top, the nodes of a
stage below, by how far they are from it. An edge is as wide and as dark as its weight σ(w) is large: ½ before
training, 0 where the net has cut it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet.nn import Wiring, sigmoid

INK, PAPER = 0x20, 0xE8
WIDEST = 5.0


def dot(params: Mapping[str, Any], graphs: Sequence[Wiring]) -> str:
    """The graphs in the language of Graphviz.

    Args:
        params: of `funcnet.nn.randwired`, of which `params["stage1"]["edges"]`, … are read.
        graphs: the wiring of each stage.

    >>> params = {"stage1": {"edges": np.zeros(1)}}
    >>> "penwidth=2.50" in dot(params, [Wiring(2, ((0, 1),))])
    True
    """
    lines = [
        "digraph {",
        "graph [dpi=110]",
        'graph [nodesep=0.12, ranksep=0.3, fontname="sans-serif", fontsize=11, newrank=true]',
        'node [shape=circle, width=0.26, fixedsize=true, fontsize=8, fontname="sans-serif", style=filled,'
        ' fillcolor=white, color="#0072B2", label=""]',
        "edge [arrowsize=0.4]",
    ]
    for number, graph in enumerate(graphs, start=1):
        edges = jnp.asarray(params[f"stage{number}"]["edges"], jnp.float32)
        lines += _stage(number, graph, np.asarray(sigmoid(edges)))
    return "\n".join([*lines, "}"])


def _stage(number: int, graph: Wiring, weights: np.ndarray) -> list[str]:
    """A box with the nodes and edges of a stage, and where it begins and ends."""
    stage = f"stage{number}"
    spread = f", σ(w) {weights.min():.2f} to {weights.max():.2f}" if len(weights) else ""
    lines = [
        f"subgraph cluster_{stage} {{",
        f'label="{stage}: {graph.nodes} nodes, {len(graph.edges)} edges{spread}"; color="#BBBBBB"',
        *(f'{stage}_{end} [shape=box, width=0.6, height=0.2, label="{end}"]' for end in ("in", "out")),
        *(f'{stage}_{node} [label="{node}"]' for node in range(graph.nodes)),
    ]
    for (start, end), weight in zip(graph.edges, weights, strict=True):
        shade = f"{round(PAPER + (INK - PAPER) * float(weight)):02x}"
        width = max(0.2, WIDEST * float(weight))
        lines.append(f'{stage}_{start} -> {stage}_{end} [penwidth={width:.2f}, color="#{3 * shade}"]')
    first = [node for node in range(graph.nodes) if not graph.sources(node)]
    plain = '[style=dashed, color="#999999"]'
    lines += [f"{stage}_in -> {stage}_{node} {plain}" for node in first]
    lines += [f"{stage}_{node} -> {stage}_out {plain}" for node in graph.last]
    return [*lines, "}"]
