"""The worked examples of CS231n 2019, lecture 4, with the numbers that its slides print.

    slides 30-35     neuron            the firing rate σ(w · x + b)
    slides 42-60     sum_times         (x + y) z, the first graph;  mul_node  one of its nodes
    slides 61-79     sigmoid_gates     a sigmoid neuron gate by gate;  sigmoid_neuron  with one sigmoid gate
    slides 80-83     add, mul, copy, max   how gates pass the gradient on
    slides 84-92     svm, two_layer    losses that `funcnet.nn.flat` writes out line by line
    slides 93-98     sigmoid           a gate with forward and backward
    slides 99-106    derivative, gradient, jacobian    what a derivative of vectors is
    slides 107-113   relu              a vector's, without its Jacobian
    slides 114-123   matmul            x̄ = ȳ wᵀ, w̄ = xᵀ ȳ
    slides 126-141   squared_norm      ‖Wx‖²

Each is to be looked at:

    example = lecture.EXAMPLES["sum_times"]
    funcnet.draw(example.function, y_bar=example.upstream)(*example.arguments)
"""

from funcnet.lecture.examples import EXAMPLES, Example, Printed
from funcnet.lecture.functions import (
    LARGE,
    REG,
    add,
    copy,
    larger,
    matmul,
    mul,
    neuron,
    products,
    sigmoid_gates,
    sigmoid_neuron,
    squared_norm,
    sum_times,
    svm,
    two_layer,
)

__all__ = [
    "EXAMPLES",
    "LARGE",
    "REG",
    "Example",
    "Printed",
    "add",
    "copy",
    "larger",
    "matmul",
    "mul",
    "neuron",
    "products",
    "sigmoid_gates",
    "sigmoid_neuron",
    "squared_norm",
    "sum_times",
    "svm",
    "two_layer",
]
