"""Compiled programs, from any function that JAX can trace.

A function is traced anew each time, so an edited one is never mistaken for the old; what has the same text is
compiled once.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from funcnet import _jax

_QUICK = (("xla_backend_optimization_level", 0), ("xla_llvm_disable_expensive_passes", True))


@contextlib.contextmanager
def double() -> Iterator[None]:
    """Float64 inside, whatever is switched on outside, on the CPU."""
    with _jax.in_float64(), jax.default_device(jax.devices("cpu")[0]):
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Programs are compiled, and NaN is a number inside, whatever is switched on outside to find mistakes."""
    with np.errstate(all="ignore"), jax.disable_jit(False), jax.debug_nans(False), jax.debug_infs(False):
        yield


@dataclass(frozen=True)
class _Written:
    """A program as text, and what compiles it; two of the same text are equal."""

    text: str
    inputs: str
    outputs: str
    options: tuple[tuple[str, Any], ...]
    lowered: Any = field(compare=False, repr=False)

    def compile(self) -> Any:
        return self.lowered.compile(dict(self.options))


once = functools.lru_cache(maxsize=256)(_Written.compile)


def compiled_once(lowered: Any, options: tuple[tuple[str, Any], ...] = ()) -> Any:
    """A lowered program, compiled with these options of XLA unless one of the same text has been.

    One that calls Python is compiled anew: its text does not tell which function.
    """
    text = lowered.as_text()
    written = _Written(text, str(lowered.in_tree), str(lowered.out_tree), options, lowered)
    return written.compile() if "callback" in text else once(written)


def compiled(function: Callable, *args: Any, quick: bool = False) -> Any:
    """Run a function as one compiled program; the result as numpy arrays.

    With `quick` it is compiled with few optimizations, for an oracle that runs a few times.
    """
    return executable(traced(function, *args), quick)(*args)


def traced(function: Callable, *args: Any) -> Any:
    """A function as it is to be compiled for arguments of these types."""
    return jax.jit(function, keep_unused=True).trace(*args)


def executable(function: Any, quick: bool = False) -> Callable:
    """What is traced, compiled: a function of all of its arguments."""
    lowered = function.lower()
    run = compiled_once(lowered, _QUICK if quick else ())
    calls_python = any("callback" in eqn.primitive.name for eqn in _jax.all_equations(function.jaxpr.jaxpr))

    def on_host(*args: Any) -> Any:
        with _same_in_all_threads() if calls_python else contextlib.nullcontext():
            return jax.tree.map(np.asarray, run(*args))

    return on_host


@contextlib.contextmanager
def _same_in_all_threads() -> Iterator[None]:
    """XLA may run a callback in a thread of its own, where JAX rounds its results unless float64 is on."""
    with ThreadPoolExecutor(1) as other:
        before = other.submit(_jax.is_in_float64).result()
    jax.config.update("jax_enable_x64", _jax.is_in_float64())
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)
