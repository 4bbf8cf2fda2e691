"""grad, value_and_grad, vjp, jacobian, hessian: the questions that people ask of backpropagation.

They take what JAX's functions of the same name take and return what those return; beside that, `rules`
replaces rules for one call. The function is traced once, so Python's own `if` and `while` may not
depend on the values of the arguments that are differentiated.
"""

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet._errors import GradientError
from funcnet.backprop.engine import engine
from funcnet.backprop.graph import Graph, cotangents, stage_out
from funcnet.backprop.sweep import Plan, differentiable
from funcnet.rules import RULES, Table


def vjp(fun: Callable, *primals: Any, has_aux: bool = False, rules: Table = RULES) -> Any:
    """The value of a function, and the function that pulls an upstream gradient back to its arguments.

    Args:
        fun: a function of arrays, or of pytrees of arrays, to a pytree of arrays.
        *primals: where to evaluate it.
        has_aux: whether fun returns a pair `(result, aux)` of which aux is not differentiated.
        rules: the table of rules.

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
    _check_callable("vjp", fun)
    _check_arrays("vjp", fun, primals)
    tape = _tape(fun, primals, has_aux, rules)
    y, aux, stashes = tape.forward(primals)
    pullback = jax.tree_util.Partial(tape.pull, stashes)
    return (y, pullback, aux) if has_aux else (y, pullback)


def value_and_grad(
    fun: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    *,
    rules: Table = RULES,
) -> Callable:
    """A function that returns the value of a scalar function together with its gradient.

    Args:
        fun: a function to a scalar; its other arguments may be anything.
        argnums: the positional argument, or arguments, to differentiate.
        has_aux: whether fun returns a pair `(scalar, aux)`; then the value is that pair.
        holomorphic: whether fun is a holomorphic function of complex arguments.
        allow_int: whether integer arguments are let through, with float0 for their gradients.
        rules: the table of rules.

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
    _check_callable("value_and_grad", fun)

    @functools.wraps(fun)
    def with_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        of_arguments, primals, single = _differentiated(fun, argnums, args, kwargs)
        _check_inputs("grad", fun, primals, holomorphic, allow_int)
        tape = _tape(of_arguments, primals, has_aux, rules)
        _check_scalar(fun, tape)
        _check_outputs("grad", fun, tape, holomorphic)
        y, aux, stashes = tape.forward(primals)
        x_bars = tape.pull(stashes, jnp.ones_like(y))
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
) -> Callable:
    """The gradient of a scalar function: `jax.grad` by the rules of funcnet alone.

    Args:
        fun: a function to a scalar; its other arguments may be anything.
        argnums: the positional argument, or arguments, to differentiate.
        has_aux: whether fun returns a pair `(scalar, aux)`; then so does its gradient.
        holomorphic: whether fun is a holomorphic function of complex arguments.
        allow_int: whether integer arguments are let through, with float0 for their gradients.
        rules: the table of rules; `RULES | {"max": guided}` replaces one.

    Returns:
        A function of fun's arguments that returns the gradient, of the structure, shapes and dtypes of the
        argument, or a tuple of such for several argnums.

    Raises:
        GradientError: the result is no scalar, or an argument no float.
        MissingRuleError: a primitive on the way back has no rule.

    Source:
        CS231n 2019, lecture 4, slides 56 to 98.

    Example:
        >>> import jax.numpy as jnp
        >>> import funcnet
        >>> float(funcnet.grad(jnp.tanh)(0.0))
        1.0
    """
    both = value_and_grad(fun, argnums, has_aux, holomorphic, allow_int, rules=rules)

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
    _check_callable("jacobian", fun)

    @functools.wraps(fun)
    def matrix(*args: Any, **kwargs: Any) -> Any:
        of_arguments, primals, single = _differentiated(fun, argnums, args, kwargs)
        _check_inputs("jacobian", fun, primals, holomorphic, allow_int)
        tape = _tape(of_arguments, primals, has_aux, rules)
        _check_outputs("jacobian", fun, tape, holomorphic)
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


