"""See a net learn, with its gradients: a page in the browser, or a widget in a notebook.

plane        points: data sets, noise, split, inputs
settings     what can be chosen, within which bounds
program      the compiled programs of a net: steps, and all that is seen
session      one net and how far it has learned
questions    gradient check and landscape
messages     what a page may ask, and how it is answered
client       one page and its nets
server       the page on this machine; the command `funcnet demo`
widget       the page in a notebook
page/        the page itself: ES modules and a style, no build step
"""

import importlib.util

from funcnet._errors import MissingPackageError

__all__ = ["serve"]

SERVER = ("starlette", "uvicorn", "websockets")


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
    missing = [name for name in SERVER if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"demo: {', '.join(missing)} not installed, which serve the page; pip install 'funcnet[demo]'"
        )
    from funcnet.demo import server

    server.run(port, browser=browser, state=state)
