"""What the caller of a check chooses, and what each choice may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from funcnet._errors import ParameterError
from funcnet.check.domain import DOMAINS
from funcnet.check.thresholds import ELSEWHERE, SLACK, TIMEOUT

TRANSFORMS = ("jit", "vmap")


@dataclass(frozen=True)
class Options:
    """What the caller chose: see `check_vjp`."""

    reference: Callable | None = None
    dtypes: Sequence[Any] | None = None
    transforms: Sequence[str] = TRANSFORMS
    kinks: float | int | None = None
    key: Any = 0
    slack: float | int = SLACK
    domain: Any = None
    elsewhere: Sequence[float] = ELSEWHERE
    timeout: float | int = TIMEOUT


def valid(check: str, **chosen: Any) -> dict[str, Any]:
    """The choices by name, if each is one.

    Raises:
        ParameterError: one is not.
    """
    for name, value in chosen.items():
        may_be, expected = _EXPECTED.get(name, (_anything, ""))
        if not may_be(value):
            raise ParameterError(f"{check}: {name}={value!r}, expected {expected}")
    return chosen


def _anything(_: Any) -> bool:
    return True


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float))


def _is_float_dtype(dtype: Any) -> bool:
    try:
        return bool(jnp.issubdtype(jnp.dtype(dtype), jnp.floating))
    except TypeError:
        return False


_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dtypes": (
        lambda x: x is None or (not isinstance(x, str) and all(map(_is_float_dtype, x))),
        "float dtypes; write dtypes=('float32', 'bfloat16')",
    ),
    "order": (lambda x: isinstance(x, int) and x >= 1, "1 for the gradient, 2 for its gradient, …"),
    "transforms": (lambda x: not isinstance(x, str) and set(x) <= set(TRANSFORMS), f"some of {TRANSFORMS}"),
    "kinks": (
        lambda x: x is None or (_is_number(x) and 0 <= x <= 1),
        "a number from 0, left, to 1, right, or None",
    ),
    "slack": (lambda x: _is_number(x) and x > 0, "a positive number of rounding units"),
    "timeout": (lambda x: _is_number(x) and x > 0, "a positive number of seconds"),
    "domain": (
        lambda x: not isinstance(x, str) or x in DOMAINS,
        f"one of {', '.join(map(repr, DOMAINS))}, a tuple of such for the arguments, or a function of a key "
        "that draws them",
    ),
    "elsewhere": (
        lambda x: isinstance(x, (tuple, list)) and all(map(_is_number, x)),
        "multiples of the arguments, (0.5, 2)",
    ),
}
