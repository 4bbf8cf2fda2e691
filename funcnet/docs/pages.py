"""Which files of the repository are pages of the site, and how a link in one finds the other.

A page keeps its links as they are right on disk, where a reader of the repository follows them. Here they
are turned to where the site has their targets; a file that is no page of its own, as a test, is shown on one
as it stands.
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

from funcnet.docs.api import PACKAGES

ROOT = Path(__file__).parents[2]

GUIDES = ("gradients", "pictures", "checking", "training", "library", "scale", "glossary")
PAGES = {
    "README.md": "index.md",
    **{f"funcnet/docs/{guide}.md": f"guides/{guide}.md" for guide in GUIDES},
    "funcnet/DIFFERENCES.md": "guides/differences.md",
    "funcnet/docs/lecture.md": "lecture.md",
    **{
        f"notebooks/{path.name}": f"notebooks/{path.stem}.md"
        for path in sorted(ROOT.glob("notebooks/*.ipynb"))
    },
    "notebooks": "lecture.md",
    "funcnet/rules": "rules/index.md",
    **{package.replace(".", "/"): f"api/{package}.md" for package in PACKAGES},
    "funcnet/CONTRIBUTING.md": "project/contributing.md",
    "funcnet/CHANGELOG.md": "project/changelog.md",
    "tests/benchmarks/suites.md": "project/suites.md",
    "tests/benchmarks/budget.md": "project/budget.md",
}
"""Where on the site a file or a folder is, by its place in the repository."""

_CODE = re.compile(r"(^(?P<fence>`{3,}).*?^(?P=fence)|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?P<before>\]\(|(?:src|href)=\")(?P<target>[^)\s\"]+)")
_TEX = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\s*\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]\s*</(?P=tag)>', re.DOTALL
)


def existing() -> dict[str, str]:
    """The files among `PAGES` that are there, with their places on the site."""
    return {source: page for source, page in PAGES.items() if (ROOT / source).is_file()}


def place(source: str) -> str:
    """Where on the site a file of the repository is.

    >>> place("funcnet/DIFFERENCES.md"), place("tests/conftest.py"), place("notebooks/pictures/neuron.svg")
    ('guides/differences.md', 'source/tests/conftest.py.md', 'notebooks/pictures/neuron.svg')
    """
    if source in PAGES:
        return PAGES[source]
    return source if is_picture(source) else f"source/{source}.md"


def is_picture(source: str) -> bool:
    """Whether a file is shown rather than read."""
    return source.endswith((".png", ".svg", ".gif"))


def linked(markdown: str, source: str) -> Iterator[str]:
    """The files of the repository to which a page links, or whose picture it shows."""
    found: list[str] = []
    _each_link(markdown, source, lambda target: found.append(target) or target)
    yield from dict.fromkeys(found)


def with_links(markdown: str, source: str, page: str) -> str:
    """The text of a file, whose links lead to the pages of the site.

    Args:
        markdown: the text.
        source: its place in the repository.
        page: its place on the site.

    >>> with_links("See [kinks](../DIFFERENCES.md#abs).", "funcnet/docs/scale.md", "guides/scale.md")
    'See [kinks](differences.md#abs).'
    """
    return _each_link(
        markdown, source, lambda to: posixpath.relpath(place(to), posixpath.dirname(page) or ".")
    )


def _each_link(markdown: str, source: str, change: Callable[[str], str]) -> str:
    """The text with every link to a file changed, by the file's place in the repository; code stays."""

    def changed(link: re.Match) -> str:
        path, hash_, anchor = link["target"].partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return link[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        return link["before"] + change(target) + hash_ + anchor

    parts, end = [], 0
    for code in _CODE.finditer(markdown):
        parts += [_LINK.sub(changed, markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, _LINK.sub(changed, markdown[end:])])


def as_it_stands(source: str) -> str | bytes:
    """A file that no page tells of: a picture, or a page with its text."""
    path = ROOT / source
    if is_picture(source):
        return path.read_bytes()
    language = {".py": "python", ".toml": "toml"}.get(path.suffix, "text")
    return f"# {source}\n\n````{language}\n{path.read_text('utf-8')}````\n"


def with_mathml(html: str) -> str:
    r"""The formulas in TeX that arithmatex has found, `\(…\)` and `\[…\]`, as MathML."""
    from latex2mathml.converter import convert  # pyright: ignore[reportMissingImports]

    def formula(found: re.Match) -> str:
        return convert(unescape(found["tex"]), display="block" if found["open"] == "[" else "inline")

    return _TEX.sub(formula, html)
