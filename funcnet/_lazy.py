"""Names that a package loads when they are first used (PEP 562)."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence


def lazy(
    package: str, names: Sequence[str], homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`.

    A type checker reads the same names from `__all__` and from imports under `if TYPE_CHECKING`.

    Args:
        package: its `__name__`.
        names: its `__all__`.
        homes: the names that each of its modules gives it; the other names are modules themselves, and so
            are some that are no names of it, as `funcnet.demo`.
    """
    home = {name: module for module, its in homes.items() for name in its}

    def __getattr__(name: str) -> object:  # noqa: N807
        if name in home:
            return getattr(importlib.import_module(f"{package}.{home[name]}"), name)
        if name.startswith("_") or importlib.util.find_spec(f"{package}.{name}") is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(names)}")
        return importlib.import_module(f"{package}.{name}")

    def __dir__() -> list[str]:  # noqa: N807
        return list(names)

    return __getattr__, __dir__
