"""Two sweeps that run elsewhere: inside a compiled function, a branch, the body of a loop.

What the forward sweep puts aside must come out there as outputs and go in again as inputs. A stash as
the rules make it would bring out too much: the same value for two rules, inputs that the caller holds
already, constants, what an inner call might have needed but does not. Staging both sweeps out shows
which values the backward sweep reads and which of them are new; only those become outputs, each once.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from funcnet import _jax
from funcnet.backprop.activity import Mask
from funcnet.backprop.alive import Lives, mask_of, of_mask
from funcnet.backprop.program import Program, program
from funcnet.backprop.sweep import Plan


@dataclass(frozen=True, eq=False)
class Staged:
    """The sweeps of a plan over [*consts, *xs], staged out.

    Attributes:
        ahead: from the inputs to the wanted outputs, followed by the extras.
        back: from the leaves of the stash and the cotangents to the gradients that there are.
        extras: the variables of `ahead` that the backward sweep reads beyond the inputs.
        leaves: for each leaf of the stash, its place in [*inputs, *extras], or None and its value.
        gives: which of the xs get a gradient.
        masked: `masked(tree, masks)` is `back` for cotangents that are alive in places only, with the types
            of the gradients and of where these are alive. The masks of the cotangents, in this structure and
            of these types, follow on the cotangents, and those of the gradients on these.
    """

    ahead: Program
    back: Program
    extras: Sequence[_jax.Var]
    leaves: Sequence[tuple[int | None, Any]]
    gives: Mask
    masked: Callable[[Any, tuple[Any, ...]], tuple[Program, Any]]

    @property
    def reads(self) -> Mask:
        """Which of the inputs the backward sweep reads."""
        places = {place for place, _ in self.leaves}
        return tuple(i in places for i in range(len(self.ahead.inputs)))

    def forward(self, inputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The wanted outputs and the extras."""
        results = self.ahead(inputs)
        n = len(results) - len(self.extras)
        return results[:n], results[n:]

    def backward(self, inputs: Sequence[Any], extras: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
        """A gradient for each of the xs, or None; of the inputs, those that are not read may be None."""
        x_bars = iter(self.back([*self._stash(inputs, extras), *_present(y_bars)]))
        return [next(x_bars) if one else None for one in self.gives]

    def masked_backward(
        self, inputs: Sequence[Any], extras: Sequence[Any], y_bars: Sequence[Any], lives: Lives
    ) -> tuple[list[Any], Lives]:
        """The same for cotangents that are alive in places only, and where the gradients are alive."""
        masks, tree = jax.tree.flatten(lives)
        back, (_, sent) = self.masked(tree, tuple(map(jax.typeof, masks)))
        results = back([*self._stash(inputs, extras), *_present(y_bars), *masks])
        n = sum(self.gives)
        x_bars = iter(results[:n])
        sent = jax.tree.structure(sent).unflatten(results[n:])
        return [next(x_bars) if one else None for one in self.gives], sent

    def alive(self, masks: Sequence[Any]) -> Mask:
        """Which gradients are alive in places that products ask for, where the cotangents have such masks."""
        lives = list(map(of_mask, masks))
        _, (_, sent) = self.masked(
            jax.tree.structure(lives), tuple(map(_jax.type_of, jax.tree.leaves(lives)))
        )
        return tuple(live is not None and live.strict for live in sent)

    def backward_in_parts(
        self, inputs: Sequence[Any], extras: Sequence[Any], y_bars: Sequence[Any], masks: Sequence[Any]
    ) -> tuple[list[Any], list[Any]]:
        """The gradients, and the masks of those that are alive in places; None for the others.

        Args:
            inputs: as of `backward`.
            extras: as of `backward`.
            y_bars: as of `backward`.
            masks: for each cotangent the mask of where it is alive, or None.
        """
        if not any(self.alive(masks)):
            return self.backward(inputs, extras, y_bars), [None] * len(self.gives)
        x_bars, lives = self.masked_backward(inputs, extras, y_bars, list(map(of_mask, masks)))
        return x_bars, list(map(mask_of, lives))

    def _stash(self, inputs: Sequence[Any], extras: Sequence[Any]) -> list[Any]:
        values = [*inputs, *extras]
        return [value if place is None else values[place] for place, value in self.leaves]


def stage(plan: Plan, given: Mask, held: Sequence[bool] | None = None) -> Staged:
    """Stage out the two sweeps of a plan.

    Args:
        plan: the sweeps over a jaxpr.
        given: which outputs have a cotangent.
        held: which of [*consts, *xs] the caller will still hold on the way back; all by default.
    """
    jaxpr = plan.jaxpr
    m = len(jaxpr.constvars)
    ins = [v.aval for v in (*jaxpr.constvars, *jaxpr.invars)]
    ahead, (ys, stash) = program(lambda *xs: plan.forward(xs[:m], xs[m:]), *ins)
    n = len(jax.tree.leaves(ys))
    stash, stash_tree = jax.tree.flatten(stash)
    y_bars = [v.aval if has else None for v, has in zip(jaxpr.outvars, given, strict=True)]
    nowhere = [None] * len(y_bars)

    @functools.cache
    def masked(tree: Any, masks: tuple[Any, ...]) -> tuple[Program, Any]:
        def run(stash: Any, y_bars: Any, lives: Any) -> Any:
            return plan.masked_backward(jax.tree.unflatten(stash_tree, stash), y_bars, lives)

        back, sent = program(run, stash, y_bars, tree.unflatten(masks))
        return back, sent

    back, (x_bars, _) = masked(jax.tree.structure(nowhere), ())
    gives = tuple(x_bar is not None for x_bar in x_bars)
    back = back.only([i < sum(gives) for i in range(len(back.results))])

    places = {v: i for i, v in enumerate(ahead.inputs) if held is None or held[i]}
    extras: list[_jax.Var] = []
    leaves: list[tuple[int | None, Any]] = []
    for atom, one in zip(ahead.results[n:], back.reads[: len(stash)], strict=True):
        if not one:
            leaves.append((None, None))
        elif _jax.is_literal(atom):
            leaves.append((None, atom.val))
        elif atom in ahead.consts:
            leaves.append((None, ahead.consts[atom]))
        else:
            if atom not in places:
                places[atom] = len(ins) + len(extras)
                extras.append(atom)
            leaves.append((places[atom], None))
    ahead = dataclasses.replace(ahead, results=[*ahead.results[:n], *extras]).only([True] * (n + len(extras)))
    return Staged(ahead, back, extras, leaves, gives, masked)


def _present(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None]
