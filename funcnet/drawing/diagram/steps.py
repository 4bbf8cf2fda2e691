"""What a run of a function is written down as: steps that take uses of flows and make flows.

A use has the gradient that it alone sends back; the gradient of a flow is the sum over its uses.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jax import lax

from funcnet.drawing.diagram.model import Box, Inside, Role


@dataclass(frozen=True, eq=False)
class Flow:
    """A value on its way from where it is made to where it is used."""

    value: Any
    role: Role = ""
    name: str = ""


@dataclass(frozen=True, eq=False)
class Use:
    """One use of a flow, and the gradient that it sends back."""

    flow: Flow
    gradient: Any

    def of(self, others: Mapping[Flow, Flow]) -> "Use":
        """The same use, of the flow that stands in for its own if there is one."""
        return Use(others.get(self.flow, self.flow), self.gradient)


@dataclass(frozen=True, eq=False)
class Step:
    """One operation that ran.

    Attributes:
        name: the function or primitive.
        inputs: the uses of its operands, in their order.
        outputs: what it made.
        path: the boxes around it, the outermost first.
        depth: how many of these are shown open.
        primitive: the primitive, empty for a closed box of several steps.
        line: where the user's code wrote it.
        formula: its way back.
        source: where the formula stands in print.
        parameters: what else the primitive needs to know.
        local: its local gradients, where they were asked for.
        inside: what is in it, if it is a closed box.
        reads: how many numbers of each argument that has parts, if it is a closed box.
        kept: the bytes that its way back reads of the forward pass, without arguments and constants.
    """

    name: str
    inputs: tuple[Use, ...]
    outputs: tuple[Flow, ...]
    path: tuple[Box, ...]
    depth: int
    primitive: str = ""
    line: str = ""
    formula: str = ""
    source: str = ""
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    local: tuple[Any, ...] = ()
    kept: int = 0
    inside: tuple[Inside, ...] = ()
    reads: Mapping[str, int] = dataclasses.field(default_factory=dict)


def add(a: Any, b: Any) -> Any:
    """The sum of two gradients, or bundles of them, of which None is zero."""
    if a is None or b is None:
        return b if a is None else a
    return tuple(map(lax.add, a, b)) if isinstance(a, tuple) else lax.add(a, b)
