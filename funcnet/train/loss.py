"""What a loss is to the loop: any pure function of parameters and a batch.

    loss(params, batch[, key])     a scalar; or (scalar, metrics); or (scalar, metrics, kept)

`params` is any pytree of floats and `batch` any pytree of arrays. `metrics` are arrays by name, to be
logged. `kept` are new values for entries of params by name, such as a normalization's running statistics:
they are set after the update, whatever the optimizer says of them. A loss with an argument `key` gets the
step's own random key, for dropout.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from funcnet._errors import GradientError, ParameterError

Metrics = dict[str, Any]
Loss = Callable[..., Any]


def evaluated(loss: Loss, params: Any, batch: Any, key: Any) -> tuple[Array, tuple[Metrics, Mapping]]:
    """The loss's scalar, its metrics, and what it keeps, both empty where it returns none.

    Raises:
        GradientError: it returned no scalar.
        ParameterError: metrics or what is kept are none.
    """
    result = loss(params, batch, key=key) if takes_key(loss) else loss(params, batch)
    total, *rest = result if isinstance(result, tuple) else (result,)
    metrics, kept, *more = [*rest, {}, {}][: max(2, len(rest))]
    names = set(params) if isinstance(params, Mapping) else set()
    if more or not isinstance(metrics, Mapping) or not isinstance(kept, Mapping) or set(kept) - names:
        raise ParameterError(
            f"the loss returned {jax.tree.map(jnp.shape, result)}; expected a scalar, (scalar, metrics) or "
            f"(scalar, metrics, kept): arrays by name, and new values for entries of params by theirs"
        )
    try:
        total, metrics = jax.tree.map(jnp.asarray, (total, dict(metrics)))
    except TypeError as error:
        raise ParameterError(f"the loss returned what is no array: {error}") from error
    if not isinstance(total, jax.Array) or total.shape or not jnp.issubdtype(total.dtype, jnp.floating):
        came = f"{total.dtype}{list(total.shape)}" if isinstance(total, jax.Array) else repr(total)
        raise GradientError(
            f"the loss returned {came}; expected a scalar of floats. Take the mean over what it has for each "
            f"example, and return what else there is as metrics."
        )
    return total, (metrics, kept)


@functools.lru_cache(64)
def takes_key(loss: Loss) -> bool:
    """Whether a loss asks for the step's key.

    Raises:
        ParameterError: it cannot be called with params, batch and key.
    """
    signature = inspect.signature(loss)
    keyed = "key" in signature.parameters
    try:
        signature.bind(None, None, **({"key": None} if keyed else {}))
    except TypeError as error:
        raise ParameterError(
            f"the loss takes {signature}; expected loss(params, batch) or loss(params, batch, key)"
        ) from error
    return keyed
