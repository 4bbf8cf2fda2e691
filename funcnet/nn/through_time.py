"""Backpropagation through time over a number of steps that is known only when the program runs (Werbos 1990).

A recurrent net runs one step again and again, h_{t+1}, y_t = step(θ, h_t, x_t), and the way back runs through
the same steps in reverse. Kept is h_t alone; what else a step's backward pass needs, it computes again:

    h̄_t, x̄_t, θ̄_t = vjp(step, θ, h_t, x_t)(h̄_{t+1}, ȳ_t)        θ̄ = Σ_t θ̄_t

`lax.scan` does the same for a length that is part of the program: sequences of 20 lengths are 20 programs, or
all as long as the longest. Here one program, with places for the longest, runs as many steps as there are.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from funcnet._errors import ParameterError

Step = Callable[[Any, Any, Any], tuple[Any, Any]]


def through_time(
    step: Step, params: Any, carry: Any, xs: Any, length: Int[Array, ""] | int
) -> tuple[Any, Any]:
    """The carry after so many steps, and what each of them gave; zeros for the steps that were not taken.

    Args:
        step: a pure function `step(params, carry, x)` to the next carry and a y, pytrees of floats; what
            is to have a gradient comes through its arguments.
        params: what is the same in all steps.
        carry: before the first step.
        xs: pytree of arrays with a leading axis, of time.
        length: steps to take, at most as many as that axis has; a traced one is not checked.

    Raises:
        ParameterError: a length below 0, or of more steps than there are.

    >>> run = lambda w, n: through_time(lambda w, h, x: (w * h + x, h), w, 0.0, jnp.ones(4), n)
    >>> run(0.5, 3)
    (Array(1.75, dtype=float32), Array([0. , 1. , 1.5, 0. ], dtype=float32))
    >>> jax.grad(lambda w: run(w, 3)[0])(0.5)  # of w² + w + 1
    Array(2., dtype=float32, weak_type=True)
    """
    steps = len(jax.tree.leaves(xs)[0])
    if not isinstance(length, jax.core.Tracer) and not 0 <= int(length) <= steps:
        raise ParameterError(f"through_time: length is {length} for {steps} steps; expected 0 to {steps}")
    return _run(step, params, jax.tree.map(jnp.asarray, carry), xs, length)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(step: Step, params: Any, carry: Any, xs: Any, length: Any) -> Any:
    return _forward(step, params, carry, xs, length)[0]


def _forward(step: Step, params: Any, carry: Any, xs: Any, length: Any) -> tuple[Any, Any]:
    time = len(jax.tree.leaves(xs)[0])
    _, y = jax.eval_shape(step, params, carry, _at(xs, 0))
    places = jax.tree.map(lambda leaf: jnp.zeros((time, *leaf.shape), leaf.dtype), (carry, y))

    def body(t: Array, state: Any) -> Any:
        carry, (carries, ys) = state
        after, y = step(params, carry, _at(xs, t))
        return after, (_put(carries, t, carry), _put(ys, t, y))

    after, (carries, ys) = lax.fori_loop(0, length, body, (carry, places))
    return (after, ys), (params, carries, xs, length)


def _backward(step: Step, stash: Any, bars: Any) -> tuple[Any, Any, Any, None]:
    params, carries, xs, length = stash
    carry_bar, ys_bar = bars

    def body(i: Array, state: Any) -> Any:
        params_bar, carry_bar, xs_bar = state
        t = length - 1 - i
        _, pull = jax.vjp(step, params, _at(carries, t), _at(xs, t))
        more, carry_bar, x_bar = pull((carry_bar, _at(ys_bar, t)))
        return jax.tree.map(jnp.add, params_bar, more), carry_bar, _put(xs_bar, t, x_bar)

    zeros = jax.tree.map(jnp.zeros_like, (params, xs))
    return *lax.fori_loop(0, length, body, (zeros[0], carry_bar, zeros[1])), None


_run.defvjp(_forward, _backward)


def _at(tree: Any, t: Any) -> Any:
    return jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, t, keepdims=False), tree)


def _put(tree: Any, t: Any, values: Any) -> Any:
    return jax.tree.map(lambda leaf, one: lax.dynamic_update_index_in_dim(leaf, one, t, 0), tree, values)
