"""What is kept, a row each: by which rules, how large, and why it is not computed again instead.

A value costs little to compute again if it is elementwise, or a matter of layout, of what is there on the way
back anyway. Followed back through such operations, every other value comes from something dear: a product, a
convolution, a reduction, a random draw. That is its reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from funcnet import _jax
from funcnet.kept.straight import Operation, Place, written_out
from funcnet.kept.ways import Ways
from funcnet.rules import ELEMENTWISE, ROUTING

_OTHERS = {
    *("eq", "ne", "ge", "gt", "le", "lt", "and", "or", "xor", "not", "is_finite", "floor", "ceil", "round"),
    *("shift_left", "shift_right_logical", "shift_right_arithmetic", "bitcast_convert_type", "nextafter"),
    *("iota", "stop_gradient", "pvary"),
}
_DEAR = {"reduce_sum", "reduce_max", "reduce_min", "cumsum", "sort", "top_k", "gather"}

CHEAP = (ELEMENTWISE | ROUTING | _OTHERS) - _DEAR
"""Primitives that act on each element by itself, or only lay elements out."""

_WORDS = {
    "a product": ("dot_general", "ragged_dot_general"),
    "a convolution": ("conv_general_dilated",),
    "a look-up": ("gather",),
    "a sort": ("sort", "top_k"),
    "a loop": ("scan", "while"),
    "a reduction": ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"),
    "a running sum": ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"),
    "a pool": ("reduce_window", "reduce_window_max", "reduce_window_min", "reduce_window_sum"),
    "a factorization": ("lu", "cholesky", "qr", "eigh", "eig", "svd", "schur", "hessenberg", "tridiagonal"),
    "a solve": ("triangular_solve", "tridiagonal_solve", "custom_linear_solve"),
    "a transform": ("fft",),
    "a callback": ("pure_callback", "io_callback", "ffi_call"),
    "a random draw": ("random_bits", "threefry2x32", "rng_bit_generator", "random_gamma"),
    "a random key": ("random_seed", "random_split", "random_fold_in", "random_wrap", "random_unwrap"),
}
WORDS = {name: word for word, names in _WORDS.items() for name in names}
"""What dear primitives make; the others are called by their names."""

STEP = "the step before"
ARGUMENT, CONSTANT, RESULT = "an argument", "a constant", "a result"
AGAIN = "elementwise of the rest"


@dataclass(frozen=True)
class Kept:
    """An array that the way back reads, and that must be there until then.

    Attributes:
        rules: the rules that read it, in the order of the forward pass; "checkpoint" is a function that runs
            again on the way back.
        line: where the user's code has the operation that the first of these rules is for.
        shape: of the array.
        dtype: of the array.
        bytes: that it takes.
        why: what it comes from, which is why it is kept and not computed again: "a product", "a random draw".
        made: the operation that computes it; the name of an argument.
        there: whether it takes no memory of its own: an argument, a constant, a result of the function.
        cheap: whether it is elementwise of what is kept anyway: computed again it would cost little.
        made_at: the number of the operation of the forward pass that makes it; −1 for what is there before.
        read_until: the number of the operation of the way back that reads it last.
    """

    rules: tuple[str, ...]
    line: str
    shape: tuple[int, ...]
    dtype: Any
    bytes: int
    why: str
    made: str
    there: bool
    cheap: bool
    made_at: int
    read_until: int


def rows(ways: Ways) -> list[Kept]:
    """The rows of what is kept, in the order in which it is made."""
    makers = makers_of(ways.forward)
    made_at = {place: t for t, one in enumerate(ways.forward) for place in one.outs}
    read_until = {place: t for t, one in enumerate(ways.backward) for place in one.ins}
    dear, found = set[Place](), []
    for place in ways.kept:
        words = sorted(set(reasons(place, makers, dict.fromkeys(dear))))
        if words:
            dear.add(place)
        own = place in makers and place not in ways.results
        found.append(
            Kept(
                tuple(dict.fromkeys(reader.rule for reader in reversed(place.readers))),
                next((reader.line for reader in reversed(place.readers) if reader.line), ""),
                place.aval.shape,
                place.aval.dtype,
                size(place.aval),
                (", ".join(words) or AGAIN) if own else _there(place, ways),
                makers[place].eqn.primitive.name if place in makers else ways.arguments.get(place, ""),
                not own,
                own and not words,
                made_at.get(place, -1),
                read_until[place],
            )
        )
    return found


def _there(place: Place, ways: Ways) -> str:
    """Why a place has memory of its own."""
    return ARGUMENT if place in ways.arguments else CONSTANT if place in ways.constants else RESULT


def size(aval: Any) -> int:
    """The bytes of an array of this type."""
    return aval.size * aval.dtype.itemsize


def makers_of(operations: Sequence[Operation]) -> dict[Place, Operation]:
    """By which operation each place is made."""
    return {place: one for one in operations for place in one.outs}


def reasons(
    place: Place, makers: Mapping[Place, Operation], known: Mapping[Place, str | None]
) -> Iterator[str]:
    """What dear things a value comes from through cheap operations.

    Args:
        place: the value's.
        makers: by which operation each place is made.
        known: places to stop at: with a name for what they are, or None for what is there anyway.
    """
    pending: list[Place | None] = [place]
    seen: set[Place] = set()
    while pending:
        at = pending.pop()
        if at is None or at in seen:
            continue
        seen.add(at)
        if at in known:
            if name := known[at]:
                yield name
        elif at in makers and makers[at].eqn.primitive.name in CHEAP:
            pending += makers[at].ins
        elif at in makers:
            yield from _of_dear(makers[at], makers[at].outs.index(at))


def _of_dear(one: Operation, i: int) -> Iterator[str]:
    """What a result of an operation is that is dear; of a loop and of a switch, what it comes from within."""
    name = one.eqn.primitive.name
    if name == "scan":
        consts, carry = _jax.scan_counts(one.eqn)
        yield from [STEP] if i < carry else _within(one, i, range(consts, consts + carry))
    elif name in ("cond", "shard_map"):
        yield from _within(one, i, ())
    else:
        yield WORDS.get(name, f"a {name}")


def _within(one: Operation, i: int, carried: Sequence[int]) -> Iterator[str]:
    """What a result of a loop's body comes from, or of the branches of a switch."""
    for jaxpr, _ in _jax.programs(one.eqn):
        straight = written_out(jaxpr)
        out = straight.place(jaxpr.outvars[i])
        steps = [straight.place(jaxpr.invars[k]) for k in carried]
        if out is not None:
            yield from reasons(out, makers_of(straight.operations), dict.fromkeys(filter(None, steps), STEP))
