"""The update of the parameters by an optimizer of optax's, and what some ask for beside the gradients.

value, grad         the loss and its gradients: polyak_sgd, reduce_on_plateau
value_fn, obj_fn    params → loss: line searches, as of lbfgs; sophia
grad_fn             (params, number) → gradients: sam, where it takes its inner steps by itself

`optax.lookahead` (Zhang et al. 2019) has two sets of parameters, `optax.LookaheadParams`: the loss is of the
fast ones, and the gradients of these are what it takes.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import optax
from jaxtyping import Array

from funcnet._errors import ParameterError


def updated(
    optimizer: Any,
    gradients: Any,
    optimizer_state: Any,
    params: Any,
    loss: Array,
    value_fn: Callable[[Any], Array],
    grad_fn: Callable[[Any], Any],
) -> tuple[Any, Any]:
    """Parameters and the optimizer's state after an update; `loss` and gradients are those of the functions.

    >>> import jax.numpy as jnp
    >>> polyak = optax.polyak_sgd()
    >>> w, square = jnp.float32(2), lambda w: w**2
    >>> float(updated(polyak, 2 * w, polyak.init(w), w, square(w), square, lambda w: 2 * w)[0])
    1.0
    """

    def line(params: Any, obj_fn: Any = None) -> Array:  # a search wants each name taken that it is handed
        return value_fn(params)

    update = optax.with_extra_args_support(optimizer).update
    extra = {"value": loss, "grad": gradients, "value_fn": line, "obj_fn": value_fn}
    by_name = extra | {"grad_fn": lambda params, _: grad_fn(params)}
    takes = inspect.signature(update).parameters
    if all(parameter.kind != parameter.VAR_KEYWORD for parameter in takes.values()):
        extra = {name: each for name, each in by_name.items() if name in takes}
    if isinstance(params, optax.LookaheadParams):
        gradients = gradients.fast
    updates, optimizer_state = update(gradients, optimizer_state, params, **extra)
    return optax.apply_updates(params, updates), optimizer_state


def forgives(optimizer_state: Any) -> bool:
    """Whether the optimizer was asked to leave out what is not finite, so that a loss may be infinite or NaN.

    >>> forgives(optax.apply_if_finite(optax.adam(0.1), 5).init(0.0)), forgives(optax.adam(0.1).init(0.0))
    (True, False)
    """

    def one(part: Any) -> bool:
        skips = "num_not_finite" in getattr(part, "skip_state", ())  # of MultiSteps with skip_not_finite
        return skips or isinstance(part, optax.ApplyIfFiniteState | optax.ZeroNansState)

    return _has(optimizer_state, one)


def check_lookahead(params: Any, optimizer_state: Any) -> None:
    """Nothing, unless `optax.lookahead` is to train one set of parameters: then a ParameterError."""
    looks_ahead = _has(optimizer_state, lambda part: isinstance(part, optax.LookaheadState))
    if looks_ahead and not isinstance(params, optax.LookaheadParams):
        raise ParameterError(
            f"the parameters are a {type(params).__name__}, and optax.lookahead has two sets of them; "
            f"expected optax.LookaheadParams.init_synced(params). The loss is then one of params.fast."
        )


def _has(optimizer_state: Any, wanted: Callable[[Any], bool]) -> bool:
    return any(map(wanted, jax.tree.leaves(optimizer_state, is_leaf=wanted)))
