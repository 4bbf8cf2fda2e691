"""Callbacks that end: what Python does in a program is waited for no longer than one is patient.

A callback runs in a thread that is waited for; after that it gives NaN, and is told to stop where it stands.
"""

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax

CALLBACKS = ("pure_callback", "io_callback", "debug_callback")

LOST = 2
"""After so many callbacks that do not come back the others in a program are not asked."""


class _Stopped(BaseException):
    """Raised in a callback that is not waited for any more."""


class Patience:
    """How long to wait for what need not end: so many seconds for a whole program.

    It knows the slowest callback that did end, how many were lost, and the first exception of one.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.slowest = 0.0
        self.lost = 0
        self.refusal: Exception | None = None

    def call(self, eqn: _jax.Equation, xs: Sequence[Any]) -> Sequence[Any]:
        """Call Python as the equation does; what does not come back, or refuses the point, gives NaN."""
        nothing = [
            np.full(v.aval.shape, np.nan if jnp.issubdtype(v.aval.dtype, jnp.inexact) else 0, v.aval.dtype)
            for v in eqn.outvars
        ]
        in_x64 = jax.enable_x64(_jax.is_in_float64())  # which each thread has for itself
        function = in_x64(eqn.params["callback"])

        def waited_for(*args: Any) -> Sequence[Any]:
            answer = self._answer(function, args) if self.lost < LOST else None
            return nothing if answer is None else answer

        return _jax.bind(eqn.replace(params={**eqn.params, "callback": waited_for}), xs)

    def _answer(self, function: Callable, args: Sequence[Any]) -> Sequence[Any] | None:
        """What the function returns; None if it raises, or takes 100 times as long as others did."""
        found: list[Any] = []
        thread = threading.Thread(target=_put, args=(found, function, args), daemon=True)
        begin = time.monotonic()
        thread.start()
        thread.join(min(self.seconds, max(1.0, 100 * self.slowest)) if self.slowest else self.seconds)
        if thread.is_alive():
            ident = ctypes.c_ulong(thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_Stopped))
            self.lost += 1
            return None
        self.slowest = max(self.slowest, time.monotonic() - begin)
        (answer,) = found
        if isinstance(answer, Exception):
            self.refusal = self.refusal or answer
            return None
        return answer


def _put(found: list[Any], function: Callable, args: Sequence[Any]) -> None:
    try:
        found.append(function(*args))
    except _Stopped:
        return
    except Exception as error:  # it refuses the point: the function is not one there
        found.append(error)
