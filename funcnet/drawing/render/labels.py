"""What is written on a gate: the sign of an operation or the name of a function, and its constants.

    + 1     1 ÷     max 0     x²     Σ axis 0     where(·, ·, 0)

A constant that is one number, or in arithmetic one number everywhere, is part of what is written, and no
wire leads to it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcnet.drawing.diagram import Gate, Inside, Wire
from funcnet.drawing.diagram.arrays import uniform
from funcnet.drawing.render.numbers import number, signed

BETWEEN = {
    "add": "+",
    "add_any": "+",
    "sub": "−",
    "mul": "×",
    "div": "÷",
    "max": "max",
    "min": "min",
    "pow": "^",
    "eq": "=",
    "ne": "≠",
    "lt": "<",
    "le": "≤",
    "gt": ">",
    "ge": "≥",
    "and": "∧",
    "or": "∨",
}
"""The signs of operations between two operands, element by element."""

SIGNS = {
    "abs": "|x|",
    "cbrt": "∛",
    "dot_general": "@",
    "exp": "exp",
    "exp2": "2ˣ",
    "log": "log",
    "logistic": "σ",
    "neg": "× −1",
    "not": "¬",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_prod": "Π",
    "reduce_sum": "Σ",
    "rsqrt": "1/√",
    "sqrt": "√",
    "square": "x²",
    "transpose": "ᵀ",
}
"""The signs of other operations."""

NAMES = {
    "broadcast_in_dim": "broadcast",
    "reduce_window_max": "max pool",
    "reduce_window_min": "min pool",
    "reduce_window_sum": "sum pool",
    "conv_general_dilated": "conv",
    "convert_element_type": "to",
    "select_n": "select",
}
"""What primitives are called that JAX calls otherwise."""

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def sign(gate: Gate) -> str:
    """The sign of a gate's operation; empty where it has only a name."""
    if gate.primitive == "integer_pow":
        return "x" + str(gate.parameters["y"]).translate(SUPERSCRIPTS)
    return BETWEEN.get(gate.primitive) or SIGNS.get(gate.primitive, "")


def label(gate: Gate) -> str:
    """What is written on a gate."""
    constants = [constant_on_label(gate, wire) for wire in gate.inputs]
    if gate.primitive in BETWEEN and len(constants) == 2:
        before, after = constants
        return " ".join(filter(None, (before, BETWEEN[gate.primitive], after)))
    name = sign(gate) or NAMES.get(gate.primitive, gate.name)
    if gate.primitive and any(constants):
        name += f"({', '.join(text or '·' for text in constants)})"
    return " ".join(filter(None, (name, detail(gate))))


def constant_on_label(gate: Gate, wire: Wire) -> str:
    """The number that a constant is on the gate's label; empty where the wire is drawn."""
    everywhere = gate.primitive in BETWEEN
    if wire.role != "constant" or (not everywhere and getattr(wire.value, "shape", ())):
        return ""
    x = uniform(wire.value)
    return "" if x is None else number(x)


def detail(gate: Gate) -> str:
    """The parameters of an operation that a reader needs: axes, bounds, the new shape or dtype."""
    write = _DETAILS.get(gate.primitive)
    return write(gate) if write else window(gate)


def window(one: Gate | Inside) -> str:
    """What a convolution or a pool slides over its input: kernel, stride, padding, dilation, groups."""
    write = _WINDOWS.get(one.name if one.primitive == "custom_vjp_call" else one.primitive)
    return write(one) if write else ""


def windows(gate: Gate) -> list[str]:
    """The windows in a closed box."""
    names = (NAMES.get(one.primitive, one.name) for one in gate.inside)
    lines = [f"{name} {text}" for name, one in zip(names, gate.inside, strict=True) if (text := window(one))]
    return list(dict.fromkeys(lines))


def counts(gate: Gate) -> list[str]:
    """How many numbers of each argument's parts a closed box reads."""
    return [f"{count:,} numbers of {name}" for name, count in gate.reads.items()]


def shape(value: Any) -> tuple[int, ...]:
    """The shape of an array, or of the first of a bundle."""
    return np.shape(value[0] if isinstance(value, tuple) else value)


def _axes(gate: Gate) -> str:
    axes = gate.parameters["axes"]
    if len(axes) == len(shape(gate.inputs[0].value)):
        return ""
    return f"{'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"


def _axis(gate: Gate) -> str:
    return f"axis {gate.parameters['dimension' if gate.primitive == 'concatenate' else 'axis']}"


