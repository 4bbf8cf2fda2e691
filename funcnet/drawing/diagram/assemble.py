"""From a function to the diagram of its graph: trace, run both ways, leave out and fold, wire up."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from funcnet.backprop import Graph, Node, trace
from funcnet.backprop.activity import differentiable
from funcnet.drawing.diagram.filling import filled_record
from funcnet.drawing.diagram.fold import (
    boxed,
    closed,
    repeated,
    with_constants,
    with_copies,
    without_dead,
    without_zeros,
)
from funcnet.drawing.diagram.marks import marks
from funcnet.drawing.diagram.model import Diagram, Gate, Wire
from funcnet.drawing.diagram.record import Options
from funcnet.drawing.diagram.steps import Flow, Step, Use


def diagram(
    f: Callable, args: Sequence[Any], kwargs: dict[str, Any], y_bar: Any, options: Options
) -> Diagram:
    """The diagram of `f(*args, **kwargs)`. Boxes around all of it count as none: they are open.

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
    graph = trace(f, data=options.data)(*args, **kwargs)
    leaves = jax.tree.leaves((args, kwargs))
    flows = [
        Flow(jnp.asarray(x), "input", argument_path(name))
        for x, name in zip(leaves, graph.names, strict=True)
    ]
    options = dataclasses.replace(options, depth=options.depth + around(graph.nodes))
    y_bars = ones(graph) if y_bar is None else jax.tree.map(jnp.asarray, y_bar)
    steps, results = filled_record(graph, flows, graph.cotangents(y_bars), options)
    steps, results = without_zeros(without_dead(steps, results), results)
    if not options.data:
        steps, results = with_constants(steps, results)
    unused = set(flows) - _used(steps, results)
    steps = closed(boxed(steps), results)
    if options.folded:
        steps = repeated(steps, results)
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


def wired(inputs: Sequence[Flow], steps: Sequence[Step], results: Sequence[Use]) -> Diagram:
    """The diagram of steps between which each flow has one use; a constant may have more."""
    source = {flow: i for i, step in enumerate(steps) for flow in step.outputs}
    target = {use.flow: i for i, step in enumerate(steps) for use in step.inputs}
    gradient = {use.flow: use.gradient for step in steps for use in step.inputs}
    gradient |= {use.flow: use.gradient for use in results}
    last = {use.flow for use in results}

    def wire(flow: Flow) -> Wire:
        role = "result" if flow in last else flow.role
        return Wire(flow.value, gradient.get(flow), flow.name, role, source.get(flow), target.get(flow))

    wires = {flow: wire(flow) for flow in (*inputs, *source, *last)}
    constants: list[Wire] = []

    def operand(use: Use, i: int) -> Wire:
        if use.flow in wires and use.flow.role != "constant":
            return wires[use.flow]
        constants.append(Wire(use.flow.value, None, "", "constant", None, i))
        return constants[-1]

    gates = [
        Gate(
            i,
            step.name,
            step.primitive,
            tuple(operand(use, i) for use in step.inputs),
            tuple(wires[flow] for flow in step.outputs),
            step.path,
            step.formula,
            step.source,
            step.line,
            step.parameters,
            step.local,
            (),
            step.kept,
        )
        for i, step in enumerate(steps)
    ]
    found = marks(gates)
    marked = tuple(dataclasses.replace(gate, marks=tuple(found[gate.number])) for gate in gates)
    return Diagram(marked, (*wires.values(), *constants), tuple(wires[use.flow] for use in results))


def _used(steps: Sequence[Step], results: Sequence[Use]) -> set[Flow]:
    return {use.flow for use in (*(use for step in steps for use in step.inputs), *results)}


def _bundles(step: Step) -> list[Flow]:
    own = [use.flow for use in step.inputs if use.flow.role == "input"]
    return [flow for flow in own if isinstance(flow.value, tuple)]
