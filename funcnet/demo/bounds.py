"""What a value from outside may be.

A bound is called with a name and a value, and returns the value or raises ParameterError.
Values come out of JSON, so they are None, booleans, numbers, texts, lists or objects, of any size.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from funcnet._errors import ParameterError

Bound = Callable[[str, Any], Any]


class Choice(NamedTuple):
    """One of some names.

    >>> Choice(("l1", "l2"))("penalty", "l3")
    Traceback (most recent call last):
    funcnet._errors.ParameterError: penalty is 'l3'; expected one of l1, l2
    """

    names: tuple[str, ...]

    def __call__(self, name: str, value: Any) -> str:
        """The value."""
        if isinstance(value, str) and value in self.names:
            return value
        raise unexpected(name, value, f"one of {', '.join(self.names)}")


class Whole(NamedTuple):
    """A whole number from `low` to `high`; True is none."""

    low: int
    high: int

    def __call__(self, name: str, value: Any) -> int:
        """The value."""
        if type(value) is int and self.low <= value <= self.high:
            return value
        raise unexpected(name, value, f"a whole number from {self.low} to {self.high}")


class Real(NamedTuple):
    """A number from `low` to `high`."""

    low: float
    high: float

    def __call__(self, name: str, value: Any) -> float:
        """The value."""
        if type(value) in (int, float) and self.low <= value <= self.high:  # NaN is not
            return float(value)
        raise unexpected(name, value, f"a number from {self.low:g} to {self.high:g}")


class Several(NamedTuple):
    """A list of so many values at most, each within one bound."""

    each: Bound
    most: int
    least: int = 0

    def __call__(self, name: str, value: Any) -> tuple:
        """The value."""
        if isinstance(value, list | tuple) and self.least <= len(value) <= self.most:
            return tuple(self.each(f"{name}[{i}]", one) for i, one in enumerate(value))
        raise unexpected(name, value, f"a list of {self.least} to {self.most} values")


class Row(NamedTuple):
    """A list of fixed length with a bound for each place."""

    bounds: tuple[Bound, ...]

    def __call__(self, name: str, value: Any) -> tuple:
        """The value."""
        if isinstance(value, list | tuple) and len(value) == len(self.bounds):
            pairs = zip(self.bounds, value, strict=True)
            return tuple(bound(f"{name}[{i}]", one) for i, (bound, one) in enumerate(pairs))
        raise unexpected(name, value, f"a list of {len(self.bounds)} values")


class Fields(NamedTuple):
    """An object with these fields, each within its bound; one that is missing has its default."""

    bounds: dict[str, Bound]
    defaults: dict[str, Any]

    def __call__(self, name: str, value: Any) -> dict[str, Any]:
        """The value."""
        if not isinstance(value, dict):
            raise unexpected(name, value, "an object")
        if unknown := value.keys() - self.bounds.keys():
            known = ", ".join(self.bounds) or "none"
            raise unexpected(f"a field of {name}", min(unknown), f"one of these: {known}")
        if missing := self.bounds.keys() - self.defaults.keys() - value.keys():
            raise ParameterError(f"{name} has no field {min(missing)!r}; send it too")
        given = {field: self.bounds[field](field, one) for field, one in value.items()}
        return {**self.defaults, **given}


def unexpected(name: str, value: Any, expected: str) -> ParameterError:
    """The error for a value, of which it shows the beginning."""
    kind = {dict: "an object", list: "a list"}.get(type(value))
    if kind:
        shown = f"{kind} of {len(value)}"
    elif isinstance(value, int) and abs(value) > 1e15:
        shown = "a number of many digits"
    else:
        shown = repr(value[:40] if isinstance(value, str) else value)
    return ParameterError(f"{name} is {shown}; expected {expected}")


def is_finite(value: Any) -> bool:
    """Whether a number can be written in JSON."""
    return math.isfinite(value)
