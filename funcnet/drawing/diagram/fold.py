"""Make a record of steps fit to be looked at: leave out, close, and fold.

Each of these takes the steps of a record and returns fewer, in the same order:

    without_dead     what no result needs
    with_constants   what no argument reaches is a constant, and its steps are gone
    closed           the steps of a named scope deeper than what is shown open become one
    without_zeros    what adds to a zero, as Python's sum begins
    repeated         of layers that repeat, the first and the last are shown and the others are one

and this one adds some:

    with_copies      a value that is used more than once goes through a copy gate
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from funcnet.drawing.diagram.model import Box
from funcnet.drawing.diagram.steps import Flow, Step, Use, add

FOLD_ABOVE = 24
"""Up to so many steps none are folded."""

LONGEST_LAYER = 200
"""So many steps a repeated layer has at most."""

FOLDED = " more like the one before"
"""What folded layers are called, behind their number."""

FEW_WIRES = 6
"""So many wires lead to and from folded layers at most, beside the arguments that they alone use: what is
wired otherwise is no chain of layers, and a box with dozens of wires says nothing."""


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


def with_constants(steps: Sequence[Step], results: Sequence[Use]) -> tuple[list[Step], list[Use]]:
    """The steps that an argument reaches; what the others made are constants."""
    constants: dict[Flow, Flow] = {}
    kept = []
    for step in steps:
        inputs = tuple(use.of(constants) for use in step.inputs)
        if all(use.flow.role == "constant" for use in inputs):
            constants |= {flow: Flow(flow.value, "constant") for flow in step.outputs}
        else:
            kept.append(dataclasses.replace(step, inputs=inputs))
    return kept, [use.of(constants) for use in results]


def boxed(steps: Sequence[Step]) -> list[Step]:
    """The steps with a box for each named scope: one for all that follow one another in it."""
    path: tuple[Box, ...] = ()
    done = []
    for step in steps:
        same = _common([*map(_scope, path)], [*map(_scope, step.path)])
        path = (*path[:same], *step.path[same:])
        done.append(dataclasses.replace(step, path=path))
    return done


def closed(steps: Sequence[Step], results: Sequence[Use]) -> list[Step]:
    """The steps with every box that is deeper than what is shown as one of them."""
    i = 0
    steps = list(steps)
    while i < len(steps):
        step = steps[i]
        if len(step.path) > step.depth:
            box = step.path[step.depth]
            end = next((j for j in range(i, len(steps)) if box not in steps[j].path), len(steps))
            steps[i:end] = [together(steps, i, end, results, box)]
        i += 1
    return steps


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
    crossing = [use for use in step.inputs if not isinstance(use.flow.value, tuple)]
    return len(crossing) + len(step.outputs) <= FEW_WIRES


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


def runs(steps: Sequence[Step]) -> list[tuple[int, int, int]]:
    """Start, period and count of the runs of four or more equal layers, the one with most steps first."""
    makers = {flow: i for i, step in enumerate(steps) for flow in step.outputs}
    signatures = [_signature(step, i, makers) for i, step in enumerate(steps)]
    found = []
    for period in range(1, min(LONGEST_LAYER, len(steps) // 4) + 1):
        run = 0
        for i in range(period, len(steps) + 1):
            if i < len(steps) and _alike(signatures[i], signatures[i - period], period):
                run += 1
                continue
            count = run // period + 1
            if count >= 4:  # the last layer ends where the run does
                found.append((i - count * period, period, count))
            run = 0
    return sorted(found, key=lambda run: -run[1] * (run[2] - 2))


def together(steps: Sequence[Step], start: int, end: int, results: Sequence[Use], box: Box) -> Step:
    """The steps from start to end as one: what they take from outside, and what is used outside."""
    group = steps[start:end]
    made = {flow for step in group for flow in step.outputs}
    sums: dict[Flow, Any] = {}
    for use in (use for step in group for use in step.inputs if use.flow not in made):
        sums[use.flow] = add(sums.get(use.flow), use.gradient)
    outside = [use for i, step in enumerate(steps) if not start <= i < end for use in step.inputs]
    wanted = {use.flow for use in [*outside, *results]}
    paths = [step.path[: step.path.index(box)] if box in step.path else step.path for step in group]
    path = paths[0][: min(_common(paths[0], path) for path in paths)]
    return Step(
        box.name,
        tuple(Use(flow, gradient) for flow, gradient in sums.items()),
        tuple(flow for step in group for flow in step.outputs if flow in wanted),
        path,
        group[0].depth,
        line=box.line or "",
        kept=sum(step.kept for step in group),
    )


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


def _adds_to_zero(step: Step) -> bool:
    """Whether a step is 0 + x, with a zero of no shape that stands in the program."""
    if step.primitive != "add" or step.inputs[0].flow.role != "constant":
        return False
    zero, x = (use.flow.value for use in step.inputs)
    return np.shape(zero) == () and not np.any(zero) and _type(x) == _type(step.outputs[0].value)


def _scope(box: Box) -> str | Box:
    """What tells a box from another: a scope its name, a call that it is this one."""
    return box.name if box.line is None else box


def _signature(step: Step, i: int, makers: dict[Flow, int]) -> tuple[Any, ...]:
    """What makes two steps alike: name, types taken and made, and how far back the inputs are made."""
    places = tuple(i - makers[use.flow] if use.flow in makers else use.flow for use in step.inputs)
    types = tuple(_type(flow.value) for flow in (*(use.flow for use in step.inputs), *step.outputs))
    return step.name, types, places


def _alike(step: tuple[Any, ...], before: tuple[Any, ...], period: int) -> bool:
    """Whether two steps a period apart do the same in two layers that follow one another.

    An operand of both is made in the layer itself, as far back; or before all layers, so that it is a
    period further from the later one; or by no step, as the arguments are.
    """
    return step[:2] == before[:2] and all(
        p - q in (0, period) if isinstance(p, int) and isinstance(q, int) else type(p) is type(q)
        for p, q in zip(step[2], before[2], strict=True)
    )


def _type(value: Any) -> tuple[Any, ...]:
    return (getattr(value, "shape", ()), str(getattr(value, "dtype", type(value).__name__)))


def _common(a: Sequence[Any], b: Sequence[Any]) -> int:
    """How many of the first elements two sequences share."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
