"""The buffers of an XLA program: which instruction writes each, and where it writes over what was there.

Arguments and constants have memory of their own. Of the others, tuples, bitcasts and the steps of a loop go
on with the buffers that they read; a scatter and an update of a slice write into the one that they are about,
and what is computed element by element may take the place of an operand that nobody reads any more.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from funcnet.kept.hlo import Computation, Instruction, Leaf, elements, leaves

Computations = Mapping[str, Computation]

COPIES = ("copy", "transpose", "broadcast", "iota")
"""What makes nothing new: the same elements elsewhere, or the numbers of their places."""

_WRITES_INTO = ("dynamic-update-slice", "scatter")
_GOES_ON = ("bitcast", "optimization-barrier", "while")
_MOVES = ("bitcast", "reshape")
_ELEMENTWISE = frozenset(
    {
        *("abs", "ceil", "cbrt", "convert", "cosine", "erf", "exponential", "exponential-minus-one", "floor"),
        *("imag", "is-finite", "log", "log-plus-one", "logistic", "negate", "not", "popcnt", "real", "rsqrt"),
        *(
            "reduce-precision",
            "round-nearest-afz",
            "round-nearest-even",
            "sign",
            "sine",
            "sqrt",
            "tan",
            "tanh",
        ),
        *("add", "and", "atan2", "compare", "complex", "divide", "maximum", "minimum", "multiply", "or"),
        *("power", "remainder", "shift-left", "shift-right-arithmetic", "shift-right-logical", "subtract"),
        *("xor", "clamp", "select", "reduce-precision"),
    }
)


@dataclass(eq=False)
class Buffer:
    """Memory of one array.

    Attributes:
        leaf: the array.
        maker: what makes its contents: of a fusion the instruction in it; "" for nothing but a copy.
        op_name: what JAX calls that.
    """

    leaf: Leaf
    maker: str
    op_name: str


Values = Mapping[str, Sequence[Buffer | None]]
"""By instruction, the buffers of the arrays in its result; None for an argument or a constant."""


def values(
    computation: Computation, computations: Computations, arguments: Sequence[Sequence[Buffer | None]] = ()
) -> Values:
    """The buffers of the results in a computation, which may be given those of its arguments."""
    found: dict[str, Sequence[Buffer | None]] = {}
    shapes = {one.name: one.shape for one in computation.instructions}
    for one in computation.instructions:
        operands = [found[name] for name in one.operands]
        made: Sequence[Buffer | None]
        if one.opcode == "parameter" and arguments:
            made = arguments[int(one.inside)]
        elif one.opcode in ("parameter", "constant"):
            made = [None] * len(one.leaves)
        elif one.opcode == "tuple":
            made = [buffer for operand in operands for buffer in operand]
        elif one.opcode in _GOES_ON:
            made = operands[0]
        elif one.opcode == "get-tuple-element":
            made = _element(operands[0], shapes[one.operands[0]], one)
        elif one.opcode == "call":
            called = computations[one.called[0]]
            made = values(called, computations, operands)[called.root]
        elif one.opcode.endswith("-done"):
            made = operands[0][-len(one.leaves) :]
        else:
            maker, into = _maker(one, computations).opcode, _written_into(one, computations)
            made = [
                operands[into[k]][0] if k in into else Buffer(leaf, maker, one.op_name)
                for k, leaf in enumerate(one.leaves)
            ]
        if one.opcode not in ("tuple", "get-tuple-element", *_GOES_ON[:2]):
            _written(made, one, computations)
        found[one.name] = made
    return found


def _written(made: Sequence[Buffer | None], one: Instruction, computations: Computations) -> None:
    """Say of buffers that had been written only to be written into who does."""
    for buffer in made:
        if buffer is not None and buffer.maker in COPIES:
            buffer.maker, buffer.op_name = _maker(one, computations).opcode, one.op_name


def _element(buffers: Sequence[Buffer | None], shape: str, one: Instruction) -> Sequence[Buffer | None]:
    """The buffers of one element of a tuple."""
    counts = [len(leaves(element)) for element in elements(shape)]
    start = sum(counts[: one.index])
    return buffers[start : start + counts[one.index]]


def _maker(one: Instruction, computations: Computations) -> Instruction:
    """What makes a result: of a fusion the last instruction in it that does more than rename its elements."""
    if one.opcode != "fusion":
        return one
    computation = computations[one.called[0]]
    return _without_moves(computation, computation.root)


def _without_moves(computation: Computation, name: str) -> Instruction:
    one = computation.named[name]
    while one.opcode in _MOVES:
        one = computation.named[one.operands[0]]
    return one


def _written_into(one: Instruction, computations: Computations) -> dict[int, int]:
    """By array in its result, the operand into which an instruction writes that."""
    maker = _maker(one, computations)
    if maker.opcode in _WRITES_INTO:
        if one is maker:
            return {0: 0}
        operand = _without_moves(computations[one.called[0]], maker.operands[0])
        return {0: int(operand.inside)} if operand.opcode == "parameter" else {}
    pairs = re.findall(r"\{(\d*)\}: \((\d+), \{\}", one.attributes)
    return {int(leaf or 0): int(operand) for leaf, operand in pairs}


def may_share(one: Instruction, computations: Computations) -> Iterator[tuple[int, int]]:
    """The arrays in its result that an instruction may write over an operand, and which."""
    if one.opcode == "sort":
        yield from ((k, k) for k in range(len(one.operands)))
    elif one.opcode in _ELEMENTWISE:
        yield from ((0, k) for k in range(len(one.operands)))
    elif one.opcode == "fusion" and len(one.leaves) == 1:
        inner = computations[one.called[0]].instructions
        apart = set[str]()
        for each in reversed(inner):
            if each.opcode not in _ELEMENTWISE or each.name in apart:
                apart.update(each.operands)
        parameters = (each for each in inner if each.opcode == "parameter" and each.name not in apart)
        yield from ((0, int(each.inside)) for each in parameters)
