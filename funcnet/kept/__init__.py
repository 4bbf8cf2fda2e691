"""What backpropagation keeps of the forward pass: which arrays, for which rules, how many bytes, and why."""

from funcnet.kept.rows import Kept
from funcnet.kept.stash import Stash, stash

__all__ = ["Kept", "Stash", "stash"]
