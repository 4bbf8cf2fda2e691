"""What a picture shows, as data: gates, and the wires between them with their values and gradients.

CS231n 2019, lecture 4, slides 42 to 79: above each wire stands the value that flows forward, below it
the upstream gradient that flows backward. A wire leads from one gate to one other. Where a value is
used more than once a copy gate stands between, whose way back adds (slide 82), so the gradient on a
wire is what its one use sends back:

    local gradient × upstream gradient = downstream gradient
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from funcnet._errors import ParameterError

Role = Literal["input", "constant", "result", ""]
Fault = Literal["non-finite value", "non-finite gradient", "zero", "shrinks", "grows"]


@dataclass(frozen=True, eq=False)
class Box:
    """A frame around gates: an opened function, a `jax.named_scope`, a loop or one of its steps.

    Attributes:
        name: what is written on it.
        line: where the user's code calls it; None for a named scope.
    """

    name: str
    line: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Wire:
    """What flows between two gates.

    Attributes:
        value: the array; a tuple of arrays where the inputs of folded layers are bundled.
        gradient: the upstream gradient, of the value's shape; None where none flows.
        name: what an argument is called: `x`, `params/layer1/w`.
        role: "input" for an argument, "constant", "result", or "" for what a gate hands to another.
        source: the number of the gate that it comes from; None for arguments and constants.
        target: the number of the gate that it leads to; None for results and unused arguments.
    """

    value: Any
    gradient: Any
    name: str
    role: Role
    source: int | None
    target: int | None

    def __repr__(self) -> str:
        return f"Wire({self.name or self.role or 'wire'} from gate {self.source} to gate {self.target})"


@dataclass(frozen=True, eq=False)
class Mark:
    """Something about a gate that whoever looks for a fault wants to see at a glance.

    Attributes:
        kind: what is the matter.
        text: that in a few words with its numbers.
        severe: whether all of the gradient is concerned, or only a part.
    """

    kind: Fault
    text: str
    severe: bool


@dataclass(frozen=True)
class Inside:
    """An operation in a closed box.

    Attributes:
        name: the function or primitive.
        primitive: the primitive.
        parameters: what else it needs to know.
        shapes: of its operands.
    """

    name: str
    primitive: str
    parameters: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False, repr=False)
class Gate:
    """One operation of a diagram.

    Attributes:
        number: its place in `Diagram.gates`.
        name: the function or primitive, `relu`, `mul`; "copy" where a value is used more than once.
        primitive: the primitive; empty for copies and for closed boxes of several operations.
        inputs: the wires that lead to it, in the order of its operands; constants are among them.
        outputs: the wires that lead away.
        path: the boxes around it, the outermost first.
        formula: its way back as one reads it on paper; empty if it is not on record.
        source: where the formula stands in print.
        line: where the user's code wrote it.
        parameters: what else the primitive needs to know.
        local: for each input ∂y/∂x where downstream = local × upstream elementwise, else None; empty
            where local gradients were not asked for.
        marks: what to look at.
        kept: the bytes that its way back reads of the forward pass, without arguments and constants; what two
            gates read counts for both.
        inside: what is in a closed box, in the order of the forward pass.
        reads: how many numbers it reads of the parts of each argument that has parts.
    """

    number: int
    name: str
    primitive: str
    inputs: tuple[Wire, ...]
    outputs: tuple[Wire, ...]
    path: tuple[Box, ...]
    formula: str
    source: str
    line: str
    parameters: dict[str, Any]
    local: tuple[Any, ...]
    marks: tuple[Mark, ...]
    kept: int = 0
    inside: tuple[Inside, ...] = ()
    reads: Mapping[str, int] = field(default_factory=dict)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of its operands; of the first array of a bundle."""
        values = (wire.value[0] if isinstance(wire.value, tuple) else wire.value for wire in self.inputs)
        return tuple(map(np.shape, values))

    def __repr__(self) -> str:
        return f"Gate({self.number}: {self.name})"


@dataclass(frozen=True, eq=False, repr=False)
class Diagram:
    """The gates in the order of the forward pass, with their wires.

    Attributes:
        gates: all of them.
        wires: all of them; those of the arguments first, in their order.
        results: the wires of the results, in their order.
    """

    gates: tuple[Gate, ...]
    wires: tuple[Wire, ...]
    results: tuple[Wire, ...]

    @property
    def inputs(self) -> tuple[Wire, ...]:
        """The wires of the arguments, each with the whole gradient of its argument."""
        return tuple(wire for wire in self.wires if wire.role == "input")

    def __getitem__(self, name: str) -> Wire:
        """The wire of the argument of this name.

        Raises:
            ParameterError: there is none.
        """
        for wire in self.inputs:
            if wire.name == name:
                return wire
        raise ParameterError(f"{name!r}: no such input; there are {', '.join(w.name for w in self.inputs)}")

    def named(self, name: str) -> tuple[Gate, ...]:
        """The gates of this name, in the order of the forward pass."""
        return tuple(gate for gate in self.gates if gate.name == name)

    def __repr__(self) -> str:
        return f"Diagram({', '.join(gate.name for gate in self.gates)})"

    def __iter__(self) -> Iterator[Gate]:
        return iter(self.gates)
