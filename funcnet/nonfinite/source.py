"""Where a search among the values of one program ended, and how what is found around that program joins it.

A search that ends at an operand goes on around the program: for the infinities of which a gate made NaN
(`asked_on`), or for a NaN that was there before a gate, and led to it by a condition (`after`).
"""

import dataclasses
from dataclasses import dataclass

from funcnet.nonfinite.finding import Gate


@dataclass(frozen=True)
class Source:
    """Where the search has ended.

    Attributes:
        gate: the gate, if one was found.
        operand: the number of the program's operand that the rest comes from, if it comes from one: all of
            it where there is no gate, else the infinities of which the gate made NaN.
        written: the gate that reads an infinity that is written in the code, where all comes from one.
        of_nan: whether the operand holds a NaN that was before the gate.
    """

    gate: Gate | None = None
    operand: int | None = None
    written: Gate | None = None
    of_nan: bool = False

    def asked_on(self, further: "Source") -> "Source":
        """With what the search around the program has found for the operand."""
        if self.gate is None or further.gate is None:
            return dataclasses.replace(further, gate=further.gate or self.gate)
        return dataclasses.replace(further, gate=dataclasses.replace(further.gate, then=self.gate))

    def after(self, nan: "Source") -> "Source":
        """With what the search for a NaN before the gate has found, unless one is written in the code."""
        gate = self.gate or self.written
        if nan.gate and not nan.gate.written:
            then = nan.gate.then or gate
            return dataclasses.replace(nan, gate=dataclasses.replace(nan.gate, then=then))
        if nan.gate is None and nan.operand is not None:
            return Source(gate, nan.operand, of_nan=True)
        return Source(written=gate) if gate and gate.written else Source(gate)
