"""What XLA's program holds when it holds most, buffer by buffer: read from the compiled program.

XLA runs the instructions of a program in the order in which it prints them. A buffer is there from the
instruction that writes it first to the one that reads it last, and XLA places over one another those that are
never there together: its temporary memory is what is there at the worst moment. Results, like arguments and
constants, have memory of their own, and are not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from funcnet.kept.buffers import COPIES, Buffer, Computations, Values, may_share, values
from funcnet.kept.hlo import Computation, parsed

FORWARD, BACK = "the forward pass", "the way back"
"""Scopes around both in a program that is compiled to be read: XLA keeps them as part of names."""

OWN = "XLA's own copies and indices"
"""What XLA makes for its kernels: arrays laid out otherwise, or stretched, and the numbers of places."""


@dataclass(frozen=True)
class Held:
    """An array that is there when XLA's program holds most.

    Attributes:
        array: its type, f32[64,10].
        bytes: that it takes.
        operation: what makes it, as JAX calls that; of XLA's own as XLA does.
        of: the forward pass, the way back, or XLA's own copies and indices.
    """

    array: str
    bytes: int
    operation: str
    of: str


def held(text: str) -> list[Held]:
    """The arrays that a compiled program holds when it holds most, the largest first."""
    computations, entry = parsed(text)
    buffers = sorted(_most(entry, computations), key=lambda buffer: -buffer.leaf.bytes)
    return [_described(buffer) for buffer in buffers if buffer.leaf.bytes]


def _described(buffer: Buffer) -> Held:
    path = buffer.op_name.split("/")
    is_own = buffer.maker in COPIES or not buffer.op_name
    of = OWN if is_own else BACK if BACK in path else FORWARD
    return Held(buffer.leaf.text, buffer.leaf.bytes, buffer.maker if is_own else path[-1], of)


def _most(computation: Computation, computations: Computations) -> list[Buffer]:
    """What a computation holds at its worst moment, with what those that it runs hold then."""
    found = values(computation, computations)
    first, last = _lives(computation, found)
    _share(computation, computations, found, first, last)
    most: list[Buffer] = []
    for t, one in enumerate(computation.instructions):
        there = [buffer for buffer in first if first[buffer] <= t <= last[buffer]]
        if one.opcode in ("while", "conditional", "call"):
            within = (_most(computations[name], computations) for name in one.called)
            there += max(within, key=_total, default=[])
        most = max(most, there, key=_total)
    return most


def _total(buffers: Sequence[Buffer]) -> int:
    return sum(buffer.leaf.bytes for buffer in buffers)


Times = dict[Buffer, int]
"""By buffer, the number of an instruction."""


def _lives(computation: Computation, found: Values) -> tuple[Times, Times]:
    """Which instruction writes each buffer first, and which reads it last."""
    results = {None, *found[computation.root]}
    first: Times = {}
    last: Times = {}
    for t, one in enumerate(computation.instructions):
        for buffer in (*found[one.name], *(each for name in one.operands for each in found[name])):
            if buffer is not None and buffer not in results:
                first.setdefault(buffer, t)
                last[buffer] = t
    return first, last


def _share(
    computation: Computation, computations: Computations, found: Values, first: Times, last: Times
) -> None:
    """Let operands end where a result takes the place of one that nobody else reads any more."""
    for t, one in enumerate(computation.instructions):
        for k, operand in may_share(one, computations):
            made, read = found[one.name][k], found[one.operands[operand]][0]
            if made is None or read is None or made.leaf.text != read.leaf.text:
                continue
            if first.get(made) == last.get(read) == t:
                last[read] = t - 1
                break
