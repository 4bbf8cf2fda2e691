"""What the caller of a check chooses, and what each choice may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import ParameterError
from funcnet.check.domain import DOMAINS
from funcnet.check.thresholds import ELSEWHERE, SLACK, TIMEOUT

TRANSFORMS = ("jit", "vmap")


@dataclass(frozen=True, eq=False)
class Options:
    """The keywords of a check: see `check_vjp`, and `check_kink` for `along`.

    Raises:
        ParameterError: one of them is not what it should be.
    """

    check: Callable
    argnums: int | Sequence[int] | None = None
    reference: Callable | None = None
    dtypes: Sequence[Any] | None = None
    order: int = 1
    transforms: Sequence[str] = TRANSFORMS
    kinks: float | int | None = None
    domain: Any = None
    elsewhere: Sequence[float] = ELSEWHERE
    timeout: float | int = TIMEOUT
    key: Any = 0
    slack: float | int = SLACK
    along: Any = None

    def __post_init__(self) -> None:
        for name, (may_be, expected) in _EXPECTED.items():
            value = getattr(self, name)
            if not may_be(value):
                raise ParameterError(f"{self.check.__name__}: {name}={value!r}, expected {expected}")

    @property
    def seed(self) -> tuple[int, ...]:
        """The numbers of the key, from which all random numbers come."""
        if not isinstance(self.key, jax.Array):
            return (self.key,)
        is_typed = jnp.issubdtype(self.key.dtype, jax.dtypes.prng_key)
        data = jax.random.key_data(self.key) if is_typed else self.key
        return tuple(np.asarray(data).ravel().tolist())


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
    "domain": (
        lambda x: not isinstance(x, str) or x in DOMAINS,
        f"one of {', '.join(map(repr, DOMAINS))}, a tuple of such for the arguments, or a function of a key "
        "that draws them",
    ),
    "elsewhere": (
        lambda x: isinstance(x, (tuple, list)) and all(map(_is_number, x)),
        "multiples of the arguments, (0.5, 2)",
    ),
    "timeout": (lambda x: _is_number(x) and x > 0, "a positive number of seconds"),
    "key": (
        lambda x: isinstance(x, jax.Array) or (isinstance(x, int) and x >= 0),
        "a number, 0 or more, or a key of jax.random",
    ),
    "slack": (lambda x: _is_number(x) and x > 0, "a positive number of rounding units"),
}
