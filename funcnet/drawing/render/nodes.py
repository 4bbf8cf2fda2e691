"""The nodes of a picture: gates, and the wires between them, as text in Graphviz's language DOT.

A gate is round, or a box with rounded corners where it is a function or has more to say. A wire is a node
without a frame: its value, the wire itself, its gradient,

               value                     green, upright
    x  ──────────────────────▶ gate
              gradient                   red, in italics

so place and slant say the same as the colours. What is wrong at a gate stands in it behind a warning sign,
white on black if all of the gradient is concerned, and the gate's border is thick.
"""

import re
import textwrap
from typing import Any

from funcnet._memory import amount
from funcnet.drawing.diagram import Gate, Wire
from funcnet.drawing.diagram.arrays import is_float
from funcnet.drawing.render.labels import counts, label, sign, windows
from funcnet.drawing.render.numbers import array_type, full, in_line
from funcnet.drawing.render.thumbnails import escaped, fits_a_table, html_table, thumbnail
from funcnet.rules import parse_formula

GREEN, RED, GREY = "#00703c", "#c0102a", "#707070"
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
BACKSLASH = "\\"
LONGEST_PARAMETER = 80
"""So many characters of a parameter are told at most."""

LONGEST_TOOLTIP = 2000
"""So many characters show where the pointer rests: Graphviz reads 16,384, some made of six."""


def node(name: str, label: str, tooltip: str, **attributes: Any) -> str:
    """A node with a label in Graphviz's HTML, and a text that shows where the pointer rests."""
    more = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    return f"{name} [label=<{label}> {tooltip_of(tooltip)} {more}]"


def tooltip_of(text: str) -> str:
    """The attribute for a text that shows where the pointer rests; Graphviz reads backslashes in it twice."""
    shown = text if len(text) <= LONGEST_TOOLTIP else f"{text[:LONGEST_TOOLTIP]} …"
    return f'tooltip="{escaped(shown).replace(BACKSLASH, 2 * BACKSLASH)}"'


def wire_node(i: int, wire: Wire, ends: tuple[str, str], *, again: bool) -> str:
    """A wire: the value above, the gradient below, and what is written at its ends.

    Args:
        i: its number.
        wire: what flows.
        ends: the argument's name; and what it leads to if that is no gate.
        again: whether the same value stands on the wire before it; if it is large its kind is enough here.
    """
    constant = wire.role == "constant"
    ink = grey if constant else green
    same = again and not fits_a_table(wire.value)
    value = ink(escaped(array_type(wire.value))) if same else thumbnail(wire.value, ink)
    if wire.gradient is not None:
        gradient = thumbnail(wire.gradient, red, typed=False)
    else:
        gradient = grey("–") if is_float(wire.value) and not constant else ""
    before, after = (beside(broken(text)) for text in ends)
    rows = [
        f'{before}<TD PORT="n">{value}</TD>{after}',
        f'<TD PORT="p" BGCOLOR="{GREY if constant else "black"}" HEIGHT="1" CELLPADDING="0"></TD>',
        f'<TD PORT="s">{gradient}</TD>',
    ]
    body = "".join(f"<TR>{row}</TR>" for row in rows)
    whole = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{body}</TABLE>'
    return node(f"w{i}", whole, wire_tooltip(wire), shape="plain")


def beside(text: str) -> str:
    """The cell at one end of a wire, as high as value, wire and gradient together."""
    return f'<TD ROWSPAN="3">&#160;<B>{text}</B>&#160;</TD>' if text else ""


def gate_node(gate: Gate, *, formulas: bool) -> str:
    """A gate: its sign or name; formula and local gradients if asked for; its marks."""
    name, tooltip = f"g{gate.number}", gate_tooltip(gate)
    if is_copy(gate):
        small = {"fontsize": 8, "margin": "0.01,0.01", "width": 0, "height": 0}
        return node(name, "copy", tooltip, shape="oval", **small)
    written = label(gate)
    text = f'<FONT POINT-SIZE="{13 if len(written) == 1 else 10}">{escaped(written)}</FONT>'
    known = [f'<FONT POINT-SIZE="9">{escaped(line)}</FONT>' for line in [*windows(gate), *counts(gate)]]
    more = [*known, *(formula_lines(gate) if formulas else []), *map(badge, gate.marks)]
    width = max((3 if mark.severe else 2 for mark in gate.marks), default=1)
    border = {"fillcolor": "#fff1d0" if gate.marks else "#eef2f8", "penwidth": width}
    if more:
        text = html_table([[text], *([line] for line in more)])
    elif written == sign(gate) and len(written) <= 3:
        return node(
            name, text, tooltip, shape="circle", style="filled", width=0.32, fixedsize="true", **border
        )
    return node(name, text, tooltip, shape="box", style="filled,rounded", width=0.3, height=0.3, **border)


