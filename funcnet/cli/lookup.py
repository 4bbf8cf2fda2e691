"""The function that a command line names, `package.module:name` or `file.py:name`, and whether it fits."""

import importlib
import importlib.util
import inspect
import operator
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from funcnet._errors import ParameterError, UserCodeError
from funcnet.cli.foreign import importing


def lookup(spec: str) -> Callable:
    """Import the module, with its folder and the current one on the path, and take the function from it.

    Raises:
        ParameterError: there is no such file, module or function, or a package has the file's name.
        UserCodeError: the module raised or exited while it was imported.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name or (place[0] == "." and not place.endswith(".py")):
        raise ParameterError(f"{spec}: expected MODULE:FUNCTION, as in package.module:name or file.py:name.")
    sys.path[:0] = [str(Path(place).resolve().parent), str(Path.cwd())]
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    try:
        function = operator.attrgetter(name)(module)
    except AttributeError as error:
        raise ParameterError(f"{spec}: {error}; expected the name of a function there.") from None
    if not callable(function):
        raise ParameterError(f"{spec}: a value of type {type(function).__name__}; expected a function.")
    return function


def check_call(spec: str, function: Callable, args: Sequence[Any]) -> None:
    """Raise ParameterError if the function cannot be called with so many arguments."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return  # some builtins have none
    try:
        signature.bind(*args)
    except TypeError as error:
        raise ParameterError(f"{spec}: {error}; --args has {len(args)}, expected {signature}.") from None


def _file(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise ParameterError(f"{file}: no such file; expected the one that defines the function.")
    if file.stem in sys.stdlib_module_names or hasattr(sys.modules.get(file.stem), "__path__"):
        raise ParameterError(f"{file}: there is another module named {file.stem}; rename the file.")
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    with importing(str(file)):
        spec.loader.exec_module(module)
    return module


def _module(name: str) -> ModuleType:
    try:
        with importing(name):
            return importlib.import_module(name)
    except UserCodeError as error:
        missing = error.__cause__
        if not isinstance(missing, ModuleNotFoundError) or not f"{name}.".startswith(f"{missing.name}."):
            raise  # it is there, but something that it imports is not
        raise ParameterError(
            f"{name}: no such module, neither here nor installed; expected the one that defines the function."
        ) from None
