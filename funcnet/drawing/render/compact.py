"""A large diagram as text in DOT: one line for each gate, and no tables.

    tanh  8×32  ‖5.1‖  ‖0.03‖        name; shape and norm of its value in green, norm of its gradient in red

Values are handed from gate to gate by bare arrows; where one is used more than once, several leave its gate.
Wires between the same two gates are one, with their number. A wire that would run past many gates is cut:
it begins with the argument's name, or the name and number of its gate, which stand there too. The arguments
that one gate alone reads stand in its box.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from funcnet.drawing.diagram import Diagram, Gate, Wire
from funcnet.drawing.diagram.arrays import is_float, is_numeric, norm, plain
from funcnet.drawing.render.frames import around, framed, legend
from funcnet.drawing.render.labels import constant_on_label, label
from funcnet.drawing.render.nodes import GREY, gate_tooltip, green, grey, is_copy, node, red, wire_tooltip
from funcnet.drawing.render.numbers import array_type, not_finite, number
from funcnet.drawing.render.thumbnails import escaped

FAR = 24
"""A wire is cut that would run past more gates."""

COLUMNS = 4
"""So many gates stand beside each other at most, in the order of the program: a page is not wider."""

LONGEST_LABEL = 40
"""So many characters of what is written on a gate are shown."""

HEAD = """\
digraph {
ranksep=0.16 nodesep=0.1 margin=0.05 tooltip=" " rankdir=TB
fontname="Helvetica,Arial,sans-serif" fontsize=9 labelloc=b
node [fontname="Helvetica,Arial,sans-serif" fontsize=9 margin="0.05,0.02" height=0.2 width=0.2]
edge [arrowsize=0.5 tooltip=" " fontname="Helvetica,Arial,sans-serif" fontsize=8]"""


def compact_dot(diagram: Diagram) -> str:
    """The diagram as DOT text, one line for each gate."""
    gates = [gate for gate in diagram if not is_copy(gate)]
    within = {gate: own_ends(gate) for gate in gates}
    inside = {wire for wires in within.values() for wire in wires}
    names = {wire: f"w{i}" for i, wire in enumerate(diagram.wires)}
    apart = [wire for wire in ends(diagram) if wire not in inside]
    links = [link for link in linked(diagram, gates) if link.source not in inside]
    cut = {(link.source, link.target): begin(diagram, link.source) for link in links if link.far}
    begins = {source.source for source, _ in cut}
    nodes = [(gate.path, gate_line(gate, within[gate], gate.number in begins)) for gate in gates]
    nodes += [(around(diagram, wire), end_line(wire, names[wire])) for wire in apart]
    for (source, target), text in cut.items():
        nodes.append((diagram.gates[target].path, f"c{names[source]}_{target} [label=<{text}> shape=plain]"))
    lines = [HEAD, f"label=<{legend(diagram, 'beside a name: ')}>", *framed(nodes)]
    return "\n".join([*lines, *arrows(diagram, links, names), *in_columns(gates), "}\n"])


def in_columns(gates: Sequence[Gate]) -> Iterator[str]:
    """Arrows that nobody sees, from each gate to that a row further on: no row has more gates."""
    for gate, below in zip(gates, gates[COLUMNS:], strict=False):
        yield f"g{gate.number} -> g{below.number} [style=invis weight=0]"


@dataclass(frozen=True)
class Link:
    """What leads to a gate: the wire before all copies, the gate's number, and whether it runs past many."""

    source: Wire
    target: int
    far: bool


def linked(diagram: Diagram, gates: Sequence[Gate]) -> list[Link]:
    """All that leads to these gates, but for the constants on their labels."""
    first: dict[Wire, int] = {}
    links = []
    for gate in gates:
        for wire in gate.inputs:
            if not constant_on_label(gate, wire):
                source = before_copies(diagram, wire)
                place = first.setdefault(source, gate.number if source.source is None else source.source)
                links.append(Link(source, gate.number, gate.number - place > FAR))
    return links


def begin(diagram: Diagram, wire: Wire) -> str:
    """What stands where a wire begins that is cut: an argument's name, or name and number of a gate."""
    return escaped(wire.name) if wire.source is None else written(diagram.gates[wire.source])


def before_copies(diagram: Diagram, wire: Wire) -> Wire:
    """The wire that this one is a copy of."""
    while wire.source is not None and is_copy(diagram.gates[wire.source]):
        (wire,) = diagram.gates[wire.source].inputs
    return wire


def own_ends(gate: Gate) -> list[Wire]:
    """The arguments and constants that stand in a gate's box: its own, if it is not a beginning."""
    begins = len(gate.inputs) > 1 and all(wire.source is None for wire in gate.inputs)
    own = [wire for wire in gate.inputs if wire.source is None and not constant_on_label(gate, wire)]
    return [] if begins or is_copy(gate) else own


def ends(diagram: Diagram) -> list[Wire]:
    """The wires that have a line of their own: arguments, constants, results."""
    shown = [wire for gate in diagram for wire in gate.inputs if constant_on_label(gate, wire)]
    hidden = set(shown)
    return [wire for wire in diagram.wires if wire.role and wire not in hidden]


def arrows(diagram: Diagram, links: Sequence[Link], names: dict[Wire, str]) -> Iterator[str]:
    """The arrows, those between the same two nodes as one."""
    for link, count in Counter(links).items():
        source, target = link.source, link.target
        many = f'penwidth={min(count, 4)} label=" ×{count}"' if count > 1 else ""
        if link.far:
            yield f'c{names[source]}_{target} -> g{target} [color="{GREY}" {many}]'
        elif source.source is not None and source.source >= target:
            yield f'g{source.source} -> g{target} [constraint=false style=dashed label=" next step" {many}]'
        else:
            yield f"{start(source, names)} -> g{target} [{'weight=4 ' * (source.source is not None)}{many}]"
    for wire in diagram.results:
        origin = before_copies(diagram, wire)
        if origin is not wire or origin.source is not None:
            yield f"{start(origin, names)} -> {names[wire]} [arrowhead=none]"


def start(wire: Wire, names: dict[Wire, str]) -> str:
    """The node that a wire begins at."""
    return names[wire] if wire.source is None else f"g{wire.source}"


def gate_line(gate: Gate, own: Sequence[Wire], numbered: bool) -> str:
    """A gate's line: its name, its value, its gradient, a warning; and one for each argument of its own."""
    parts = [f"<B>{written(gate) if numbered else escaped(label(gate)[:LONGEST_LABEL])}</B>"]
    if gate.outputs:
        parts += numbers_of(gate.outputs[0])
    if len(gate.outputs) > 1:
        parts.append(grey(f"+{len(gate.outputs) - 1}"))
    parts += [f"<B>⚠ {mark.kind}</B>" for mark in gate.marks[:1]]
    severe = any(mark.severe for mark in gate.marks)
    border = {"fillcolor": "#fff1d0" if gate.marks else "#eef2f8", "penwidth": 3 if severe else 1}
    lines = ["&#160; ".join(parts), *map(end_text, own)]
    text = "<BR/>".join(lines)
    tooltip = "\n\n".join([gate_tooltip(gate), *map(wire_tooltip, own)])
    return node(f"g{gate.number}", text, tooltip, shape="box", style="filled,rounded", **border)


def end_line(wire: Wire, name: str) -> str:
    """The line of an argument, a constant or a result, where it has a place of its own."""
    return node(name, end_text(wire), wire_tooltip(wire), shape="plain")


def end_text(wire: Wire) -> str:
    """What is written of an argument, a constant or a result."""
    name = wire.name or ("result" if wire.role == "result" else "")
    return "&#160; ".join([*([f"<B>{escaped(name)}</B>"] if name else []), *numbers_of(wire)])


def written(gate: Gate) -> str:
    """A gate's name and number, where a wire that is cut begins and ends."""
    return escaped(f"{gate.name} {gate.number}")


def numbers_of(wire: Wire) -> list[str]:
    """Value and gradient of a wire, in one number each."""
    ink = grey if wire.role == "constant" else green
    value = [ink(escaped(in_short(wire.value, shaped=True)))]
    return value if wire.gradient is None else [*value, red(escaped(in_short(wire.gradient, shaped=False)))]


def in_short(value: Any, *, shaped: bool) -> str:
    """A number itself; of an array its shape and norm.

    >>> in_short(np.float32([[3, 4]]), shaped=True)
    '1×2 ‖5‖'
    """
    kind = array_type(value)
    if not isinstance(value, tuple) and np.ndim(value) == 0 and is_numeric(value):
        return number(plain(value).item())
    shape = kind.removeprefix("float32 ")
    if not (is_numeric(value) and is_float(value)):
        return shape if shaped else ""
    xs = plain(value).ravel()
    size = not_finite(xs) or f"‖{number(norm(xs))}‖"
    return f"{shape} {size}" if shaped else size