@dataclass(frozen=True, eq=False)
class _Tape:
    """A function with its plan: what a pullback knows beside the stash.

    Attributes:
        graph: from the arguments to (result, arrays among the auxiliary results).
        plan: both sweeps, for all inexact arguments and results.
        aux: puts the auxiliary results together from those arrays.
    """

    graph: Graph
    plan: Plan
    aux: Callable[[Sequence[Any]], Any]

    @property
    def out_tree(self) -> Any:
        """The structure of the result."""
        return self.graph.out_tree.children()[0]

    @property
    def outs(self) -> Sequence[Any]:
        """The variables of the result."""
        return self.graph.jaxpr.outvars[: self.out_tree.num_leaves]

    def forward(self, primals: Any) -> tuple[Any, Any, Any]:
        """The result, the auxiliary results and the stash."""
        xs = [x if isinstance(x, jax.Array) else jnp.asarray(x) for x in jax.tree.leaves(primals)]
        ys, stashes = self.plan.forward(self.graph.consts, xs)
        n = len(self.outs)
        return jax.tree.unflatten(self.out_tree, ys[:n]), self.aux(ys[n:]), stashes

    def pull(self, stashes: Any, y_bar: Any) -> tuple[Any, ...]:
        """The gradients of the arguments, with zeros where none flows and float0 for integers."""
        y_bars = [
            _jax.zeros(v.aval) if leaf is None and differentiable(v.aval) else leaf
            for leaf, v in zip(cotangents(y_bar, self.out_tree, self.outs), self.outs, strict=True)
        ]
        aux = [None] * (len(self.graph.jaxpr.outvars) - len(self.outs))
        x_bars = self.plan.backward(stashes, [*y_bars, *aux])
        ins = [v.aval for v in self.graph.jaxpr.invars]
        dense = [_dense(x_bar, aval) for x_bar, aval in zip(x_bars, ins, strict=True)]
        return jax.tree.unflatten(self.graph.in_tree, dense)[0]


def _tape(fun: Callable, primals: tuple[Any, ...], has_aux: bool, rules: Table) -> _Tape:
    """Trace a function and plan its sweeps."""
    kept = []

    def with_arrays_of_aux(*primals: Any) -> tuple[Any, list[Any]]:
        result = fun(*primals)
        if not has_aux:
            return result, []
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise GradientError(
                f"{_where(fun)} returned {type(result).__name__}, expected a pair (result, aux)"
            )
        leaves, tree = jax.tree.flatten(result[1])
        kept.extend([leaves, tree])
        return result[0], [leaf for leaf in leaves if isinstance(leaf, jax.core.Tracer)]

    def aux(arrays: Sequence[Any]) -> Any:
        if not has_aux:
            return None
        leaves, tree = kept
        values = iter(arrays)
        return jax.tree.unflatten(
            tree, [next(values) if isinstance(leaf, jax.core.Tracer) else leaf for leaf in leaves]
        )

    leaves, in_tree = jax.tree.flatten((primals, {}))
    graph = stage_out(with_arrays_of_aux, leaves, in_tree)
    results = graph.out_tree.children()[0].num_leaves
    asked = tuple(differentiable(v.aval) for v in graph.jaxpr.invars)
    given = tuple(i < results and differentiable(v.aval) for i, v in enumerate(graph.jaxpr.outvars))
    return _Tape(graph, engine(rules).plan(graph.jaxpr, asked, given), aux)


def _rows(tape: _Tape, stashes: Any, i: int) -> tuple[Any, ...]:
    """∂yᵢ/∂x for all arguments: the pullback of each unit vector of the i-th leaf of the result."""
    y = tape.outs[i].aval
    units = jnp.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)

    def row(unit: Any) -> Any:
        y_bars = [unit if j == i else None for j in range(len(tape.outs))]
        x_bars = tape.pull(stashes, jax.tree.unflatten(tape.out_tree, y_bars))
        return jax.tree.map(lambda x_bar: None if x_bar.dtype == jax.dtypes.float0 else x_bar, x_bars)

    rows = jax.vmap(row)(units)
    avals = jax.tree.unflatten(tape.graph.in_tree, [v.aval for v in tape.graph.jaxpr.invars])[0]

    def shaped(aval: Any, x_bars: Any) -> Any:
        shape = (*y.shape, *aval.shape)
        return np.zeros(shape, jax.dtypes.float0) if x_bars is None else x_bars.reshape(shape)

    return jax.tree.map(shaped, avals, rows, is_leaf=lambda x: x is None)


def _dense(x_bar: Any, aval: Any) -> Any:
    if not differentiable(aval):
        return _jax.float0(aval)
    x_bar = _jax.zeros(aval) if x_bar is None else x_bar
    return _jax.weak(x_bar) if aval.weak_type else x_bar


