"""The page in a notebook: the same modules in an anywidget, whose messages are the questions and answers.

A notebook loads one file, so the modules are put into one: each becomes a function that runs once and returns
what it exports.
"""

import json
import re
from importlib.resources import files
from typing import Any

import anywidget
import traitlets

from funcnet.demo.client import Client
from funcnet.demo.settings import Settings

PAGE = files("funcnet.demo") / "page"
IMPORT = re.compile(r'^import (\{.*?\}) from "\./(\w+)\.js";\n', re.MULTILINE | re.DOTALL)
EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


class Widget(anywidget.AnyWidget):
    """The page of the demo, below a cell.

    Attributes:
        state: what stands behind the # of a link to what is shown.
    """

    state = traitlets.Unicode().tag(sync=True)

    def __init__(self, state: str):
        self._esm, self._css = bundle("notebook"), (PAGE / "page.css").read_text("utf-8")
        self.client = Client()
        super().__init__(state=state)
        self.on_msg(self.answer)

    def answer(self, _: Any, question: Any, buffers: Any) -> None:
        """Send the answer to a question."""
        self.send({}, [self.client.answer(json.dumps(question))])


def text(settings: Settings) -> str:
    """Settings as they stand in a link, those that are not the usual ones.

    >>> text(Settings(hidden=(3, 2), rate=0.1))
    'hidden=3,2&rate=0.1'
    """
    usual, parts = Settings(), []
    for name in usual.__dataclass_fields__:
        value = getattr(settings, name)
        if value != getattr(usual, name):
            parts.append(f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return "&".join(parts)


def bundle(name: str) -> str:
    """A module of the page and all that it imports, as one module."""
    done: dict[str, str] = {}
    return "\n".join([*_modules(name, done).values(), f"export default {name}_module.default_;\n"])


def _modules(name: str, done: dict[str, str]) -> dict[str, str]:
    """The modules that one needs, in the order in which they are needed, it last."""
    source = (PAGE / f"{name}.js").read_text("utf-8")
    for _, other in IMPORT.findall(source):
        if other not in done:
            _modules(other, done)
    exports = ", ".join(found for _, found in EXPORT.findall(source))
    body = EXPORT.sub(r"\1", IMPORT.sub(r"const \1 = \2_module;\n", source))
    done[name] = f"const {name}_module = (() => {{\n{body}return {{ {exports} }};\n}})();"
    return done
