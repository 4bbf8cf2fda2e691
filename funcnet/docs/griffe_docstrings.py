"""Griffe's extension by which mkdocstrings gets the docstrings that `funcnet.docs.docstrings` makes."""

import sys
from typing import Any

from griffe import Extension, Object  # pyright: ignore[reportMissingImports]

from funcnet.docs.docstrings import as_markdown, with_facts


class Docstrings(Extension):
    """Makes Markdown of each docstring."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        """Called by Griffe for each object; a gate is known by its place."""
        if not obj.docstring:
            return
        obj.docstring.value = as_markdown(obj.docstring.value)
        it = vars(sys.modules[obj.parent.path]).get(obj.name) if _of_module(obj) else None
        if hasattr(it, "formula") and hasattr(it, "primal"):
            obj.docstring.value = with_facts(obj.docstring.value, it)


def _of_module(obj: Object) -> bool:
    return obj.parent is not None and obj.parent.is_module and obj.parent.path in sys.modules
