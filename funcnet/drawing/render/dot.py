"""A diagram as text in Graphviz's language DOT; it takes nothing but Python to write it.

To the right where that is not too long, else downwards. Boxes are dashed frames around their gates and
the wires between these. Constants that stand on a gate's label have no wire. The wire that carries what a
loop's step hands to the next is dashed. `compact` draws large graphs.
"""

from collections.abc import Sequence

from funcnet.drawing.diagram import Box, Diagram, Gate, Wire
from funcnet.drawing.render.frames import around, framed, legend
from funcnet.drawing.render.labels import constant_on_label
from funcnet.drawing.render.nodes import (
    gate_node,
    is_copy,
    wire_node,
)
from funcnet.drawing.render.thumbnails import thumbnail_width

BESIDE = 3
"""So many arguments of one gate stand beside each other if a graph is drawn downwards."""

PAGE_WIDTH = 760
"""A graph that would be wider than this, in points, is drawn downwards."""

HEAD = """\
digraph {
ranksep=0.14 nodesep=0.08 margin=0.05 tooltip=" "
fontname="Helvetica,Arial,sans-serif" fontsize=9 labelloc=b
node [fontname="Helvetica,Arial,sans-serif" fontsize=10 margin="0.06,0.03" ordering=in]
edge [arrowsize=0.5 tooltip=" "]"""


def dot(diagram: Diagram) -> str:
    """The diagram as DOT text.

    >>> import jax.numpy as jnp
    >>> import funcnet
    >>> from funcnet.drawing.diagram.assemble import diagram
    >>> from funcnet.drawing.diagram.record import Options
    >>> sine = diagram(lambda x: jnp.sin(x) + 1, (0.0,), {}, None, Options(funcnet.RULES))
    >>> [line for line in dot(sine).splitlines() if " -> " in line][0]
    'w0:p:e -> g0 [tailclip=false weight=1]'
    """
    numbers = {wire: i for i, wire in enumerate(diagram.wires)}
    wires = [wire for wire in diagram.wires if not is_on_label(diagram, wire)]
    formulas = any(gate.local for gate in diagram)
    rightwards = width(diagram, formulas) <= PAGE_WIDTH
    nodes: list[tuple[Sequence[Box], str]] = [
        (gate.path, gate_node(gate, formulas=formulas)) for gate in diagram
    ]
    for wire in wires:
        again = wire.source is not None and is_copy(diagram.gates[wire.source])
        text = wire_node(numbers[wire], wire, (wire.name, end(diagram, wire)), again=again)
        nodes.append((around(diagram, wire), text))
    lines = [
        HEAD,
        f"rankdir={'LR' if rightwards else 'TB'} label=<{legend(diagram)}>",
        *framed(nodes),
        *(line for gate in diagram for line in edges(diagram, gate, numbers, rightwards)),
    ]
    if not rightwards:
        lines += [line for gate in diagram for line in in_rows(diagram, gate, numbers)]
    return "\n".join([*lines, "}\n"])


def in_rows(diagram: Diagram, gate: Gate, numbers: dict[Wire, int]) -> list[str]:
    """Arrows that nobody sees, so that no more than a few of a gate's arguments stand beside each other."""
    ends = [wire for wire in gate.inputs if wire.source is None and not is_on_label(diagram, wire)]
    pairs = zip(ends, ends[BESIDE:], strict=False)
    return [f"w{numbers[above]} -> w{numbers[below]} [style=invis weight=0]" for above, below in pairs]


def width(diagram: Diagram, formulas: bool) -> int:
    """About how wide a graph is if drawn to the right, in points: its longest path, and names at its ends."""
    reach: dict[Wire, int] = {wire: 60 + thumbnail_width(wire.value) for wire in diagram.wires}
    for gate in diagram:
        before = max((reach[wire] for wire in gate.inputs), default=0)
        more = 120 if gate.marks else 90 if formulas else 50
        reach |= {wire: before + more + thumbnail_width(wire.value) for wire in gate.outputs}
    return max(reach.values(), default=0)


def is_on_label(diagram: Diagram, wire: Wire) -> bool:
    """Whether a wire is a constant that stands on its gate's label."""
    return wire.target is not None and bool(constant_on_label(diagram.gates[wire.target], wire))


def end(diagram: Diagram, wire: Wire) -> str:
    """What is written at the end of a wire that leads to no gate."""
    results = diagram.results
    if wire.role == "result":
        return "result" if len(results) == 1 else f"result {results.index(wire) + 1}"
    return "unused" if wire.target is None else ""


def is_loop(wire: Wire) -> bool:
    """Whether a wire carries what a loop's step hands to the next."""
    return wire.source is not None and wire.target is not None and wire.source >= wire.target


def edges(diagram: Diagram, gate: Gate, numbers: dict[Wire, int], rightwards: bool) -> list[str]:
    """What connects a gate with its wires' nodes: the operands in their order, then the results.

    What gates hand to each other pulls more than arguments do, so that it runs straight.
    """
    entry, way_out = ("p:w", "p:e") if rightwards else ("n:n", "s:s")
    lines = []
    for wire in gate.inputs:
        if not is_on_label(diagram, wire):
            more = f"weight={1 if wire.source is None else 4}"
            if is_loop(wire):
                more = "constraint=false style=dashed"
            lines.append(f"w{numbers[wire]}:{way_out} -> g{gate.number} [tailclip=false {more}]")
    for wire in gate.outputs:
        lines.append(f"g{gate.number} -> w{numbers[wire]}:{entry} [arrowhead=none headclip=false weight=4]")
    return lines
