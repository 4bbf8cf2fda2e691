"""What the page may ask for, and how it is answered.

A question is JSON, {"kind": …, "net": …, and the fields of its kind}; nothing in it is evaluated, and what is
not in the table below, or out of its bounds, is answered by the error that says so. An answer is binary:

    4 bytes     the length of the header, an unsigned integer, lowest byte first
    header      JSON: the kind, the net, numbers and texts, and "arrays": name, dtype and shape of each
    arrays      one after the other, each from a multiple of 4 bytes on
"""

import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from funcnet._errors import ParameterError
from funcnet.demo.bounds import Bound, Choice, Fields, Real, Row, Several, Whole, is_finite
from funcnet.demo.picture import View
from funcnet.demo.plane import CAPACITY, EXTENT
from funcnet.demo.settings import MOST_CLASSES, MOST_LAYERS, MOST_UNITS, settings

LONGEST = 65536
"""The most bytes of a question: four hundred points take a third of that."""

MOST_NETS, MOST_STEPS = 3, 2000

POINT = Row((Real(-EXTENT, EXTENT), Real(-EXTENT, EXTENT), Whole(0, MOST_CLASSES - 1), Whole(0, 1)))

VIEW = {
    "example": Whole(0, CAPACITY - 1),
    "layer": Whole(0, MOST_LAYERS),
    "units": Row((Whole(0, MOST_UNITS - 1), Whole(0, MOST_UNITS - 1))),
}
LOOKING = {"example": 0, "layer": 0, "units": (0, 1)}

KINDS: dict[str, dict[str, Bound]] = {
    "hello": {},
    "settings": {"settings": settings, **VIEW},
    "points": {"points": Several(POINT, most=CAPACITY), **VIEW},
    "run": {"steps": Whole(0, MOST_STEPS), **VIEW},
    "back": VIEW,
    "restart": VIEW,
    "close": {},
    "check": {},
    "landscape": {},
}
"""The kinds of questions, and the bounds of the fields of each."""


class Question(NamedTuple):
    """A question within its bounds.

    Attributes:
        kind: one of KINDS.
        net: which of the nets side by side it is about.
        fields: the others.
    """

    kind: str
    net: int
    fields: dict[str, Any]

    @property
    def view(self) -> View:
        """What is looked at."""
        return View(*(self.fields[name] for name in VIEW))


def read(text: str | bytes) -> Question:
    """A question.

    Raises:
        ParameterError: it is none, or out of bounds.

    >>> read('{"kind": "run", "steps": 20}').fields["steps"]
    20
    >>> read('{"kind": "eval", "code": "1 + 1"}')
    Traceback (most recent call last):
    funcnet._errors.ParameterError: kind is 'eval'; expected one of hello, settings, points, run, back, ...
    """
    if len(text) > LONGEST:
        raise ParameterError(f"a message of {len(text)} bytes came; expected at most {LONGEST}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ParameterError("a message came that is not JSON; expected an object with a kind") from None
    if not isinstance(value, dict):
        raise ParameterError("a message came that is no object; expected one with a kind")
    kind = Choice((*KINDS,))("kind", value.pop("kind", None))
    net = Whole(0, MOST_NETS - 1)("net", value.pop("net", 0))
    return Question(kind, net, Fields(KINDS[kind], LOOKING if "example" in KINDS[kind] else {})(kind, value))


def answer(kind: str, net: int, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    """An answer in bytes; a number that is not finite is null.

    >>> answer("error", 0, {"text": "no"}, {})[4:].decode()
    '{"kind": "error", "net": 0, "text": "no", "arrays": []}'
    """
    listed = [(name, np.ascontiguousarray(array)) for name, array in arrays.items()]
    told = [[name, array.dtype.name, array.shape] for name, array in listed]
    head = json.dumps(finite({"kind": kind, "net": net, **header, "arrays": told})).encode()
    parts = [struct.pack("<I", len(head)), head, bytes(-(4 + len(head)) % 4 if listed else 0)]
    for _, array in listed:
        parts += [array.tobytes(), bytes(-array.nbytes % 4)]
    return b"".join(parts)


def finite(value: Any) -> Any:
    """What JSON can say of a value."""
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not is_finite(value) else value
