"""Backpropagation over any JAX function, by the rules of `funcnet.rules` alone."""

from funcnet.backprop.api import grad, hessian, jacobian, value_and_grad, vjp
from funcnet.backprop.graph import Constant, Graph, Node, Value
from funcnet.backprop.graphing import argument_names, trace

__all__ = [
    "Constant",
    "Graph",
    "Node",
    "Value",
    "argument_names",
    "grad",
    "hessian",
    "jacobian",
    "trace",
    "value_and_grad",
    "vjp",
]
