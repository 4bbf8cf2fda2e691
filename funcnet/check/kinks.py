"""⟨x̄, v⟩ beside the slope along v: along random directions, and along those in which a kink would show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from funcnet._errors import ParameterError, VJPCheckError
from funcnet._types import Host
from funcnet.check import directions
from funcnet.check.criteria import unit
from funcnet.check.differences import Slope
from funcnet.check.primal import subject
from funcnet.check.probes import Probe
from funcnet.check.settle import at, number
from funcnet.check.trial import Trial, trial


@dataclass(frozen=True, eq=False)
class View:
    """A gradient seen along one direction.

    Attributes:
        trial: the trial.
        x_bars: the gradient.
        move: the direction v.
        slope: the slope along it.
        tangent: the same by forward mode.
    """

    trial: Trial
    x_bars: Sequence[Host]
    move: directions.Direction
    slope: Slope
    tangent: float

    @property
    def rule(self) -> float:
        """⟨x̄, v⟩."""
        return float(sum((x_bar * v).sum().real for x_bar, v in zip(self.x_bars, self.move, strict=True)))

    @property
    def size(self) -> float:
        """What errors along this direction are small beside: Σ |x̄ v|, or the slope."""
        total = sum(np.abs(x_bar * v).sum() for x_bar, v in zip(self.x_bars, self.move, strict=True))
        return max(float(total), *map(abs, (self.slope.value, self.slope.low, self.slope.high)))

    @property
    def rounding(self) -> float:
        """How far ⟨x̄, v⟩ may be off by the rounding of its terms."""
        u = max(
            unit(kind) for kind in (self.trial.grain, *(x.dtype for x in self.trial.point(self.trial.base)))
        )
        return max(self.trial.exact, 100 * u) * self.size

    @property
    def tolerance(self) -> float:
        """How far ⟨x̄, v⟩ may be from the slope: by the slope's error, and by rounding."""
        largest = max(map(abs, (self.slope.value, self.slope.low, self.slope.high)))
        return 10 * self.slope.error + 1e-6 * largest + self.rounding

    def agrees(self) -> bool:
        """Whether the gradient can be that slope; if that is not known, what forward mode makes of it.

        The latter is the dot product test: ⟨ȳ, J v⟩ = ⟨x̄, v⟩. It decides at kinks too: the middle one of
        several equal elements in a sort may go where neither side goes.
        """
        if not np.isfinite(self.rule):
            return True
        noise = self.rounding + (self.slope.error if self.trial.grain.itemsize < 8 else 0.0)
        as_forward_mode = not np.isfinite(self.tangent) or bool(abs(self.tangent - self.rule) <= noise)
        if self.slope.error > 1e-3 * self.size:
            return as_forward_mode
        return self.slope.admits(self.rule, self.tolerance) or (self.slope.kink and as_forward_mode)

    def moves(self, i: int) -> bool:
        """Whether the function changes along this direction, which moves the i-th x."""
        size = max(abs(self.slope.low), abs(self.slope.high))
        return bool(np.any(self.move[i])) and np.isfinite(self.slope.error) and size > 100 * self.slope.error

    def wrong(self, where: str, argument: str = "") -> Exception:
        """The error that shows the disagreement."""
        slope = self.slope
        sides = (
            "kink",
            f"slopes {number(slope.left)} and {number(slope.right)} to either side; {self._moved()}",
        )
        summary = "is not between the slopes to either side of the kink" if slope.kink else "is not the slope"
        seen = f"differences {number(slope.value)} ± {slope.error:.0e}, forward mode {number(self.tangent)}"
        return self.trial.fail(
            "KINK" if slope.kink else "WRONG",
            f"the gradient {summary} {where}",
            ("along v", f"⟨x̄, v⟩ {number(self.rule)}, {seen}"),
            *([sides] if slope.kink else [("moved", self._moved())]),
            ("oracles", "differences disagree with the rule; autodiff of the primal agrees with it"),
            ("hint", "a stop_gradient in the primal, or a tie rule that the function does not have"),
            ("reproduce", self.trial.again),
            argument=argument,
        )

    def _moved(self) -> str:
        places = [
            f"{at(name, tuple(place))} = {number(x[tuple(place)])}"
            for name, x, v in zip(self.trial.subject.names, self.trial.subject.xs, self.move, strict=True)
            for place in np.argwhere(v)[:3]
        ]
        more = sum(np.count_nonzero(v) for v in self.move) > len(places)
        return f"v moves {', '.join(places)}{' …' if more else ''}"

    def keeps(self, promise: float | int) -> None:
        """Raise KINK unless the gradient is what the rule promises at a kink."""
        slope = self.slope
        promised = slope.left + promise * (slope.right - slope.left)
        if slope.kink and abs(self.rule - promised) > self.tolerance:
            raise self.trial.fail(
                "KINK",
                f"the rule promises {promise:g} of the way from left to right, and does not keep it",
                ("along v", f"⟨x̄, v⟩ {number(self.rule)}, promised {number(promised)}"),
                (
                    "kink",
                    f"slopes {number(slope.left)} and {number(slope.right)} to either side; {self._moved()}",
                ),
                ("reproduce", self.trial.again),
            )


