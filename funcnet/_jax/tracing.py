"""Where operations go that run now: they are computed, or some transformation of JAX's records them.

A trace is what JAX calls the receiver of operations. The one that writes a program is asked for its
`emit_eqn`, which no other has.
"""

from typing import Any

import jax
import numpy as np
from jax._src import config  # there is no public one
from jax._src.core import eval_trace  # nor of this
from jax.extend import core


def current_trace() -> Any:
    """Where operations are run now: evaluated, or recorded by a transformation."""
    with core.take_current_trace() as trace:
        return trace


set_current_trace = core.set_current_trace


def writes(trace: Any) -> bool:
    """Whether operations that come to this trace are written into a program."""
    return hasattr(trace, "emit_eqn")


def is_writing() -> bool:
    """Whether what runs now is written into a program, calls of jitted functions as calls."""
    return writes(core.find_top_trace(())) and not config.disable_jit.value


def evaluates(trace: Any) -> bool:
    """Whether operations that come to this trace are computed, with no transformation around."""
    return trace is eval_trace


def under_jit() -> bool:
    """Whether what runs now is being staged out into a program instead of being computed."""
    return core.unsafe_am_i_under_a_jit_DO_NOT_USE()  # pyright: ignore[reportPrivateImportUsage]


def trace_context() -> tuple[Any, ...]:
    """The settings that change what tracing a function gives, beside the arguments' types."""
    return config.trace_context()


def is_in_float64() -> bool:
    """Whether Python's numbers are float64 here, which each thread may have set for itself."""
    return jax.dtypes.result_type(float) == np.float64
