"""The Neural Turing Machine: a net with a memory that it addresses (Graves, Wayne and Danihelka 2014).

CS231n 2019, lecture 4, slides 40 and 41. `funcnet.nn.machine` has what it does in a step, and
`funcnet.nn.addressing` how its heads find their places. Parameters are a plain pytree

    {"controller": {"w", "b"[, "h", "c"]}, "read_head1": {"w", "b", "weighting", "read"}, …,
     "write_head1": {"w", "b", "weighting"}, …, "output": {"w", "b"}}

in which h, c, weightings (as logits) and reads are what the net starts with.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt32

from funcnet._errors import ParameterError, ShapeError
from funcnet._types import Params
from funcnet.nn.machine import Machine, ntm_start, ntm_step, step
from funcnet.nn.through_time import through_time

CONTROLLERS = ("feedforward", "lstm")
FOCUS = 6.0
"""By how much the logit of the first place is above those of the others, before training."""


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
        Normal weights with deviation 1/√in, or 2/√in behind an LSTM, whose outputs begin small; biases 0, but
        1 for its forget gate. Each head begins at the first place, as that of a tape does, with most of its
        weight: what is spread over several places at first is written to all of them, and meets itself in
        sequences that are long.

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
    key, of_controller, of_output = jax.random.split(key, 3)
    seen, numbers = inputs + read_heads * width, width + 3 + shifts
    if controller == "lstm":
        gain, p = 2, _layer(of_controller, 1, seen + units, 4 * units)
        b = p["b"].at[units : 2 * units].set(1)
        params = {"controller": p | {"b": b, "h": jnp.zeros(units), "c": jnp.zeros(units)}}
    else:
        gain, params = 1, {"controller": _layer(of_controller, 1, seen, units)}
    heads = [(f"read_head{n}", numbers) for n in range(1, read_heads + 1)]
    heads += [(f"write_head{n}", numbers + 2 * width) for n in range(1, write_heads + 1)]
    for (name, size), head_key in zip(heads, jax.random.split(key, len(heads)), strict=True):
        of_layer, of_read = jax.random.split(head_key)
        params[name] = _layer(of_layer, gain, units, size)
        params[name]["weighting"] = jnp.zeros(places).at[0].set(FOCUS)
        if name.startswith("read"):
            params[name]["read"] = 0.1 * jax.random.normal(of_read, (width,))
    return params | {"output": _layer(of_output, gain, units + read_heads * width, outputs)}


def _layer(key: Array, gain: int, inputs: int, outputs: int) -> dict[str, Array]:
    return {"w": gain * jax.random.normal(key, (inputs, outputs)) * inputs**-0.5, "b": jnp.zeros(outputs)}


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
        return lax.scan(lambda machine, x: ntm_step(params, machine, x), begin, inputs)[1]
    return through_time(ntm_step, params, begin, inputs, length)[1]


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

    def traced(machine: Machine, x: Array) -> tuple[Any, Trace]:
        machine, scores, adds = step(params, machine, x)
        memory, reads, read_weightings, write_weightings, _ = machine
        return machine, Trace(scores, memory, reads, adds, read_weightings, write_weightings)

    return lax.scan(traced, _begin("ntm_trace", params, inputs), inputs)[1]


def _begin(name: str, params: Params, inputs: Array) -> Machine:
    machine = ntm_start(params)
    known = sum(state.size for state in (*machine.reads, *machine.controller[:1]))
    expected = len(params["controller"]["w"]) - known
    if inputs.ndim != 2 or inputs.shape[1] != expected:
        raise ShapeError(f"{name}: inputs have shape {list(inputs.shape)}; expected [time, {expected}]")
    return machine
