"""`funcnet demo`: a net that learns, in the browser."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from funcnet._errors import ParameterError


@dataclass(frozen=True)
class Demo:
    """See a net learn, with its gradients, in the browser: on this machine only, until Ctrl-C."""

    link: Annotated[Positional[str], arg(metavar="LINK")] = ""
    """A link that the page has copied, or what follows its #; by default the net of the lecture's demo."""
    port: int = 8231
    """Where the page is on this machine; 0 takes any port that is free."""
    browser: bool = True
    """Open the browser."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ParameterError(f"--port {self.port}: expected a whole number from 0 to 65535.")

    def __call__(self) -> None:
        """Serve the page.

        Raises:
            MissingPackageError: the extra `demo` is not installed.
            ParameterError: the port is taken.
        """
        from funcnet.demo import serve

        serve(self.port, browser=self.browser, state=self.link.rpartition("#")[2])
