"""Pictures of a computational graph with every value and every gradient, and the same in words.

    diagram/      what is shown, as data: a function traced, run both ways, put in boxes, folded, wired up
    render/dot    a picture of few gates, with a table for each wire: nodes, thumbnails, labels
    compact       one of many, a line for each gate; both are laid out and drawn by graphviz
    explorer/     one of any size, as a page that one walks into
    explanation   the walk through it in words, forward and backward; render/words

All of them show one function at one place, its arguments.
"""

from funcnet.drawing.diagram import Box, Diagram, Gate, Mark, Wire
from funcnet.drawing.explanation import Explanation, explain
from funcnet.drawing.picture import Picture, draw

__all__ = ["Box", "Diagram", "Explanation", "Gate", "Mark", "Picture", "Wire", "draw", "explain"]
