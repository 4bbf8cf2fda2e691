"""What `grad` is to the loop: it makes loss and gradients of a loss, the engine's, JAX's or your own.

    grad(loss, has_aux=True)(params, batch, key) -> ((scalar, (metrics, kept)), gradients)

Gradients have the structure of params, and an axis more where there is one for each example. One of your own
may change what is kept: a scale of losses that follows from the gradients is an entry of params that the loss
keeps as it is, and that `grad` replaces in `kept`.

What is kept is no parameter: its gradient is 0 to the optimizer, so that it adds nothing to a norm.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from funcnet import _jax
from funcnet._errors import ParameterError, came
from funcnet.train.checkpoint import named_leaves
from funcnet.train.loss import Metrics, entries, with_entries

Measured = tuple[tuple[Array, tuple[Metrics, Mapping[str, Any]]], Any]


def checked(measured: Any, trained: Any) -> Measured:
    """What `grad` has given for parameters, with gradients of 0 for what is kept.

    Raises:
        ParameterError: it is no value with gradients of these parameters.
    """
    try:
        (total, (metrics, kept)), gradients = measured
        names = [*kept]
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"grad(loss, has_aux=True) makes a function that returned {came(measured)}; expected "
            f"((scalar, aux), gradients), as jax.value_and_grad(loss, has_aux=True) has it"
        ) from error
    if jax.tree.structure(gradients) != jax.tree.structure(trained):
        found, expected = (named_leaves(tree).keys() for tree in (gradients, trained))
        differ = ", ".join(sorted(found ^ expected)[:4]) or "its structure"
        raise ParameterError(
            f"grad gave gradients of another tree than the parameters, which differs in {differ}; expected "
            f"one for each parameter, in their structure"
        )
    parts = entries(gradients)
    zeros = {name: jax.tree.map(jnp.zeros_like, parts[name]) for name in names if name in parts}
    return (jnp.asarray(total), (metrics, kept)), with_entries(gradients, zeros)


def is_zero(function: Callable[..., Any], *args: Any) -> bool:
    """Whether a function of arrays is 0 wherever it is looked at: nothing of it follows from its arguments.

    >>> is_zero(jax.grad(lambda w: jnp.argmax(w) * 1.0), jnp.ones(3))
    True
    >>> is_zero(jax.grad(lambda w: jnp.sum(w * w)), jnp.zeros(3))
    False
    """
    program = jax.make_jaxpr(function)(*args).jaxpr
    following = {*program.invars}
    for equation in program.eqns:
        if any(not _jax.is_literal(x) and x in following for x in equation.invars):
            following |= {*equation.outvars}
    if any(not _jax.is_literal(y) and y in following for y in program.outvars):
        return False
    return not any(np.any(leaf) for leaf in jax.tree.leaves(jax.jit(function)(*args)))
