"""One net of the demo: what it is, its points, how far it has learned. It is a value; acts make new ones."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from funcnet._errors import ParameterError
from funcnet.demo.picture import View, seeing
from funcnet.demo.plane import Points, drawn, points
from funcnet.demo.program import Knobs, State, advancing, initial
from funcnet.demo.settings import Settings

KEPT = 64
"""So many earlier states are kept, from which a step back begins."""


@dataclass(frozen=True, eq=False)
class Session:
    """A net that learns while one watches.

    Attributes:
        settings: what was chosen.
        points: the data; `edited` as the page has changed them, or as they were drawn.
        state: the net.
        earlier: states of fewer steps with the same settings and points, oldest first.
    """

    settings: Settings
    points: Points
    state: State
    earlier: tuple[State, ...] = ()

    @property
    def knobs(self) -> Knobs:
        """The numbers that need no new program."""
        return Knobs(self.settings.rate, self.settings.strength)

    @property
    def step(self) -> int:
        """How many steps have been made."""
        return int(self.state.step)

    def ran(self, steps: int) -> "Session":
        """After so many steps more; without a point to train on nothing moves."""
        if not steps or not self.points.train.any():
            return self
        state = advancing(self.settings.recipe)(self.state, self.points, self.knobs, steps)
        return replace(self, state=state, earlier=(*self.earlier, self.state)[-KEPT:])

    def back(self) -> "Session":
        """One step earlier: the last state kept before it, and from there the same steps once more.

        Raises:
            ParameterError: it goes back to no state that is kept.
        """
        before = [state for state in self.earlier if state.step < self.state.step]
        if not before:
            raise ParameterError(
                "there is no earlier step to go back to; a restart begins anew, and a change of the settings "
                "or of the points forgets the steps before it"
            )
        *earlier, start = before
        steps = self.step - 1 - int(start.step)
        found = replace(self, state=start, earlier=tuple(earlier)).ran(steps)
        return found if steps else replace(found, earlier=tuple(earlier))

    def with_settings(self, settings: Settings) -> "Session":
        """Under other settings: with its points and weights, if these do not depend on what has changed."""
        if settings.start != self.settings.start:
            return started(settings)
        state = self.state
        if settings.optimizer != self.settings.optimizer:
            fresh = started(settings).state
            state = State(state.params, fresh.update, state.key, state.step)
        return replace(self, settings=settings, state=state, earlier=())

    def with_points(self, rows: tuple[tuple[float, float, int, int], ...]) -> "Session":
        """With other points, as (x, y, class, whether it is trained on); the net goes on from where it is.

        Raises:
            ParameterError: a point has a class that the net has not.
        """
        table = np.array(rows, np.float64).reshape(-1, 4)
        if (table[:, 2] >= self.settings.outputs).any():
            label, most = int(table[:, 2].max()), self.settings.outputs
            raise ParameterError(
                f"a point has class {label}; expected 0 to {most - 1}: the net tells {most} classes apart"
            )
        found = points(table[:, :2], table[:, 2], table[:, 3] == 1)
        return replace(self, points=found, earlier=())

    def restarted(self) -> "Session":
        """Before the first step, on the points that it has."""
        return replace(started(self.settings), points=self.points)

    def picture(self, view: View) -> dict[str, Any]:
        """All that is seen of it, as arrays on the host; see `picture.picture`."""
        example = min(view.example, max(self.points.filled - 1, 0))
        recipe = self.settings.recipe._replace(optimizer="", batch=0)  # whatever it learns by
        seen = seeing(recipe)(self.state, self.points, self.knobs, view._replace(example=example))
        return jax.device_get(seen)


def started(settings: Settings) -> Session:
    """A net before its first step."""
    named = {name: getattr(settings, name) for name in ("noise", "test", "seed")}
    data = drawn(settings.data, classes=settings.outputs, **named)
    return Session(settings, data, initial(settings.recipe, settings.seed))
