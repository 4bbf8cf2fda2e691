"""One thing that is wrong, as the error says it: where, how, and the line that repeats the check.

The line can be pasted: small arguments stand in it as they are, large ones by seed and range.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np

from funcnet._errors import VJPCheckError
from funcnet._written import FEW, written
from funcnet.check.case import Case

T = TypeVar("T")

LITERAL = 24
"""Arguments of up to so many elements together are written out; among more only arrays of a few."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in the words of the error message.

    Attributes:
        verdict: WRONG, UNSTABLE, KINK, VACUOUS, NONLINEAR or CONTRACT.
        function: the name of the function under test.
        argument: the argument it is about, with its shape and dtype; empty for the whole function.
        summary: what is wrong, in one sentence.
        details: labelled lines that show it.
    """

    verdict: str
    function: str
    argument: str
    summary: str
    details: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        about = f", {self.argument}" if self.argument else ""
        lines = [f"{self.verdict}: {self.function}{about}: {self.summary}"]
        width = max((len(label) for label, _ in self.details), default=0)
        lines += [f"  {label:<{width}}  {text}" for label, text in self.details]
        return "\n".join(lines)


def finding(
    case: Case, verdict: str, summary: str, *details: tuple[str, str], about: tuple[int, Any] | None = None
) -> Finding:
    """A finding, with the place of the rule and the line that repeats the check.

    It is about the whole function, or the i-th argument, or result, in a dtype.
    """
    lines = (*details, *[("rule", case.line)] * bool(case.line), ("reproduce", _reproduce(case)))
    argument = ""
    if about is not None:
        i, dtype = about
        x = case.types(dtype)[i]
        argument = f"{case.name(i)}: {x.dtype}[{','.join(map(str, x.shape))}]"
    return Finding(verdict, case.subject.name, argument, summary, lines)


def raised(outcome: T | Finding) -> T:
    """What came out of a check, if it is no finding.

    Raises:
        VJPCheckError: it is one.
    """
    __tracebackhide__ = True
    if isinstance(outcome, Finding):
        raise VJPCheckError(outcome) from None
    return outcome


def element(name: str, place: Sequence[Any]) -> str:
    """An element as one writes it: `x[0, 3]`."""
    return f"{name}[{', '.join(str(int(i)) for i in place)}]" if len(place) else name


def number(x: Any) -> str:
    """A number with the digits that matter."""
    return f"{complex(x):.9g}" if np.iscomplexobj(x) else f"{float(x):.9g}"


def sentence(error: Exception) -> str:
    """An error in one line; of one that came through a callback the end, below the lines of Python."""
    _, found, below = str(error).rpartition('\n  File "')
    text = below.partition("\n")[2] if found else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())[:300].rstrip('.')}"


def _reproduce(case: Case) -> str:
    """The call, with its arguments, the options that are not the defaults, and the key."""
    check, chosen = case.options.check, vars(case.options)
    count = sum(np.size(x) for x in jax.tree.leaves((case.subject.xs, case.subject.rest)))
    limit = LITERAL if count <= LITERAL else FEW
    parts = [case.subject.name, *(written(arg, limit) for arg in case.subject.args)]
    for name, parameter in inspect.signature(check).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            required = name == "key" or parameter.default is parameter.empty
            if required or chosen[name] != parameter.default:
                parts.append(f"{name}={written(chosen[name])}")
    return f"funcnet.{check.__name__}({', '.join(parts)})"
