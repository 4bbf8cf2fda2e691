"""Run a graph forward and backward and write down every step, opening the functions it calls.

An opened call is replaced by the steps of its own graph on the same flows; these know through their path in
which box they stand. A scan that is opened is run step by step, and rolled up again.
"""

import dataclasses
import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from funcnet import _jax
from funcnet.backprop import Constant, Graph, Node
from funcnet.backprop.alive import Lives
from funcnet.backprop.program import CALLS
from funcnet.drawing.diagram.arrays import total_bytes
from funcnet.drawing.diagram.local import local_gradients
from funcnet.drawing.diagram.model import Box
from funcnet.drawing.diagram.roll import rolled
from funcnet.drawing.diagram.steps import Flow, Step, Use
from funcnet.drawing.diagram.unroll import LOOPS, MOST_STEPS
from funcnet.rules import Table, rule_name

OPENED = CALLS | {"cond"}
"""What can be opened; the first operand of a cond says which of its branches runs on the others."""


@dataclass(frozen=True)
class Options:
    """What of a graph is shown.

    Attributes:
        rules: the table of rules of the way back.
        depth: how many levels of boxes are open.
        unroll: whether loops are shown step by step.
        local: whether local gradients are computed.
        data: whether operations on data alone are shown.
        folded: whether repeated layers are shown as one.
    """

    rules: Table
    depth: int = 0
    unroll: bool = False
    local: bool = False
    data: bool = False
    folded: bool = True


def record(
    graph: Graph,
    flows: Sequence[Flow],
    y_bars: Sequence[Any],
    options: Options,
    path: tuple[Box, ...] = (),
    lives: Lives | None = None,
) -> tuple[list[Step], list[Use]]:
    """The steps of a graph on these flows, and the uses that its results are.

    Args:
        graph: what to run.
        flows: its arguments.
        y_bars: the upstream gradients of the leaves of its result; None for zero.
        options: what to open.
        path: the boxes around the graph.
        lives: where the upstream gradients are alive; everywhere by default.

    Raises:
        MissingRuleError: an operation on the way back has no rule.
    """
    args, kwargs = jax.tree.unflatten(graph.in_tree, [flow.value for flow in flows])
    values = graph.forward(*args, **kwargs)
    lives = lives or [None] * len(y_bars)
    gradients, sent, stashes = graph.masked_backward(values, y_bars, lives, options.rules)
    known = dict(enumerate(flows))
    known.update({v.number: Flow(values[v.number], "constant") for v in graph.constants})

    def use(operand: Any, gradient: Any) -> Use:
        constant = isinstance(operand, Constant)
        return Use(Flow(operand.value, "constant") if constant else known[operand.number], gradient)

    there = {id(flow.value) for flow in known.values() if flow.role}
    steps = []
    for node, eqn, x_bars, stash in zip(graph.nodes, graph.jaxpr.eqns, sent, stashes, strict=True):
        uses = tuple(map(use, node.inputs, x_bars))
        here = (*path, *map(Box, filter(None, node.scope.split("/"))))
        if inner := opened(node, eqn, uses, options, len(here)):
            program, operands, box, inner_options = inner
            ys, alive = zip(*(gradients[v.number] for v in node.outputs), strict=True)
            more, results = record(
                program, [u.flow for u in operands], ys, inner_options, (*here, box), alive
            )
            if node.primitive == "scan" and not options.unroll:
                more, results = rolled(more, results, len(here) + 1)
            steps += more
            outputs = [result.flow for result in results]
        elif only_weak_type(node):
            outputs = [uses[0].flow]
        else:
            outputs = [Flow(values[v.number]) for v in node.outputs]
            step = closed_step(node, eqn, uses, outputs, here, options)
            steps.append(dataclasses.replace(step, kept=total_bytes(stash, there)))
        known.update((v.number, flow) for v, flow in zip(node.outputs, outputs, strict=True))
    return steps, [use(v, y_bar) for v, y_bar in zip(graph.outputs, y_bars, strict=True)]


def closed_step(
    node: Node, eqn: Any, uses: Sequence[Use], outputs: Sequence[Flow], path: Any, options: Options
) -> Step:
    """A node that is shown closed."""
    formula, source = written(node, eqn, options.rules)
    local = local_gradients(eqn, [use.flow.value for use in uses], options.rules) if options.local else ()
    return Step(
        display_name(node),
        tuple(uses),
        tuple(outputs),
        path,
        options.depth,
        node.primitive,
        node.line,
        formula,
        source,
        parameters(node, eqn),
        local,
    )


def parameters(node: Node, eqn: Any) -> dict[str, Any]:
    """What else a node was told: of a gate of ours its keyword arguments, else its primitive's parameters."""
    gate = getattr(_jax.backward_function(eqn), "gate", None) if _jax.is_gate(eqn) else None
    if gate is None:
        return dict(node.parameters)
    signature = inspect.signature(gate.primal)
    usual = {name: p.default for name, p in signature.parameters.items() if p.kind == p.KEYWORD_ONLY}
    return usual | _jax.backward_parameters(eqn)


def opened(
    node: Node, eqn: Any, uses: Sequence[Use], options: Options, level: int
) -> tuple[Graph, Sequence[Use], Box, Options] | None:
    """In the place of a call that is opened: a graph, its operands, the box, and how to go on in it."""
    if node.primitive in LOOPS:
        once = node.primitive == "scan" and level < options.depth and node.parameters["length"] <= MOST_STEPS
        if not (options.unroll or once):
            return None
        graph = LOOPS[node.primitive](eqn, [use.flow.value for use in uses], node.line)
        depth = options.depth + 1  # the box of a step is one more, that is gone when it is rolled up
        if options.unroll:
            depth = max(options.depth, level) + 2  # the loop and its steps are open
        name = node.name if options.unroll else display_name(node)
        return graph, uses, Box(name, node.line), dataclasses.replace(options, depth=depth)
    if node.primitive not in OPENED or level >= options.depth:
        return None
    if node.primitive == "cond":
        branch = int(uses[0].flow.value)
        return node.graphs[branch], uses[1:], Box(f"cond: branch {branch}", node.line), options
    rules = written_out(options.rules, rule_name(eqn.primitive, eqn.params, options.rules))
    return node.graphs[0], uses, Box(display_name(node), node.line), dataclasses.replace(options, rules=rules)


@functools.cache
def written_out(rules: Table, name: str) -> Table:
    """The table without the rule of a function that is opened: its operations go back by their own."""
    return Table({other: rule for other, rule in rules.items() if other != name}) if name in rules else rules


def written(node: Node, eqn: Any, rules: Table) -> tuple[str, str]:
    """Formula and source of a node's way back, as far as they are on record."""
    if node.primitive == "custom_vjp_call":
        gate = getattr(_jax.backward_function(eqn), "gate", None)
        return (gate.formula, gate.source) if gate else ("", "")
    if _jax.is_foreign(eqn.primitive):
        return "", f"the rule of {_jax.author_of(eqn.primitive)}"
    name = rule_name(eqn.primitive, eqn.params, rules)
    if name in rules:
        return rules[name].formula, rules[name].source
    return "", ""


def display_name(node: Node) -> str:
    """The name of a node without the underscore of JAX's own helpers; a scan with its number of steps."""
    if node.primitive == "scan":
        return f"scan × {node.parameters['length']}"
    return node.name.strip("_")


def only_weak_type(node: Node) -> bool:
    """Whether a node changes nothing but whether JAX calls a dtype weak."""
    return node.primitive == "convert_element_type" and node.parameters["new_dtype"] == getattr(
        node.inputs[0], "dtype", None
    )
