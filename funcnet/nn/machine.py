"""One step of a Neural Turing Machine (Graves, Wayne and Danihelka 2014, §3).

The memory M has N places, each of which holds a vector. In a step the controller, a layer or an LSTM, sees
the input and what was read in the step before. From its output h a layer tells each head how to change its
weighting w of the places (`funcnet.nn.addressing`). A read head then gives (eq. 2)

    r = Σ w(i) M(i)

and a write head, whose layer also makes an erase vector e in (0, 1) and an add vector a, changes the memory
(eq. 3 and 4); of several heads, all erase before one adds:

    M ← M (1 − w eᵀ) + w aᵀ

All heads see the memory as the step before has left it. The output is a layer of h and all r. Memory starts
with one constant (Collier and Beel 2018); what was read, the weightings (by softmax) and the state of an LSTM
start with parameters. The scopes are those of the paper's figures 1 and 2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from funcnet._types import Params
from funcnet.nn.activations import sigmoid, tanh
from funcnet.nn.addressing import weighting
from funcnet.nn.affine import affine
from funcnet.nn.recurrent import lstm_cell

FIRST = 1e-6
"""What all of the memory starts with."""


class Machine(NamedTuple):
    """A Neural Turing Machine between two steps.

    Attributes:
        memory: what is held at each place.
        reads: what each read head has read.
        read_weightings: where each has read; a weighting sums to 1.
        write_weightings: where each write head has written.
        controller: h and c of an LSTM; empty for a feed-forward one.
    """

    memory: Float[Array, "places width"]
    reads: tuple[Float[Array, " width"], ...]
    read_weightings: tuple[Float[Array, " places"], ...]
    write_weightings: tuple[Float[Array, " places"], ...]
    controller: tuple[Float[Array, " units"], ...]


def ntm_start(params: Params) -> Machine:
    """A Neural Turing Machine before its first step.

    >>> from funcnet.nn.ntm import init_ntm
    >>> ntm_start(init_ntm(jax.random.key(0), 3, 2, units=8, places=6, width=4)).memory.shape
    (6, 4)
    """
    reading, writing = (
        [p for name, p in params.items() if name.startswith(kind)] for kind in ("read", "write")
    )
    reads = tuple(p["read"] for p in reading)
    controller = tuple(params["controller"][name] for name in "hc" if name in params["controller"])
    memory = jnp.full((reading[0]["weighting"].size, reads[0].size), FIRST, reads[0].dtype)
    with jax.named_scope("start"):
        first = [tuple(jax.nn.softmax(p["weighting"]) for p in heads) for heads in (reading, writing)]
    return Machine(memory, reads, first[0], first[1], controller)


def ntm_step(params: Params, machine: Machine, x: Float[Array, " inputs"]) -> tuple[Any, Array]:
    """A Neural Turing Machine after one more step, and the scores of that step.

    Args:
        params: as `init_ntm` makes them.
        machine: from `ntm_start`, or from the step before.
        x: the input.

    Raises:
        ShapeError: an input that is not what the parameters were made for.

    >>> from funcnet.nn.ntm import init_ntm
    >>> params = init_ntm(jax.random.key(0), 3, 2, units=8, places=6, width=4)
    >>> machine, scores = ntm_step(params, ntm_start(params), jnp.ones(3))
    >>> scores.shape
    (2,)
    """
    machine, scores, _ = step(params, machine, x)
    return machine, scores


def step(params: Params, machine: Machine, x: Array) -> tuple[Any, Array, tuple[Array, ...]]:
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
    after = Machine(memory, tuple(reads), tuple(read_weightings), write_weightings, controller)
    return after, scores, adds


def _controlled(p: dict[str, Array], machine: Machine, x: Array) -> tuple[Array, tuple[Array, ...]]:
    """The output of the controller, and its state."""
    seen = jnp.concatenate([x, *machine.reads])
    if not machine.controller:
        return tanh(_layered(p, seen)), ()
    h, c = machine.controller
    h, c = lstm_cell(seen, h, c, p["w"], p["b"])
    return h, (h, c)


def _layered(p: dict[str, Array], x: Array) -> Array:
    return affine(x, p["w"], p["b"])
