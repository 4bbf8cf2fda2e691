"""Boxes around the steps of a record, and the steps in a closed one as one step.

    boxed         a box for each named scope: one for all that follow one another in it
    without_most  a scope around most of the steps is no box
    by_argument   where no scope is named, a box for each part of the arguments
    closed        the steps of a box that is deeper than what is shown open become one

A step knows through its path in which boxes it stands.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from funcnet.drawing.diagram.model import Box, Inside
from funcnet.drawing.diagram.steps import Flow, Step, Use, add

MANY = 40
"""Up to so many steps stand without boxes where no scope is named."""


def boxed(steps: Sequence[Step]) -> list[Step]:
    """The steps with a box for each named scope: one for all that follow one another in it."""
    path: tuple[Box, ...] = ()
    done = []
    for step in steps:
        same = _common([*map(_scope, path)], [*map(_scope, step.path)])
        path = (*path[:same], *step.path[same:])
        done.append(dataclasses.replace(step, path=path))
    return done


def without_most(steps: Sequence[Step], levels: int) -> list[Step]:
    """The steps out of each scope that more than half of them are in: a model under its loss is all of it.

    Args:
        steps: in their boxes.
        levels: how many boxes stand around all of them.
    """
    steps = list(steps)
    while True:
        scopes = Counter(box for step in steps for box in step.path[levels : levels + 1] if box.line is None)
        largest, count = next(iter(scopes.most_common(1)), (None, 0))
        if 2 * count <= len(steps):
            return steps
        steps = [
            dataclasses.replace(step, path=tuple(box for box in step.path if box is not largest))
            for step in steps
        ]


def has_scopes(steps: Sequence[Step]) -> bool:
    """Whether a scope is named around a step."""
    return any(box.line is None for step in steps for box in step.path[:1])


def by_argument(steps: Sequence[Step], results: Sequence[Use]) -> list[Step]:
    """Many steps in boxes called by the parts of the arguments that they read; for where no scope is named.

    A step is in the box of the part that it reads. One that reads none is where what it takes was made or, if
    that is in several boxes, where all that it makes is used; if that is in several too, it is in no box.
    """
    if len(steps) <= MANY:
        return list(steps)
    calls = [list(call) for _, call in groupby(steps, lambda step: step.path[0] if step.path else step)]
    part_of: dict[Flow, str] = {}
    parts = []
    for call in calls:
        flows = [use.flow for step in call for use in step.inputs]
        read = {part(flow.name) for flow in flows if flow.role == "input"} - {""}
        parts.append(_single(read or {part_of[flow] for flow in flows if flow in part_of}))
        part_of |= {flow: parts[-1] for step in call for flow in step.outputs}
    used_in: dict[Flow, set[str]] = {use.flow: {""} for use in results}
    for i, call in reversed(list(enumerate(calls))):
        made = {flow for step in call for flow in step.outputs}
        parts[i] = parts[i] or _single(set().union(*(used_in.get(flow, set()) for flow in made)))
        for flow in {use.flow for step in call for use in step.inputs} - made:
            used_in.setdefault(flow, set()).add(parts[i])
    return [
        dataclasses.replace(step, path=(Box(name), *step.path), depth=step.depth + bool(step.depth))
        if name
        else step
        for call, name in zip(calls, parts, strict=True)
        for step in call
    ]


def part(argument: str) -> str:
    """The part of an argument that a leaf belongs to: its path without its own name, or its place in a list.

    >>> [part(name) for name in ("params/node3/w", "params/node3/edges/0", "layers/2/w", "params/w", "ws/7")]
    ['node3', 'node3', 'layers/2', '', '']
    """
    names = re.findall(r"[^/]+(?:/\d+(?=/|$))?", argument)[:-1]
    return "/".join(name for i, name in enumerate(names) if i or "/" in name)


def _single(parts: set[str]) -> str:
    """The one part that there is; empty if there are several."""
    return next(iter(parts)) if len(parts) == 1 else ""


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
        inside=tuple(one for step in group for one in contents(step)),
        reads=numbers_read(sums),
    )


def numbers_read(flows: Iterable[Flow]) -> Counter[str]:
    """How many numbers of each argument that has parts there are among some flows."""
    counts: Counter[str] = Counter()
    for flow in flows:
        if flow.role == "input" and "/" in flow.name:
            values = flow.value if isinstance(flow.value, tuple) else (flow.value,)
            counts[flow.name.partition("/")[0]] += sum(map(np.size, values))
    return counts


def contents(step: Step) -> tuple[Inside, ...]:
    """What a step adds to what is in a box: itself, or what is in it."""
    values = (use.flow.value for use in step.inputs)
    shapes = tuple(np.shape(value[0] if isinstance(value, tuple) else value) for value in values)
    return step.inside or (Inside(step.name, step.primitive, step.parameters, shapes),)


def _scope(box: Box) -> str | Box:
    """What tells a box from another: a scope its name, a call that it is this one."""
    return box.name if box.line is None else box


def _common(a: Sequence[Any], b: Sequence[Any]) -> int:
    """How many of the first elements two sequences share."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
