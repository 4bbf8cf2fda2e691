"""An XLA program as it is printed: computations of instructions, in the order in which they run.

    %dot.3 = f32[64,10]{1,0} dot(%x, %w), lhs_contracting_dims={1}, …, metadata={op_name="jit(f)/dot_general"}
    name     shape           opcode operands  attributes

The shape of a tuple lists those of its elements; its leaves are the arrays in it, in order.
"""

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_LEAF = re.compile(r"\b([a-z]+)(\d*)(\w*)\[([\d,]*)\]")
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Leaf:
    """An array in a shape: its type as text, and its bytes."""

    text: str
    bytes: int


@dataclass(frozen=True, eq=False)
class Instruction:
    """One line of a computation.

    Attributes:
        name: its name, by which others read its result.
        shape: of its result, as text.
        opcode: what it does.
        inside: what stands in its brackets: operands, or the number of a parameter.
        attributes: the rest of the line.
    """

    name: str
    shape: str
    opcode: str
    inside: str
    attributes: str

    @property
    def operands(self) -> list[str]:
        """The names of those whose results it reads."""
        return re.findall(r"%([\w.\-]+)", self.inside)

    @property
    def leaves(self) -> list[Leaf]:
        """The arrays in its result."""
        return leaves(self.shape)

    @property
    def index(self) -> int:
        """Which element it takes of a tuple."""
        return int(re.findall(r"\bindex=(\d+)", self.attributes)[0])

    @property
    def called(self) -> list[str]:
        """The names of the computations that it runs."""
        found = re.findall(r"(?:calls|body|condition|to_apply|\w+_computation)=%([\w.\-]+)", self.attributes)
        for names in re.findall(r"\w+_computations=\{([^}]*)\}", self.attributes):
            found += re.findall(r"%([\w.\-]+)", names)
        return found

    @property
    def op_name(self) -> str:
        """What JAX has called the operation, with the functions around it; empty for one of XLA's own."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""


@dataclass(eq=False)
class Computation:
    """Instructions in the order in which they run, and the name of the one that makes the result."""

    instructions: list[Instruction] = field(default_factory=list)
    root: str = ""

    @functools.cached_property
    def named(self) -> dict[str, Instruction]:
        """The instructions by name."""
        return {one.name: one for one in self.instructions}


def parsed(text: str) -> tuple[dict[str, Computation], Computation]:
    """The computations of a program by name, and the one that is run."""
    computations: dict[str, Computation] = {}
    at = entry = Computation()
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line):
            at = computations[head[2]] = Computation()
            entry = at if head[1] else entry
        elif found := re.match(r"\s+(ROOT )?%?([\w.\-]+) = (.*)", line):
            at.instructions.append(_instruction(found[2], found[3]))
            at.root = found[2] if found[1] else at.root
    return computations, entry


def _instruction(name: str, text: str) -> Instruction:
    shape, text = _split(text, " ")
    opcode, text = text.split("(", 1)
    inside, attributes = _split(text, ")")
    return Instruction(name, shape, opcode, inside, attributes)


def _split(text: str, at: str) -> tuple[str, str]:
    """A text before and behind the first such letter that stands in no bracket."""
    depth = 0
    for i, letter in enumerate(text):
        if letter == at and not depth:
            return text[:i], text[i + 1 :]
        depth += (letter in _OPENING) - (letter in _CLOSING)
    return text, ""


def leaves(shape: str) -> list[Leaf]:
    """The arrays in a shape.

    >>> leaves("(f32[8,4]{1,0}, pred[], /*index=2*/c64[2])")
    [Leaf(text='f32[8,4]', bytes=128), Leaf(text='pred[]', bytes=1), Leaf(text='c64[2]', bytes=16)]
    """
    return [Leaf(found[0], _bytes(*found.groups())) for found in _LEAF.finditer(shape)]


def _bytes(letters: str, bits: str, _: str, lengths: str) -> int:
    if not bits:
        return int(letters == "pred") and math.prod(map(int, filter(None, lengths.split(","))))
    return math.prod(map(int, filter(None, lengths.split(",")))) * int(bits) // 8


def elements(shape: str) -> Iterator[str]:
    """The shapes of the elements of a tuple.

    >>> list(elements("(f32[8,4]{1,0}, (s32[], pred[3]))"))
    ['f32[8,4]{1,0}', ' (s32[], pred[3])']
    """
    rest = shape[1:-1]
    while rest:
        element, rest = _split(rest, ",")
        yield element
