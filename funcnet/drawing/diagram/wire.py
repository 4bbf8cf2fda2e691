"""From the steps of a record to a Diagram: each use of a value has a wire of its own."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

from funcnet.drawing.diagram.marks import marks
from funcnet.drawing.diagram.model import Box, Diagram, Gate, Wire
from funcnet.drawing.diagram.steps import Flow, Step, Use, add


def with_copies(
    inputs: Sequence[Flow], steps: Sequence[Step], results: Sequence[Use]
) -> tuple[list[Step], list[Use]]:
    """The steps with a copy gate after each value that has more uses than one, so that each flow has one.

    An argument that is itself a result goes through one too. The gradient of what is copied is the sum
    of what its uses send back, added up in the order of the way back.
    """
    uses: dict[Flow, list[Use]] = {}
    for use in (*(use for step in steps for use in step.inputs), *results):
        uses.setdefault(use.flow, []).append(use)
    straight = {use.flow for use in results if use.flow.role == "input"}
    copied = [f for f in uses if f.role != "constant" and (len(uses[f]) > 1 or f in straight)]
    branches = {flow: tuple(Flow(flow.value) for _ in uses[flow]) for flow in copied}
    fresh = {flow: iter(outs) for flow, outs in branches.items()}

    def copies(flows: Iterable[Flow], path: tuple[Box, ...] = ()) -> list[Step]:
        totals = {
            flow: functools.reduce(add, (use.gradient for use in reversed(uses[flow])))
            for flow in flows
            if flow in fresh
        }
        return [
            Step("copy", (Use(flow, total),), branches[flow], path, 0, formula="x̄ = Σ ȳ")
            for flow, total in totals.items()
        ]

    def branch(use: Use) -> Use:
        return Use(next(fresh[use.flow]), use.gradient) if use.flow in fresh else use

    done = copies(inputs)
    for step in steps:
        done.append(dataclasses.replace(step, inputs=tuple(map(branch, step.inputs))))
        done += copies(step.outputs, step.path)
    return done, list(map(branch, results))


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
            step.inside,
            step.reads,
        )
        for i, step in enumerate(steps)
    ]
    found = marks(gates)
    marked = tuple(dataclasses.replace(gate, marks=tuple(found[gate.number])) for gate in gates)
    return Diagram(marked, (*wires.values(), *constants), tuple(wires[use.flow] for use in results))
