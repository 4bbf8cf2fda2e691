"""Whether a run can be on this machine: what it will need is known before anything is allocated.

    at every step      parameters, their gradients, and what the optimizer keeps beside them
    at an epoch's end  the two largest layers next to each other, for every example of the validation part

The numbers are Python's, which do not overflow, and the least that is needed: what is refused could not have
run. What accelerators have is their own, and XLA says itself where it is too little.
"""

import inspect
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from funcnet._errors import ParameterError, came
from funcnet._memory import check_memory, excess
from funcnet.train.config import Config

_COPIES = {"sgd": 2, "momentum": 3, "rmsprop": 3, "adam": 4, "adamw": 4}
"""How many numbers an optimizer needs for each parameter: itself, its gradient, and moments."""

_MOST_STEPS = 2**31 - 1
"""A step's number has 32 bits."""


def check_options(**options: Any) -> None:
    """Nothing, if the options of `fit` are of their kinds.

    Raises:
        ParameterError: one is not.

    >>> check_options(steps=100, seed=0, hook=print, evaluate=None, settings={"optimizer": "adam"})
    """
    for name, value in options.items():
        valid, expected = _OPTIONS[name]
        if not valid(value):
            raise ParameterError(f"{name} is {came(value)}; expected {expected}")


def _is_number(value: Any, kinds: Any = int | np.integer) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and bool(value >= 0)


def _is_json(value: Any) -> bool:
    try:
        return isinstance(json.dumps(value), str)
    except (TypeError, ValueError):
        return False


def _takes(function: Any, *args: Any, **named: Any) -> bool:
    """Whether a function can be called so, as far as it says."""
    try:
        inspect.signature(function).bind(*args, **named)
    except ValueError:  # some of C's do not say
        return callable(function)
    except TypeError:  # no function, or one of other arguments
        return False
    return True


_COUNT = _is_number, "0 or more, a whole number"

_OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "steps": _COUNT,
    "seed": _COUNT,
    "watch": _COUNT,
    "grad": (
        lambda value: _takes(value, None, has_aux=True) and getattr(value, "__name__", "") != "grad",
        "what makes value and gradients of a loss, as jax.value_and_grad itself",
    ),
    "evaluate": (
        lambda value: value is None or _takes(value, None),
        "a function of the parameters that returns scalars by name",
    ),
    "hook": (
        lambda value: value is None or _takes(value, None, None),
        "a function of state and metrics, hook(state, metrics)",
    ),
    "folder": (
        lambda value: value is None or (isinstance(value, str | os.PathLike) and value != ""),
        "the name of one, '.' for the current one, or None",
    ),
    "resume": (lambda value: isinstance(value, bool), "True or False; the run's folder is given as folder"),
    "save_every": (
        lambda value: _is_number(value, int | float | np.integer | np.floating),
        "0 or more seconds, a number",
    ),
    "settings": (_is_json, "what JSON can hold: numbers, texts, lists and dictionaries"),
}
"""What each option of `fit` is to be, and how that is said."""


def check_numbers(tree: Any) -> None:
    """Nothing, if the arrays of batches are of numbers, which a device can have.

    Raises:
        ParameterError: one is not.
    """
    from funcnet.train.checkpoint import named_leaves  # which brings JAX

    for name, leaf in named_leaves(tree).items():
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if getattr(dtype, "kind", "") in {*"OSUMm"}:
            raise ParameterError(
                f"the data {name!r} are of type {dtype}; expected numbers. Number classes by "
                f"numpy.unique(labels, return_inverse=True), and read a file in the [i] of a source."
            )


def check_run(params: Any, optimizer: Any, steps: int) -> None:
    """Nothing, if parameters can be trained with an optimizer of optax's here.

    Raises:
        ParameterError: they need more memory than there is, or it is more steps than can be counted.
    """
    import jax

    _check_steps(steps, f"steps is {steps}")
    if jax.default_backend() != "cpu":
        return

    def count(tree: Any) -> int:
        return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))

    abstract = jax.eval_shape(lambda params: params, params)  # with the dtypes that JAX will have
    kept = count(jax.eval_shape(optimizer.init, abstract))
    check_memory(
        2 * count(abstract) + kept,
        "the parameters, their gradients and what the optimizer keeps",
        "Take fewer parameters, or an optimizer that keeps less",
    )


def check_size(
    config: Config, features: int, classes: int, training: int, held_out: int, *, nets: int = 1
) -> None:
    """Nothing, if nets for so many features, classes and examples can be trained here together.

    Raises:
        ParameterError: they need more memory than there is, or take more steps than can be counted.

    >>> check_size(Config(), features=64, classes=10, training=1000, held_out=100)
    """
    steps = config.epochs * max(1, training // config.batch_size)
    _check_steps(steps, f"epochs is {config.epochs}: {steps} steps")
    if config.net != "mlp":
        return  # `check_run` counts the parameters, and images are evaluated some at a time
    sizes, width = (features, *config.hidden, classes), 8 if config.dtype == "float64" else 4
    pieces = 2 if config.activation == "maxout" else 1
    weights, copies = nets * parameters(sizes, pieces), _COPIES[config.optimizer]
    if too_much := excess(copies * weights * width):
        raise ParameterError(
            f"hidden is {config.hidden}: training {weights:.3g} parameters with {config.optimizer}, which "
            f"takes {copies} numbers for each, {too_much}. Take fewer hidden units or classes."
        )
    values = nets * max(fan_in + fan_out for fan_in, fan_out in pairwise(sizes))
    if too_much := excess(held_out * values * width):
        raise ParameterError(
            f"{config.data}: {held_out} held-out examples with {values} values each, as hidden is "
            f"{config.hidden} and there are {classes} classes: that {too_much}. Take fewer of them."
        )


def _check_steps(steps: int, came: str) -> None:
    if not 0 <= steps <= _MOST_STEPS:
        raise ParameterError(f"{came}; expected 0 or more, at most {_MOST_STEPS}. Take fewer.")


def parameters(sizes: Sequence[int], pieces: int) -> int:
    """How many parameters a net of layers of these sizes has, with so many pieces in each hidden unit.

    >>> parameters((3072, 100, 10), pieces=1)
    308310
    """
    layers = [(fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes)]
    return pieces * sum(layers[:-1]) + layers[-1]
