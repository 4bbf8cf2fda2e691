"""The rule sheet: every rule with its formula, source, plot, errors beside those of `jax.grad`, and code."""

import hashlib
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jax

from funcnet._files import write_atomically
from funcnet.docs import curves, pages
from funcnet.docs.curves import plot
from funcnet.docs.docstrings import as_markdown, typeset
from funcnet.rules import PIECEWISE_CONSTANT, REFUSED, RULES, Rule
from funcnet.rules._standing import STANDING
from funcnet.rules.listing import Sheet, sheet

_HEAD = "| {} | keeps | ulp | `jax.grad` | ulp″ | `jax.grad`″ | formula |\n|---|---|--:|--:|--:|--:|---|"

_INTRODUCTION = """\
All {} rules of `funcnet.RULES`, as `funcnet rules` prints them: what a rule keeps of the forward pass, its
largest error in float32 in units in the last place (ulp) of the true gradient beside that of `jax.grad`, the
same for the gradient of the gradient (″), and its formula. There y is the result, ȳ the upstream gradient and
x̄ the downstream one. *All* means that no digit is right. A name leads to source, plot and code.
"""


@cache
def families() -> dict[str, list[Rule]]:
    """The rules by the file in which they stand."""
    rules: dict[str, list[Rule]] = {}
    for rule in dict.fromkeys(RULES.values()):
        rules.setdefault(_family(rule), []).append(rule)
    return {family: sorted(rules[family], key=lambda rule: rule.primitives) for family in sorted(rules)}


def index() -> str:
    """The page of all of them: one line for each, and what has no rule, with the reason."""
    rows = [_row(sheet(name), f"{_family(RULES[name])}.md#{_slug(name)}") for name in sorted(RULES)]
    zero = [f"| `{name}` | {reason} |" for name, reason in sorted(PIECEWISE_CONSTANT.items())]
    refused = [f"| `{name}` | {reason} |" for name, reason in sorted(REFUSED.items())]
    standing = [f"| `{place}` | {reason} |" for place, reason in sorted(STANDING.items())]
    return "\n".join(
        [
            "---\nhide: [toc]\n---\n",
            "# The rule sheet",
            "",
            _INTRODUCTION.format(len(RULES)),
            "",
            _HEAD.format("rule"),
            *rows,
            *["", "## Without a gradient", "", "| primitive | why it is 0 |", "|---|---|", *zero],
            *["", "## Refused", "", "| primitive | why |", "|---|---|", *refused],
            *["", "## JAX's own rule stands", "", "| function | why |", "|---|---|", *standing, ""],
        ]
    )


def page(family: str) -> str:
    """A family of rules: the lecture that opens its file, and each rule whole."""
    module = importlib.import_module(f"funcnet.rules.{family}")
    sections = [_section(sheet(name)) for rule in families()[family] for name in rule.primitives]
    return "\n\n".join([f"# Rules: {family}", as_markdown(inspect.cleandoc(module.__doc__ or "")), *sections])


def plots() -> Iterator[tuple[str, str]]:
    """Of each gradient whose truth the tests know: its name, and its picture as SVG.

    They take a minute, and stay in build/plots until a rule or what draws them changes.
    """
    drawn = pages.ROOT / "build" / "plots" / _what_plots_depend_on()
    drawn.mkdir(parents=True, exist_ok=True)
    for place, truth in _truths().items():
        path = drawn / f"{_slug(place)}.svg"
        if not path.exists():
            write_atomically(path, plot(place, truth).encode())
        yield _slug(place), path.read_text("utf-8")


def _what_plots_depend_on() -> str:
    """A digest of the rules, of the truths, and of what draws them."""
    files = [
        *pages.ROOT.glob("funcnet/rules/*.py"),
        *pages.ROOT.glob("tests/rules/[tu]*.py"),
        Path(curves.__file__),
    ]
    code = b"".join(file.read_bytes() for file in sorted(files))
    return hashlib.sha256(code + jax.__version__.encode()).hexdigest()[:16]


@cache
def _truths() -> dict:
    from tests.rules.ulp import truths

    return dict(truths())


def _section(it: Sheet) -> str:
    pictures = [place for place in _truths() if place.split()[0] == it.name]
    lines = [
        f"## {it.name} {{ #{_slug(it.name)} }}",
        typeset(it.formula),
        f"Source: {it.source}  \nKeeps: {it.keeps}",
        *([_errors(it)] if it.ulps else []),
        *(f"![The gradient of {place}, and its errors]({_slug(place)}.svg){{ .plot }}" for place in pictures),
        f"```python\n{it.code}\n```",
    ]
    return "\n\n".join(lines)


def _errors(it: Sheet) -> str:
    first, jax_first, second, jax_second = [ulp.replace("all", "no digit right") for ulp in it.ulps]
    return (
        "| largest error in float32, ulp | funcnet | `jax.grad` |\n|---|--:|--:|\n"
        f"| gradient | {first} | {jax_first} |\n| its gradient | {second} | {jax_second} |"
    )


def _row(it: Sheet, link: str) -> str:
    cells = [f"[`{it.name}`]({link})", it.keeps, *(it.ulps or [""] * 4), _escaped(it.formula)]
    return f"| {' | '.join(cells)} |"


def _escaped(formula: str) -> str:
    """A formula as Markdown takes it: no bar ends a cell, no star makes words slanted."""
    return re.sub(r"[|*_<>&\[\]`\\]", lambda sign: f"&#{ord(sign[0])};", formula)


def _family(rule: Rule) -> str:
    return rule.backward.__module__.rpartition(".")[2]


def _slug(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name).strip("-")