def _differentiated(
    fun: Callable, argnums: int | Sequence[int], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable, tuple[Any, ...], bool]:
    """The function of the arguments asked for alone, those arguments, and whether they are a single one."""
    single = not isinstance(argnums, Sequence)
    places = [operator.index(place) for place in (argnums if isinstance(argnums, Sequence) else (argnums,))]
    if any(not -len(args) <= place < len(args) for place in places):
        raise GradientError(
            f"argnums={argnums} of {_where(fun)}: got {len(args)} positional arguments; pass the "
            f"arguments to differentiate by position, and number them from 0"
        )
    places = [place % len(args) for place in places]
    if len(set(places)) < len(places):
        raise GradientError(f"argnums={argnums} of {_where(fun)} names an argument twice, expected it once")

    def of_arguments(*primals: Any) -> Any:
        replaced = dict(zip(places, primals, strict=True))
        return fun(*(replaced.get(i, arg) for i, arg in enumerate(args)), **kwargs)

    return functools.wraps(fun)(of_arguments), tuple(args[place] for place in places), single


def _check_callable(name: str, fun: Any) -> None:
    if not callable(fun):
        raise GradientError(f"{name}: got {fun!r}, expected a function; write {name}(f)(x)")


def _check_arrays(name: str, fun: Callable, primals: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(primals):
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
            raise GradientError(
                f"{name} of {_where(fun)}: argument {jax.tree_util.keystr(path)} is {type(leaf).__name__}, "
                f"expected an array or a number; close over what is none"
            )


def _check_inputs(name: str, fun: Callable, primals: Any, holomorphic: bool, allow_int: bool) -> None:
    _check_arrays(name, fun, primals)
    for path, leaf in jax.tree_util.tree_leaves_with_path(primals):
        dtype = jnp.result_type(leaf)
        if jnp.issubdtype(dtype, jnp.complexfloating if holomorphic else jnp.inexact):
            continue
        if holomorphic:
            advice = "expected complex numbers with holomorphic=True"
        elif allow_int:
            continue
        else:
            advice = "expected floats; convert it, differentiate another argument, or pass allow_int=True"
        raise GradientError(
            f"{name} of {_where(fun)}: argument {jax.tree_util.keystr(path)} is "
            f"{dtype}{list(jnp.shape(leaf))}, {advice}"
        )


def _check_scalar(fun: Callable, tape: _Tape) -> None:
    came = ", ".join(f"{v.aval.dtype}{list(v.aval.shape)}" for v in tape.outs)
    if tape.out_tree != jax.tree.structure(0):
        raise GradientError(
            f"grad of {_where(fun)}: the result is a {tape.out_tree} of {came or 'nothing'}, expected a "
            f"scalar; return the loss alone, with has_aux=True for what else there is, or use vjp"
        )
    if tape.outs[0].aval.shape != ():
        raise GradientError(
            f"grad of {_where(fun)}: the result is {came}{_made_at(tape.graph.jaxpr, tape.outs[0])}, "
            f"expected a scalar; sum or average it, or use vjp or jacobian"
        )


def _check_outputs(name: str, fun: Callable, tape: _Tape, holomorphic: bool) -> None:
    kind = jnp.complexfloating if holomorphic else jnp.floating
    for v in tape.outs:
        if not jnp.issubdtype(v.aval.dtype, kind):
            expected = "complex numbers with holomorphic=True" if holomorphic else "real floats"
            raise GradientError(
                f"{name} of {_where(fun)}: the result is {v.aval.dtype}{list(v.aval.shape)}"
                f"{_made_at(tape.graph.jaxpr, v)}, expected {expected}; use vjp for results of other types"
            )


def _made_at(jaxpr: _jax.Jaxpr, atom: Any) -> str:
    """Where the user's code computes an output."""
    makers = [] if _jax.is_literal(atom) else [eqn for eqn in jaxpr.eqns if atom in eqn.outvars]
    return f", made at {_jax.source_line(makers[0])}" if makers else ""


def _where(fun: Callable) -> str:
    """A function's name and the line where it is written."""
    plain = inspect.unwrap(fun)
    code = getattr(plain, "__code__", None)
    name = getattr(plain, "__qualname__", repr(plain))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name
