"""The many arguments of one gate as one wire: a picture has no room for each, and the diagram keeps them."""

import dataclasses
import os.path
from collections.abc import Sequence

from funcnet.drawing.diagram import Diagram, Gate, Wire

MANY_ARGUMENTS = 4
"""More leaves of one argument that one gate alone reads are bundled."""


def with_bundles(diagram: Diagram) -> Diagram:
    """The diagram with one wire for the arguments of each gate that reads many."""
    bundles: dict[Wire, Wire] = {}
    for gate in diagram:
        own: dict[str, list[Wire]] = {}
        for wire in gate.inputs:
            if wire.role == "input" and not isinstance(wire.value, tuple):
                own.setdefault(wire.name.partition("/")[0], []).append(wire)
        for wires in own.values():
            if len(wires) > MANY_ARGUMENTS:
                bundles |= dict.fromkeys(wires, bundled(wires))
    if not bundles:
        return diagram

    def once(wires: Sequence[Wire]) -> tuple[Wire, ...]:
        return tuple(dict.fromkeys(bundles.get(wire, wire) for wire in wires))

    def with_fewer(gate: Gate) -> Gate:
        return dataclasses.replace(gate, inputs=once(gate.inputs)) if bundles.keys() & gate.inputs else gate

    return Diagram(tuple(map(with_fewer, diagram)), once(diagram.wires), diagram.results)


def bundled(wires: Sequence[Wire]) -> Wire:
    """Arguments as one, called by the path that they share; if one has no gradient, none is shown."""
    shared = os.path.commonpath([wire.name for wire in wires])
    gradients = tuple(wire.gradient for wire in wires)
    name = f"{shared}/* ({len(wires)} arrays)".lstrip("/")
    known = all(gradient is not None for gradient in gradients)
    values = tuple(wire.value for wire in wires)
    return Wire(values, gradients if known else None, name, "input", None, wires[0].target)
