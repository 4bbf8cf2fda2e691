"""From a function to its graph: the trace, and how its inputs are called."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax

from funcnet import _jax
from funcnet.backprop.checks import check_callable, traced_without_values
from funcnet.backprop.composed import with_calls
from funcnet.backprop.graph import Graph
from funcnet.backprop.tracing import Traced, trace_function
from funcnet.rules import RULES


def trace(f: Callable, *, data: bool = False) -> Callable[..., Graph]:
    """Turn a function into its computational graph.

    Args:
        f: a function of arrays, or of pytrees of arrays, to a pytree of arrays. It is run once, on
            stand-ins that have shape and dtype but no values, as under `jax.jit`.
        data: whether what depends on no argument is a part of the graph too; else it is computed at once,
            and the graph has a constant in its place.

    Returns:
        `trace(f)(*args, **kwargs)` is the graph of f for arguments of these shapes and dtypes.

    Raises:
        GradientError: f is no function.

    Source:
        CS231n 2019, lecture 4, slide 56.

    Example:
        >>> import funcnet
        >>> graph = funcnet.trace(lambda x, y: (x + y) * x)(2.0, 3.0)
        >>> [node.primitive for node in graph.nodes]
        ['add', 'mul']
    """
    check_callable("trace", f)

    @functools.wraps(f)
    def traced(*args: Any, **kwargs: Any) -> Graph:
        paths, tree = jax.tree_util.tree_flatten_with_path((args, kwargs))
        names = argument_names(f, [path for path, _ in paths])
        traced = _program(f, args, kwargs, data)
        return Graph(with_calls(traced.jaxpr, RULES), traced.consts, names, tree, traced.out_tree)

    return traced


def _program(f: Callable, args: Any, kwargs: Any, data: bool) -> Traced:
    """The program of `f(*args, **kwargs)`, of the leaves of the arguments."""
    leaves, in_tree = jax.tree.flatten((args, kwargs))

    def flat(*leaves: Any) -> Any:
        args, kwargs = in_tree.unflatten(leaves)
        return f(*args, **kwargs)

    with traced_without_values():
        if data:
            closed, shapes = jax.make_jaxpr(flat, return_shape=True)(*leaves)
            return Traced(*_jax.open_jaxpr(closed), [], jax.tree.structure(shapes))
        return trace_function(flat, list(map(jax.typeof, leaves)), complete=True)


def argument_names(f: Callable, paths: Sequence[Any]) -> list[str]:
    """How the leaves of `(args, kwargs)` are called: `x`, `params['w']`, and `xs[0]` where f takes `*xs`."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        parameters = []
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [parameter.name for parameter in parameters if parameter.kind in by_position]
    many = [parameter.name for parameter in parameters if parameter.kind == inspect.Parameter.VAR_POSITIONAL]
    names = []
    for part, place, *rest in paths:
        if part.idx == 1:
            head = place.key
        elif place.idx < len(positional):
            head = positional[place.idx]
        else:
            head = f"{many[0]}[{place.idx - len(positional)}]" if many else f"argument {place.idx}"
        names.append(head + jax.tree_util.keystr(tuple(rest)))
    return names
