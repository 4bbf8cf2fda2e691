"""Sequences of random bits to be remembered (Graves, Wayne and Danihelka 2014, Neural Turing Machines, §4).

    copy                  L vectors, then a delimiter; they are to come out again             §4.1
    repeat_copy           L vectors, then a number; they are to come out so often, and then   §4.2
                          an end marker
    associative_recall    items of vectors, then one of them again; the one that followed     §4.3
                          it is to come out

Each function makes one sequence from a key and is jittable: `jax.vmap` over keys makes many, and
`funcnet.train.procedural(copy)` one for each step of training. All sequences of a function have the shape of
its longest; `length` says how many steps there are, and after them all is 0. Within a range both ends are
drawn; (40, 40) is always 40.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from funcnet._errors import ParameterError

Range = tuple[int, int]
USUAL_REPEATS = 1, 10
"""The range whose mean and variance the number of repeats is normalized by, whatever it is drawn from."""


class Episode(NamedTuple):
    """One sequence, and what is to come out.

    Attributes:
        inputs: bits, and beside them a channel for each delimiter, or for the number of repeats.
        targets: bits, and for repeats the end marker.
        counts: the steps whose outputs are to be the targets.
        length: steps of the sequence.
    """

    inputs: Float[Array, "time inputs"]
    targets: Float[Array, "time outputs"]
    counts: Bool[Array, " time"]
    length: Int[Array, ""]


def copy(key: Key[Array, ""] | UInt32[Array, "2"], lengths: Range = (1, 20), *, bits: int = 8) -> Episode:
    """Vectors, a delimiter in a channel of its own, and then as many steps without input for the copy.

    Args:
        key: decides the length and the bits.
        lengths: the range of vectors in a sequence.
        bits: of a vector.

    Raises:
        ParameterError: a range that is none, or no bits.

    >>> episode = copy(jax.random.key(0), (2, 2), bits=3)
    >>> episode.inputs.astype(int).tolist()
    [[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> episode.targets[episode.counts].astype(int).tolist()
    [[0, 1, 1], [1, 1, 0]]
    """
    _check("copy", bits=bits, lengths=lengths)
    longest = lengths[1]
    key, length = _drawn(key, lengths)
    vectors = _bits(key, longest, bits)
    t = jnp.arange(2 * longest + 1)
    inputs = [_at(vectors, t, length), _channel(t == length)]
    out = t - length - 1
    return Episode(
        jnp.concatenate(inputs, 1), _at(vectors, out, length), _within(out, length), 2 * length + 1
    )


def repeat_copy(
    key: Key[Array, ""] | UInt32[Array, "2"],
    lengths: Range = (1, 10),
    repeats: Range = (1, 10),
    *,
    bits: int = 8,
) -> Episode:
    """Vectors, how often to repeat them, and then steps without input for the copies and an end marker.

    The number of repeats has a channel of its own, in which it has mean 0 and variance 1 if it is drawn from
    1 to 10; the end marker is one more bit of the targets.

    Args:
        key: decides the length, the repeats and the bits.
        lengths: the range of vectors in a sequence.
        repeats: the range of repeats.
        bits: of a vector.

    Raises:
        ParameterError: a range that is none, or no bits.

    >>> episode = repeat_copy(jax.random.key(0), (1, 1), (2, 2), bits=3)
    >>> episode.inputs[:2].round(1)
    Array([[ 1. ,  0. ,  1. ,  0. ],
           [ 0. ,  0. ,  0. , -1.2]], dtype=float32)
    >>> episode.targets[episode.counts].astype(int).tolist()
    [[1, 0, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    """
    _check("repeat_copy", bits=bits, lengths=lengths, repeats=repeats)
    key, length = _drawn(key, lengths)
    key, times = _drawn(key, repeats)
    vectors = _bits(key, lengths[1], bits)
    t = jnp.arange(lengths[1] * (1 + repeats[1]) + 2)
    low, high = USUAL_REPEATS
    deviation = (((high - low + 1) ** 2 - 1) / 12) ** 0.5
    number = jnp.where(t == length, (times - (low + high) / 2) / deviation, 0)
    out, wanted = t - length - 1, length * times
    copies = _at(vectors, jnp.where(_within(out, wanted), out % length, -1), length)
    targets = [copies, _channel(out == wanted)]
    return Episode(
        jnp.concatenate([_at(vectors, t, length), _channel(number)], 1),
        jnp.concatenate(targets, 1),
        _within(out, wanted + 1),
        length + 1 + wanted + 1,
    )


def associative_recall(
    key: Key[Array, ""] | UInt32[Array, "2"], items: Range = (2, 6), *, vectors: int = 3, bits: int = 6
) -> Episode:
    """Items, one of them once more, and then steps without input for the item that had followed it.

    An item is some vectors. A delimiter stands before each; another one, in a second channel, on both sides
    of the item that asks.

    Args:
        key: decides the number of items, their bits, and which one asks.
        items: the range of items, at least 2.
        vectors: of an item.
        bits: of a vector.

    Raises:
        ParameterError: a range that is none or begins below 2, no vectors or no bits.

    >>> episode = associative_recall(jax.random.key(0), (2, 2), vectors=1, bits=3)
    >>> episode.inputs.astype(int).tolist()[:4]
    [[0, 0, 0, 1, 0], [1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 1, 1, 0, 0]]
    >>> episode.inputs.astype(int).tolist()[4:]
    [[0, 0, 0, 0, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    >>> episode.targets[episode.counts].astype(int).tolist()
    [[0, 1, 1]]
    """
    _check("associative_recall", 2, vectors=vectors, bits=bits, items=items)
    key, number = _drawn(key, items)
    key, asks = _drawn(key, (0, number - 2))
    all_bits = _bits(key, items[1] * vectors, bits)
    block = vectors + 1
    t = jnp.arange(block * items[1] + 2 * block)
    shown = _within(t, block * number)
    item, place = t // block, t % block - 1
    query = t - block * number
    out = query - block - 1
    row = jnp.where(shown & (place >= 0), item * vectors + place, -1)
    row = jnp.where(_within(query - 1, vectors), asks * vectors + query - 1, row)
    inputs = [
        _at(all_bits, row, number * vectors),
        _channel(shown & (place < 0)),
        _channel((query == 0) | (query == block)),
    ]
    answer = jnp.where(_within(out, vectors), (asks + 1) * vectors + out, -1)
    targets = _at(all_bits, answer, number * vectors)
    return Episode(jnp.concatenate(inputs, 1), targets, _within(out, vectors), block * number + 2 * block)


PROCEDURAL = {"copy": copy, "repeat_copy": repeat_copy, "associative_recall": associative_recall}
"""Tasks by name."""


def _check(name: str, lowest: int = 1, *, vectors: int = 1, bits: int, **ranges: Range) -> None:
    if min(vectors, bits) < 1:
        raise ParameterError(f"{name}: {vectors} vectors of {bits} bits; expected numbers ≥ 1")
    for what, (low, high) in ranges.items():
        if not lowest <= low <= high:
            raise ParameterError(
                f"{name}: {what} {low} to {high}; expected a range that begins at {lowest} or above"
            )


def _drawn(key: Array, within: tuple[int, Array | int]) -> tuple[Array, Array]:
    """Another key, and a number within a range, both ends of which can be drawn."""
    key, of_number = jax.random.split(key)
    return key, jax.random.randint(of_number, (), within[0], within[1] + 1)


def _bits(key: Array, rows: int, bits: int) -> Array:
    return jax.random.bernoulli(key, 0.5, (rows, bits)).astype(jnp.float32)


def _within(i: Array, number: Array | int) -> Array:
    return (i >= 0) & (i < number)


def _at(rows: Array, i: Array, number: Array) -> Array:
    """The rows with these numbers among the first so many; 0 for numbers that are none of them."""
    return jnp.where(_within(i, number)[:, None], rows[jnp.clip(i, 0, len(rows) - 1)], 0)


def _channel(values: Array) -> Array:
    return values[:, None].astype(jnp.float32)