def check_slopes(
    made: Trial, probe: Probe, x_bars: Sequence[Host], promise: float | int | None
) -> list[bool]:
    """Compare ⟨x̄, v⟩ with the slopes, for random directions and for groups of equal elements.

    Args:
        made: the trial.
        probe: the point and the upstream gradient.
        x_bars: the gradient there.
        promise: what the rule promises at a kink, from 0, the left slope, to 1, the right one.

    Returns:
        For each x, whether the function changes when it is moved.

    Raises:
        VJPCheckError: WRONG, if the slope is another; KINK, if the gradient is not between the two sides.
    """
    (wide,) = made.widened([probe])
    random = directions.random(wide, made.rng)
    groups = [directions.of_group(wide, group, made.rng) for group in directions.equals(wide)]
    moves = [v for _, v in random] + [v for group in groups for v in group]
    views = list(map(View, [made] * len(moves), [x_bars] * len(moves), moves, *made.slopes(probe, moves)))
    for i in range(len(probe.xs)):
        own = [view for view, (place, _) in zip(views, random, strict=False) if place == i]
        if own and not any(view.agrees() for view in own):
            raise own[0].wrong(
                f"along a random direction of {made.subject.names[i]}", made.describe(i, made.base)
            )
    for n in range(len(groups)):
        for view, how in zip(
            views[len(random) + 3 * n :], ("together", "one against the other", "alone"), strict=False
        ):
            if not view.agrees():
                raise view.wrong(f"where equal elements move {how}")
            if promise is not None and how == "alone":
                view.keeps(promise)
    return [any(view.moves(i) for view in views) for i in range(len(probe.xs))]


def check_kink(fun: Callable, *args: Any, along: Any, key: Any = 0) -> Slope:
    """Check the gradient of a function along one direction, where it may have a kink.

    Args:
        fun: the function.
        *args: where to check it.
        along: the direction: for one argument a pytree like it, for several a tuple of such, None for an
            argument that stays.
        key: a number or a key of jax.random, for the upstream gradient.

    Returns:
        The slope of ⟨ȳ, f⟩ along the direction: its value, and the slopes to either side.

    Raises:
        VJPCheckError: KINK, if the gradient is not between the slopes to either side, output by output;
            WRONG, if there is no kink and the slope is another.
        ParameterError: the direction does not have the structure and shapes of the arguments.

    Source:
        Clarke 1983, Optimization and Nonsmooth Analysis, section 2.1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> sides = check_kink(jax.nn.relu, jnp.zeros(3), along=jnp.array([0.0, 1.0, 0.0]))
        >>> sides.kink
        True
    """
    __tracebackhide__ = True
    asked = subject(fun, args)
    try:
        made = trial(fun, asked, None, key, call="check_kink({}, *args, along=along{})")
        probe = made.probe(made.base)
        (answer,) = made.ask([probe], made.base)
        move = _direction(asked, args, along)
        (slope,), (tangent,) = made.slopes(probe, [move])
        view = View(made, answer.x_bars, move, slope, tangent)
        if not view.agrees():
            raise view.wrong("along the direction given")
    except VJPCheckError as error:
        raise VJPCheckError(error.finding) from None
    return slope


def _direction(asked: Any, args: tuple[Any, ...], along: Any) -> directions.Direction:
    parts = (along,) if len(args) == 1 else along
    whole = [
        jax.tree.map(np.zeros_like, arg) if part is None else part
        for arg, part in zip(args, parts, strict=False)
    ]
    if jax.tree.structure(whole) == jax.tree.structure(list(args)):
        _, found = asked.split(whole)
        if all(np.shape(v) == x.shape for v, x in zip(found, asked.xs, strict=True)):
            return tuple(np.asarray(v).astype(x.dtype) for v, x in zip(found, asked.xs, strict=True))
    raise ParameterError(
        f"check_kink: along has the structure {jax.tree.structure(along)}, expected for each argument None "
        f"or arrays like it, of shapes {[x.shape for x in asked.xs]}"
    )
