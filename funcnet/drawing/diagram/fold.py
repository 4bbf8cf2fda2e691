"""Of layers that repeat the first and the last are shown, and the others are one step."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from funcnet.drawing.diagram.arrays import type_of
from funcnet.drawing.diagram.boxes import together
from funcnet.drawing.diagram.model import Box
from funcnet.drawing.diagram.steps import Flow, Step, Use

FOLD_ABOVE = 24
"""Up to so many steps none are folded."""

NUMBERED_ABOVE = 40
"""Up to so many steps those with other numbers in their names are not alike: `Block_0`, `Block_1`."""

LONGEST_LAYER = 200
"""So many steps a repeated layer has at most."""

FOLDED = " more like the one before"
"""What folded layers are called, behind their number."""

FEW_WIRES = 6
"""So many wires lead to and from folded layers at most, beside constants and the arguments that they alone
use: what is wired otherwise is no chain of layers, and a box with dozens of wires says nothing."""


def repeated(steps: Sequence[Step], results: Sequence[Use]) -> list[Step]:
    """The steps with the middle of every run of equal layers as one, until they are few or none repeat."""
    steps = list(steps)
    while len(steps) > FOLD_ABOVE:
        found = (run for run in runs(steps) if few_wires(one_for(steps, results, *run)))
        run = next(found, None)
        if run is None:
            break
        start, period, count = run
        steps[start + period : start + (count - 1) * period] = [one_for(steps, results, *run)]
    return steps


def one_for(steps: Sequence[Step], results: Sequence[Use], start: int, period: int, count: int) -> Step:
    """The layers of a run between the first and the last, as one step."""
    first, last = start + period, start + (count - 1) * period
    box = Box(f"{count - 2}{FOLDED}")
    return bundled(together(steps, first, last, results, box), steps, first, last)


def few_wires(step: Step) -> bool:
    """Whether a folded step can be drawn."""
    kept = (use.flow for use in step.inputs if use.flow.role != "constant")
    crossing = [flow for flow in kept if not isinstance(flow.value, tuple)]
    return len(crossing) + len(step.outputs) <= FEW_WIRES


def runs(steps: Sequence[Step]) -> list[tuple[int, int, int]]:
    """Start, period and count of the runs of four or more equal layers, the one with most steps first.

    Two steps a period apart do the same in two layers that follow one another if they are called alike and
    take and make the same types. An operand of both is made in the layer itself, as far back; or before all
    layers, so that it is a period further from the later one; or by no step, as the arguments are.
    """
    codes, reaches = forms(steps)
    found = []
    for period in range(1, min(LONGEST_LAYER, len(steps) // 4) + 1):
        further = reaches[period:] - reaches[:-period]
        alike = (codes[period:] == codes[:-period]) & ((further == 0) | (further == period)).all(1)
        turns = np.flatnonzero(np.diff(alike, prepend=False, append=False))
        for start, end in zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True):
            count = (end - start) // period + 1
            if count >= 4:  # the last layer ends where the run does
                found.append((end + period - count * period, period, count))
    return sorted(found, key=lambda run: -run[1] * (run[2] - 2))


def forms(steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray]:
    """For each step a number that those share which may be alike, and how far back its operands are made."""
    makers = {flow: i for i, step in enumerate(steps) for flow in step.outputs}
    numbers: dict[Any, int] = {}
    codes = np.zeros(len(steps), int)
    reaches = np.zeros((len(steps), max((len(step.inputs) for step in steps), default=0)), int)
    for i, step in enumerate(steps):
        flows = [use.flow for use in step.inputs]
        types = tuple(type_of(flow.value) for flow in (*flows, *step.outputs))
        made = tuple(flow in makers for flow in flows)
        name = re.sub(r"\d+", "", step.name) if len(steps) > NUMBERED_ABOVE else step.name
        codes[i] = numbers.setdefault((name, types, made), len(numbers))
        reaches[i, : len(flows)] = [i - makers.get(flow, i) for flow in flows]
    return codes, reaches


def bundled(step: Step, steps: Sequence[Step], start: int, end: int) -> Step:
    """Folded layers' step with those arguments that it alone uses as one flow for each kind of name."""
    elsewhere = {use.flow for i, other in enumerate(steps) if not start <= i < end for use in other.inputs}
    inputs: list[Use] = []
    bundles: dict[str, list[Use]] = {}
    for use in step.inputs:
        if use.flow.role == "input" and use.flow not in elsewhere:
            bundles.setdefault(re.sub(r"\d+", "*", use.flow.name), []).append(use)
        else:
            inputs.append(use)
    for name, uses in bundles.items():
        inputs += uses if len(uses) == 1 else [_bundle(name, uses)]
    return dataclasses.replace(step, inputs=tuple(inputs))


def _bundle(name: str, uses: Sequence[Use]) -> Use:
    """Uses of arguments as one; where one has no gradient, all of them go without."""
    values, gradients = tuple(use.flow.value for use in uses), tuple(use.gradient for use in uses)
    known = all(gradient is not None for gradient in gradients)
    return Use(Flow(values, "input", f"{name} ({len(uses)} arrays)"), gradients if known else None)
