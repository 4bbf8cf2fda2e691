"""The pages of the public packages: what stands in their `__all__`, by mkdocstrings.

A name is documented once, on the page of the smallest package that has it; `funcnet`, which has many of them
too, links there.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Mapping
from itertools import pairwise
from types import ModuleType
from typing import Any

from funcnet.docs.docstrings import as_markdown
from funcnet.rules import Table

PACKAGES = (
    "funcnet",
    "funcnet.nn",
    "funcnet.data",
    "funcnet.train",
    "funcnet.check",
    "funcnet.numerical",
    "funcnet.drawing",
    "funcnet.kept",
    "funcnet.structure",
    "funcnet.lecture",
)


def page(package: str) -> str:
    """The text of a package's page: its docstring, and a section for each name."""
    module = importlib.import_module(package)
    homes = {name: _elsewhere(name, package) for name in module.__all__}
    own = [name for name in module.__all__ if not homes[name]]
    others = [f"[`{name}`]({home}.md#{_anchor(package, name)})" for name, home in homes.items() if home]
    return "\n\n".join(
        [
            f"# {package}",
            as_markdown(inspect.cleandoc(module.__doc__ or "")),
            *([f"On pages of their own: {', '.join(others)}."] if others else []),
            *(_section(package, name) for name in own),
        ]
    )


def _elsewhere(name: str, package: str) -> str:
    """The package on whose page a name of this package is, if it is another one."""
    if package != "funcnet":
        return ""
    if f"funcnet.{name}" in PACKAGES:
        return f"funcnet.{name}"
    return next((one for one in PACKAGES[1:] if name in importlib.import_module(one).__all__), "")


def _anchor(package: str, name: str) -> str:
    value = getattr(importlib.import_module(package), name)
    return _home(value) if not isinstance(value, ModuleType) else value.__name__.replace(".", "")


def _home(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _section(package: str, name: str) -> str:
    """One name: by mkdocstrings, or if it is a constant by what stands below it."""
    value = getattr(importlib.import_module(package), name)
    if isinstance(value, ModuleType):
        return _documented(value.__name__, f"{package}.{name}", members=True)
    if hasattr(value, "__qualname__"):
        return _documented(_home(value), name)
    return f"## {name}\n\n{_constant(value, name)}"


def _constant(value: Any, name: str) -> str:
    """What stands below a constant in the module that makes it, and what is in it."""
    match value:
        case Table():
            its = f"{len(value)} rules, by the names of [the rule sheet](../rules/index.md)."
        case Mapping():
            its = f"Its keys: {', '.join(f'`{key}`' for key in value)}."
        case _:
            its = f"`{value!r}`"
    modules = [module for place, module in sys.modules.items() if place.startswith("funcnet.")]
    remarks = [_remark(module, name) for module in modules if vars(module).get(name) is value]
    return "\n\n".join([*filter(None, remarks), its])


def _remark(module: ModuleType, name: str) -> str:
    """The text below the assignment of a constant, where the module has it."""
    for statement, below in pairwise(ast.parse(inspect.getsource(module)).body):
        match statement, below:
            case (
                ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ) if found == name:
                return as_markdown(inspect.cleandoc(text))
    return ""


def _documented(place: str, heading: str, members: bool | None = None) -> str:
    options = {"heading": heading, "toc_label": heading, **({"members": members} if members else {})}
    lines = "\n".join(f"      {key}: {value}" for key, value in options.items())
    return f"::: {place}\n    options:\n{lines}"
