"""What a loss is to the loop: any pure function of parameters and a batch.

    loss(params, batch[, key])     a scalar; or (scalar, metrics); or (scalar, metrics, kept)

`params` is any pytree of floats and `batch` any pytree of arrays. `metrics` are arrays by name, to be
logged; those of a dictionary among them by "its name/their name". `kept` are new values for entries of
params by name, such as a normalization's running statistics: they are set after the update, whatever the
optimizer says of them. What is kept may have other arrays than floats, such as counts and random keys. A loss
with an argument `key` gets the step's own random key, for dropout.
"""

import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from funcnet._errors import GradientError, ParameterError, came
from funcnet.train.checkpoint import named_leaves, without_keys

Tree = TypeVar("Tree")
Metrics = dict[str, Any]
Loss = Callable[..., Any]


def evaluated(loss: Loss, params: Any, batch: Any, key: Any) -> tuple[Array, tuple[Metrics, Mapping]]:
    """The loss's scalar, its metrics, and what it keeps, both empty where it returns none.

    Raises:
        GradientError: it returned no scalar.
        ParameterError: metrics or what is kept are none, or gradients; a parameter is neither of floats nor
            kept, or it was changed in place and is not kept.
    """
    before = {name: named_leaves({name: part}) for name, part in entries(params).items()}
    result = loss(params, batch, key=key) if takes_key(loss) else loss(params, batch)
    total, *rest = result if isinstance(result, tuple) else (result,)
    metrics, kept, *more = [*rest, {}, {}][: max(2, len(rest))]
    mappings = isinstance(metrics, Mapping) and isinstance(kept, Mapping)
    if more or not mappings or {*kept} - {*entries(params)}:
        raise ParameterError(
            f"the loss returned ({', '.join(map(came, result))}); expected a scalar, (scalar, metrics) or "
            f"(scalar, metrics, kept): arrays by name, and new values for entries of params by theirs, which "
            f"are {', '.join(entries(params))}"
        )
    try:
        total, metrics = without_keys(jax.tree.map(jnp.asarray, (total, named_leaves(dict(metrics)))))
    except TypeError as error:
        raise ParameterError(f"the loss returned what is no array: {error}") from error
    if not isinstance(total, jax.Array) or total.shape or not jnp.issubdtype(total.dtype, jnp.floating):
        raise GradientError(
            f"the loss returned {came(total)}; expected a scalar of floats. Take the mean over what it has "
            f"for each example, and return what else there is as metrics."
        )
    _check_no_gradients(metrics, before)
    _check_kept(before, params, kept)
    return total, (metrics, kept)


def entries(params: Any) -> dict[str, Any]:
    """What params consist of, by name: the values of a dictionary, the fields of a module."""
    parts, _ = jax.tree.flatten_with_path(params, is_leaf=lambda part: part is not params)
    return {jax.tree_util.keystr(path, simple=True): part for path, part in parts}


def replaced(params: Tree, kept: Mapping[str, Any]) -> Tree:
    """Params with new values for some entries, in the structure and the dtypes that these had.

    Raises:
        ParameterError: some have other arrays than these.
    """
    parts, changed = entries(params), {}
    for name, part in kept.items():
        new, old = named_leaves(part), named_leaves(parts.get(name))
        if {path: jnp.shape(leaf) for path, leaf in new.items()} != {p: x.shape for p, x in old.items()}:
            raise ParameterError(f"{name!r} of what is kept has other arrays than {name!r} of params")
        leaves = [jnp.asarray(new[path], leaf.dtype) for path, leaf in old.items()]
        changed[name] = jax.tree.structure(parts[name]).unflatten(leaves)
    return with_entries(params, changed)


def with_entries(params: Tree, changed: Mapping[str, Any]) -> Tree:
    """Params with other entries by some names."""
    parts = {**entries(params), **changed}
    return jax.tree.structure(params, is_leaf=lambda part: part is not params).unflatten(parts.values())


def floats(params: Tree) -> Tree:
    """What is trained of params: None stands for what is not of floats."""
    return jax.tree.map(lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else None, params)


def completed(trained: Tree, params: Tree) -> Tree:
    """What is trained, with the rest of params in the place of None."""
    return jax.tree.map(
        lambda new, old: old if new is None else new, trained, params, is_leaf=lambda leaf: leaf is None
    )


