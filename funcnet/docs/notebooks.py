"""A notebook as a page: its text, its code, and what it has printed and drawn, as it stands committed."""

from pathlib import Path
from typing import Any

_SHOWN_FIRST = ["image/svg+xml", "image/png", "text/markdown", "text/html", "text/plain"]


def page(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """The text of the page, and its pictures by their paths beside it."""
    from nbconvert import MarkdownExporter  # pyright: ignore[reportMissingImports]
    from traitlets.config import Config  # pyright: ignore[reportMissingImports]

    config: Any = Config()
    config.NbConvertBase.display_data_priority = _SHOWN_FIRST
    names = {"unique_key": notebook.stem, "output_files_dir": f"{notebook.stem}_files"}
    text, resources = MarkdownExporter(config=config).from_filename(str(notebook), resources=names)
    return text, resources["outputs"]
