"""What pictures and tables show, as data: nothing here knows how it is written down.

model      Diagram: gates, and wires with a value and a gradient each
record     runs a function forward and backward and writes down every step; local, unroll
fold       makes a record fit to be looked at: leaves out, closes boxes, folds what repeats
marks      what goes wrong at a gate
assemble   all of that, from a function to its Diagram
"""

from funcnet.drawing.diagram.model import Box, Diagram, Gate, Mark, Wire

__all__ = ["Box", "Diagram", "Gate", "Mark", "Wire"]
