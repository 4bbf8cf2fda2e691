"""The worked examples and the numbers that their slides print."""

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from funcnet import nn
from funcnet.lecture.functions import (
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

Number = Float[Array, ""]


@dataclass(frozen=True, eq=False)
class Printed:
    """What the slides print at a gate; None for what they do not.

    Attributes:
        gate: the gate's name.
        value: its output; at a copy gate a tuple of all of them.
        gradient: the upstream gradient, likewise.
        local: the local gradient for each input.
    """

    gate: str
    value: Any
    gradient: Any = None
    local: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Example:
    """A worked example.

    Attributes:
        name: its name in `EXAMPLES`.
        slides: where it is worked.
        function: what is differentiated.
        arguments: where.
        upstream: the upstream gradient of its result; None for 1.
        gates: what is printed at its last gates, in the order of the forward pass.
        gradients: what is printed for the arguments, by name.
        decimals: how many the numbers are printed with; with 0 they are exact.
        erratum: what is misprinted.
    """

    name: str
    slides: str
    function: Callable
    arguments: tuple[Any, ...]
    upstream: Any = None
    gates: tuple[Printed, ...] = ()
    gradients: Mapping[str, Any] = field(default_factory=dict)
    decimals: int = 0
    erratum: str = ""


def _floats(*numbers: Any) -> np.ndarray:
    return np.array(numbers, np.float32)


def _toy_net() -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray, np.ndarray]:
    """The toy net of the course's first assignment and its data."""
    weights, data = np.random.RandomState(0), np.random.RandomState(1)
    params = {
        "layer1": {"w": 0.1 * weights.randn(4, 10), "b": np.zeros(10)},
        "layer2": {"w": 0.1 * weights.randn(10, 3), "b": np.zeros(3)},
    }
    return params, 10 * data.randn(5, 4), np.array([0, 1, 2, 2, 1])


_TOY = _toy_net()
_NEURON = (2.0, -1.0, -3.0, -2.0, -3.0)
_SUM = (Printed("mul", -2, 0.20), Printed("mul", 6, 0.20), Printed("add", 4, 0.20), Printed("add", 1, 0.20))
_SIGMOID = Printed("sigmoid", 0.73, 1, (0.20,))
_SUM_GRADIENTS = {"w0": -0.20, "x0": 0.39, "w1": -0.39, "x1": -0.59, "w2": 0.20}
_TIMES = Printed("mul", -12, 1, (-4, 3))

_ALL = (
    Example(
        "neuron",
        "30-35, with the numbers of 61-79",
        neuron,
        (_floats(2, -3), _floats(-1, -2), -3.0),
        gates=(Printed("dot_general", 4, 0.20), Printed("add", 1, 0.20), _SIGMOID),
        gradients={"w": (-0.20, -0.39), "x": (0.39, -0.59), "b": 0.20},
        decimals=2,
    ),
    Example(
        "sum_times",
        "38, 42-55",
        sum_times,
        (-2.0, 5.0, -4.0),
        gates=(Printed("add", 3, -4, (1, 1)), _TIMES),
        gradients={"x": -4, "y": -4, "z": 3},
    ),
    Example(
        "mul_node",
        "56-60, with the numbers of 42-55",
        mul,
        (3.0, -4.0),
        gates=(_TIMES,),
        gradients={"x": -4, "y": 3},
    ),
    Example(
        "sigmoid_gates",
        "61-76",
        sigmoid_gates,
        _NEURON,
        gates=(
            *_SUM,
            Printed("neg", -1, -0.20),
            Printed("exp", 0.37, -0.53),
            Printed("add", 1.37, -0.53),
            Printed("div", 0.73, 1),
        ),
        gradients=_SUM_GRADIENTS,
        decimals=2,
    ),
    Example(
        "sigmoid_neuron",
        "77-79",
        sigmoid_neuron,
        _NEURON,
        gates=(*_SUM, _SIGMOID),
        gradients=_SUM_GRADIENTS,
        decimals=2,
    ),
    Example("add", "80", add, (*_floats(3, 4),), np.float32(2), (Printed("add", 7, 2),), {"x": 2, "y": 2}),
    Example("mul", "81", mul, (*_floats(2, 3),), np.float32(5), (Printed("mul", 6, 5),), {"x": 15, "y": 10}),
    Example(
        "copy", "82", copy, (*_floats(7),), (*_floats(4, 2),), (Printed("copy", (7, 7), (4, 2)),), {"x": 6}
    ),
    Example("max", "83", larger, (*_floats(4, 5),), np.float32(9), (Printed("max", 5, 9),), {"x": 0, "y": 9}),
    Example("svm", "84-92", svm, (_TOY[0]["layer2"]["w"][:4], *_TOY[1:])),
    Example(
        "two_layer",
        "84-92; the loss in the course's first assignment",
        two_layer,
        _TOY,
        gates=(Printed("add", 1.30378789133, 1),),
        decimals=11,
    ),
    Example(
        "sigmoid",
        "93-98, with the numbers of 77-79",
        nn.sigmoid,
        (1.0,),
        gates=(_SIGMOID,),
        gradients={"x": 0.20},
        decimals=2,
    ),
    Example("derivative", "99-103", nn.sigmoid, (1.0,)),
    Example("gradient", "99-104", nn.l2, (_floats(1, 2, 3),)),
    Example("jacobian", "99-106", products, (_floats(1, 2, 3),)),
    Example(
        "relu",
        "107-113",
        nn.relu,
        (_floats(1, -2, 3, -1),),
        upstream=_floats(4, -1, 5, 9),
        gates=(Printed("relu", (1, 0, 3, 0), (4, -1, 5, 9), ((1, 0, 1, 0),)),),
        gradients={"x": (4, 0, 5, 0)},
    ),
    Example(
        "matmul",
        "114-123",
        matmul,
        (_floats((2, 1, -3), (-3, 4, 2)), _floats((3, 2, 1, -1), (2, 1, 3, 2), (3, 2, 1, -2))),
        upstream=_floats((2, 3, -3, 9), (-8, 1, 4, 6)),
        gates=(Printed("dot_general", ((-1, -1, 2, 6), (5, 2, 11, 7)), ((2, 3, -3, 9), (-8, 1, 4, 6))),),
        gradients={
            "x": ((0, 16, -9), (-24, 9, -30)),
            "w": ((28, 3, -18, 0), (-30, 7, 13, 33), (-22, -7, 17, -15)),
        },
        erratum="The slide prints y as [[13, 9, −2, −6], [5, 2, 17, 1]]; x w is what stands here.",
    ),
    Example(
        "squared_norm",
        "126-141",
        squared_norm,
        (_floats((0.1, 0.5), (-0.3, 0.8)), _floats(0.2, 0.4)),
        gates=(Printed("dot_general", (0.22, 0.26), (0.44, 0.52)), Printed("l2", 0.116, 1)),
        gradients={"W": ((0.088, 0.176), (0.104, 0.208)), "x": (-0.112, 0.636)},
        decimals=3,
    ),
)

EXAMPLES: Mapping[str, Example] = types.MappingProxyType({example.name: example for example in _ALL})
"""The examples by name, in the lecture's order."""
