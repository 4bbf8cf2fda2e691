"""The Neural Turing Machine: a net with a memory that it addresses (Graves, Wayne and Danihelka 2014).

CS231n 2019, lecture 4, slides 40 and 41. The memory M has N places, each of which holds a vector. In a step
the controller, a layer or an LSTM, sees the input and what was read in the step before. From its output h a
layer tells each head how to change its weighting w of the places (`funcnet.nn.addressing`). A read head then
gives (eq. 2)

    r = Σ w(i) M(i)

and a write head, whose layer also makes an erase vector e in (0, 1) and an add vector a, changes the memory
(eq. 3 and 4); of several heads, all erase before one adds:

    M ← M (1 − w eᵀ) + w aᵀ

All heads see the memory as the step before has left it. The output is a layer of h and all r.

Memory starts with one constant (Collier and Beel 2018); what was read, the weightings (by softmax) and the
state of an LSTM start with parameters. These are a plain pytree

    {"controller": {"w", "b"[, "h", "c"]}, "read_head1": {"w", "b", "weighting", "read"}, …,
     "write_head1": {"w", "b", "weighting"}, …, "output": {"w", "b"}}
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt32

from funcnet._errors import ParameterError, ShapeError
from funcnet._types import Params
from funcnet.nn.activations import sigmoid, tanh
from funcnet.nn.addressing import weighting
from funcnet.nn.affine import affine
from funcnet.nn.recurrent import lstm_cell
from funcnet.nn.through_time import through_time

CONTROLLERS = ("feedforward", "lstm")
FIRST = 1e-6
"""What all of the memory starts with."""


class Trace(NamedTuple):
    """What a Neural Turing Machine did in each step of a sequence.

    Attributes:
        outputs: its scores.
        memory: after the step.
        reads: what each read head has read.
        adds: what each write head has added.
        read_weightings: where each has read; a weighting sums to 1.
        write_weightings: where each has written.
    """

    outputs: Float[Array, "time outputs"]
    memory: Float[Array, "time places width"]
    reads: tuple[Float[Array, "time width"], ...]
    adds: tuple[Float[Array, "time width"], ...]
    read_weightings: tuple[Float[Array, "time places"], ...]
    write_weightings: tuple[Float[Array, "time places"], ...]


class _Machine(NamedTuple):
    """What goes from one step to the next."""

    memory: Array
    reads: tuple[Array, ...]
    read_weightings: tuple[Array, ...]
    write_weightings: tuple[Array, ...]
    controller: tuple[Array, ...]  # h and c of an LSTM


def init_ntm(
    key: Key[Array, ""] | UInt32[Array, "2"],
    inputs: int,
    outputs: int,
    *,
    controller: str = "feedforward",
    units: int = 100,
    places: int = 128,
    width: int = 20,
    read_heads: int = 1,
    write_heads: int = 1,
    shifts: int = 3,
) -> Params:
    """Draws the parameters of a Neural Turing Machine.

    Args:
        key: source of the randomness.
        inputs: numbers that come in each step.
        outputs: scores that go out.
        controller: "feedforward", a layer with tanh, or "lstm".
        units: of the controller.
        places: of the memory.
        width: of a vector in the memory.
        read_heads: how many.
        write_heads: how many.
        shifts: by how many places a weighting can move, an odd number: 3 are −1, 0 and 1.

    Returns:
        Normal weights with deviation 1/√in, biases 0, but 1 for an LSTM's forget gate; the logits of the
        first weightings have deviation 2, so that each head begins with a few places of its own: from even
        weightings, which no shift changes, a net learns several times slower, if at all.

    Raises:
        ParameterError: a number below 1, an unknown controller, or shifts that are even or above the places.

    >>> params = init_ntm(jax.random.key(0), 9, 8)
    >>> sum(p.size for p in jax.tree.leaves(params))
    13536
    """
    if min(inputs, outputs, units, places, width, read_heads, write_heads) < 1:
        raise ParameterError(
            f"init_ntm: {inputs} inputs, {outputs} outputs, {units} units, {places} places of width {width}, "
            f"{read_heads} read and {write_heads} write heads; expected numbers ≥ 1"
        )
    if shifts % 2 == 0 or not 1 <= shifts <= places:
        raise ParameterError(
            f"init_ntm: {shifts} shifts; expected an odd number, at most the {places} places"
        )
    if controller not in CONTROLLERS:
        raise ParameterError(f"init_ntm: controller is {controller!r}; expected {' or '.join(CONTROLLERS)}")
    keys = iter(jax.random.split(key, 2 + 2 * read_heads + write_heads))
    seen, numbers = inputs + read_heads * width, width + 3 + shifts
    if controller == "lstm":
        p = _layer(next(keys), seen + units, 4 * units)
        b = p["b"].at[units : 2 * units].set(1)
        params = {"controller": p | {"b": b, "h": jnp.zeros(units), "c": jnp.zeros(units)}}
    else:
        params = {"controller": _layer(next(keys), seen, units)}
    for n in range(1, read_heads + 1):
        read = 0.1 * jax.random.normal(next(keys), (width,))
        params[f"read_head{n}"] = _head(next(keys), units, numbers, places) | {"read": read}
    for n in range(1, write_heads + 1):
        params[f"write_head{n}"] = _head(next(keys), units, numbers + 2 * width, places)
    return params | {"output": _layer(next(keys), units + read_heads * width, outputs)}


def _layer(key: Array, inputs: int, outputs: int) -> dict[str, Array]:
    return {"w": jax.random.normal(key, (inputs, outputs)) * inputs**-0.5, "b": jnp.zeros(outputs)}


def _head(key: Array, inputs: int, outputs: int, places: int) -> dict[str, Array]:
    key, of_weighting = jax.random.split(key)
    return _layer(key, inputs, outputs) | {"weighting": 2 * jax.random.normal(of_weighting, (places,))}


def ntm(
    params: Params, inputs: Float[Array, "time inputs"], *, length: Int[Array, ""] | int | None = None
) -> Float[Array, "time outputs"]:
    """Scores of a Neural Turing Machine in each step of a sequence; `jax.vmap` takes many.

    Args:
        params: as `init_ntm` makes them.
        inputs: a sequence.
        length: steps to take, where that is known only when the program runs (`funcnet.nn.through_time`);
            the scores of those beyond it are 0. All by default, by `lax.scan`.

    Raises:
        ShapeError: inputs that are not what the parameters were made for.
        ParameterError: a length of more steps than there are inputs, or below 0.

    >>> params = init_ntm(jax.random.key(0), 3, 2, units=8, places=6, width=4)
    >>> ntm(params, jnp.ones((5, 3))).shape
    (5, 2)
    """
    begin = _begin("ntm", params, inputs)
    if length is None:
        return lax.scan(lambda machine, x: _scored(params, machine, x), begin, inputs)[1]
    return through_time(_scored, params, begin, inputs, length)[1]


def ntm_trace(params: Params, inputs: Float[Array, "time inputs"]) -> Trace:
    """What a Neural Turing Machine does in each step of a sequence: scores, memory, and where its heads are.

    Args:
        params: as `init_ntm` makes them.
        inputs: a sequence.

    Raises:
        ShapeError: inputs that are not what the parameters were made for.

    >>> params = init_ntm(jax.random.key(0), 3, 2, units=8, places=6, width=4, write_heads=2)
    >>> trace = ntm_trace(params, jnp.ones((5, 3)))
    >>> trace.memory.shape, [w.shape for w in trace.write_weightings]
    ((5, 6, 4), [(5, 6), (5, 6)])
    """

    def step(machine: _Machine, x: Array) -> tuple[Any, Trace]:
        machine, scores, adds = _step(params, machine, x)
        memory, reads, read_weightings, write_weightings, _ = machine
        return machine, Trace(scores, memory, reads, adds, read_weightings, write_weightings)

    return lax.scan(step, _begin("ntm_trace", params, inputs), inputs)[1]


def _begin(name: str, params: Params, inputs: Array) -> _Machine:
    """The machine before the first step."""
    reading, writing = (
        [p for name, p in params.items() if name.startswith(kind)] for kind in ("read", "write")
    )
    reads = tuple(p["read"] for p in reading)
    controller = tuple(params["controller"][name] for name in "hc" if name in params["controller"])
    expected = len(params["controller"]["w"]) - sum(state.size for state in (*reads, *controller[:1]))
    if inputs.ndim != 2 or inputs.shape[1] != expected:
        raise ShapeError(f"{name}: inputs have shape {list(inputs.shape)}; expected [time, {expected}]")
    memory = jnp.full((reading[0]["weighting"].size, reads[0].size), FIRST, reads[0].dtype)
    with jax.named_scope("start"):
        first = [tuple(jax.nn.softmax(p["weighting"]) for p in heads) for heads in (reading, writing)]
    return _Machine(memory, reads, first[0], first[1], controller)


def _scored(params: Params, machine: _Machine, x: Array) -> tuple[Any, Array]:
    machine, scores, _ = _step(params, machine, x)
    return machine, scores


def _step(params: Params, machine: _Machine, x: Array) -> tuple[Any, Array, tuple[Array, ...]]:
    """The machine after a step, its scores, and what was added to the memory."""
    memory, width = machine.memory, machine.memory.shape[1]
    with jax.named_scope("controller"):
        h, controller = _controlled(params["controller"], machine, x)
    read_weightings, reads = [], []
    for n, w in enumerate(machine.read_weightings, start=1):
        with jax.named_scope(f"read_head{n}"):
            w = weighting(_layered(params[f"read_head{n}"], h), w, memory)
            read_weightings.append(w)
            reads.append(w @ memory)
    writes = []
    for n, w in enumerate(machine.write_weightings, start=1):
        with jax.named_scope(f"write_head{n}"):
            z = _layered(params[f"write_head{n}"], h)
            address, erase, add = jnp.split(z, [z.size - 2 * width, z.size - width])
            writes.append((weighting(address, w, memory), sigmoid(erase), tanh(add)))
    write_weightings, erases, adds = zip(*writes, strict=True)
    with jax.named_scope("memory"):
        for w, erase in zip(write_weightings, erases, strict=True):
            memory = memory * (1 - jnp.outer(w, erase))
        for w, add in zip(write_weightings, adds, strict=True):
            memory = memory + jnp.outer(w, add)
    with jax.named_scope("output"):
        scores = _layered(params["output"], jnp.concatenate([h, *reads]))
    after = _Machine(memory, tuple(reads), tuple(read_weightings), write_weightings, controller)
    return after, scores, adds


def _controlled(p: dict[str, Array], machine: _Machine, x: Array) -> tuple[Array, tuple[Array, ...]]:
    """The output of the controller, and its state."""
    seen = jnp.concatenate([x, *machine.reads])
    if not machine.controller:
        return tanh(_layered(p, seen)), ()
    h, c = machine.controller
    h, c = lstm_cell(seen, h, c, p["w"], p["b"])
    return h, (h, c)


def _layered(p: dict[str, Array], x: Array) -> Array:
    return affine(x, p["w"], p["b"])
