"""Is this rule right? What a user asks: a case, the criteria in their order, and the first finding."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from funcnet.check.answers import answers
from funcnet.check.criteria import CRITERIA, first
from funcnet.check.disputes import rulings
from funcnet.check.finding import Finding, raised
from funcnet.check.options import TRANSFORMS, Options
from funcnet.check.oracles import set_up
from funcnet.check.probes import FORWARD
from funcnet.check.report import Report, report
from funcnet.check.thresholds import ELSEWHERE, SLACK, TIMEOUT


def check_vjp(
    fun: Callable,
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    reference: Callable | None = None,
    dtypes: Sequence[Any] | None = None,
    order: int = 1,
    transforms: Sequence[str] = TRANSFORMS,
    kinks: float | int | None = None,
    domain: Any = None,
    elsewhere: Sequence[float] = ELSEWHERE,
    timeout: float | int = TIMEOUT,
    key: Any = 0,
    slack: float | int = SLACK,
) -> Report:
    """Check that the gradient of a function is its derivative, and that it is computed as well as can be.

    Args:
        fun: a `jax.custom_vjp`, a `jax.custom_jvp`, a gate, or any function: then the gradient that
            JAX computes is what is checked.
        *args: where to check it: any pytrees of floats, complex numbers, integers, keys; what is no
            array or float is passed on as it is. The choice matters: a rule is checked where these are.
        argnums: which of the arguments are differentiated, as for `jax.grad`; by default all with floats.
        reference: an independent definition of the same function, of the same signature. By default the
            primal of fun, with all custom rules in it taken out.
        dtypes: the float dtypes to check in after float64; by default those of the arguments.
        order: how often to differentiate: 2 checks the gradient of the gradient too.
        transforms: what must change nothing: "jit", "vmap", or nothing.
        kinks: what the rule promises at a kink: 0 for the slope to the left, 1 for that to the right, 0.5 for
            the middle. By default anything from left to right is right.
        domain: where the function lives, if not at multiples of the arguments: "positive", "unit interval",
            "simplex" or "correlation"; a tuple of such, one for each argument, None for one that stays; or a
            function of a key of jax.random that draws all the arguments.
        elsewhere: the multiples of the arguments to ask at too; `()` for none.
        timeout: seconds that loops and callbacks may take. Points at which they take longer are left out,
            with a note; so is, after twice that or 40 seconds, what must be compiled still.
        key: a number or a key of jax.random, from which all random probes come.
        slack: how many units of rounding noise an error may have.

    Returns:
        What was measured: errors in units of the rounding noise, the smallest error that would have been
        seen, what the forward pass keeps.

    Raises:
        VJPCheckError: the gradient is WRONG, UNSTABLE, outside of what a KINK allows, VACUOUS, NONLINEAR or
            breaks its CONTRACT. Its message names the argument, the worst element and the likely mistake.
        ParameterError: an argument of the check itself is not what it should be, or the reference cannot be
            traced in float64.

    Source:
        CS231n 2019, lecture 4, slide 8: always use the analytic gradient, but check it with the
        numerical one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> @jax.custom_vjp
        ... def square(x):
        ...     return x * x
        >>> square.defvjp(lambda x: (x * x, x), lambda x, y_bar: (2 * x * y_bar,))
        >>> report = check_vjp(square, jnp.arange(1.0, 4.0))
        >>> [(row.argument, row.dtype, row.error < 3) for row in report.rows]
        [('x', 'float64', True), ('x', 'float32', True)]
    """
    __tracebackhide__ = True
    chosen = reference, dtypes, order, transforms, kinks, domain, elsewhere, timeout, key, slack
    return raised(_in_orders(fun, args, Options(check_vjp, argnums, *chosen)))


def check_jvp(
    fun: Callable,
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    reference: Callable | None = None,
    dtypes: Sequence[Any] | None = None,
    transforms: Sequence[str] = TRANSFORMS,
    domain: Any = None,
    elsewhere: Sequence[float] = ELSEWHERE,
    timeout: float | int = TIMEOUT,
    key: Any = 0,
    slack: float | int = SLACK,
) -> Report:
    """Check a rule of forward mode: ẏ must be the derivative along ẋ.

    `check_vjp` of a `jax.custom_jvp` checks the transpose that JAX makes of it; this checks the rule as it
    is, also where it has none.

    Args:
        fun: a `jax.custom_jvp`, or any function that `jax.jvp` takes.
        *args: where to check it, and the other arguments, as for `check_vjp`.
        argnums: which of the arguments get a tangent.
        reference: an independent definition of the same function.
        dtypes: the float dtypes to check in after float64.
        transforms: what must change nothing.
        domain: where the function lives.
        elsewhere: the multiples of the arguments to ask at too.
        timeout: seconds that loops and callbacks may take.
        key: a number or a key of jax.random.
        slack: how many units of rounding noise an error may have.

    Returns:
        What was measured, a row for each result and dtype.

    Raises:
        VJPCheckError: as for `check_vjp`.
        ParameterError: an argument of the check itself is not what it should be.

    Source:
        The documentation of `jax.custom_jvp.defjvp`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet import VJPCheckError
        >>> @jax.custom_jvp
        ... def square(x):
        ...     return x * x
        >>> square.defjvps(lambda x_dot, y, x: 3 * x * x_dot)
        >>> try:
        ...     check_jvp(square, jnp.arange(1.0, 4.0))
        ... except VJPCheckError as error:
        ...     error.verdict
        'WRONG'
    """
    __tracebackhide__ = True
    chosen = reference, dtypes, 1, transforms, None, domain, elsewhere, timeout, key, slack
    seen = answers(set_up(fun, args, Options(check_jvp, argnums, *chosen), FORWARD))
    return raised(first(seen, CRITERIA) or report(seen))


def _in_orders(
    fun: Callable, args: Sequence[Any], options: Options, order: int = 1, truth: Callable | None = None
) -> Finding | Report:
    """The check of the gradient of an order, and of its own gradient as often as asked."""
    case = set_up(fun, args, options, order=order, truth=truth)
    seen = answers(case)
    finding = first(seen, CRITERIA)
    if finding is not None:
        return finding
    if order < options.order:
        # Autodiff of the primal is no oracle where it was overruled, or is none: then differences of the
        # rule's own first derivative decide.
        trusted = not case.by_differences and not any(ruling.note for ruling in rulings(seen))
        given = seen.probe.given
        truth = case.gradient(case.primal, given) if trusted and case.oracles is not None else None
        outcome = _in_orders(case.gradient(case.flat, given), args, options, order + 1, truth)
        if isinstance(outcome, Finding):
            return replace(outcome, summary=f"at order {order + 1}: {outcome.summary}")
    return report(seen)
