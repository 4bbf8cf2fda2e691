"""What the tests of the checker share: a rule in one line, and a row that says what is refused and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from funcnet import VJPCheckError, check_vjp


def custom(primal: Callable, backward: Callable) -> Callable:
    """`primal` with the gradient `backward(args, y_bar) -> x_bars`; every argument is kept for it."""
    function = jax.custom_vjp(primal)
    function.defvjp(lambda *args: (primal(*args), args), backward)
    return function


@dataclass(frozen=True)
class Refused:
    """A gradient that must be refused.

    Attributes:
        name: of the row.
        function: what is checked.
        args: where.
        verdict: of the error.
        words: what must stand in its message.
        options: of the check.
    """

    name: str
    function: Callable
    args: tuple[Any, ...]
    verdict: str
    words: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def test(self) -> None:
        """Check it, and read the message."""
        with pytest.raises(VJPCheckError) as caught:
            check_vjp(self.function, *self.args, **self.options)
        message = str(caught.value)
        assert caught.value.verdict == self.verdict, message
        assert [word for word in self.words if word not in message] == [], message


def array(*numbers: Any, dtype: Any = "float32") -> jax.Array:
    """A vector."""
    return jnp.asarray(numbers, dtype)
