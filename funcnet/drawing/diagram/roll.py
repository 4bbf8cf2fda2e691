"""A scan opened once: the gates of its body, each with what it made in all the steps.

The values of a wire are bundled, a tuple of one array for each step, and so are its gradients. What a step
hands to the next goes through a gate named carry, which takes what the loop begins with and, by a wire that
leads back, what the body makes of it. Behind the loop `last` takes the last
of a bundle and `stack` all of it.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from funcnet.drawing.diagram.local import Candidate
from funcnet.drawing.diagram.steps import Flow, Step, Use, add


def rolled(steps: Sequence[Step], results: Sequence[Use], level: int) -> tuple[list[Step], list[Use]]:
    """The steps of a loop that was run one by one as those of its body.

    Args:
        steps: all of them; those of the body have the box of their turn at `level` of their path.
        results: what the loop returns.
        level: see `steps`.

    Returns:
        Steps and results; as they came where not all turns did the same, as behind an opened branch.
    """
    inner = [step for step in steps if len(step.path) > level and step.path[level].name.startswith("step ")]
    turns = [list(turn) for _, turn in itertools.groupby(inner, lambda step: step.path[level].name)]
    if len({tuple(map(_name, turn)) for turn in turns}) != 1:
        return list(steps), list(results)
    loop = Loop(turns, level)
    body = [loop.one(same) for same in zip(*turns, strict=True)]
    outer = [step for step in steps if step not in set(inner)]
    end, out = loop.ends(outer, results)
    return [*loop.carries(), *body, *end], out


class Loop:
    """The flows of a loop, bundled over its turns."""

    def __init__(self, turns: Sequence[Sequence[Step]], level: int):
        first = turns[0][0]
        self.turns, self.count = turns, len(turns)
        self.path, self.depth = first.path[:level], first.depth - 1
        self.bundle: dict[Flow, Flow] = {}
        self.made_in: dict[Flow, int] = {}
        self.carried: dict[tuple[Flow, Flow], tuple[Flow, list[Any]]] = {}
        for same in zip(*turns, strict=True):
            for flows in zip(*(step.outputs for step in same), strict=True):
                self.bundle |= dict.fromkeys(flows, Flow(tuple(flow.value for flow in flows)))
                self.made_in |= {flow: t for t, flow in enumerate(flows)}

    def one(self, same: Sequence[Step]) -> Step:
        """One gate of the body, of its steps in all turns."""
        inputs = tuple(map(self.use, zip(*(step.inputs for step in same), strict=True)))
        outputs = tuple(self.bundle[flow] for flow in same[0].outputs)
        path = (*self.path, *same[0].path[len(self.path) + 1 :])
        local = tuple(map(_candidates, zip(*(step.local for step in same), strict=True)))
        changed = {"inputs": inputs, "outputs": outputs, "path": path, "local": local}
        changed["kept"] = sum(step.kept for step in same)
        return dataclasses.replace(same[0], name=_name(same[0]), depth=self.depth, **changed)

    def use(self, uses: Sequence[Use]) -> Use:
        """What one operand is in all turns: one flow from outside, a bundle of this body, or a carry."""
        flows, gradients = [use.flow for use in uses], [use.gradient for use in uses]
        if len(set(flows)) == 1 and flows[0] not in self.bundle:
            total = None
            for gradient in gradients:
                total = add(total, gradient)
            return Use(flows[0], total)
        if all(flow.role == "constant" for flow in flows):
            return Use(flows[0], None)
        bundled = _bundled(gradients, [flow.value for flow in flows])
        if [self.made_in.get(flow) for flow in flows] == list(range(self.count)):
            return Use(self.bundle[flows[0]], bundled)
        key = flows[0], self.bundle[flows[1]]
        carry, sums = self.carried.setdefault(
            key, (Flow(tuple(flow.value for flow in flows)), [None] * self.count)
        )
        sums[:] = map(add, sums, gradients)
        return Use(carry, bundled)

    def carries(self) -> list[Step]:
        """The gates that a step's carries come from."""
        steps = []
        for (begin, following), (carry, sums) in self.carried.items():
            onward = _bundled([*sums[1:], None], following.value)
            inputs = Use(begin, sums[0]), Use(following, onward)
            steps.append(Step("carry", inputs, (carry,), self.path, self.depth))
        return steps

    def ends(self, outer: Sequence[Step], results: Sequence[Use]) -> tuple[list[Step], list[Use]]:
        """What takes the loop's results out of bundles, and those results."""
        makers = {flow: step for step in outer for flow in step.outputs}
        steps, out = [], []
        for result in results:
            if result.flow in makers:
                steps.append(self._end("stack", self._stacked(makers, result.flow), result.flow))
            elif result.flow in self.bundle:
                bundle, last = self.bundle[result.flow], [*[None] * (self.count - 1), result.gradient]
                result = Use(Flow(result.flow.value), result.gradient)
                steps.append(self._end("last", [Use(bundle, _bundled(last, bundle.value))], result.flow))
            out.append(result)
        return steps, out

    def _end(self, name: str, inputs: Sequence[Use], flow: Flow) -> Step:
        return Step(name, tuple(inputs), (flow,), self.path[:-1], self.depth)

    def _stacked(self, makers: dict[Flow, Step], flow: Flow) -> list[Use]:
        """The bundles, or flows from outside, that a stack is made of."""
        uses, queue = [], [flow]
        while queue:
            for use in makers[queue.pop()].inputs:
                if use.flow in makers:
                    queue.append(use.flow)
                else:
                    uses.append(use)
        bundles = {self.bundle.get(use.flow, use.flow) for use in uses}
        if len(bundles) > 1 or uses[0].flow not in self.bundle:
            return list({use.flow: use for use in uses}.values())
        sent: list[Any] = [None] * self.count
        for use in uses:
            sent[self.made_in[use.flow]] = add(sent[self.made_in[use.flow]], use.gradient)
        bundle = self.bundle[uses[0].flow]
        return [Use(bundle, _bundled(sent, bundle.value))]


def _name(step: Step) -> str:
    """The name of a step in all turns: turn 3 reads x[3], all read x[t]."""
    return "[t]" if step.name.startswith("[") else step.name


def _bundled(gradients: Sequence[Any], values: Sequence[Any]) -> Any:
    """Gradients as a tuple, in which None is zero; None where all are."""
    if all(gradient is None for gradient in gradients):
        return None
    pairs = zip(gradients, values, strict=True)
    return tuple(jnp.zeros_like(value) if gradient is None else gradient for gradient, value in pairs)


def _candidates(same: Sequence[Candidate | None]) -> Candidate | None:
    """A local gradient in all turns."""
    found = [one for one in same if one]
    if len(found) < len(same):
        return None
    return Candidate(tuple(one.local for one in found), tuple(one.holds for one in found))
