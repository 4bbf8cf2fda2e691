"""From a function to the diagram of its graph: trace, run both ways, leave out and fold, wire up."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.backprop import Graph, Node, trace
from funcnet.backprop.activity import differentiable
from funcnet.drawing.diagram.boxes import boxed, by_argument, closed, has_scopes, without_most
from funcnet.drawing.diagram.filling import filled_record
from funcnet.drawing.diagram.fold import repeated
from funcnet.drawing.diagram.model import Diagram
from funcnet.drawing.diagram.prune import with_constants, without_dead, without_zeros
from funcnet.drawing.diagram.record import Options
from funcnet.drawing.diagram.running import uncollected
from funcnet.drawing.diagram.steps import Flow, Step, Use
from funcnet.drawing.diagram.wire import wired, with_copies


def diagram(
    f: Callable, args: Sequence[Any], kwargs: dict[str, Any], y_bar: Any, options: Options
) -> Diagram:
    """The diagram of `f(*args, **kwargs)`.

    Boxes around all of it count as none: they are open. At depth 0 a scope around most of it is no box.

    Args:
        f: a function of arrays, or of pytrees of arrays.
        args: its arguments.
        kwargs: its arguments by name.
        y_bar: the upstream gradient, of the result's structure, shapes and dtypes; None for ones.
        options: what to open.

    Raises:
        ShapeError: y_bar does not have the result's structure, shapes and dtypes.
        MissingRuleError: an operation on the way back has no rule.
    """
    return diagram_of(trace(f, data=options.data)(*args, **kwargs), args, kwargs, y_bar, options)


@uncollected()
def diagram_of(
    graph: Graph, args: Sequence[Any], kwargs: dict[str, Any], y_bar: Any, options: Options
) -> Diagram:
    """Likewise, of a function that has been traced."""
    leaves = jax.tree.leaves((args, kwargs))
    flows = [
        Flow(jnp.asarray(x), "input", argument_path(name))
        for x, name in zip(leaves, graph.names, strict=True)
    ]
    levels = around(graph.nodes)
    whole = dataclasses.replace(options, depth=options.depth + levels)
    y_bars = ones(graph) if y_bar is None else jax.tree.map(jnp.asarray, y_bar)
    steps, results = filled_record(graph, flows, graph.cotangents(y_bars), whole)
    steps, results = without_zeros(without_dead(steps, results), results)
    if not options.data:
        steps, results = with_constants(steps, results)
    unused = set(flows) - _used(steps, results)
    steps = boxed(steps) if options.depth else without_most(boxed(steps), levels)
    scoped = has_scopes(steps)
    steps = closed(steps, results)
    if options.folded:
        steps = repeated(steps, results)
    if not scoped:
        steps = closed(boxed(by_argument(steps, results)), results)
    used = _used(steps, results)
    inputs = [flow for flow in flows if flow in used | unused]
    inputs += [flow for step in steps for flow in _bundles(step) if flow not in flows]
    return wired(inputs, *with_copies(inputs, steps, results))


def argument_path(name: str) -> str:
    """The name of an argument's leaf as a path: `params['layer1']['w']` is `params/layer1/w`."""
    return re.sub(r"\['?([^\]]*?)'?\]|\.(\w+)", lambda part: f"/{part[1] or part[2]}", name)


def around(nodes: Sequence[Node]) -> int:
    """How many boxes stand around all nodes of a graph: scopes, and a jitted function that is all of it."""
    scopes = [node.scope.split("/") if node.scope else [] for node in nodes]
    levels = 0
    while scopes and all(len(scope) > levels and scope[levels] == scopes[0][levels] for scope in scopes):
        levels += 1
    if len(nodes) == 1 and nodes[0].primitive == "jit":
        return levels + 1 + around(nodes[0].graphs[0].nodes)
    return levels


def ones(graph: Graph) -> Any:
    """The upstream gradient that is 1 for every element of the result; None for integers."""
    outs = [v.aval for v in graph.jaxpr.outvars]
    leaves = [jnp.ones(aval.shape, aval.dtype) if differentiable(aval) else None for aval in outs]
    return jax.tree.unflatten(graph.out_tree, leaves)


def _used(steps: Sequence[Step], results: Sequence[Use]) -> set[Flow]:
    return {use.flow for use in (*(use for step in steps for use in step.inputs), *results)}


def _bundles(step: Step) -> list[Flow]:
    own = [use.flow for use in step.inputs if use.flow.role == "input"]
    return [flow for flow in own if isinstance(flow.value, tuple)]
