"""One picture of a function's graph, its forward values and its backward gradients.

    funcnet.draw(f)(x, y)                       shows itself in a notebook
    funcnet.draw(f)(x, y).save("graph.svg")     svg, png, pdf or dot
    funcnet.draw(f)(x, y).save("graph.html")    a page to walk into it
    funcnet.draw(f, depth=1, local=True)(x, y)

Of the ways to draw it that there are, the first is taken that is no wider than a page.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funcnet._errors import ParameterError
from funcnet._files import write_atomically
from funcnet.backprop import trace
from funcnet.backprop.checks import check_callable
from funcnet.drawing.diagram import Diagram
from funcnet.drawing.diagram.assemble import diagram_of
from funcnet.drawing.diagram.fold import FOLDED
from funcnet.drawing.diagram.record import Options
from funcnet.drawing.explorer import Explorer, explorer
from funcnet.drawing.render.bundles import with_bundles
from funcnet.drawing.render.compact import COLUMNS, compact_dot
from funcnet.drawing.render.dot import dot
from funcnet.drawing.render.graphviz import has_graphviz, render, width_of
from funcnet.rules import RULES, Table

MANY = 40
"""A picture of more gates and inputs is compact."""

PAGE = 1000
"""A page is so many points wide: A4 on its side, and a little more."""

LARGEST = 1000
"""A picture of more gates is laid out only once."""

SUFFIXES = (".svg", ".png", ".pdf", ".dot", ".html")


def draw(
    f: Callable,
    *,
    y_bar: Any = None,
    depth: int = 0,
    unroll: bool = False,
    local: bool = False,
    data: bool = False,
    compact: bool | None = None,
    rules: Table = RULES,
) -> Callable[..., "Picture"]:
    """A function of f's arguments that draws the graph of f with every value and every gradient.

    On each wire the value stands above in green and the upstream gradient below in red, as in CS231n 2019,
    lecture 4, slides 42 to 79.

    Args:
        f: a function of arrays, or of pytrees of arrays.
        y_bar: the upstream gradient, of the result's structure, shapes and dtypes; ones by default.
        depth: how many levels of boxes are opened: jitted functions, gates, named scopes. At 0 a scope around
            more than half of all operations is no box: a model under its loss shows its layers.
        unroll: whether loops are drawn step by step.
        local: whether each gate shows its formula and its local gradients.
        data: whether what depends on no argument is drawn gate by gate, not as one constant.
        compact: whether each gate has one line, without tables; by default in a graph of
            more than 40 gates and inputs or with folded layers, and where tables are wider than a page.
        rules: the table of rules.

    Raises:
        GradientError: f is no function.
        ShapeError: y_bar does not have the result's structure, shapes and dtypes.
        MissingRuleError: an operation on the way back has no rule.
        ParameterError: a loop is too long to be drawn step by step.

    Example:
        >>> picture = draw(lambda x, y, z: (x + y) * z)(-2.0, 5.0, -4.0)
        >>> picture
        Picture of 2 gates: .save("graph.svg"), .dot, .diagram
        >>> [float(wire.gradient) for wire in picture.diagram.inputs]
        [-4.0, -4.0, 3.0]
    """
    check_callable("draw", f)

    def drawn(*args: Any, **kwargs: Any) -> Picture:
        graph = trace(f, data=data)(*args, **kwargs)

        def shown(**options: Any) -> Diagram:
            return diagram_of(graph, args, kwargs, y_bar, Options(rules, unroll=unroll, data=data, **options))

        found = shown(depth=depth, local=local)
        whole = functools.partial(shown, depth=sys.maxsize, local=True, folded=False)
        name = getattr(f, "__name__", "graph")
        return Picture(found, whole, name, compact)

    return drawn


def is_large(diagram: Diagram) -> bool:
    """Whether a diagram has many gates and inputs, or had before equal layers were folded."""
    many = len(diagram.gates) + len(diagram.inputs) > MANY
    return many or any(gate.name.endswith(FOLDED) for gate in diagram)


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """What `draw` draws.

    Attributes:
        diagram: what the picture shows, as data.
        whole: makes the same with every box open.
        name: what the function is called.
        asked: whether each gate is to have one line; None for what suits the graph.
    """

    diagram: Diagram
    whole: Callable[[], Diagram]
    name: str
    asked: bool | None = None

    @property
    def dot(self) -> str:
        """The picture in Graphviz's language DOT."""
        return self._laid_out[0]

    @property
    def compact(self) -> bool:
        """Whether each gate has one line."""
        return self._laid_out[2]

    @functools.cached_property
    def _laid_out(self) -> tuple[str, str | None, bool]:
        """DOT, SVG and style of the first way to draw it that is no wider than a page, else of the narrowest.

        Without pygraphviz, and of a graph too large to be laid out in vain, it is the first way.
        """
        shown, ways = with_bundles(self.diagram), []
        for compact, text in written(shown, self.asked, is_large(self.diagram)):
            if not has_graphviz() or len(shown.gates) > LARGEST:
                return text, None, compact
            svg = render(text, "svg").decode()
            ways.append((width_of(svg), text, svg, compact))
            if ways[-1][0] <= PAGE:
                break
        _, text, svg, compact = min(ways, key=lambda way: way[0])
        return text, svg, compact

    @functools.cached_property
    def explorer(self) -> Explorer:
        """A page in which one walks into the graph; in a notebook it shows itself.

        Each box of the graph, whatever `depth` was, is opened and closed there, and so are repeated layers.
        It takes no network. The function runs once more, as everything in it is looked at.
        """
        return explorer(self.whole(), self.name)

    def save(self, path: str | Path) -> None:
        """Write the picture to a file, whole or not: svg, png, pdf, dot, or html (the explorer).

        Raises:
            ParameterError: the name ends otherwise.
            MissingPackageError: pygraphviz is not installed; dot and html need none.
            WriteError: the file cannot be written; what was there is kept.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            raise ParameterError(
                f"save: got {path.name!r}, expected a name that ends in {', '.join(SUFFIXES)}"
            )
        if suffix == ".html":
            content = self.explorer.page.encode()
        else:
            content = self.dot.encode() if suffix == ".dot" else render(self.dot, suffix[1:])
        write_atomically(path, content)

    def __repr__(self) -> str:
        count = len(self.diagram.gates)
        return f'Picture of {count} gate{"s" * (count != 1)}: .save("graph.svg"), .dot, .diagram'

    def __str__(self) -> str:
        return self.dot

    @functools.cached_property
    def _svg(self) -> str | None:
        text, svg, _ = self._laid_out
        return svg or (render(text, "svg").decode() if has_graphviz() else None)

    def _repr_svg_(self) -> str | None:
        """What a notebook keeps and web pages show; None without pygraphviz."""
        return self._svg

    def _repr_html_(self) -> str | None:
        """What a notebook shows: JupyterLab makes an image of SVG, which has no tooltips."""
        return self._svg and self._svg[self._svg.index("<svg") :]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The text that a notebook falls back on: DOT where nothing can draw it."""
        printer.text(repr(self) if has_graphviz() else self.dot)


def written(diagram: Diagram, compact: bool | None, large: bool) -> Iterator[tuple[bool, str]]:
    """The ways to draw a diagram, the one that says most first: whether it is compact, and its DOT text."""
    if not (large if compact is None else compact):
        yield False, dot(diagram)
    if compact is not False:
        yield True, compact_dot(diagram)
        for columns in (COLUMNS, 2, 1):
            yield True, compact_dot(diagram, columns, stacked=True)
