"""How a Diagram is written down.

dot, nodes, frames     for Graphviz, with a table for each wire
compact, order         for Graphviz, with a line for each gate
bundles                the many arguments of one gate as one wire, in both
graphviz               lays out and draws what these have written
thumbnails, numbers    values in little room
labels, words          what a gate computes, in signs and in sentences
"""
