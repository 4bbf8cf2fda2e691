"""See a net learn, with its gradients: a page in the browser, or a widget in a notebook.

plane        points: data sets, noise, split, inputs
settings     what can be chosen, within which bounds
program      how a net learns: loss and steps, compiled
picture      all that is seen of it, compiled
session      one net and how far it has learned
questions    gradient check and landscape
messages     what a page may ask, and how it is answered
client       one page and its nets
server       the page on this machine; the command `funcnet demo`
notebook     the page in a notebook, by anywidget
page/        the page itself: ES modules and a style, no build step
"""

import importlib.util
from typing import Any

from funcnet._errors import MissingPackageError

__all__ = ["serve", "widget"]

SERVER, WIDGET = ("starlette", "uvicorn", "websockets"), ("anywidget",)


def serve(port: int, *, browser: bool = True, state: str = "") -> None:
    """Serve the page at a port of this machine until Ctrl-C.

    Args:
        port: where; 0 takes one that is free.
        browser: whether to open it in the browser.
        state: what stands behind the # of a shared link.

    Raises:
        MissingPackageError: the extra `demo` is not installed.
        ParameterError: the port is taken.
    """
    _need("demo", "serve the page", SERVER)
    from funcnet.demo import server

    server.run(port, browser=browser, state=state)


def widget(**settings: Any) -> Any:
    """The page in a notebook, with the net of the lecture's demo or other settings.

    Args:
        **settings: of `funcnet.demo.settings.Settings`, such as `data="spiral", hidden=[3]`.

    Returns:
        The widget; its `state` is what stands behind the # of a link to what it shows.

    Raises:
        MissingPackageError: the extra `widget` is not installed.
        ParameterError: a setting is unknown or out of bounds.
    """
    _need("widget", "show the page in a notebook", WIDGET)
    from funcnet.demo import notebook
    from funcnet.demo.settings import settings as checked

    return notebook.Widget(notebook.text(checked("settings", settings)))


def _need(extra: str, purpose: str, packages: tuple[str, ...]) -> None:
    """Raise MissingPackageError if an extra is not installed."""
    missing = ", ".join(name for name in packages if importlib.util.find_spec(name) is None)
    if missing:
        raise MissingPackageError(
            f"demo: not installed: {missing}, needed to {purpose}; pip install 'funcnet[{extra}]'"
        )
