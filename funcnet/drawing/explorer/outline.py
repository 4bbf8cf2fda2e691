"""The gates of a diagram in boxes within boxes, so that no level is too long to be read.

A level of more than `LONG` gates and boxes is shortened twice:

    repeated    layers that follow one another and are alike stand in one box each, and all of them in one
    parts       what is left is cut where the fewest wires cross (as one would fold a map), into boxes of
                about as many gates; fewer where many pairs of them would be connected

Copy gates are left out: in the explorer a value is taken from where it is made.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise

import numpy as np

from funcnet.drawing.diagram import Box, Diagram, Gate
from funcnet.drawing.render.labels import NAMES, label, sign
from funcnet.drawing.render.nodes import is_copy

LONG = 24
"""A level of up to so many gates and boxes stays as it is."""

MOST = 16
"""A level is cut into so many parts at most."""

FEWEST = 6
"""And into so many at least, however many wires there are between them."""

DENSE = 2.5
"""More pairs of connected parts than this, for each part, are too many."""


WORTH = 9
"""A run of equal layers holds more gates and boxes than this, or is none."""

LONGEST = 200
"""A repeated layer has at most so many."""

FAR = 60
"""What is made more gates before is far away, however far."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A box of the explorer and what is in it.

    Attributes:
        name: what is written on it.
        line: where the user's code calls it, or empty.
        children: the gates and boxes in it, in the order of the forward pass.
    """

    name: str
    line: str
    children: "Sequence[Frame | Gate]"

    @cached_property
    def gates(self) -> list[Gate]:
        """All gates in it."""
        return [gate for child in self.children for gate in gates_of(child)]

    @cached_property
    def contents(self) -> str:
        """Its gates by name and number.

        >>> Frame("net", "", ()).contents
        ''
        """
        names = (sign(gate) or NAMES.get(gate.primitive, gate.name) for gate in self.gates)
        counts = Counter(names).most_common(4)
        return ", ".join(f"{count} {name}" if count > 1 else name for name, count in counts)


def outline(diagram: Diagram) -> Frame:
    """All gates of a diagram but its copies, in boxes."""
    gates = [gate for gate in diagram if not is_copy(gate)]
    crossing = Crossing(diagram)
    return shortened(Frame("", "", nested(gates, 0)), crossing)


def nested(gates: Sequence[Gate], level: int) -> list[Frame | Gate]:
    """Gates in the boxes of their paths from a level on."""

    def box(gate: Gate) -> Box | None:
        return gate.path[level] if len(gate.path) > level else None

    children: list[Frame | Gate] = []
    for around, inside in groupby(gates, box):
        if around is None:
            children += inside
        else:
            children.append(merged(Frame(around.name, around.line or "", nested(list(inside), level + 1))))
    return children


def merged(frame: Frame) -> Frame:
    """A box without one around all of what is in it: relu in relu is one."""
    (inner, *more) = frame.children
    if more or isinstance(inner, Gate):
        return frame
    name = frame.name if frame.name == inner.name else f"{frame.name} / {inner.name}"
    return Frame(name, frame.line or inner.line, inner.children)


def shortened(frame: Frame, crossing: "Crossing") -> Frame:
    """A box with no level in it that is too long."""
    children = [c if isinstance(c, Gate) else shortened(c, crossing) for c in frame.children]
    return Frame(frame.name, frame.line, parts(repeated(children, crossing), crossing))


def repeated(children: Sequence[Frame | Gate], crossing: "Crossing") -> list[Frame | Gate]:
    """A level with each run of equal layers in one box, the longest first, while it is too long."""
    children = list(children)
    while len(children) > LONG:
        start, period, end = longest_run([crossing.form(child) for child in children])
        if not period:
            break
        names = [re.sub(r"\d+", "", child.name) for child in children]
        first = max(start - period, 0)  # one layer before takes arguments where the others take each other's
        while start > first and names[start - 1] == names[start - 1 + period]:
            start -= 1
        end -= (end - start) % period
        layers = [children[i : i + period] for i in range(start, end, period)]
        name = titled(layers[0])
        inside = [numbered(layer, name, i, crossing) for i, layer in enumerate(layers, 1)]
        children[start:end] = [Frame(f"{len(layers)} × {name}", "", parts(inside, crossing))]
    return children


def numbered(layer: Sequence[Frame | Gate], name: str, i: int, crossing: "Crossing") -> Frame | Gate:
    """One of several equal layers: a gate, a box that says which one it is."""
    first = layer[0]
    if len(layer) > 1:
        return Frame(f"{name} {i}", "", parts(repeated(layer, crossing), crossing))
    if isinstance(first, Gate) or re.search(r"\d", first.name):
        return first
    return Frame(f"{name} {i}", first.line, first.children)


def longest_run(forms: Sequence[int]) -> tuple[int, int, int]:
    """Start, period and end of the run of three or more equal layers that is longest; zeros if none is.

    >>> longest_run([8, 9, *[1, 2, 3] * 4, 1, 7])
    (2, 3, 15)
    """
    codes = np.array(forms)
    best = (0, 0, 0)
    for period in range(1, min(LONGEST, len(codes) // 3) + 1):
        same = np.concatenate([[False], codes[period:] == codes[:-period], [False]])
        starts, ends = (np.flatnonzero(np.diff(same.astype(np.int8)) == step) for step in (1, -1))
        if starts.size:
            i = (ends - starts).argmax()
            start, end = int(starts[i]), int(ends[i]) + period
            if end - start > max(WORTH, 3 * period - 1, best[2] - best[0]):
                best = (start, period, end)
    return best


def parts(children: Sequence[Frame | Gate], crossing: "Crossing") -> list[Frame | Gate]:
    """A level cut into parts, and these into parts, until none is too long."""
    if len(children) <= LONG:
        return list(children)
    count = max(min(MOST, -(-len(children) // LONG * 2)), FEWEST)
    cuts = crossing.cuts(children, count)
    while count > FEWEST and crossing.pairs(children, cuts) > DENSE * count:
        count = max(count - 2, FEWEST)
        cuts = crossing.cuts(children, count)
    cut = [children[start:end] for start, end in pairwise(cuts)]
    return [Frame(spanning(inside, i, count), "", parts(inside, crossing)) for i, inside in enumerate(cut, 1)]


def spanning(children: Sequence[Frame | Gate], i: int, count: int) -> str:
    """The name of a part: its first and its last layer, else which part it is."""
    first, last = (re.fullmatch(r"(.*?)(\d+)", str(child.name)) for child in (children[0], children[-1]))
    if first and last and first[1] == last[1]:
        return f"{first[1]}{first[2]} … {last[2]}"
    return f"part {i} of {count}"


class Crossing:
    """The wires of a diagram past its copies, as they cross a level of its outline."""

    def __init__(self, diagram: Diagram):
        makers: dict[int, int] = {}
        ends, self.reaches, self.codes = [], {}, {}
        for gate in diagram:
            sources = [
                makers.get(wire.source, wire.source) for wire in gate.inputs if wire.source is not None
            ]
            makers[gate.number] = sources[0] if is_copy(gate) and sources else gate.number
            if not is_copy(gate):
                ends += [(source, gate.number) for source in sources]
                self.reaches[gate.number] = [min(gate.number - source, FAR) for source in sources]
        self.ends = np.array(ends, int).reshape(-1, 2)

    def form(self, child: Frame | Gate) -> int:
        """A number that two gates or boxes share if they are alike.

        Gates are if they have a name, the shapes of what they make, and how far back their operands are made
        in common; boxes, if they have the name but for its numbers, and hold what is alike.
        """
        if isinstance(child, Gate):
            shapes = (getattr(wire.value, "shape", ()) for wire in child.outputs)
            one = (child.name, *shapes, *self.reaches[child.number])
        else:
            one = (re.sub(r"\d+", "", child.name), *map(self.form, child.children))
        return self.codes.setdefault(one, len(self.codes))

    def places(self, children: Sequence[Frame | Gate]) -> np.ndarray:
        """For each wire within a level the places in it of the two that it connects."""
        firsts = np.array([gates_of(child)[0].number for child in children])
        last = gates_of(children[-1])[-1].number
        inside = self.ends[(self.ends >= firsts[0]).all(1) & (self.ends <= last).all(1)]
        return np.searchsorted(firsts, inside, side="right") - 1

    def cuts(self, children: Sequence[Frame | Gate], count: int) -> list[int]:
        """Where a level is cut into so many parts: near even places, where the fewest wires cross."""
        n, ends = len(children), self.places(children)
        steps = np.zeros(n + 2, int)
        np.add.at(steps, ends[:, 0] + 1, 1)
        np.add.at(steps, ends[:, 1] + 1, -1)
        crossed = np.cumsum(steps)
        reach = n // (4 * count)
        cuts = [0]
        for even in np.linspace(0, n, count + 1)[1:-1].astype(int):
            near = range(max(even - reach, cuts[-1] + 1), even + reach + 1)
            cuts.append(min(near, key=lambda i: (crossed[i], abs(i - even))))
        return [*cuts, n]

    def pairs(self, children: Sequence[Frame | Gate], cuts: Sequence[int]) -> int:
        """How many pairs of parts are connected."""
        part = np.searchsorted(cuts, self.places(children), side="right")
        return len({(a, b) for a, b in part.tolist() if a != b})


def titled(layer: Sequence[Frame | Gate]) -> str:
    """The name of a repeated layer: what is in it, by name."""
    names = [re.sub(r"[\s_]*\d+$", "", one.name) if isinstance(one, Frame) else label(one) for one in layer]
    names = [name for name in dict.fromkeys(names) if not name.startswith("broadcast")] or names
    return ", ".join([*names[:4], *["…"] * (len(names) > 4)])


def gates_of(child: Frame | Gate) -> list[Gate]:
    """A gate, or all gates of a box."""
    return child.gates if isinstance(child, Frame) else [child]
