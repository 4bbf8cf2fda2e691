"""Where the gates of a compact picture stand, told to Graphviz by arrows that nobody sees.

Gates stand in the order of the program, a few in a row; and, where the picture is too wide otherwise, each
box below the one before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from funcnet.drawing.diagram import Gate, Wire

COLUMNS = 4
"""So many gates stand beside each other at most, in the order of the program: a page is not wider."""

HIDDEN = "[style=invis weight=0]"


@dataclass(frozen=True)
class Link:
    """What leads to a gate: the wire before all copies, the gate's number, and whether it runs past many."""

    source: Wire
    target: int
    far: bool


def in_columns(gates: Sequence[Gate], columns: int) -> Iterator[str]:
    """Arrows that nobody sees, from each gate to that a row further on: no row has more gates."""
    for gate, below in zip(gates, gates[columns:], strict=False):
        yield f"g{gate.number} -> g{below.number} {HIDDEN}"


def in_a_stack(gates: Sequence[Gate], links: Sequence[Link], level: int = 0) -> Iterator[str]:
    """Likewise, from each box to the next on its level, and so within them."""
    above: list[Gate] = []
    for box, inside in groupby(gates, lambda gate: gate.path[level] if len(gate.path) > level else None):
        if box:
            below = list(inside)
            starts = firsts(below, links)
            yield from (f"g{a.number} -> g{b.number} {HIDDEN}" for a in lasts(above, links) for b in starts)
            yield from in_a_stack(below, links, level + 1)
            above = below


def firsts(gates: Sequence[Gate], links: Sequence[Link]) -> list[Gate]:
    """Those of some gates that take nothing from the others."""
    numbers = {gate.number for gate in gates}
    taking = {link.target for link in links if link.source.source in numbers and not link.far}
    return [gate for gate in gates if gate.number not in taking]


def lasts(gates: Sequence[Gate], links: Sequence[Link]) -> list[Gate]:
    """Those of some gates that hand nothing to the others."""
    numbers = {gate.number for gate in gates}
    handing = {link.source.source for link in links if link.target in numbers and not link.far}
    return [gate for gate in gates if gate.number not in handing]
