"""Leave out of a record what only stands in the way: fewer steps, in the same order.

    without_dead     what no result needs
    without_zeros    what adds to a zero, as Python's sum begins
    with_constants   what no argument reaches is a constant, its steps are gone, and equal ones are one

Results are renamed with the steps that made them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcnet.drawing.diagram.arrays import is_numeric, type_of
from funcnet.drawing.diagram.steps import Flow, Step, Use


def without_dead(steps: Sequence[Step], results: Sequence[Use]) -> list[Step]:
    """The steps that lead to a result."""
    makers = {flow: step for step in steps for flow in step.outputs}
    queue, needed = [use.flow for use in results], set()
    while queue:
        step = makers.get(queue.pop())
        if step and step not in needed:
            needed.add(step)
            queue += [use.flow for use in step.inputs]
    return [step for step in steps if step in needed]


def without_zeros(steps: Sequence[Step], results: Sequence[Use]) -> tuple[list[Step], list[Use]]:
    """The steps without those that add to a zero, as Python's sum begins."""
    same: dict[Flow, Flow] = {}
    kept = []
    for step in steps:
        inputs = tuple(use.of(same) for use in step.inputs)
        if _adds_to_zero(step):
            same[step.outputs[0]] = inputs[1].flow
        else:
            kept.append(dataclasses.replace(step, inputs=inputs))
    return kept, [use.of(same) for use in results]


def with_constants(steps: Sequence[Step], results: Sequence[Use]) -> tuple[list[Step], list[Use]]:
    """The steps that an argument reaches; what the others made are constants, and equal ones are one."""
    constants: dict[Flow, Flow] = {}
    equal: dict[Any, Flow] = {}

    def constant(flow: Flow) -> Flow:
        return equal.setdefault(content(flow.value), Flow(flow.value, "constant"))

    kept = []
    for step in steps:
        constants |= {use.flow: constant(use.flow) for use in step.inputs if use.flow.role == "constant"}
        inputs = tuple(use.of(constants) for use in step.inputs)
        if all(use.flow.role == "constant" for use in inputs):
            constants |= {flow: constant(flow) for flow in step.outputs}
        else:
            kept.append(dataclasses.replace(step, inputs=inputs))
    return kept, [use.of(constants) for use in results]


def content(value: Any) -> Any:
    """What is equal for equal arrays of up to a million numbers; of all else, which it is."""
    if isinstance(value, tuple) or not is_numeric(value) or np.size(value) > 1_000_000:
        return id(value)
    return *type_of(value), np.asarray(value).tobytes()


def _adds_to_zero(step: Step) -> bool:
    """Whether a step is 0 + x, with a zero of no shape that stands in the program."""
    if step.primitive != "add" or step.inputs[0].flow.role != "constant":
        return False
    zero, x = (use.flow.value for use in step.inputs)
    return np.shape(zero) == () and not np.any(zero) and type_of(x) == type_of(step.outputs[0].value)
