"""Graphviz, which lays out DOT text and draws it, through pygraphviz, whose wheels bring it along."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import cast

from funcnet._errors import MissingPackageError


def width_of(svg: str) -> int:
    """How wide a picture is, in points."""
    found = re.search(r'width="(\d+)pt"', svg)
    assert found
    return int(found[1])


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
