"""What a Jacobian is that no rule forms: its pattern, its size, and what the rule moves in its place.

jacobian_structure    of a function's result with respect to each of its arguments
"""

from funcnet.structure.jacobians import JacobianStructure, jacobian_structure

__all__ = ["JacobianStructure", "jacobian_structure"]