def _shape(gate: Gate) -> str:
    return "×".join(map(str, shape(gate.outputs[0].value))) or "scalar"


def _bounds(gate: Gate) -> str:
    given = gate.parameters
    strides = given["strides"] or (1,) * len(given["start_indices"])
    whole = shape(gate.inputs[0].value)
    bounds = zip(given["start_indices"], given["limit_indices"], strides, whole, strict=True)
    return f"[{', '.join(_range(*bound) for bound in bounds)}]"


def _range(start: int, limit: int, stride: int, whole: int) -> str:
    bounds = f"{start or ''}:{limit if limit != whole else ''}"
    return bounds if stride == 1 else f"{bounds}:{stride}"


def _permutation(gate: Gate) -> str:
    order = tuple(gate.parameters["permutation"])
    return "" if order == (1, 0) else signed(str(order))


def _windows(gate: Gate | Inside) -> str:
    """Of a pool: window, stride, padding, without the axes that it leaves alone."""
    p = gate.parameters
    axes = [i for i, n in enumerate(p["window_dimensions"]) if n > 1 or p["window_strides"][i] > 1]
    return _kernel(*([p[key][i] for i in axes] for key in ("window_dimensions", "window_strides", "padding")))


def _convolved(gate: Gate | Inside) -> str:
    """Of a convolution: kernel, stride, padding, dilation, groups."""
    p = gate.parameters
    places = p["dimension_numbers"].rhs_spec[2:]
    kernel = [gate.shapes[1][i] for i in places]
    more = [f"dilation {_sizes(p['rhs_dilation'])}"] if set(p["rhs_dilation"]) - {1} else []
    more += [f"from {_sizes(p['lhs_dilation'])}"] if set(p["lhs_dilation"]) - {1} else []
    more += [f"in {p['feature_group_count']} groups"] if p["feature_group_count"] > 1 else []
    return " ".join([_kernel(kernel, p["window_strides"], p["padding"]), *more])


def _of_gate(gate: Gate | Inside, sizes: Sequence[int]) -> str:
    """Of a gate that slides a window of these sizes."""
    p, axes = gate.parameters, len(sizes)

    def each(lengths: Any) -> tuple[Any, ...]:
        return lengths if isinstance(lengths, tuple) else (lengths,) * axes

    padding = p["padding"] if p["padding"] != "valid" else 0
    same = padding == "same"
    pairs = [one if isinstance(one, tuple) else (one, one) for one in each(0 if same else padding)]
    more = ["pad same"] if same else []
    more += [f"dilation {_sizes(each(p['dilation']))}"] if set(each(p.get("dilation", 1))) - {1} else []
    more += [f"in {p['groups']} groups"] if p.get("groups", 1) > 1 else []
    return " ".join([_kernel(sizes, each(p["stride"] or tuple(sizes)), pairs), *more])


def _kernel(sizes: Sequence[int], strides: Sequence[int], padding: Sequence[tuple[int, int]]) -> str:
    parts = [_sizes(sizes)]
    parts += (
        [f"stride {_sizes(strides if len(set(strides)) > 1 else strides[:1])}"] if set(strides) - {1} else []
    )
    ends = [str(low) if low == high else f"{low}+{high}" for low, high in padding]
    parts += [f"pad {ends[0] if len(set(ends)) == 1 else ', '.join(ends)}"] if set(ends) - {"0"} else []
    return " ".join(parts)


def _sizes(sizes: Sequence[int]) -> str:
    """Sizes along axes: 3×3."""
    return "×".join(map(str, sizes))


_DETAILS: dict[str, Callable[[Gate], str]] = {
    **dict.fromkeys(("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "argmax", "argmin"), _axes),
    **dict.fromkeys(("concatenate", "cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), _axis),
    **dict.fromkeys(("broadcast_in_dim", "reshape", "squeeze"), _shape),
    "convert_element_type": lambda gate: str(gate.parameters["new_dtype"]),
    "slice": _bounds,
    "transpose": _permutation,
}

_WINDOWS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(
        ("reduce_window_max", "reduce_window_min", "reduce_window_sum", "reduce_window"), _windows
    ),
    **dict.fromkeys(("max_pool", "avg_pool"), lambda gate: _of_gate(gate, gate.parameters["size"])),
    "conv_general_dilated": _convolved,
    "conv": lambda gate: _of_gate(gate, gate.shapes[1][:-2]),
    "depthwise_conv": lambda gate: _of_gate(gate, gate.shapes[1][:-1]),
}
