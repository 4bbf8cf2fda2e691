"""A large diagram as text in DOT: one line for each gate, and no tables.

    tanh  8×32  ‖5.1‖  ‖0.03‖        name; shape and norm of its value in green, norm of its gradient in red

Values are handed from gate to gate by bare arrows; where one is used more than once, several leave its gate.
Wires between the same two gates are one, with their number. A wire that would run past many gates is cut:
it begins with the argument's name, or the name and number of its gate, which stand there too. The arguments
that one gate alone reads stand in its box, without what the names of the boxes around it say already. So do
those that many gates read, each time with what that use sends back; value and whole gradient stand above all.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from funcnet.drawing.diagram import Diagram, Gate, Wire
from funcnet.drawing.diagram.arrays import is_float, is_numeric, norm, plain
from funcnet.drawing.render.frames import around, framed, legend
from funcnet.drawing.render.labels import constant_on_label, label, windows
from funcnet.drawing.render.nodes import GREY, gate_tooltip, green, grey, is_copy, node, red, wire_tooltip
from funcnet.drawing.render.numbers import array_type, not_finite, number
from funcnet.drawing.render.order import COLUMNS, HIDDEN, Link, in_a_stack, in_columns
from funcnet.drawing.render.thumbnails import escaped

FAR = 24
"""A wire is cut that would run past more gates."""

SHARED = 2
"""To so many gates wires lead from one argument at most, and to none in a box beside that of another."""

BEGINNING = 2
"""So many arguments stand above the gate that alone reads them, if it begins; more stand in it."""

LONGEST_LABEL = 40
"""So many characters of what is written on a gate are shown."""

HEAD = """\
digraph {
ranksep=0.16 nodesep=0.1 margin=0.05 tooltip=" " rankdir=TB
fontname="Helvetica,Arial,sans-serif" fontsize=9 labelloc=b
node [fontname="Helvetica,Arial,sans-serif" fontsize=9 margin="0.05,0.02" height=0.2 width=0.2]
edge [arrowsize=0.5 tooltip=" " fontname="Helvetica,Arial,sans-serif" fontsize=8]"""


def compact_dot(diagram: Diagram, columns: int = COLUMNS, *, stacked: bool = False) -> str:
    """The diagram as DOT text, one line for each gate.

    Args:
        diagram: what to write down.
        columns: so many gates stand beside each other at most.
        stacked: whether each box stands below the one before it.
    """
    gates = [gate for gate in diagram if not is_copy(gate)]
    shared = shared_arguments(diagram, gates)
    arguments = {gate: [*own_ends(gate), *uses_of(diagram, gate, shared)] for gate in gates}
    told = {before_copies(diagram, wire) for wires in arguments.values() for wire in wires}
    names = {wire: f"w{i}" for i, wire in enumerate(diagram.wires)}
    apart = [wire for wire in ends(diagram) if wire not in told]
    links = [link for link in linked(diagram, gates) if link.source not in told]
    cut = {(link.source, link.target): begin(diagram, link.source) for link in links if link.far}
    begins = {source.source for source, _ in cut}
    nodes = [(gate.path, gate_line(diagram, gate, arguments[gate], gate.number in begins)) for gate in gates]
    nodes += [(around(diagram, wire), end_line(wire, names[wire])) for wire in apart]
    for (source, target), text in cut.items():
        nodes.append((diagram.gates[target].path, f"c{names[source]}_{target} [label=<{text}> shape=plain]"))
    if shared:
        nodes.append(((), shared_lines(shared)))
    rank = "newrank=true" if stacked else ""  # boxes are ranked with all others, not each by itself
    lines = [HEAD, f"{rank} label=<{legend(diagram, 'beside a name: ')}>", *framed(nodes)]
    order = [*in_columns(gates, columns), *(in_a_stack(gates, links) if stacked else ())]
    if shared:
        order += [f"shared -> g{gate.number} {HIDDEN}" for gate in gates[:columns]]
    return "\n".join([*lines, *arrows(diagram, links, names), *order, "}\n"])


def shared_arguments(diagram: Diagram, gates: Sequence[Gate]) -> list[Wire]:
    """The arguments that many gates read, or gates in different boxes, and that are no results."""
    readers: dict[Wire, list[Gate]] = {}
    for gate in gates:
        for wire in {before_copies(diagram, wire) for wire in gate.inputs}:
            readers.setdefault(wire, []).append(gate)
    results = {before_copies(diagram, wire) for wire in diagram.results}
    return [
        wire
        for wire in diagram.inputs
        if wire not in results and wire in readers
        if len(readers[wire]) > SHARED or is_apart(readers[wire][0], readers[wire][-1])
    ]


def is_apart(gate: Gate, other: Gate) -> bool:
    """Whether two gates are in boxes of which neither is in the other."""
    return any(box is not one for box, one in zip(gate.path, other.path, strict=False))


def uses_of(diagram: Diagram, gate: Gate, shared: Sequence[Wire]) -> list[Wire]:
    """The uses of shared arguments that lead to a gate."""
    return [wire for wire in gate.inputs if before_copies(diagram, wire) in shared]


def shared_lines(shared: Sequence[Wire]) -> str:
    """A node with a line for each shared argument."""
    text = "<BR/>".join(["<I>read in several places</I>", *(end_text(wire, wire.name) for wire in shared)])
    return node("shared", text, "\n\n".join(map(wire_tooltip, shared)), shape="plain")


def linked(diagram: Diagram, gates: Sequence[Gate]) -> list[Link]:
    """All that leads to these gates, but for the constants on their labels."""
    first: dict[Wire, int] = {}
    links = []
    for gate in gates:
        for wire in gate.inputs:
            if not constant_on_label(gate, wire):
                source = before_copies(diagram, wire)
                place = first.setdefault(source, gate.number if source.source is None else source.source)
                links.append(Link(source, gate.number, abs(gate.number - place) > FAR))
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
    begins = 1 < len(gate.inputs) <= BEGINNING and all(wire.source is None for wire in gate.inputs)
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
        back = source.source is not None and source.source >= target
        if link.far:
            style = 'style=dashed label=" the step before"' if back else ""
            yield f'c{names[source]}_{target} -> g{target} [color="{GREY}" {style} {many}]'
        elif back:
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


def gate_line(diagram: Diagram, gate: Gate, own: Sequence[Wire], numbered: bool) -> str:
    """A gate's line: its name, its value, its gradient, a warning; and one for each argument in its box."""
    parts = [f"<B>{written(gate) if numbered else escaped(label(gate)[:LONGEST_LABEL])}</B>"]
    if gate.outputs:
        parts += numbers_of(gate.outputs[0])
    if len(gate.outputs) > 1:
        parts.append(grey(f"+{len(gate.outputs) - 1}"))
    parts += [f"<B>⚠ {mark.kind}</B>" for mark in gate.marks[:1]]
    severe = any(mark.severe for mark in gate.marks)
    border = {"fillcolor": "#fff1d0" if gate.marks else "#eef2f8", "penwidth": 3 if severe else 1}
    arguments = {wire: name_in(gate, before_copies(diagram, wire).name) for wire in own}
    known = [grey(escaped(", ".join(lines)))] if (lines := windows(gate)) else []
    lines = ["&#160; ".join(parts), *known, *(end_text(wire, name) for wire, name in arguments.items())]
    text = "<BR/>".join(lines)
    tooltip = "\n\n".join([gate_tooltip(gate), *map(wire_tooltip, own)])
    return node(f"g{gate.number}", text, tooltip, shape="box", style="filled,rounded", **border)


def name_in(gate: Gate, argument: str) -> str:
    """An argument's path from the innermost box that it names on: `w` for `params/layer1/w` in layer1."""
    boxes = "/".join([*(box.name for box in gate.path), gate.name]).split("/")
    parts = argument.split("/")
    known = [i for i, part in enumerate(parts[:-1]) if part in boxes]
    return "/".join(parts[known[-1] + 1 :]) if known else argument


def end_line(wire: Wire, name: str) -> str:
    """The line of an argument, a constant or a result, where it has a place of its own."""
    called = wire.name or ("result" if wire.role == "result" else "")
    return node(name, end_text(wire, called), wire_tooltip(wire), shape="plain")


def end_text(wire: Wire, name: str) -> str:
    """What is written of an argument, a constant or a result; of one use of several what that sends back."""
    one_of_several = wire.source is not None and wire.role == ""
    numbers = numbers_of(wire)[one_of_several:]
    return "&#160; ".join([*([f"<B>{escaped(name)}</B>"] if name else []), *numbers])


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
