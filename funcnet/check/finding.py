"""One thing that is wrong, as the error says it: where, how, and the line that repeats the check.

The line can be pasted: small arguments stand in it as they are, large ones by seed and range.
"""

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import VJPCheckError
from funcnet.check.case import Case

T = TypeVar("T")

LITERAL = 24
"""Arguments of up to so many elements together are written out; among more only arrays of a few."""

FEW = 4


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
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _reproduce(case: Case) -> str:
    """The call, with its arguments, the options that are not the defaults, and the key."""
    check, chosen = case.options.check, vars(case.options)
    count = sum(np.size(x) for x in jax.tree.leaves((case.subject.given, case.subject.rest)))
    limit = LITERAL if count <= LITERAL else FEW
    parts = [case.subject.name, *(_written(arg, limit) for arg in case.subject.args)]
    for name, parameter in inspect.signature(check).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            required = name == "key" or parameter.default is parameter.empty
            if required or chosen[name] != parameter.default:
                parts.append(f"{name}={_written(chosen[name], FEW)}")
    return f"funcnet.{check.__name__}({', '.join(parts)})"


def _written(arg: Any, limit: int) -> str:
    """An argument as Python: the containers of it, and their leaves."""
    if isinstance(arg, (jax.Array, np.ndarray, np.generic)):
        return _array(arg, limit)
    if isinstance(arg, dict):
        return "{" + ", ".join(f"{key!r}: {_written(value, limit)}" for key, value in arg.items()) + "}"
    if type(arg) in (list, tuple):
        parts = ", ".join(_written(part, limit) for part in arg)
        return f"[{parts}]" if isinstance(arg, list) else f"({parts}{',' * (len(arg) == 1)})"
    if callable(arg):
        return getattr(arg, "__name__", type(arg).__name__)
    text = repr(arg)
    return text if len(text) <= 60 and "\n" not in text and "<" not in text else type(arg).__name__


def _array(x: Any, limit: int) -> str:
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return f"jax.random.wrap_key_data({_array(jax.random.key_data(x), FEW)})"
    x = np.asarray(x)
    dtype = x.dtype.name
    if not x.size:
        return f"jnp.zeros({x.shape}, {dtype!r})"
    if x.size <= limit:
        whole = {"threshold": sys.maxsize, "max_line_width": sys.maxsize, "formatter": {"all": str}}
        numbers = " ".join(np.array2string(x, separator=", ", **whole).split())
        return f"jnp.array({numbers.replace('nan', 'jnp.nan').replace('inf', 'jnp.inf')}, {dtype!r})"
    rng = "np.random.default_rng(0)"
    if dtype == "bool":
        return f"{rng}.integers(2, size={x.shape}).astype(bool)"
    if np.issubdtype(x.dtype, np.integer):
        return f"{rng}.integers({x.min()}, {int(x.max()) + 1}, {x.shape}, {dtype!r})"
    x = x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
    low, high = (f"{end:.4g}" for end in (x.real.min(), x.real.max()))
    drawn = f"{rng}.uniform({low}, {high}, {x.shape})"
    if np.iscomplexobj(x):
        drawn = f"({drawn} + 1j * np.random.default_rng(1).uniform({low}, {high}, {x.shape}))"
    return f"jnp.asarray({drawn}, {dtype!r})"
