"""How many bytes are alive at each operation, forward and on the way back.

A value is alive from the operation that makes it to the last that reads it. XLA writes elementwise operations
into one loop with what reads them, and what lies between has no memory:

- a cheap value has a buffer only if something dear reads it, as a product or a convolution does,
- or if it is an exponential, a quotient or the like, which XLA does not do twice, and has several readers;
- a reduction over leading axes takes in the one operation before it, whose operands have buffers;
- the result of a cheap operation, a scatter or a factorization may take the place of an operand that nobody
  reads any more.

Arguments, constants, results and gradients have buffers of their own, which are not counted. It is a model:
it knows neither in which order XLA runs what is independent, nor what copies its kernels want: of operands
of products in another layout, of the indices of a maximum pool, of what is sorted.
"""

from collections.abc import Iterable, Mapping, Sequence

from funcnet import _jax
from funcnet.kept.rows import CHEAP, size
from funcnet.kept.straight import Operation, Place, written_out

MOVES = frozenset({"reshape", "squeeze", "stop_gradient", "optimization_barrier"})
"""The same elements under another shape: no work, and no memory."""

ONCE = frozenset(
    {
        *("exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "sin", "cos", "tan", "atan2"),
        *("erf", "erf_inv", "pow", "div", "sqrt", "rsqrt", "cbrt"),
    }
)
"""Cheap operations that XLA does not do twice."""

IN_PLACE = CHEAP | {"cholesky", "triangular_solve", "scatter", "scatter_add", "scatter-add"}
"""Operations whose result may take the place of an operand that nobody reads any more."""


def course(operations: Sequence[Operation], results: Iterable[Place]) -> list[int]:
    """The bytes that are alive while each operation runs.

    Args:
        operations: those of a program.
        results: places whose memory is not counted.
    """
    results = set(results)
    buffers = buffers_of(operations, results)
    ends: dict[Place, int] = {}
    for t, one in enumerate(operations):
        if not one.outs or any(place in buffers[place] for place in one.outs):
            ends |= dict.fromkeys(_read(one, buffers), t)
    alive: set[Place] = set()
    total, course = 0, []
    for t, one in enumerate(operations):
        made = {place for place in one.outs if place in buffers[place] and place not in results}
        last = {place for place in _read(one, buffers) if place in alive and ends[place] == t}
        shared = min(_bytes(made), _bytes(last)) if one.eqn.primitive.name in IN_PLACE else 0
        course.append(total + _bytes(made) - shared + _within(one))
        kept = {place for place in made if ends.get(place, t) > t}
        alive = (alive | kept) - last
        total += _bytes(kept) - _bytes(last)
    return course


Buffers = Mapping[Place, frozenset[Place]]
"""By place, the buffers that it is read from: its own, or those of what it is fused of."""


def buffers_of(operations: Sequence[Operation], results: set[Place]) -> Buffers:
    """The buffers that each place that an operation makes is read from."""
    readers: dict[Place, list[Operation]] = {}
    for one in operations:
        for place in filter(None, one.ins):
            readers.setdefault(place, []).append(one)
    reduced = {place for one in operations if _reduces(one, leading=True) for place in one.ins}
    buffers: dict[Place, frozenset[Place]] = {}
    for one in operations:
        of_operands = _read(one, buffers)
        for place in one.outs:
            fused = place not in results and _is_fused(one, readers.get(place, []), reduced)
            buffers[place] = of_operands if fused else frozenset([place])
    return buffers


def _read(one: Operation, buffers: Buffers) -> frozenset[Place]:
    """The buffers that an operation reads."""
    return frozenset().union(*(buffers.get(place, frozenset([place])) for place in one.ins if place))


def _is_fused(one: Operation, readers: Sequence[Operation], reduced: set[Place | None]) -> bool:
    """Whether what an operation makes has no buffer, by who reads it and what leading axes are summed of."""
    name = one.eqn.primitive.name
    if name in MOVES:
        return True
    if name not in CHEAP or not readers or (name in ONCE and len(readers) > 1):
        return False
    return all(
        _reduces(reader) or (reader.eqn.primitive.name in CHEAP and reduced.isdisjoint(reader.outs))
        for reader in readers
    )


def _reduces(one: Operation, leading: bool = False) -> bool:
    """Whether an operation reduces an array over some axes; over leading ones alone."""
    if not one.eqn.primitive.name.startswith("reduce_") or "axes" not in one.eqn.params:
        return False
    (place, *_) = one.ins
    return not leading or (place is not None and place.aval.ndim - 1 not in one.eqn.params["axes"])


def _within(one: Operation) -> int:
    """The bytes that are alive at once within a loop or a switch, for its own values."""
    if one.eqn.primitive.name not in ("scan", "while", "cond", "shard_map"):
        return 0
    programs = (written_out(jaxpr) for jaxpr, _ in _jax.programs(one.eqn))
    return max((max(course(straight.operations, ()), default=0) for straight in programs), default=0)


def _bytes(places: Iterable[Place]) -> int:
    return sum(size(place.aval) for place in places)
