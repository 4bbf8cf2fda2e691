"""What mkdocs asks while it builds the site: which pages there are, and in which order."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from funcnet.docs import api, notebooks, pages, rule_sheet


def on_config(config: Any) -> None:
    """Orders the pages, as a reader may want to meet them."""
    there = list(pages.existing().values())
    folder = lambda name: [page for page in there if page.startswith(f"{name}/")]  # noqa: E731
    config.nav = [
        {"funcnet": "index.md"},
        {"Guides": folder("guides")},
        {"The lecture": ["lecture.md", *folder("notebooks")]},
        {"Rules": ["rules/index.md", *({family: f"rules/{family}.md"} for family in rule_sheet.families())]},
        {"API": [f"api/{package}.md" for package in api.PACKAGES]},
        {"Project": folder("project")},
    ]


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages, and the files to which they link."""
    from mkdocs.structure.files import File  # pyright: ignore[reportMissingImports]

    def add(place: str, content: str | bytes) -> None:
        files.append(File.generated(config, place, content=content))

    links: set[str] = set()
    for source, page in pages.existing().items():
        text = _text(source, page, add)
        links.update(pages.linked(text, source))
        add(page, pages.with_links(text, source, page))
    for source in sorted(link for link in links - set(pages.PAGES) if (pages.ROOT / link).is_file()):
        add(pages.place(source), pages.as_it_stands(source))
    for family in rule_sheet.families():
        add(f"rules/{family}.md", rule_sheet.page(family))
    for name, plot in rule_sheet.plots():
        add(f"rules/{name}.svg", plot)
    add("rules/index.md", rule_sheet.index())
    for package in api.PACKAGES:
        add(f"api/{package}.md", api.page(package))
    return files


def _text(source: str, page: str, add: Any) -> str:
    path = pages.ROOT / source
    if path.suffix != ".ipynb":
        return path.read_text("utf-8")
    text, pictures = notebooks.page(path)
    for name, picture in pictures.items():
        add(f"notebooks/{name}", picture)
    return text


def on_page_content(html: str, **_: Any) -> str:
    """Typesets the formulas that are written in TeX, as MathML, for which a browser needs nothing else."""
    return pages.with_mathml(html)
