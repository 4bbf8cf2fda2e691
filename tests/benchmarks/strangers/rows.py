"""A row of the benchmark: somebody's function, where it is checked, and what is right to say of it."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import funcnet
from funcnet import check as checks

REFUSALS = ("WRONG", "UNSTABLE", "KINK", "NONLINEAR", "CONTRACT")
"""The verdicts that say that a gradient is wrong: VACUOUS says that nothing was seen."""


@dataclass(frozen=True)
class Row:
    """A function and where to check it.

    Attributes:
        group: the part of the table in which it stands.
        name: unique; `package.module:function` where it is a function of a package.
        make: imports what it needs and returns the function and its arguments.
        wrong: what is wrong with the gradient; empty if it is right.
        open: why it is neither right nor wrong; the check has only to end.
        line: the line at fault, which a refusal must name, or else the layer below its first line.
        layer: the layer at fault.
        check: the name of the check, in funcnet.check.
    """

    group: str
    name: str
    make: Callable[[], tuple[Any, ...]]
    wrong: str = ""
    open: str = ""
    line: str = ""
    layer: str = ""
    check: str = "check_vjp"

    @property
    def expected(self) -> str:
        return "refused" if self.wrong else "an end" if self.open else "right"

    def verdict(self, function: Any, *args: Any) -> tuple[str, str]:
        """The verdict of the check, or how it failed, and its message."""
        check = getattr(checks, self.check)
        try:
            return "right", str(check(function, *args))
        except funcnet.VJPCheckError as error:
            return error.verdict + ", not where" * (not self.located(str(error))), str(error)
        except Exception as error:  # a row of the table, whatever it is
            return type(error).__name__, f"{type(error).__name__}: {error}"

    def located(self, message: str) -> bool:
        """Whether a message says where the fault is; the name of a parameter, on its first line, does not."""
        return self.line in message or self.layer in message.partition("\n")[2]

    def agrees(self, verdict: str) -> bool:
        return verdict in {"right": ("right",), "refused": REFUSALS}.get(
            self.expected, ("right", "VACUOUS", *REFUSALS)
        )


def of_package(
    group: str, name: str, *args: Any, call: Callable | None = None, wrong: str = "", open: str = ""
) -> Row:
    """A function of a package, as `call` calls it."""

    def make() -> tuple[Any, ...]:
        function = pkgutil.resolve_name(name.partition(",")[0])
        return (call(function) if call else function, *args)

    return Row(group, name, make, wrong, open)


_rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape).astype(np.float32)


def uniform(low: float, high: float, *shape: int) -> np.ndarray:
    return _rng.uniform(low, high, shape).astype(np.float32)
