"""A record of steps whose numbers come from one compiled run.

`record` is traced: it opens, names and links as ever, on stand-ins for numbers. These are the results of the
program, which runs once, and then the numbers take their places.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.core
import numpy as np

from funcnet.backprop import Graph
from funcnet.drawing.diagram.record import Options, record
from funcnet.drawing.diagram.running import run_once
from funcnet.drawing.diagram.steps import Flow, Step, Use


def filled_record(
    graph: Graph, flows: Sequence[Flow], y_bars: Sequence[Any], options: Options
) -> tuple[list[Step], list[Use]]:
    """The steps of a graph on these flows, with their numbers, and the uses that its results are.

    Where a number decides what is drawn, as that of a branch, or where a run has effects, the steps are run
    as they are recorded.

    Raises:
        MissingRuleError: an operation on the way back has no rule.
    """
    if looks_at_numbers(graph, options):
        return with_numbers(*record(graph, flows, y_bars, options), {flow: flow for flow in flows}, {})
    found: list[Any] = []

    def numbers(xs: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
        stand_ins = [dataclasses.replace(flow, value=x) for flow, x in zip(flows, xs, strict=True)]
        steps, results = record(graph, stand_ins, y_bars, options)
        arrays = {id(x): x for x in traced(steps, results)}
        found.extend((steps, results, dict(zip(stand_ins, flows, strict=True)), list(arrays)))
        return list(arrays.values())

    leaves, tree = jax.tree.flatten(([flow.value for flow in flows], list(y_bars)))
    arrays = run_once(lambda *leaves: numbers(*tree.unflatten(leaves)), *leaves)
    steps, results, same, places = found
    return with_numbers(steps, results, same, dict(zip(places, arrays, strict=True)))


def looks_at_numbers(graph: Graph, options: Options) -> bool:
    """Whether a number decides what a graph's picture shows, or to run it is not to run it once."""
    names = set(primitives(graph))
    opened = {"cond"} if options.depth else set()
    return bool(graph.jaxpr.effects) or not names.isdisjoint(
        opened | ({"while"} if options.unroll else set())
    )


def primitives(graph: Graph) -> Iterator[str]:
    """The names of all primitives in a graph and in those that it calls."""
    for node in graph.nodes:
        yield node.primitive
        for inner in node.graphs:
            yield from primitives(inner)


def traced(steps: Sequence[Step], results: Sequence[Use]) -> Iterator[Any]:
    """The stand-ins in a record."""
    uses = [*(use for step in steps for use in step.inputs), *results]
    flows = [*(use.flow for use in uses), *(flow for step in steps for flow in step.outputs)]
    local = [one for step in steps for one in step.local if one]
    numbers = [
        *(flow.value for flow in flows),
        *(use.gradient for use in uses),
        *(x for one in local for x in (one.local, one.holds)),
    ]
    arrays = (x for number in numbers for x in (number if isinstance(number, tuple) else (number,)))
    yield from (x for x in arrays if isinstance(x, jax.core.Tracer))


def with_numbers(
    steps: Sequence[Step], results: Sequence[Use], same: Mapping[Flow, Flow], numbers: Mapping[int, Any]
) -> tuple[list[Step], list[Use]]:
    """A record with numbers in the place of stand-ins.

    Args:
        steps: the record.
        results: its results.
        same: the flows of the arguments, by those that stood for them.
        numbers: what takes the place of what, by its identity.
    """

    def number(x: Any) -> Any:
        return tuple(map(number, x)) if isinstance(x, tuple) else numbers.get(id(x), x)

    @functools.cache
    def flow(old: Flow) -> Flow:
        return same[old] if old in same else dataclasses.replace(old, value=number(old.value))

    def use(old: Use) -> Use:
        return Use(flow(old.flow), number(old.gradient))

    def step(old: Step) -> Step:
        local = tuple(number(one.local) if one and np.all(number(one.holds)) else None for one in old.local)
        inputs, outputs = tuple(map(use, old.inputs)), tuple(map(flow, old.outputs))
        return dataclasses.replace(old, inputs=inputs, outputs=outputs, local=local)

    return list(map(step, steps)), list(map(use, results))
