"""Where a run broke: the first gate whose output or gradient is infinite or NaN.

After many steps one flag tells of what is not finite (`finite`). When it falls, the steps are taken again to
find the first bad one, and that one with every value and gradient looked at (`Broken`).
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from funcnet import _jax
from funcnet._errors import NonFiniteError
from funcnet.backprop import value_and_grad
from funcnet.nonfinite import Gate, find_nonfinite
from funcnet.nonfinite.advice import DATA, PARAMETER
from funcnet.nonfinite.finding import first_place
from funcnet.train.gradients import checked
from funcnet.train.loss import Metrics, completed, evaluated, floats, is_of_the_whole
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


UNREPEATED = (
    "something was infinite or NaN, but loss, gradients and update are finite when computed again, each "
    "value alone: close to the end of its type a number is rounded either way. In half precision compute in "
    "float32."
)


@dataclass(frozen=True)
class Broken:
    """A step that gave an infinite number, or NaN, to be taken again with every value looked at.

    Attributes:
        loss, optimizer, grad: as `fit` takes them.
        state: as it was before the step.
        batch, key: of the step; no key if the loss takes none.
        rows: which examples of the data the batch consists of, where that is known.

    >>> import optax
    >>> from funcnet.train.state import State
    >>> loss = lambda w, x: jnp.sum(jnp.sqrt(w - x))
    >>> state = State(jnp.ones(2), optax.sgd(0.1).init(jnp.ones(2)), 7)
    >>> str(Broken(loss, optax.sgd(0.1), state, jnp.array([1.0, 0.0])).why())[:38]
    'at step 7 backward: sqrt sends back ∞ '
    """

    loss: Callable
    optimizer: Any
    state: Any
    batch: Any
    key: Any = None
    grad: Callable = value_and_grad
    rows: Sequence[int] = ()

    def why(self) -> NonFiniteError:
        """The error that says so: the loss is looked at first, or last if it and its gradients are finite."""
        value, gradients = jax.jit(self._differentiated)(*self._given, **self._keys)
        rest = self._in_what_it_keeps, functools.partial(self._in_the_update, value, gradients)
        searches = (*rest, self._in_the_loss) if finite(value, gradients) else (self._in_the_loss, *rest)
        told = next(filter(None, (search() for search in searches)), UNREPEATED)
        return NonFiniteError(f"at step {int(self.state.step)} {told}")

    def _in_the_loss(self) -> str:
        found = find_nonfinite(self._part(0))(*self._given, **self._keys) if self._by_funcnet else None
        if found and not found.masked:
            return self._told(found)
        others = None if self.grad is value_and_grad else find_nonfinite(self._differentiated, argnums=())
        if not (bad := others and others(*self._given, **self._keys)):
            return ""
        better = (
            " By funcnet's rules, without grad=, they are finite." if self._by_funcnet and not found else ""
        )
        return f"in what grad makes of the loss, {self._told(found or bad)}{better}"

    def _in_what_it_keeps(self) -> str:
        search = find_nonfinite(self._part(slice(2, None)), argnums=())
        bad = search(*self._given, **self._keys) if self._by_funcnet else None
        return f"the loss is finite, but not what it keeps. {self._told(bad)}" if bad else ""

    def _in_the_update(self, value: Any, gradients: Any) -> str:
        def update(gradients: Any, optimizer_state: Any, params: Any) -> Any:
            given = value, self._of_trained, jax.grad(self._of_trained)
            params, optimizer_state = updated(self.optimizer, gradients, optimizer_state, params, *given)
            return params, [leaf for leaf in jax.tree.leaves(optimizer_state) if jnp.ndim(leaf)]

        state = self.state
        bad = find_nonfinite(update, argnums=())(gradients, state.optimizer_state, floats(state.params))
        if bad and not bad.primitive:
            return str(replace(bad, hint=PARAMETER))
        settings = "Look at the optimizer's settings: eps, the learning rate and its schedule."
        told = bad and replace(bad, line=_jax.with_users_line(bad.line))
        return f"loss and gradients are finite, but the update is not. {told} {settings}" if bad else ""

    @functools.cached_property
    def _by_funcnet(self) -> bool:
        """Whether `grad` takes gradients of the loss as a whole, as funcnet can too."""
        return is_of_the_whole(self.grad)

    @property
    def _given(self) -> tuple[Any, Any]:
        return self.state.params, self.batch

    @property
    def _keys(self) -> dict[str, Any]:
        return {} if self.key is None else {"key": self.key}

    def _part(self, which: int | slice) -> Callable:
        """The loss as a function to a part of what it returns."""

        @functools.wraps(self.loss)
        def part(*args: Any, **keys: Any) -> Any:
            result = self.loss(*args, **keys)
            return (result if isinstance(result, tuple) else (result,))[which]

        return part

    def _of_trained(self, trained: Any) -> Any:
        return self._part(0)(completed(trained, self.state.params), self.batch, **self._keys)

    @functools.cached_property
    def _differentiated(self) -> Callable:
        """The loss as a function to value and gradients."""

        @functools.wraps(self.loss)
        def differentiated(params: Any, batch: Any, key: Any = None) -> tuple[Any, Any]:
            def whole(trained: Any, batch: Any, key: Any) -> tuple[Any, tuple[Metrics, Mapping[str, Any]]]:
                return evaluated(self.loss, completed(trained, params), batch, key)

            trained = floats(params)
            key = jax.random.key(0) if key is None else key
            (value, _), gradients = checked(self.grad(whole, has_aux=True)(trained, batch, key), trained)
            return value, gradients

        return differentiated

    def _told(self, found: Gate) -> str:
        """A finding, and the example of the data that is not finite, or has the index that is outside."""
        came = found.came or (None if found.primitive else found.inputs[0])
        leaves = [leaf for leaf in jax.tree.leaves(self.batch) if came and leaf is came.value]
        if came and leaves and not found.primitive:
            found = replace(found, hint=DATA)
        by_row = [x for x in jax.tree.leaves(self.batch) if jnp.shape(x)[:1] == (len(self.rows),)]
        if came and any(leaf is came.value for leaf in by_row):
            row = first_place(came.value)[0]
        elif found.index is not None and (bad := list(_holders(by_row, found.index))):
            row = bad[0]
        else:
            return str(found)
        return f"{found} Row {row} of the batch is example {self.rows[row]} of the data."


def _holders(leaves: Sequence[Any], index: int) -> Iterator[int]:
    """The rows of arrays of integers that hold this one."""
    for leaf in leaves:
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            yield from np.argwhere(np.asarray(leaf) == index)[:, 0].tolist()
