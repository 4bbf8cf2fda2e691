"""What pictures and tables show, as data: nothing here knows how it is written down.

model      Diagram: gates, and wires with a value and a gradient each
record     runs a function forward and backward and writes down every step; local, unroll
running    one compiled run that makes all its numbers; filling puts them in their places
prune      leaves out what only stands in the way
boxes      puts steps in boxes, and makes one of the steps in a closed one; fold, of those of equal layers
marks      what goes wrong at a gate; wire, what leads from one to the other
assemble   all of that, from a function to its Diagram
"""

from funcnet.drawing.diagram.model import Box, Diagram, Gate, Inside, Mark, Wire

__all__ = ["Box", "Diagram", "Gate", "Inside", "Mark", "Wire"]
