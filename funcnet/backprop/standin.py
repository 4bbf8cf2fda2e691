"""Stand-ins: what a function gets in the place of an array while it is traced."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import numpy as np


class Step:
    """How values come about: what to run on which inputs, and what came out of it, once it has run."""

    __slots__ = ("inputs", "run", "values")

    def __init__(
        self, run: Callable[..., Any] | None, inputs: Sequence[Any], values: list[Any] | None = None
    ):
        self.run, self.inputs, self.values = run, inputs, values


class StandIn(jax.core.Tracer):
    """What a function gets in the place of an array that its program depends on.

    Attributes:
        staged: the tracer of the program.
        active: whether a gradient can flow through it.
        step: how to compute it; None if it has no value before the program runs.
        place: its place among the values of that step.
    """

    __slots__ = ("active", "place", "staged", "step")

    _trace: Any

    def __init__(self, trace: Any, staged: Any, active: bool, step: Step | None, place: int):
        super().__init__(trace, staged.aval)
        self.staged, self.active, self.step, self.place = staged, active, step, place

    def to_concrete_value(self) -> Any:
        """Its value where that can be known now, else None."""
        return self._trace.value(self)

    def _constant(self) -> Any:
        """Its value if no gradient flows through it: as good as an ordinary array."""
        return None if self.active else self.to_concrete_value()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        value = self._constant()
        return super().__array__(*args, **kwargs) if value is None else np.asarray(value, *args, **kwargs)

    def __float__(self) -> float:
        value = self._constant()
        return super().__float__() if value is None else float(value)

    def __complex__(self) -> complex:
        value = self._constant()
        return super().__complex__() if value is None else complex(value)

    def tolist(self) -> Any:
        """The value as nested lists, if no gradient flows through it."""
        value = self._constant()
        return super().tolist() if value is None else np.asarray(value).tolist()

    def cur_qdd(self) -> Any:
        """JAX's own question to values of types with a state."""
        return self.staged.cur_qdd()

    def _origin_msg(self) -> str:
        return self.staged._origin_msg()

    def _short_repr(self) -> str:
        return f"Traced<{self.aval.str_short()}>"


class LocalRef(jax.core.Tracer):
    """A mutable array that a function has made for itself: a place with a value."""

    __slots__ = ("value",)

    def __init__(self, trace: Any, aval: Any, value: Any):
        super().__init__(trace, aval)
        self.value = value


def concrete(x: Any) -> Any:
    """The value of x if it has one now: a type has none, nor has a tracer of jit."""
    if isinstance(x, jax.core.Tracer):
        return x.to_concrete_value()
    return None if isinstance(x, (jax.core.AbstractValue, jax.ShapeDtypeStruct)) else x