def _check_no_gradients(metrics: Metrics, before: Mapping[str, Mapping[str, Any]]) -> None:
    """Nothing, if metrics are not what `value_and_grad` of a loss returns beside its value."""
    arrays = {path: leaf.shape for part in before.values() for path, leaf in part.items()}
    if any(arrays.values()) and arrays == {path: leaf.shape for path, leaf in metrics.items()}:
        raise ParameterError(
            "the loss returned a scalar and arrays of the names and shapes of all parameters, as gradients "
            "are that value_and_grad returns; expected the loss itself, of which the gradients are taken here"
        )


def _check_kept(before: Mapping[str, Mapping[str, Any]], params: Any, kept: Mapping[str, Any]) -> None:
    """Nothing, if what is kept is like what it replaces, and all else is of floats and as it was before.

    Entries that are kept are not looked into again: a state of equinox cannot be read once it was replaced.
    """
    parts = entries(params)
    for name, old in before.items():
        if name in kept:
            was, now = _form(old), _form(named_leaves({name: kept[name]}))
            if others := [path for path in was | now if was.get(path) != now.get(path)]:
                came, expected = (form.get(others[0], "nothing") for form in (now, was))
                raise ParameterError(
                    f"the loss keeps {others[0]!r} as {came}; expected {expected}, as in params"
                )
            continue
        for path, leaf in old.items():
            if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                raise ParameterError(
                    f"the parameter {path.strip('/') or 'params'!r} is of type {leaf.dtype}; expected "
                    f"floats. Split off what is not trained (equinox.partition, nnx.split), as an entry that "
                    f"the loss keeps, (scalar, metrics, {{name: …}}), or that it closes over."
                )
        if any(map(operator.is_not, jax.tree.leaves(parts[name]), old.values())):
            raise ParameterError(
                f"the loss changes {name!r} of params in place, and what it changes would be lost; expected "
                f"it among what the loss keeps, (scalar, metrics, {{{name!r}: …}}). Of a module of nnx split "
                f"off what is no nnx.Param (nnx.split), as an entry of its own."
            )


def _form(leaves: Mapping[str, Any]) -> dict[str, str]:
    """The shapes of arrays by their paths, with their kinds: floats are kept in any precision."""

    def of(leaf: Any) -> str:
        return f"{'float' if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf.dtype} {list(leaf.shape)}"

    return {name: of(jnp.asarray(leaf)) for name, leaf in leaves.items()}


def hashable(function: Callable) -> Callable:
    """A function by which compiled programs are found: an object of arrays, as of equinox, is none."""
    try:
        hash(function)
    except TypeError:
        return functools.partial(function)
    return function


@functools.lru_cache(64)
def takes_key(loss: Loss) -> bool:
    """Whether a loss asks for the step's key.

    Raises:
        ParameterError: it cannot be called with params, batch and key.
    """
    if not callable(loss):
        raise ParameterError(f"the loss is {came(loss)}; expected a function, loss(params, batch)")
    signature = inspect.signature(loss)
    keyed = "key" in signature.parameters
    try:
        signature.bind(None, None, **({"key": None} if keyed else {}))
    except TypeError as error:
        raise ParameterError(
            f"the loss takes {signature}; expected loss(params, batch) or loss(params, batch, key)"
        ) from error
    return keyed


def is_of_the_whole(grad: Callable) -> bool:
    """Whether `grad` makes the gradient of a loss of the batch, as it is, as `jax.value_and_grad` does.

    One of your own may make a gradient for each example, or for a part of the batch, look into the
    parameters, or clip what it has: then it makes another of a large and a small slope.

    >>> def for_each(loss, has_aux):
    ...     return jax.vmap(jax.value_and_grad(loss, has_aux=has_aux), in_axes=(None, 0, None))
    >>> is_of_the_whole(jax.value_and_grad), is_of_the_whole(for_each)
    (True, False)
    """
    slopes, handed = (2.0**100, 2.0**-100), []

    def loss(w: Any, batch: Any, key: Any) -> Any:
        handed.append(batch.shape)
        return w[0] * slopes[0] + w[1] * slopes[1], ({}, {})

    try:
        with jax.ensure_compile_time_eval():
            w, batch, key = (jnp.float32(0), jnp.float32(0)), jnp.zeros(2), jax.random.key(0)
            _, gradients = grad(loss, has_aux=True)(w, batch, key)
            return {*handed} == {(2,)} and tuple(map(float, gradients)) == slopes
    except Exception:  # whatever a function of the user's says of such arguments
        return False
