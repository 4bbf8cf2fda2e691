"""The exceptions that funcnet raises on purpose.

    FuncnetError
    ├── ShapeError        arrays whose shapes or dtypes do not fit together
    ├── ParameterError    an option outside its domain: a negative margin, an unknown activation
    ├── DataError         a data set that is missing, damaged or not what it claims to be
    ├── WriteError        a file that cannot be written; what was there is kept
    ├── CheckpointError   a run folder that cannot be made, read or resumed
    ├── NonFiniteError    a training run whose loss became infinite or NaN
    ├── GradientError     a question that has no gradient for an answer: a loss that is no scalar
    ├── MissingRuleError  a primitive on the way back that has no rule
    ├── RuleError         a rule whose answer has the wrong number, shape or dtype
    ├── MissingPackageError  an optional package that is not installed
    ├── UserCodeError     a function that a command was given, or its module, raised or exited
    └── VJPCheckError     a gradient that did not pass its check

Each message says what came, what was expected and what to do. Where Python has an exception of
the same meaning the class derives from it too, so `except ValueError` keeps working.
"""

import reprlib
from typing import Any


def came(value: Any) -> str:
    """What came, in an error's words: a short value as it is written, and anything else by its kind.

    >>> came(2.5), came("5"), came([1, 2]), came(len)
    ('2.5', "'5'", 'a list', 'a builtin_function_or_method (len)')
    """
    if value is None or isinstance(value, bool | int | float | str):
        return reprlib.repr(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    kind, name = type(value).__name__, getattr(value, "__name__", "")
    return f"a{'n' if kind[:1].lower() in 'aeiou' else ''} {kind}{f' ({name})' if name else ''}"


class FuncnetError(Exception):
    """Base of every exception that funcnet raises on purpose."""


class ShapeError(FuncnetError, ValueError):
    """Arrays whose shapes or dtypes do not fit together."""


class ParameterError(FuncnetError, ValueError):
    """An option outside its domain."""


class DataError(FuncnetError, ValueError):
    """A data set that is missing, damaged or not what it claims to be."""


class WriteError(FuncnetError):
    """A file that cannot be written; what was there is kept."""


class CheckpointError(FuncnetError):
    """A run folder that cannot be made, read or resumed."""


class NonFiniteError(FuncnetError, FloatingPointError):
    """A training run whose loss became infinite or NaN."""


class GradientError(FuncnetError, TypeError):
    """A question that has no gradient for an answer: a loss that is no scalar, an integer input."""


class MissingRuleError(FuncnetError, NotImplementedError):
    """A primitive on the way back that has no rule."""


class RuleError(FuncnetError, TypeError):
    """A rule whose answer has the wrong number, shape or dtype."""


class MissingPackageError(FuncnetError, ImportError):
    """An optional package that is not installed."""


class UserCodeError(FuncnetError):
    """A function that a command was given, or its module, raised or exited: what it raised is the cause."""


class VJPCheckError(FuncnetError, AssertionError):
    """A gradient that did not pass its check: its message is the finding, `verdict` the kind of it."""

    def __init__(self, finding: Any):
        super().__init__(str(finding))
        self.finding = finding

    @property
    def verdict(self) -> str:
        """WRONG, UNSTABLE, KINK, VACUOUS, NONLINEAR or CONTRACT."""
        return self.finding.verdict
