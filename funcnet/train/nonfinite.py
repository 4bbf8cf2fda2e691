"""Where a run broke."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from funcnet._errors import NonFiniteError
from funcnet.train.checkpoint import named_leaves


@jax.jit
def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether no entry of a tree of arrays is infinite or NaN."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def explain(loss: Callable, grad: Callable, params: Any, batch: Any, key: Any, step: int) -> NonFiniteError:
    """The error that says why parameters cannot take the step of this number."""
    broken = next((n for n, leaf in named_leaves(params).items() if not jnp.all(jnp.isfinite(leaf))), None)
    if broken:
        what = (
            f"the update of step {step - 1} made {broken} infinite or NaN, though the step's loss was finite"
        )
    else:
        what = f"at step {step} the loss is infinite or NaN"
    return NonFiniteError(f"{what}. Lower the learning rate, and look for extreme values in the data.")
