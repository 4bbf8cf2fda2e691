"""A diagram as text in Graphviz's language DOT; it takes nothing but Python to write it.

To the right where that is not too long, else downwards. Boxes are dashed frames around their gates and
the wires between these. Constants that stand on a gate's label have no wire. In a large graph a wire that
would run past many gates is cut: it begins with the name and number of its gate, which stand there too.
"""

from collections.abc import Container, Iterable, Sequence

import numpy as np

from funcnet.drawing.diagram import Box, Diagram, Gate, Wire
from funcnet.drawing.diagram.arrays import uniform
from funcnet.drawing.render.labels import constant_on_label
from funcnet.drawing.render.nodes import (
    GREEN,
    GREY,
    RED,
    gate_node,
    is_copy,
    short_line,
    tooltip_of,
    wire_node,
)
from funcnet.drawing.render.thumbnails import escaped, thumbnail_width

PAGE_WIDTH = 760
"""A graph that would be wider than this, in points, is drawn downwards."""

MANY = 80
"""Of a graph with more gates each wire has one line for its value and one for its gradient."""

FAR = 30
"""Of such a graph a wire is cut that would run past more gates."""

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
    brief = len(diagram.gates) > MANY
    cut = {wire: f"{origin(diagram, wire).name} {wire.source}" for wire in wires if brief and is_far(wire)}
    begins = {wire.source for wire in cut}
    nodes: list[tuple[Sequence[Box], str]] = [
        (gate.path, gate_node(gate, formulas=formulas, numbered=gate.number in begins)) for gate in diagram
    ]
    for wire in wires:
        again = wire.source is not None and is_copy(origin(diagram, wire))
        ends = cut.get(wire, wire.name), end(diagram, wire)
        text = wire_node(numbers[wire], wire, ends, again=again, brief=brief)
        nodes.append((around(diagram, wire), text))
    lines = [
        HEAD,
        f"rankdir={'LR' if rightwards else 'TB'} label=<{legend(diagram)}>",
        *framed(nodes),
        *(line for gate in diagram for line in edges(diagram, gate, numbers, cut, rightwards)),
    ]
    return "\n".join([*lines, "}\n"])


def width(diagram: Diagram, formulas: bool) -> int:
    """About how wide a graph is if drawn to the right, in points: its longest path, and names at its ends."""
    reach: dict[Wire, int] = {wire: 60 + thumbnail_width(wire.value) for wire in diagram.wires}
    for gate in diagram:
        before = max((reach[wire] for wire in gate.inputs), default=0)
        more = 120 if gate.marks else 90 if formulas else 50
        reach |= {wire: before + more + thumbnail_width(wire.value) for wire in gate.outputs}
    return max(reach.values(), default=0)


def is_far(wire: Wire) -> bool:
    """Whether a wire would run past many gates."""
    return wire.source is not None and wire.target is not None and wire.target - wire.source > FAR


def origin(diagram: Diagram, wire: Wire) -> Gate:
    """The gate that a wire comes from."""
    assert wire.source is not None
    return diagram.gates[wire.source]


def is_on_label(diagram: Diagram, wire: Wire) -> bool:
    """Whether a wire is a constant that stands on its gate's label."""
    return wire.target is not None and bool(constant_on_label(diagram.gates[wire.target], wire))


def end(diagram: Diagram, wire: Wire) -> str:
    """What is written at the end of a wire that leads to no gate."""
    results = diagram.results
    if wire.role == "result":
        return "result" if len(results) == 1 else f"result {results.index(wire) + 1}"
    return "unused" if wire.target is None else ""


def around(diagram: Diagram, wire: Wire) -> list[Box]:
    """The boxes that a wire lies in: those around both its ends; of a constant, those around its gate."""
    if wire.role == "constant" and wire.target is not None:
        return list(diagram.gates[wire.target].path)
    if wire.source is None or wire.target is None:
        return []
    source, target = (diagram.gates[i].path for i in (wire.source, wire.target))
    same = [box is other for box, other in zip(source, target, strict=False)]
    return list(source[: [*same, False].index(False)])


def framed(nodes: Iterable[tuple[Sequence[Box], str]], level: int = 0) -> list[str]:
    """The nodes, those with boxes around them in their frames."""
    lines: list[str] = []
    frames: dict[Box, list[tuple[Sequence[Box], str]]] = {}
    for path, text in nodes:
        if len(path) == level:
            lines.append(text)
        else:
            frames.setdefault(path[level], []).append((path, text))
    for box, inside in frames.items():
        first = inside[0][1].split()[0]
        lines += [
            f"subgraph cluster_{first}_{level} {{ label=<<I>{escaped(box.name)}</I>> labelloc=t labeljust=l",
            f'style="dashed,rounded" color="{GREY}" margin=4 {tooltip_of(short_line(box.line or box.name))}',
            *framed(inside, level + 1),
            "}",
        ]
    return lines


def edges(
    diagram: Diagram, gate: Gate, numbers: dict[Wire, int], cut: Container[Wire], rightwards: bool
) -> list[str]:
    """What connects a gate with its wires' nodes: the operands in their order, then the results.

    What gates hand to each other pulls more than arguments do, so that it runs straight.
    """
    entry, way_out = ("p:w", "p:e") if rightwards else ("n:n", "s:s")
    lines = []
    for wire in gate.inputs:
        if not is_on_label(diagram, wire):
            weight = 1 if wire.source is None else 4
            lines.append(f"w{numbers[wire]}:{way_out} -> g{gate.number} [tailclip=false weight={weight}]")
    for wire in gate.outputs:
        if wire not in cut:
            lines.append(
                f"g{gate.number} -> w{numbers[wire]}:{entry} [arrowhead=none headclip=false weight=4]"
            )
    return lines


def legend(diagram: Diagram) -> str:
    """What stands where, and that the upstream gradient of the result is ones, where it is."""
    text = (
        f'above the wire: <FONT COLOR="{GREEN}">value →</FONT>&#160;&#160; '
        f'below: <FONT COLOR="{RED}"><I>gradient ←</I></FONT>'
    )
    if any(np.ndim(wire.gradient) and uniform(wire.gradient) == 1 for wire in diagram.results):
        text += "<BR/>upstream gradient of the result: ones"
    return text
