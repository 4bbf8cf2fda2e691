"""One picture of a function's graph, its forward values and its backward gradients.

    funcnet.draw(f)(x, y)                       shows itself in a notebook
    funcnet.draw(f)(x, y).save("graph.svg")     svg, png, pdf or dot
    funcnet.draw(f)(x, y).save("graph.html")    a page to walk into it
    funcnet.draw(f, depth=1, local=True)(x, y)

Graphviz lays it out and draws it, through pygraphviz, whose wheels bring Graphviz along.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from funcnet._errors import MissingPackageError, ParameterError
from funcnet._files import write_atomically
from funcnet.backprop.checks import check_callable
from funcnet.drawing.diagram import Diagram
from funcnet.drawing.diagram.assemble import diagram
from funcnet.drawing.diagram.fold import FOLDED
from funcnet.drawing.diagram.record import Options
from funcnet.drawing.explorer import Explorer, explorer
from funcnet.drawing.render.bundles import with_bundles
from funcnet.drawing.render.compact import compact_dot
from funcnet.drawing.render.dot import dot
from funcnet.rules import RULES, Table

MANY = 40
"""A picture of more gates and inputs is compact."""

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
        depth: how many levels of boxes are opened: jitted functions, gates, named scopes.
        unroll: whether loops are drawn step by step.
        local: whether each gate shows its formula and its local gradients.
        data: whether what depends on no argument is drawn gate by gate, not as one constant.
        compact: whether each gate has one line, without tables; by default in a graph of
            more than 40 gates and inputs or with folded layers.
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
        def shown(**options: Any) -> Diagram:
            return diagram(f, args, kwargs, y_bar, Options(rules, unroll=unroll, data=data, **options))

        found = shown(depth=depth, local=local)
        whole = functools.partial(shown, depth=sys.maxsize, local=True, folded=False)
        name = getattr(f, "__name__", "graph")
        return Picture(found, whole, name, is_large(found) if compact is None else compact)

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
        compact: whether each gate has one line.
    """

    diagram: Diagram
    whole: Callable[[], Diagram]
    name: str
    compact: bool = False

    @functools.cached_property
    def dot(self) -> str:
        """The picture in Graphviz's language DOT."""
        shown = with_bundles(self.diagram)
        return compact_dot(shown) if self.compact else dot(shown)

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
        """The picture as SVG; None without pygraphviz."""
        return render(self.dot, "svg").decode() if has_graphviz() else None

    def _repr_svg_(self) -> str | None:
        """What a notebook keeps and web pages show."""
        return self._svg

    def _repr_html_(self) -> str | None:
        """What a notebook shows: JupyterLab makes an image of SVG, which has no tooltips."""
        return self._svg and self._svg[self._svg.index("<svg") :]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The text that a notebook falls back on: DOT where nothing can draw it."""
        printer.text(repr(self) if has_graphviz() else self.dot)


def has_graphviz() -> bool:
    """Whether pygraphviz is installed."""
    with contextlib.suppress(ImportError):
        import pygraphviz  # noqa: F401

        return True
    return False


def render(text: str, format: str) -> bytes:
    """DOT text laid out and drawn.

    Raises:
        MissingPackageError: pygraphviz is not installed.
    """
    try:
        import pygraphviz
    except ImportError as error:
        raise MissingPackageError(
            f"{format}: Graphviz draws it and is not installed; `pip install pygraphviz` brings it along, or "
            f"save the picture as .dot, which needs nothing"
        ) from error
    graph = pygraphviz.AGraph(string=text)
    with quiet():
        return cast(bytes, graph.draw(format=format, prog="dot"))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing on standard error, where Graphviz tells of sizes and fonts and a notebook shows that."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
