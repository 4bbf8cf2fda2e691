"""What a run is refused for before it starts: options, data and sizes that no step could be made of.

What it will need is known before anything is allocated: at every step parameters, their gradients, and what
the optimizer keeps beside them. The numbers are Python's, which do not overflow, and the least that is
needed: what is refused could not have run. What accelerators have is their own, and XLA says itself where it
is too little.
"""

import inspect
import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from funcnet._errors import ParameterError, came
from funcnet._memory import check_memory

_MOST_STEPS = 2**31 - 1
"""A step's number has 32 bits."""


def check_options(**options: Any) -> None:
    """Nothing, if the options of `fit` are of their kinds; else a ParameterError.

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


def _is_path(value: Any) -> bool:
    return value is None or (isinstance(value, str | os.PathLike) and value != "")


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
    "folder": (_is_path, "the name of one, '.' for the current one, or None"),
    "start_from": (_is_path, "the name of a run's folder, or of a file of weights, or None"),
    "resume": (lambda value: isinstance(value, bool), "True or False; the run's folder is given as folder"),
    "save_every": (
        lambda value: _is_number(value, int | float | np.integer | np.floating),
        "0 or more seconds, a number",
    ),
    "settings": (_is_json, "what JSON can hold: numbers, texts, lists and dictionaries"),
}
"""What each option of `fit` is to be, and how that is said."""


def check_numbers(tree: Any) -> None:
    """Nothing, if the arrays of batches are of numbers, which a device can have; else a ParameterError."""
    from funcnet.train.checkpoint import named_leaves  # which brings JAX

    for name, leaf in named_leaves(tree).items():
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if getattr(dtype, "kind", "") in {*"OSUMm"}:
            raise ParameterError(
                f"the data{name and f' {name!r}'} are of type {dtype}; expected numbers. Number classes by "
                f"numpy.unique(labels, return_inverse=True), and read files and data sets by from_source."
            )


def check_run(params: Any, optimizer: Any, steps: int) -> None:
    """Nothing, if parameters can be trained with an optimizer of optax's here.

    Raises:
        ParameterError: they need more memory than there is, or it is more steps than can be counted.
    """
    import jax

    check_steps(steps, f"steps is {steps}")
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


def check_steps(steps: int, came: str) -> None:
    """Nothing, if so many steps can be counted; else a ParameterError that begins with what came."""
    if not 0 <= steps <= _MOST_STEPS:
        raise ParameterError(f"{came}; expected 0 or more, at most {_MOST_STEPS}. Take fewer.")
