"""Parts of the check alone: rows of the table of criteria, for whoever asks one thing only."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from funcnet._errors import ParameterError
from funcnet.check import words
from funcnet.check.answers import Answers, answers, once
from funcnet.check.case import Case
from funcnet.check.comparisons import Along, slopes_along
from funcnet.check.criteria import ends, finite, first, integers_have_none, typed
from funcnet.check.finding import Finding, raised
from funcnet.check.laws import eager, outputs, vmapped
from funcnet.check.linearity import linear
from funcnet.check.noise import cast
from funcnet.check.options import Options
from funcnet.check.oracles import set_up
from funcnet.numerical.slopes import Slope


def check_contract(fun: Callable, *args: Any) -> None:
    """Check what a rule owes to JAX, without asking whether its numbers are right.

    Shape and dtype of each gradient are those of its argument, integers get None, forward returns what the
    function returns, and the gradient is the same with jit and without, and under vmap.

    Args:
        fun: the function.
        *args: where to check it.

    Raises:
        VJPCheckError: it breaks its CONTRACT.

    Source:
        The documentation of `jax.custom_vjp.defvjp`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> check_contract(jnp.tanh, jnp.ones(3))
    """
    __tracebackhide__ = True
    owed = typed, integers_have_none, ends, outputs, eager, vmapped
    raised(first(answers(set_up(fun, args, Options(check_contract))), owed))


def check_linear(fun: Callable, *args: Any, key: Any = 0) -> None:
    """Check that the gradient of a function is linear in the upstream gradient.

    It needs no oracle, so it works for any function that `jax.vjp` takes.

    Args:
        fun: the function.
        *args: where to check it.
        key: a number or a key of jax.random.

    Raises:
        VJPCheckError: it is NONLINEAR, or the same call gives two answers (CONTRACT).

    Source:
        CS231n 2019, lecture 4, slide 98: backward multiplies the upstream gradient by the local one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet import VJPCheckError
        >>> @jax.custom_vjp
        ... def clipped(x):
        ...     return x
        >>> clipped.defvjp(lambda x: (x, None), lambda _, y_bar: (jnp.clip(y_bar, -1, 1),))
        >>> try:
        ...     check_linear(clipped, 2.0)
        ... except VJPCheckError as error:
        ...     error.verdict
        'NONLINEAR'
    """
    __tracebackhide__ = True
    raised(first(answers(set_up(fun, args, Options(check_linear, elsewhere=(), key=key))), (ends, linear)))


def check_kink(fun: Callable, *args: Any, along: Any, key: Any = 0) -> Slope:
    """Check the gradient of a function along one direction, where it may have a kink.

    Args:
        fun: the function.
        *args: where to check it.
        along: the direction: for one argument a pytree like it, for several a tuple of such, None for an
            argument that stays.
        key: a number or a key of jax.random, for the upstream gradient.

    Returns:
        The slope of ⟨ȳ, f⟩ along the direction: its value, and the slopes to either side.

    Raises:
        VJPCheckError: KINK, if the gradient is not between the slopes to either side, output by output;
            WRONG, if there is no kink and the slope is another.
        ParameterError: the direction does not have the structure and shapes of the arguments.

    Source:
        Clarke 1983, Optimization and Nonsmooth Analysis, section 2.1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> sides = check_kink(jax.nn.relu, jnp.zeros(3), along=jnp.array([0.0, 1.0, 0.0]))
        >>> sides.kink
        True
    """
    __tracebackhide__ = True
    seen = answers(set_up(fun, args, Options(check_kink, elsewhere=(), key=key, along=along)))
    return raised(first(seen, (ends, finite, _is_slope)) or _along(seen).slope)


def _is_slope(case: Case, seen: Answers) -> Finding | None:
    one = _along(seen)
    return None if one.agrees() else words.off_slope(one, "along the direction given")


@once
def _along(seen: Answers) -> Along:
    """The gradient along the direction that was given."""
    asked, along = seen.case.subject, seen.case.options.along
    pairs = zip(asked.args, (along,) if len(asked.args) == 1 else along, strict=False)
    whole = [jax.tree.map(np.zeros_like, arg) if part is None else part for arg, part in pairs]
    if jax.tree.structure(whole) == jax.tree.structure(list(asked.args)):
        _, found = asked.split(whole)
        if all(np.shape(v) == x.shape for v, x in zip(found, asked.xs, strict=True)):
            return slopes_along(seen, [(None, "given", cast(found, asked.xs))])[0]
    raise ParameterError(
        f"check_kink: along has the structure {jax.tree.structure(along)}, expected for each argument None "
        f"or arrays like it, of shapes {[x.shape for x in asked.xs]}"
    )
