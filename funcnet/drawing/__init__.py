"""Pictures of a computational graph with every value and every gradient, and the same in words.

    draw       the picture; render/dot lays it out by way of Graphviz: nodes, thumbnails, labels
    explain    the walk through it, forward and backward, as a table; render/words
    Diagram    what both show, as data: gates, and wires with a value and a gradient each; diagram/

A function is traced, run forward and backward (record), made fit to be looked at (fold), and wired up.
"""

from funcnet.drawing.diagram import Box, Diagram, Gate, Mark, Wire
from funcnet.drawing.explanation import Explanation, explain
from funcnet.drawing.picture import Picture, draw

__all__ = ["Box", "Diagram", "Explanation", "Gate", "Mark", "Picture", "Wire", "draw", "explain"]
