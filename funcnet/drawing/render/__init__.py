"""How a Diagram is written down.

dot, nodes             for Graphviz
thumbnails, numbers    values in little room
labels, words          what a gate computes, in signs and in sentences
"""
