"""Loops written out, step after step, as graphs that can be drawn.

scan      step t takes the carry, its slice of each array that is scanned, and makes the next carry;
          what the steps put out is stacked.
while     as many steps as the loop takes for the values at hand.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet import _jax
from funcnet._errors import ParameterError
from funcnet.backprop import Graph, trace
from funcnet.backprop.program import Program

MOST_STEPS = 500
"""So many steps of a loop are written out at most."""


def unrolled_scan(eqn: Any, operands: Sequence[Any], line: str) -> Graph:
    """The graph of all steps of a scan.

    Raises:
        ParameterError: there are more than MOST_STEPS.
    """
    length = eqn.params["length"]
    if length > MOST_STEPS:
        raise ParameterError(_too_long(f"{length}", line))
    body = _function(eqn.params["jaxpr"])
    k, c = _jax.scan_counts(eqn)
    order = range(length)[:: -1 if eqn.params["reverse"] else 1]

    def steps(*operands: Any) -> list[Any]:
        consts, carry, xs = operands[:k], list(operands[k : k + c]), operands[k + c :]
        ys = {}
        for t in order:
            with jax.named_scope(f"step {t}"):
                out = body(*consts, *carry, *(_at(t)(x) for x in xs))
            carry, ys[t] = out[:c], out[c:]
        columns = zip(*(ys[t] for t in range(length)), strict=True)
        return [*carry, *(jax.jit(stack)(*column) for column in columns)]

    return trace(steps)(*operands)


def unrolled_while(eqn: Any, operands: Sequence[Any], line: str) -> Graph:
    """The graph of the steps that a while loop takes for these operands.

    Raises:
        ParameterError: they are more than MOST_STEPS.
    """
    cond, body = _function(eqn.params["cond_jaxpr"]), _function(eqn.params["body_jaxpr"])
    c, b = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    goes_on, next_carry = jax.jit(cond), jax.jit(body)
    carry, length = list(operands[c + b :]), 0
    while goes_on(*operands[:c], *carry)[0]:
        carry, length = next_carry(*operands[c : c + b], *carry), length + 1
        if length > MOST_STEPS:
            raise ParameterError(_too_long(f"more than {MOST_STEPS}", line))

    def steps(*operands: Any) -> list[Any]:
        consts, carry = operands[c : c + b], list(operands[c + b :])
        for t in range(length):
            with jax.named_scope(f"step {t}"):
                carry = body(*consts, *carry)
        return carry

    return trace(steps)(*operands)


LOOPS: dict[str, Callable[[Any, Sequence[Any], str], Graph]] = {
    "scan": unrolled_scan,
    "while": unrolled_while,
}
"""What a loop's primitive is written out by, from its equation, its operands and its line."""


def stack(*arrays: Any) -> jax.Array:
    """The outputs of the steps as one array."""
    return jnp.stack(arrays)


def _at(t: int) -> Callable:
    """The operation that takes slice t, called `[t]`."""

    def index(x: Any) -> Any:
        return lax.index_in_dim(x, t, keepdims=False)

    index.__name__ = f"[{t}]"
    return jax.jit(index)


def _function(program: Any) -> Callable:
    """A sub-program as a function."""
    jaxpr, consts = _jax.open_jaxpr(program)
    known = dict(zip(jaxpr.constvars, consts, strict=True))
    run = Program(jaxpr.invars, known, jaxpr.eqns, jaxpr.outvars, ())
    return lambda *xs: run(xs)


def _too_long(steps: str, line: str) -> str:
    return (
        f"unroll: the loop at {line} takes {steps} steps; at most {MOST_STEPS} are drawn one by one. Draw it "
        f"rolled, or with fewer steps"
    )
