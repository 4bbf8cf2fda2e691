"""What the explorer's page knows of a diagram: JSON with all that it writes, in words.

    items    boxes, gates, arguments, constants and results, each with the box that it is in ("in"); the first
             is the box around all
    flows    values: the item that makes it ("from"), what it is called, the value and its whole gradient
    wires    the uses of the flows: "flow", the item that it leads to ("to"), the gradient that this use sends
             back ("back", if that is not all of it), how it comes about ("how") and ∂y/∂x ("local")
    texts    formulas, sources and lines, each once; the items have their places here

An array is [in a few characters, in full]. What is empty is left out.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from funcnet.drawing.diagram import Diagram, Gate, Wire
from funcnet.drawing.explorer.outline import Frame, outline
from funcnet.drawing.explorer.texts import brief, is_listed, name_of, parameters, whole
from funcnet.drawing.render.labels import constant_on_label, label
from funcnet.drawing.render.nodes import is_copy, short_line
from funcnet.drawing.render.numbers import full
from funcnet.drawing.render.words import forward_formula, gradient_names, value_names, working

BUNDLED = 4
"""So many arguments or results that are used alike are shown as one."""

SMALL = 300
"""Of a diagram of up to so many gates the page has the digits too."""

SHARED = 3
"""An argument that is used in more boxes of a level stands in each of them."""

Use = tuple[Wire, Gate | None]
"""A wire and the gate that it leads to; None if it is a result."""

Made = tuple[Wire, Sequence[Use], int]
"""A value, its uses, and the item that brings it there."""


def data(diagram: Diagram) -> dict[str, Any]:
    """All that the page shows, as lists and dictionaries of numbers and text."""
    return Writer(diagram).written()


class Writer:
    """Writes the items of a diagram down and remembers where each stands."""

    def __init__(self, diagram: Diagram):
        self.diagram = diagram
        self.items: list[dict[str, Any]] = []
        self.place_of: dict[int, int] = {}
        self.texts: dict[str, int] = {}
        self.arrays: dict[int, list[str]] = {}
        self.names = value_names(diagram)
        self.gradients = gradient_names(diagram, self.names, own=True)

    def written(self) -> dict[str, Any]:
        """Everything, in the order in which one needs the other."""
        self.frame(outline(self.diagram), None)
        made, brought = [], []
        for wire, uses in self.uses().items():
            if wire.source is None:
                brought += [(wire, part) for part in self.apart(uses)]
            else:
                made.append((wire, uses, self.place_of[wire.source]))
        made += self.bundled(brought)
        results = self.results(made)
        return {
            "items": self.items,
            "flows": [self.flow(wire, item) for wire, _, item in made],
            "wires": [
                {"flow": i, "to": results[wire] if gate is None else self.place_of[gate.number]}
                | self.way_back(wire, flow, gate)
                for i, (flow, uses, _) in enumerate(made)
                for wire, gate in uses
            ],
            "texts": list(self.texts),
        }

    def frame(self, frame: Frame, around: int | None) -> None:
        """A box, and what is in it."""
        here = self.item(
            "box", frame.name, around, size=len(frame.gates), about=frame.contents, line=self.line(frame)
        )
        for child in frame.children:
            if isinstance(child, Frame):
                self.frame(child, here)
            else:
                self.place_of[child.number] = self.gate(child, here)

    def gate(self, gate: Gate, around: int) -> int:
        """A gate."""
        formula, numbers = forward_formula(gate, self.names)
        return self.item(
            "gate",
            label(gate),
            around,
            name=gate.name if gate.primitive in ("", gate.name) else f"{gate.name} ({gate.primitive})",
            computes=" = ".join(filter(None, (formula, numbers))),
            formula=self.text(gate.formula),
            source=self.text(gate.source),
            line=self.line(gate),
            parameters=self.text(parameters(gate)),
            marks=[[mark.text, mark.severe] for mark in gate.marks],
        )

    def apart(self, uses: Sequence[Use]) -> list[Sequence[Use]]:
        """The uses of an argument; those in each box apart where there are so many that it stands in each."""
        places = self.places(uses)
        depth = len(self.path(self.around(places)))
        inside: dict[int, list[Use]] = defaultdict(list)
        for use, place in zip(uses, places, strict=True):
            inside[[*self.path(place), place][depth] if place else 0].append(use)
        if len(inside) <= SHARED:
            return [uses]
        return [part for its in inside.values() for part in self.apart(its)]

    def bundled(self, brought: Sequence[tuple[Wire, Sequence[Use]]]) -> list[Made]:
        """The items of arguments and constants; those that are used alike are one if they are many."""
        alike: dict[Any, list[tuple[Wire, Sequence[Use]]]] = defaultdict(list)
        for wire, uses in brought:
            pattern = re.sub(r"\d+", "*", name_of(wire))
            alike[wire.role == "constant", pattern, tuple(self.places(uses))].append((wire, uses))
        made: list[Made] = []
        for (constant, pattern, places), several in alike.items():
            kind, around = "constant" if constant else "input", self.around(places)
            if len(several) >= BUNDLED:
                one = self.item(kind, f"{pattern} ({len(several)} arrays)", around)
                made += [(wire, uses, one) for wire, uses in several]
            else:
                made += [(wire, uses, self.item(kind, name_of(wire), around)) for wire, uses in several]
        return made

    def results(self, made: Sequence[Made]) -> dict[Wire, int]:
        """The items of the results; those that one item makes are one if they are many."""
        alike: dict[int, list[Wire]] = defaultdict(list)
        for _, uses, item in made:
            alike[item] += [wire for wire, gate in uses if gate is None]
        items: dict[Wire, int] = {}
        for wires in alike.values():
            if len(wires) >= BUNDLED:
                items |= dict.fromkeys(wires, self.item("result", f"{len(wires)} results", 0))
            else:
                items |= {wire: self.item("result", self.result_name(wire), 0) for wire in wires}
        return items

    def places(self, uses: Sequence[Use]) -> list[int]:
        """The items that the uses are in; a result's is the box around all."""
        return [self.place_of[gate.number] if gate else 0 for _, gate in uses]

    def around(self, places: Sequence[int]) -> int:
        """The innermost box around some items."""
        paths = [self.path(place) for place in places] or [[0]]
        same = [boxes[0] for boxes in zip(*paths, strict=False) if len(set(boxes)) == 1]
        return same[-1]

    def path(self, place: int) -> list[int]:
        """The boxes around an item, the outermost first."""
        path = []
        inside: int | None = place if place == 0 else self.items[place]["in"]
        while inside is not None:
            path.append(inside)
            inside = self.items[inside].get("in")
        return path[::-1]

    def uses(self) -> dict[Wire, list[Use]]:
        """The values that gates and arguments bring, and what they are used for, past the copies."""
        uses: dict[Wire, list[Use]] = {wire: [] for wire in self.diagram.inputs}
        for gate in self.diagram:
            if is_copy(gate):
                continue
            for wire in gate.inputs:
                if not constant_on_label(gate, wire):
                    uses.setdefault(self.origin(wire), []).append((wire, gate))
            for wire in gate.outputs:  # a carry of a loop is used before it is made
                uses.setdefault(wire, [])
        for wire in self.diagram.results:
            uses.setdefault(self.origin(wire), []).append((wire, None))
        return uses

    def origin(self, wire: Wire) -> Wire:
        """The wire on which a value leaves what made it, before it was copied."""
        while wire.source is not None and is_copy(self.diagram.gates[wire.source]):
            (wire,) = self.diagram.gates[wire.source].inputs
        return wire

    def result_name(self, wire: Wire) -> str:
        """What is written at the end of a result's wire."""
        results = self.diagram.results
        return "result" if len(results) == 1 else f"result {results.index(wire) + 1}"

    def flow(self, wire: Wire, item: int) -> dict[str, Any]:
        """A value and all of its gradient."""
        one = {"from": item, "name": self.names[wire], "value": self.array(wire.value)}
        if wire.gradient is not None:
            one |= {"called": self.gradients[wire], "gradient": self.array(wire.gradient)}
        return one

    def way_back(self, wire: Wire, flow: Wire, gate: Gate | None) -> dict[str, Any]:
        """What one use sends back, if that is not all of the gradient, and how the gate comes to it."""
        if wire.gradient is None:
            return {}
        told: dict[str, Any] = {} if wire is flow else {"back": self.array(wire.gradient)}
        if gate is not None:
            i = gate.inputs.index(wire)
            told["how"] = working(gate, i, self.gradients)
            if gate.local and gate.local[i] is not None:
                told["local"] = self.array(gate.local[i])
        return told

    def item(self, kind: str, label: str, around: int | None, **more: Any) -> int:
        """One more item; its number."""
        told = {key: text for key, text in more.items() if text not in ("", None, [])}
        self.items.append({"kind": kind, "label": label, "in": around, **told})
        return len(self.items) - 1

    def line(self, one: Frame | Gate) -> int | None:
        """The place of a source line."""
        return self.text(short_line(one.line))

    def text(self, text: str) -> int | None:
        """The place of a text; None for an empty one."""
        return self.texts.setdefault(text, len(self.texts)) if text else None

    def array(self, value: Any) -> list[str]:
        """An array in a few characters, and in full."""
        if id(value) not in self.arrays:
            digits = len(self.diagram.gates) <= SMALL
            self.arrays[id(value)] = [
                brief(value),
                full(value) if digits and is_listed(value) else whole(value),
            ]
        return self.arrays[id(value)]
