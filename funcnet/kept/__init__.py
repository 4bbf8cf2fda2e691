"""What backpropagation keeps of the forward pass: which arrays, for which rules, how many bytes, and why."""

from funcnet.kept.held import Held
from funcnet.kept.residuals import Residuals, residuals
from funcnet.kept.rows import Kept
from funcnet.kept.stash import Stash, stash

__all__ = ["Held", "Kept", "Residuals", "Stash", "residuals", "stash"]
