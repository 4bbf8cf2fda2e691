"""Where a run broke: the first gate whose output or gradient is infinite or NaN.

After many steps one flag tells of what is not finite (`finite`). When it falls, the steps are taken again to
find the first bad one, and that one with every value and gradient looked at (`why`): first the loss, then the
optimizer's update.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from funcnet._errors import NonFiniteError
from funcnet.backprop import value_and_grad
from funcnet.nonfinite import Gate, find_nonfinite
from funcnet.nonfinite.advice import DATA, PARAMETER
from funcnet.nonfinite.finding import first_place
from funcnet.train.gradients import checked
from funcnet.train.loss import completed, floats, takes_params_alone
from funcnet.train.update import updated

SMALL = 10_000
"""Entries of an array that is tested together with others."""


def finite(*trees: Any) -> Bool[Array, ""]:
    """Whether no entry of these trees of floats is infinite or NaN; for inside of a step.

    Half a mean is finite if and only if all that went into it are, and as a product with a vector it takes a
    third of the time of a test of each element.

    >>> bool(finite(1.0, {"w": jnp.ones(3)})), bool(finite(jnp.array([0.0, jnp.inf])))
    (True, False)
    """
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(trees)]
    floats = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(_half_means(part))) for part in _parts(floats)]))


def _parts(leaves: list[Array]) -> list[Array]:
    """The leaves, the small ones of a dtype as one array: a product for each is slow to compile."""
    large = [leaf for leaf in leaves if leaf.size > SMALL]
    small = [leaf.ravel() for leaf in leaves if leaf.size <= SMALL]
    dtypes = dict.fromkeys(leaf.dtype for leaf in small)
    return large + [jnp.concatenate([leaf for leaf in small if leaf.dtype == dtype]) for dtype in dtypes]


def _half_means(x: Array) -> Array:
    """Half the mean over the last axis."""
    n = max(x.shape[-1], 1)
    wide = x.dtype if x.dtype.itemsize >= 4 else jnp.float32
    return jnp.matmul(x, jnp.full(x.shape[-1], 0.5 / n, x.dtype), preferred_element_type=wide)


def why(
    loss: Callable,
    optimizer: Any,
    state: Any,
    *batch: Any,
    grad: Callable = value_and_grad,
    rows: Sequence[int] = (),
    **key: Any,
) -> NonFiniteError:
    """The error that says why a state has no finite next step.

    Args:
        loss: `loss(params, *batch, **key)`, a scalar, or a tuple of one and what else there is.
        optimizer: one of optax's.
        state: with `params`, `optimizer_state` and `step`, as it was before the step.
        *batch: of the step.
        grad: what makes value and gradients.
        rows: which examples of the data the batch consists of, where that is known.
        **key: of the step, if the loss takes one.

    >>> import optax
    >>> from funcnet.train.state import State
    >>> loss = lambda w, x: jnp.sum(jnp.sqrt(w - x))
    >>> state = State(jnp.ones(2), optax.sgd(0.1).init(jnp.ones(2)), 7)
    >>> str(why(loss, optax.sgd(0.1), state, jnp.array([1.0, 0.0])))[:38]
    'at step 7 backward: sqrt sends back ∞ '
    """

    @functools.wraps(loss)
    def parts(*args: Any, **kwargs: Any) -> tuple:
        result = loss(*args, **kwargs)
        return result if isinstance(result, tuple) else (result,)

    @functools.wraps(loss)
    def scalar(*args: Any, **kwargs: Any) -> Any:
        return parts(*args, **kwargs)[0]

    @functools.wraps(loss)
    def kept(*args: Any, **kwargs: Any) -> tuple:
        return parts(*args, **kwargs)[2:]

    @functools.wraps(loss)
    def differentiated(params: Any, *batch: Any, **key: Any) -> Any:
        def whole(trained: Any, *batch: Any) -> tuple[Any, tuple[Mapping, Mapping]]:
            value, *rest = parts(
                completed(trained, params), *batch[:-1], **({"key": batch[-1]} if key else {})
            )
            metrics, kept = (*rest, *({}, {})[len(rest) :])
            return value, (metrics, kept)

        given = *batch, key.get("key", jax.random.key(0))
        trained = floats(params)
        (value, _), gradients = checked(grad(whole, has_aux=True)(trained, *given), trained)
        return value, gradients

    def update(gradients: Any, optimizer_state: Any, params: Any) -> Any:
        value_fn = lambda trained: scalar(completed(trained, state.params), *batch, **key)  # noqa: E731
        given = value, value_fn, jax.grad(value_fn)
        params, optimizer_state = updated(optimizer, gradients, optimizer_state, params, *given)
        return params, [leaf for leaf in jax.tree.leaves(optimizer_state) if jnp.ndim(leaf)]

    def in_the_loss() -> str:
        found = find_nonfinite(scalar)(state.params, *batch, **key) if as_a_whole else None
        if found and not found.masked:
            return _told(found, batch, rows)
        others = None if grad is value_and_grad else find_nonfinite(differentiated, argnums=())
        if not (bad := others and others(state.params, *batch, **key)):
            return ""
        better = " By funcnet's rules, without grad=, they are finite." if as_a_whole and not found else ""
        return f"in what grad makes of the loss, {_told(found or bad, batch, rows)}{better}"

    def in_what_it_keeps() -> str:
        bad = find_nonfinite(kept, argnums=())(state.params, *batch, **key) if as_a_whole else None
        return f"the loss is finite, but not what it keeps. {_told(bad, batch, rows)}" if bad else ""

    def in_the_update() -> str:
        bad = find_nonfinite(update, argnums=())(gradients, state.optimizer_state, floats(state.params))
        if bad and not bad.primitive:
            return str(dataclasses.replace(bad, hint=PARAMETER))
        settings = "Look at the optimizer's settings: eps, the learning rate and its schedule."
        return f"loss and gradients are finite, but the update is not. {bad} {settings}" if bad else ""

    as_a_whole = takes_params_alone(grad)
    value, gradients = jax.jit(differentiated)(state.params, *batch, **key)
    rest = in_what_it_keeps, in_the_update
    searches = (*rest, in_the_loss) if finite(value, gradients) else (in_the_loss, *rest)
    told = next(filter(None, (search() for search in searches)), UNREPEATED)
    return NonFiniteError(f"at step {int(state.step)} {told}")


UNREPEATED = (
    "something was infinite or NaN, but loss, gradients and update are finite when computed again, each "
    "value alone: close to the end of its type a number is rounded either way. In half precision compute in "
    "float32."
)


def _told(found: Gate, batch: Any, rows: Sequence[int]) -> str:
    """A finding, and which example of the data it is that is not finite, if it came with the batch."""
    came = found.came or (None if found.primitive else found.inputs[0])
    leaves = [leaf for leaf in jax.tree.leaves(batch) if came and leaf is came.value]
    if came and leaves and not found.primitive:
        found = dataclasses.replace(found, hint=DATA)
    if not came or not any(leaf.ndim and len(leaf) == len(rows) for leaf in leaves):
        return str(found)
    row = first_place(came.value)[0]
    return f"{found} Row {row} of the batch is example {rows[row]} of the data."
