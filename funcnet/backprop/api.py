"""grad, value_and_grad, vjp, jacobian, hessian: the questions that people ask of backpropagation.

They take what JAX's functions of the same name take and return what those return; beside that, `rules`
replaces rules for one call. The function is run once, on stand-ins for the arguments that are
differentiated: under jit Python's own `if` and `while` may not depend on their values, as in JAX.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet import _jax
from funcnet.backprop.arguments import differentiated
from funcnet.backprop.budget import Budget
from funcnet.backprop.checks import (
    check_arrays,
    check_callable,
    check_inputs,
    check_outputs,
    check_scalar,
    where,
)
from funcnet.backprop.engine import engine
from funcnet.backprop.tape import Pullback, Tape, record
from funcnet.rules import RULES, Table


def vjp(
    fun: Callable, *primals: Any, has_aux: bool = False, rules: Table = RULES, budget: Budget = None
) -> Any:
    """The value of a function, and the function that pulls an upstream gradient back to its arguments.

    Args:
        fun: a function of arrays, or of pytrees of arrays, to a pytree of arrays.
        *primals: where to evaluate it.
        has_aux: whether fun returns a pair `(result, aux)` of which aux is not differentiated.
        rules: the table of rules.
        budget: how much memory to take for what is kept for the pullback; see `grad`.

    Returns:
        `(result, pullback)`, and aux if there is one. `pullback(y_bar)` takes an upstream gradient of the
        result's structure, shapes and dtypes, and returns a tuple with the gradient Σ ȳ·∂y/∂x for each
        argument, of the argument's structure, shapes and dtypes (float0 for integers). It is a pytree and
        may leave a jitted function.

    Raises:
        GradientError: an argument is no array, or fun no function.
        MissingRuleError: a primitive on the way back has no rule.
        ShapeError: from the pullback, for an upstream gradient that does not fit the result.

    Source:
        CS231n 2019, lecture 4, slides 56 to 98; Griewank and Walther 2008, section 3.2.

    Example:
        >>> import funcnet
        >>> y, pullback = funcnet.vjp(lambda x, w: x * w, 3.0, -2.0)
        >>> float(y), [float(g) for g in pullback(1.0)]
        (-6.0, [-2.0, 3.0])
    """
    check_callable("vjp", fun)
    check_arrays("vjp", fun, primals)
    tape = record(fun, primals, has_aux, engine(rules), where(fun), budget)
    y, aux, stashes = tape.forward(primals)
    pullback = Pullback(stashes, tape, where(fun))
    return (y, pullback, aux) if has_aux else (y, pullback)


def value_and_grad(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    rules: Table = RULES,
    budget: Budget = None,
) -> Callable:
    """A function that returns the value of a scalar function together with its gradient.

    Args:
        fun: a function to a scalar; its other arguments may be anything.
        argnums: the positional argument, or arguments, to differentiate.
        has_aux: whether fun returns a pair `(scalar, aux)`; then the value is that pair.
        holomorphic: whether fun is a holomorphic function of complex arguments.
        allow_int: whether integer arguments are let through, with float0 for their gradients.
        rules: the table of rules.
        budget: how much memory to take; see `grad`.

    Returns:
        A function of fun's arguments that returns `(value, gradient)`; the gradient has the structure,
        shapes and dtypes of the argument, or is a tuple of such for several argnums.

    Raises:
        GradientError: the result is no scalar, or an argument no float.
        MissingRuleError: a primitive on the way back has no rule.

    Source:
        CS231n 2019, lecture 4, slides 56 to 98.

    Example:
        >>> import funcnet
        >>> value, gradient = funcnet.value_and_grad(lambda x: x**3)(2.0)
        >>> float(value), float(gradient)
        (8.0, 12.0)
    """
    check_callable("grad", fun)

    @functools.wraps(fun)
    def with_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        of_arguments, primals, single = differentiated(fun, argnums, args, kwargs)
        check_inputs("grad", fun, primals, holomorphic, allow_int)
        tape = record(of_arguments, primals, has_aux, engine(rules), where(fun), budget)
        check_scalar(fun, tape)
        check_outputs("grad", fun, tape, holomorphic)
        y, aux, stashes = tape.forward(primals)
        x_bars = tape.pull(stashes, lax.full_like(y, 1))
        return (y, aux) if has_aux else y, x_bars[0] if single else x_bars

    return with_gradient


def grad(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    rules: Table = RULES,
    budget: Budget = None,
) -> Callable:
    """The gradient of a scalar function: `jax.grad` by the rules of funcnet alone.

    Args:
        fun: a function to a scalar; its other arguments may be anything.
        argnums: the positional argument, or arguments, to differentiate.
        has_aux: whether fun returns a pair `(scalar, aux)`; then so does its gradient.
        holomorphic: whether fun is a holomorphic function of complex arguments.
        allow_int: whether integer arguments are let through, with float0 for their gradients.
        rules: the table of rules; `RULES | {"max": guided}` replaces one.
        budget: how much memory the gradient may take beside arguments and results: a share of what it takes
            without a budget, 0 < budget ≤ 1; bytes, such as "8 GiB"; "auto" for what adds at most 1 % of the
            operations. What then is not kept of the forward run is computed again on the way back, at the
            least cost: the gradient is the same. Bytes are planned from the shapes, so that what XLA adds or
            saves beside is not in it.

    Returns:
        A function of fun's arguments that returns the gradient, of the structure, shapes and dtypes of the
        argument, or a tuple of such for several argnums.

    Raises:
        GradientError: the result is no scalar, or an argument no float.
        MissingRuleError: a primitive on the way back has no rule.
        ParameterError: no budget, or one that is too small; the message says the smallest possible one.

    Source:
        CS231n 2019, lecture 4, slides 56 to 98; of budgets, Beaumont et al. 2019 and Zheng et al. 2022.

    Example:
        >>> import jax.numpy as jnp
        >>> import funcnet
        >>> float(funcnet.grad(jnp.tanh)(0.0))
        1.0
        >>> float(funcnet.grad(lambda x: jnp.tanh(jnp.tanh(x)), budget="auto")(0.0))
        1.0
    """
    both = value_and_grad(fun, argnums, has_aux, holomorphic, allow_int, rules=rules, budget=budget)

    @functools.wraps(fun)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, x_bars = both(*args, **kwargs)
        return (x_bars, value[1]) if has_aux else x_bars

    return gradient


def jacobian(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    rules: Table = RULES,
) -> Callable:
    """The matrix of all partial derivatives, one backward pass for each output, side by side.

    Args:
        fun: a function to a pytree of arrays; its other arguments may be anything.
        argnums: the positional argument, or arguments, to differentiate.
        has_aux: whether fun returns a pair `(result, aux)`; then so does its Jacobian.
        holomorphic: whether fun is a holomorphic function of complex arguments.
        allow_int: whether integer arguments are let through.
        rules: the table of rules.

    Returns:
        A function of fun's arguments that returns ∂y/∂x, of shape [*y.shape, *x.shape], for each leaf y of
        the result and each leaf x of the argument: the result's structure outside, the argument's inside.

    Raises:
        GradientError: an argument or a result is no float.
        MissingRuleError: a primitive on the way back has no rule.

    Source:
        CS231n 2019, lecture 4, slide 100.

    Example:
        >>> import jax.numpy as jnp
        >>> import funcnet
        >>> funcnet.jacobian(lambda x: jnp.array([x[0] * x[1], x[1]]))(jnp.array([2.0, 3.0]))
        Array([[3., 2.],
               [0., 1.]], dtype=float32)
    """
    check_callable("jacobian", fun)

    @functools.wraps(fun)
    def matrix(*args: Any, **kwargs: Any) -> Any:
        of_arguments, primals, single = differentiated(fun, argnums, args, kwargs)
        check_inputs("jacobian", fun, primals, holomorphic, allow_int)
        tape = record(of_arguments, primals, has_aux, engine(rules), where(fun))
        check_outputs("jacobian", fun, tape, holomorphic)
        _, aux, stashes = tape.forward(primals)
        rows = [_rows(tape, stashes, i) for i in range(len(tape.outs))]
        result = jax.tree.unflatten(tape.out_tree, [row[0] if single else row for row in rows])
        return (result, aux) if has_aux else result

    return matrix


def hessian(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    rules: Table = RULES,
) -> Callable:
    """The second derivatives, reverse over reverse: the Jacobian of the Jacobian.

    Args:
        fun: a function to a pytree of arrays, usually to a scalar.
        argnums: the positional argument, or arguments, to differentiate.
        has_aux: whether fun returns a pair `(result, aux)`; then so does its Hessian.
        holomorphic: whether fun is a holomorphic function of complex arguments.
        rules: the table of rules.

    Returns:
        A function of fun's arguments that returns ∂²y/∂x∂x', of shape [*y.shape, *x.shape, *x'.shape].

    Raises:
        GradientError: an argument or a result is no float.
        MissingRuleError: a primitive on the way back has no rule.

    Source:
        Griewank and Walther 2008, Evaluating Derivatives, section 5.

    Example:
        >>> import jax.numpy as jnp
        >>> import funcnet
        >>> funcnet.hessian(lambda x: x[0] ** 2 * x[1])(jnp.array([1.0, 3.0]))
        Array([[6., 2.],
               [2., 0.]], dtype=float32)
    """
    first = jacobian(fun, argnums, has_aux, holomorphic, rules=rules)
    return jacobian(first, argnums, has_aux, holomorphic, rules=rules)


def _rows(tape: Tape, stashes: Any, i: int) -> tuple[Any, ...]:
    """∂yᵢ/∂x for all arguments: the pullback of each unit vector of the i-th leaf of the result."""
    y = tape.outs[i]
    units = jnp.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
    units = _jax.weak(units) if y.weak_type else units

    def row(unit: Any) -> list[Any]:
        y_bars = [unit if j == i else None for j in range(len(tape.outs))]
        x_bars = jax.tree.leaves(tape.pull(stashes, tape.out_tree.unflatten(y_bars)))
        return [None if x_bar.dtype == jax.dtypes.float0 else x_bar for x_bar in x_bars]

    shapes = [(*y.shape, *aval.shape) for aval in tape.types]
    return tape.in_tree.unflatten(
        np.zeros(shape, jax.dtypes.float0) if x_bar is None else x_bar.reshape(shape)
        for x_bar, shape in zip(jax.vmap(row)(units), shapes, strict=True)
    )
