"""Pictures of a computational graph with every value and every gradient, and the same in words.

    draw                  the picture
    explain               the walk through it, forward and backward, as a table
    jacobian_structure    what the Jacobians are that no rule forms
    lecture               the lecture's worked examples with their published numbers

A function is traced, run forward and backward (record), made fit to be looked at (fold), and wired up
as a Diagram: gates, and wires with a value and a gradient each. Pictures and tables are views of that.
"""

from funcnet.drawing import lecture
from funcnet.drawing.diagram import Box, Diagram, Gate, Mark, Wire
from funcnet.drawing.explain import Explanation, explain
from funcnet.drawing.jacobians import JacobianStructure, jacobian_structure
from funcnet.drawing.picture import Picture, draw

__all__ = [
    "Box",
    "Diagram",
    "Explanation",
    "Gate",
    "JacobianStructure",
    "Mark",
    "Picture",
    "Wire",
    "draw",
    "explain",
    "jacobian_structure",
    "lecture",
]
