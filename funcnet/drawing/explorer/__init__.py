"""One file that shows a diagram in a browser and lets one walk into it.

    outline    boxes within boxes, so that no level is too long to be read
    data       what the page writes, as JSON
    page/      the page: its skeleton, its style, and what it does; dagre lays out a box when it is opened

The file takes nothing from the network: style, program, library and data are in it.

page/dagre.min.js is @dagrejs/dagre 3.1.3 (MIT) of the npm registry, 50 kB, of those tried the fastest on the
small levels of an outline, and the smallest; none lays out ten thousand gates at once. To renew it:
`npm pack @dagrejs/dagre`, then dist/dagre.min.js.LEGAL.txt before dist/dagre.min.js.
"""

import html
import json
from dataclasses import dataclass
from importlib.resources import files

from funcnet.drawing.diagram import Diagram
from funcnet.drawing.diagram.running import uncollected
from funcnet.drawing.explorer.data import data

SCRIPTS = (
    "dagre.min.js", "graph.js", "layout.js", "view.js", "details.js", "boxes.js", "search.js", "pointer.js",
    "main.js",
)  # fmt: skip
"""The programs of the page in the order in which they stand in it."""


@dataclass(frozen=True, repr=False)
class Explorer:
    """A diagram as a page; a notebook shows it in a frame.

    Attributes:
        page: the page, HTML that needs no other file.
    """

    page: str

    def __repr__(self) -> str:
        return f"Explorer({len(self.page)} characters of HTML)"

    def _repr_html_(self) -> str:
        style = "width: 100%; height: 640px; border: 1px solid #ccc"
        return f'<iframe srcdoc="{html.escape(self.page)}" style="{style}"></iframe>'


@uncollected()
def explorer(diagram: Diagram, title: str) -> Explorer:
    """The page of a diagram.

    Args:
        diagram: what to show, with all boxes open: the page opens and closes them.
        title: what stands above it.
    """
    graph = json.dumps(data(diagram), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "title": html.escape(title),
        "style": read("page.css"),
        "graph": graph,
        "scripts": "\n".join(f"<script>\n{read(name)}</script>" for name in SCRIPTS),
    }
    pieces = read("page.html").split("%%")
    return Explorer("".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces)))


def read(name: str) -> str:
    """A file of the page."""
    return (files(__name__) / "page" / name).read_text("utf-8")
