"""Loops for the search: which steps made something that is no number, and on what they ran.

The body of a loop is one program, from constants, carry and slices to carry and outputs. It is run once more
with a flag for each output of each step; what went into one step is then made again from the first.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet import _jax
from funcnet.backprop.activity import differentiable
from funcnet.backprop.program import evaluate


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop that has run.

    Attributes:
        body: the program of a step.
        values: the values of its constvars.
        xs: the operands of the loop: constants, first carry, arrays that are taken slice by slice.
        consts: how many of them are constants.
        carries: how many are carried.
        length: the number of steps.
        reverse: whether the last slice is taken first.
    """

    body: _jax.Jaxpr
    values: Sequence[Any]
    xs: Sequence[Any]
    consts: int
    carries: int
    length: int
    reverse: bool = False

    @property
    def init(self) -> list[Any]:
        """The first carry."""
        return list(self.xs[self.consts : self.consts + self.carries])

    @property
    def slices(self) -> list[Any]:
        """The arrays that are taken slice by slice, in the order of the steps."""
        return list(map(self.turned, self.xs[self.consts + self.carries :]))

    def turned(self, x: Any) -> Any:
        """An array over the steps in the order in which they run, or back."""
        return x if x is None or not self.reverse else x[::-1]

    def step(self, carry: Sequence[Any], slices: Sequence[Any]) -> list[Any]:
        """What the body makes: the next carry, and outputs."""
        return evaluate(self.body, self.values, [*self.xs[: self.consts], *carry, *slices])

    def flags(self, test: Callable) -> np.ndarray:
        """For each step and each output of the body, whether any element passes the test."""

        @jax.jit
        def run(init: list[Any], slices: list[Any]) -> Any:
            def one(carry: list[Any], slices: list[Any]) -> Any:
                ys = self.step(carry, slices)
                found = [jnp.any(test(y)) if differentiable(jax.typeof(y)) else False for y in ys]
                return ys[: self.carries], jnp.array(found, bool)

            return lax.scan(one, init, slices, length=self.length)[1]

        return np.asarray(run(self.init, self.slices))

    @functools.cached_property
    def carried(self) -> list[Any]:
        """The carry before each step."""

        @jax.jit
        def run(init: list[Any], slices: list[Any]) -> Any:
            return lax.scan(
                lambda carry, slices: (self.step(carry, slices)[: self.carries], carry),
                init,
                slices,
                length=self.length,
            )[1]

        return run(self.init, self.slices)

    def operands(self, t: int) -> list[Any]:
        """What step t runs on."""
        at_t = [x[t] for x in (*self.carried, *self.slices)]
        return [*self.xs[: self.consts], *at_t]

    def names(self, names: Sequence[str]) -> list[str]:
        """The names of the operands of a step: of a carry, only the first has one."""
        last = self.consts + self.carries
        return [
            *names[: self.consts],
            *[""] * self.carries,
            *(name and f"{name}[…]" for name in names[last:]),
        ]


def scan(eqn: _jax.Equation, xs: Sequence[Any]) -> Loop:
    """A scan."""
    body, values = _jax.open_jaxpr(eqn.params["jaxpr"])
    body = _jax.without_local_refs(body)
    consts, carries = _jax.scan_counts(eqn)
    return Loop(body, values, xs, consts, carries, eqn.params["length"], eqn.params["reverse"])


def while_loop(eqn: _jax.Equation, xs: Sequence[Any]) -> Loop:
    """A while loop, which is a scan once it is known how many steps it takes.

    Under vmap the condition has an entry for each example, and one that has stopped keeps its carry.
    """
    condition, body = _jax.open_jaxpr(eqn.params["cond_jaxpr"]), _jax.open_jaxpr(eqn.params["body_jaxpr"])
    m, n = eqn.params["cond_nconsts"], eqn.params["cond_nconsts"] + eqn.params["body_nconsts"]

    def goes_on(*xs: Any) -> Any:
        return evaluate(*condition, [*xs[:m], *xs[n:]])[0]

    def step(*xs: Any) -> list[Any]:
        ys = evaluate(*body, xs[m:])
        if not condition[0].outvars[0].aval.shape:
            return ys
        on = goes_on(*xs)
        kept = [
            jnp.where(jnp.expand_dims(on, tuple(range(on.ndim, y.ndim))), y, x)
            for y, x in zip(ys, xs[n:], strict=True)
        ]
        return kept

    @jax.jit
    def count(*xs: Any) -> Any:
        return lax.while_loop(
            lambda state: jnp.any(goes_on(*xs[:n], *state[0])),
            lambda state: (step(*xs[:n], *state[0]), state[1] + 1),
            (list(xs[n:]), jnp.int32(0)),
        )[1]

    jaxpr, values = _jax.staged(step, [v.aval for v in eqn.invars], "a step of a loop")
    return Loop(jaxpr, values, xs, n, len(xs) - n, int(count(*xs)))


LOOPS: dict[str, Callable[[Any, Sequence[Any]], Loop]] = {"scan": scan, "while": while_loop}
"""By the name of the primitive: a loop from its equation and its operands."""
