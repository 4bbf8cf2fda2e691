"""Which arguments of a function are differentiated: those that `argnums` numbers, as in JAX."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from funcnet._errors import GradientError
from funcnet.backprop.checks import where


def differentiated(
    fun: Callable, argnums: int | Sequence[int], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable, tuple[Any, ...], bool]:
    """The function of the arguments asked for alone, those arguments, and whether they are a single one."""
    single = not isinstance(argnums, Sequence)
    places = [operator.index(place) for place in (argnums if isinstance(argnums, Sequence) else (argnums,))]
    if any(not -len(args) <= place < len(args) for place in places):
        raise GradientError(
            f"argnums={argnums} of {where(fun)}: got {len(args)} positional arguments; pass the "
            f"arguments to differentiate by position, and number them from 0"
        )
    places = [place % len(args) for place in places]
    if len(set(places)) < len(places):
        raise GradientError(f"argnums={argnums} of {where(fun)} names an argument twice, expected it once")

    def of_arguments(*primals: Any) -> Any:
        replaced = dict(zip(places, primals, strict=True))
        return fun(*(replaced.get(i, arg) for i, arg in enumerate(args)), **kwargs)

    return functools.wraps(fun)(of_arguments), tuple(args[place] for place in places), single
