"""Code of the user's own, which a command imports and calls: what it raises is announced as its own.

A module may raise, exit or recurse while it is imported, and a function while it is called. None of that is a
fault of funcnet, nor may it look like a success (`sys.exit(0)`): it becomes a `UserCodeError`, whose message
says what happened where, and whose cause is the user's exception with the traceback from their first line on.
"""

import importlib
import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from funcnet._errors import FuncnetError, ParameterError, UserCodeError

_BEFORE = (str(Path(__file__).parents[1]), "<frozen importlib", importlib.__file__)
_LINES = 12
"""How many calls of a traceback are shown, the innermost: a recursion has a thousand."""


@contextmanager
def importing(place: str) -> Iterator[None]:
    """A block in which the user's module is imported.

    Raises:
        UserCodeError: it raised or exited.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _announced(f"{place}, while it was imported,", error) from _without_ours(error)


@contextmanager
def calling(spec: str, function: Callable, args: Sequence[Any]) -> Iterator[None]:
    """A block in which a command works with the user's function.

    Whose fault an exception was is found out by a call of the function alone: if that raises as well, it is
    the function's. What funcnet raises on purpose passes.

    Raises:
        UserCodeError: the function raises or exits by itself, or cannot be traced.
        ParameterError: it returns what is no number.
    """
    try:
        yield
    except (FuncnetError, KeyboardInterrupt):
        raise
    except BaseException as error:
        its_own = _raised_alone(spec, function, args) or _from_its_file_on(function, error)
        if its_own is None:
            raise
        raise _announced(f"{spec}, while it was called,", its_own) from its_own


def theirs(error: BaseException) -> str:
    """The traceback of the cause of a UserCodeError, without what led to it, and not too long.

    >>> print(theirs(ValueError("not mine")))
    ValueError: not mine
    """
    return "".join(traceback.format_exception(error, limit=-_LINES, chain=False)).rstrip()


def _announced(where: str, error: BaseException) -> UserCodeError:
    if isinstance(error, SystemExit):
        return UserCodeError(
            f"{where} ended the program with sys.exit({error.code!r}); expected code that only defines and "
            f"returns. Put the rest below `if __name__ == '__main__':`."
        )
    said = str(error).strip().partition("\n")[0].rstrip(".")
    return UserCodeError(
        f"{where} raised {type(error).__name__}{f': {said}' if said else ''}. Its own traceback, not one of "
        f"funcnet's, is above."
    )


def _raised_alone(spec: str, function: Callable, args: Sequence[Any]) -> BaseException | None:
    """What the function raises when it is called with nothing of funcnet around it."""
    import jax
    import numpy as np

    try:
        result = function(*jax.tree.map(jax.numpy.asarray, args))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _without_ours(error)
    for value in jax.tree.leaves(result, is_leaf=inspect.isgenerator):
        if not isinstance(value, jax.Array | np.ndarray | np.generic | complex | float | int):
            raise ParameterError(f"{spec}: returns a {type(value).__name__}; expected arrays or numbers.")
    return None


def _without_ours(error: BaseException) -> BaseException:
    """The error, its traceback without the frames of funcnet and of the import system in front."""
    rest = error.__traceback__
    while rest and rest.tb_frame.f_code.co_filename.startswith(_BEFORE):
        rest = rest.tb_next
    return error.with_traceback(rest)


def _from_its_file_on(function: Callable, error: BaseException) -> BaseException | None:
    """The error, its traceback from the first line of the function's file on; None without one."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    rest = error.__traceback__
    while rest and code and rest.tb_frame.f_code.co_filename != code.co_filename:
        rest = rest.tb_next
    return error.with_traceback(rest) if code and rest else None
