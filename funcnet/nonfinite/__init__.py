"""Which gate made the first number that is none: forward, or on the way back."""

from funcnet.nonfinite.find import find_nonfinite
from funcnet.nonfinite.finding import Gate, Operand

__all__ = ["Gate", "Operand", "find_nonfinite"]
