"""What a rule answers, in the two modes, and how differences see it.

A derivative J of y = f(x) is one number for each upstream gradient and direction, ⟨ȳ, J v⟩. A rule of reverse
mode is given ȳ and finds x̄ = Jᵀ ȳ; one of forward mode is given ẋ and finds ẏ = J ẋ:

    ⟨x̄, v⟩ = ⟨ȳ, J v⟩ for every v                 ⟨ȳ, ẏ⟩ = ⟨ȳ, J ẋ⟩ for every ȳ

Either is linear in what it is given, and differences of ⟨ȳ, f⟩ along v know what both must be.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from funcnet import backprop
from funcnet._types import Host
from funcnet.check import directions
from funcnet.check.directions import Direction
from funcnet.check.probes import Probe
from funcnet.numerical import transforms
from funcnet.numerical.slopes import sizes


@dataclass(frozen=True)
class Mode:
    """Reverse or forward: how what a rule is given is written, and what it finds.

    `autodiff` is what JAX and funcnet differentiate with, `slow` differences of every element.
    """

    given: str
    found: str
    autodiff: tuple[Callable, ...]
    slow: Callable
    is_reverse: bool

    def answer(self, flat: Callable, autodiff: Callable | None = None) -> Callable:
        """`(rest, xs, given) -> (f(x), the y of the rule's own forward pass, what it finds)`."""
        differentiate = autodiff or self.autodiff[0]

        def at(rest: Any, xs: Any, given: Any) -> tuple[Any, Any, Any]:
            closed = functools.partial(flat, rest)
            if self.is_reverse:
                ys, back = differentiate(closed, *xs)
                y_bars = tuple(one.astype(y.dtype) for one, y in zip(given, ys, strict=True))
                return flat(rest, *xs), ys, back(y_bars)
            return flat(rest, *xs), *differentiate(closed, tuple(xs), tuple(given))

        return at

    def pair(self, probe: Probe, ys: Sequence[Any], i: int, weights: Host) -> tuple[Direction, Direction]:
        """The ȳ and v whose ⟨ȳ, J v⟩ is what is found for the i-th array, summed with weights."""
        if self.is_reverse:
            return probe.given, directions.along(probe.xs, i, weights)
        return directions.along(ys, i, weights), probe.given

    def sizes(self, probe: Probe, i: int) -> Host:
        """How far differences move each element that is found for the i-th array: x by its size."""
        return sizes(probe.xs[i]) if self.is_reverse else np.ones(())


REVERSE = Mode("ȳ", "x̄", (jax.vjp, backprop.vjp), transforms.vjp, True)
FORWARD = Mode("ẋ", "ẏ", (jax.jvp,), transforms.jvp, False)