def is_copy(gate: Gate) -> bool:
    """Whether a gate only hands one value to several others."""
    return gate.name == "copy" and not gate.primitive


def formula_lines(gate: Gate) -> list[str]:
    """The formula, and the local gradients: local × upstream = downstream."""
    formula, names = parse_formula(gate.formula), input_names(gate)
    unasked = {i for i, wire in enumerate(gate.inputs) if wire.role == "constant"}
    one_each = len(formula.symbols) == len(gate.inputs)
    parts = [part for i, part in enumerate(formula.parts) if not (one_each and i in unasked)]
    lines = [f"<I>{escaped(line)}</I>" for part in parts for line in wrapped(part)]
    for name, wire, local in zip(names, gate.inputs, gate.local, strict=False):
        if local is not None and wire.role != "constant":
            lines += [escaped(line) for line in wrapped(f"∂y/∂{name} = {in_line(local)}")]
    return [f'<FONT POINT-SIZE="9">{line}</FONT>' for line in lines]


def input_names(gate: Gate) -> list[str]:
    """What the formula calls the inputs: x; x₁ and x₂; x, w and b."""
    symbols = parse_formula(gate.formula).symbols
    if len(symbols) == len(gate.inputs):
        return list(symbols)
    many = range(1, len(gate.inputs) + 1)
    return ["x"] if len(many) == 1 else [f"x{i}".translate(SUBSCRIPTS) for i in many]


def badge(mark: Any) -> str:
    """A mark behind a warning sign."""
    text = "<BR/>".join(map(escaped, wrapped(f"⚠ {mark.text}", 20)))
    if not mark.severe:
        return f"<B>{text}</B>"
    black = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2" BGCOLOR="black">'
    return f'{black}<TR><TD><FONT COLOR="white"><B>{text}</B></FONT></TD></TR></TABLE>'


def wrapped(text: str, width: int = 44) -> list[str]:
    """A text in lines."""
    return textwrap.wrap(text, width, break_long_words=False)


def broken(name: str) -> str:
    """An argument's name; a path has a line for each part if it is long."""
    return escaped(name).replace("/", "/<BR/>") if len(name) > 10 else escaped(name)


def wire_tooltip(wire: Wire) -> str:
    """All digits."""
    lines = [wire.name, f"value {full(wire.value)}"]
    if wire.gradient is not None:
        lines.append(f"gradient {full(wire.gradient)}")
    return "\n".join(filter(None, lines))


def gate_tooltip(gate: Gate) -> str:
    """All that is known of a gate but its numbers."""
    name = gate.name if gate.primitive in ("", gate.name) else f"{gate.name} ({gate.primitive})"
    calls = any("jaxpr" in key or key == "branches" for key in gate.parameters)
    told = {} if calls else {key: str(x) for key, x in gate.parameters.items() if x is not None}
    parameters = [f"{key} = {text}" for key, text in told.items() if len(text) <= LONGEST_PARAMETER]
    marks = [f"⚠ {mark.text}" for mark in gate.marks]
    kept = f"keeps {amount(gate.kept)} for the way back" if gate.kept else ""
    return "\n".join(
        filter(None, [name, *marks, gate.formula, gate.source, short_line(gate.line), kept, *parameters])
    )


def short_line(line: str) -> str:
    """A source line without the folders of the machine that it is on.

    >>> short_line("/home/ada/nets/model.py:12:8 (layer)")
    'model.py:12:8 (layer)'
    """
    return re.sub(r"^.*[/\\](?=[^/\\]*:\d)", "", line)


def green(text: str) -> str:
    """A value's text."""
    return f'<FONT COLOR="{GREEN}">{text}</FONT>'


def red(text: str) -> str:
    """A gradient's text."""
    return f'<FONT COLOR="{RED}"><I>{text}</I></FONT>'


def grey(text: str) -> str:
    """The text of what has no gradient."""
    return f'<FONT COLOR="{GREY}">{text}</FONT>'
