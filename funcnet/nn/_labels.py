"""Labels of classes: whole numbers from 0, or −1 for none.

The loss of an example without a label is NaN, to be left out by `weighted_mean`. A label that is no class is
an error, and NaN where labels are traced (under jit and vmap), since there nothing can be raised.
"""

from collections.abc import Callable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Integer

from funcnet._errors import ParameterError, ShapeError
from funcnet.nn._dtypes import is_floating


def check_labels(name: str, labels: Array, classes: int) -> None:
    """Raises for labels that are no class, if their values are known."""
    if isinstance(labels, jax.core.Tracer):
        return
    y = np.ravel(labels)
    wrong = y[(y < -1) | (y >= classes)]
    if wrong.size:
        raise ParameterError(
            f"{name}: {wrong.size} of {y.size} labels are no class, the first is {wrong[0]}; expected 0 to "
            f"{classes - 1}, as there are {classes} scores an example, or −1 for none"
        )


def is_right_class(name: str, scores: Array, labels: Array) -> Array:
    """[j = y] as booleans [*batch, classes], for integer labels."""
    if is_floating(labels) or scores.ndim == 0 or labels.shape != scores.shape[:-1]:
        raise ShapeError(
            f"{name}: scores have shape {list(scores.shape)}, labels {list(labels.shape)} with dtype "
            f"{labels.dtype}; expected scores [*batch, classes] and integer labels [*batch]"
        )
    check_labels(name, labels, scores.shape[-1])
    return one_hot(labels, scores.shape[-1])


def one_hot(labels: Array, classes: int) -> Array:
    return labels[..., None] == jnp.arange(classes, dtype=jnp.promote_types(labels.dtype, jnp.int32))


def nan_unless_labelled(loss: Array, right: Array) -> Array:
    """The loss, or NaN for a label that is none of the classes: a traced function cannot raise."""
    return jnp.where(jnp.any(right, axis=-1), loss, jnp.nan)


def of_labels(name: str, loss: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """A loss of scores and labels out of one that takes a target for each class, 1 for the right one or 0."""

    def labelled(scores: Float[ArrayLike, "*batch classes"], labels: Integer[ArrayLike, "*batch"]) -> Array:
        scores, labels = jnp.asarray(scores), jnp.asarray(labels)
        right = is_right_class(name, scores, labels)
        return nan_unless_labelled(loss(scores, right.astype(scores.dtype)), right)

    return labelled
