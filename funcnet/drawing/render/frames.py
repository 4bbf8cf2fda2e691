"""What stands around the gates of a picture: the frames of their boxes, and the legend."""

from collections.abc import Iterable, Sequence

import numpy as np

from funcnet.drawing.diagram import Box, Diagram, Wire
from funcnet.drawing.diagram.arrays import uniform
from funcnet.drawing.render.nodes import GREEN, GREY, RED, short_line, tooltip_of
from funcnet.drawing.render.thumbnails import escaped


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


def legend(diagram: Diagram, where: str = "above the wire: ") -> str:
    """What stands where, and that the upstream gradient of the result is ones, where it is."""
    below = "below: " if where.startswith("above") else ""
    text = (
        f'{where}<FONT COLOR="{GREEN}">value →</FONT>&#160;&#160; '
        f'{below}<FONT COLOR="{RED}"><I>gradient ←</I></FONT>'
    )
    if any(np.ndim(wire.gradient) and uniform(wire.gradient) == 1 for wire in diagram.results):
        text += "<BR/>upstream gradient of the result: ones"
    return text
