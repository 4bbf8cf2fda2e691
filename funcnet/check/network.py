"""The gradient check of the lecture, for a whole network: numerical beside analytic, leaf by leaf.

CS231n 2019, lecture 4, slides 8 and 14, with the course's notes on gradient checks: in double precision,
by the relative error |x̄ − n| / max(|x̄|, |n|), which reads

    above 1e-2    wrong                         1e-7 to 1e-4    fine if there are kinks: ReLU, max, hinge
    1e-4 to 1e-2  suspicious                    below 1e-7      good

A net has too many parameters to move each one. Every leaf is moved in two random directions, which see an
error in any of its elements, and in two elements alone, its largest gradient and one at random. The step
is found by extrapolation, so the numerical gradient is good to ten digits where the loss is smooth.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from funcnet._errors import GradientError, VJPCheckError
from funcnet._types import Host
from funcnet.check import directions
from funcnet.check.kinks import View
from funcnet.check.primal import subject
from funcnet.check.probes import Probe
from funcnet.check.report import table
from funcnet.check.settle import number
from funcnet.check.trial import Trial, trial

_BANDS = ((1e-7, "good"), (1e-4, "fine with kinks"), (1e-2, "suspicious"), (np.inf, "wrong"))


@dataclass(frozen=True)
class Leaf:
    """One array of the parameters.

    Attributes:
        name: `params['layer1']['w']`.
        shape: its shape.
        analytic: ⟨x̄, v⟩ along the direction with the largest relative error.
        numerical: the slope of the loss along it.
        error: the relative error.
        kink: whether the loss has a kink along it, with slopes to either side that hold the gradient.
    """

    name: str
    shape: tuple[int, ...]
    analytic: float
    numerical: float
    error: float
    kink: bool

    @property
    def band(self) -> str:
        """What the lecture calls a relative error of this size."""
        return "kink" if self.kink else next(name for limit, name in _BANDS if self.error <= limit)


@dataclass(frozen=True)
class GradientReport:
    """A network's gradient that passed its check.

    Attributes:
        function: the name of the loss.
        leaves: one for each array of the parameters.
    """

    function: str
    leaves: tuple[Leaf, ...]

    def __str__(self) -> str:
        rows = [("parameter", "analytic", "numerical", "relative error", "")]
        for leaf in self.leaves:
            name = f"{leaf.name}[{','.join(map(str, leaf.shape))}]"
            rows.append(
                (name, f"{leaf.analytic:.6g}", f"{leaf.numerical:.6g}", f"{leaf.error:.1e}", leaf.band)
            )
        return "\n".join([f"{self.function}: the gradient of the loss is right", *table(rows)])


def check_gradient(loss: Callable, params: Any, *batch: Any, key: Any = 0) -> GradientReport:
    """Check the gradient of a whole network against the slopes of its loss, in float64.

    Args:
        loss: `loss(params, *batch)`, to a scalar.
        params: pytree of floats.
        *batch: whatever else the loss takes.
        key: a number or a key of jax.random, from which the directions come.

    Returns:
        For each leaf of the parameters the largest relative error found, and the lecture's word for it.

    Raises:
        VJPCheckError: the gradient of a leaf is not the slope of the loss.
        GradientError: the loss is no scalar.

    Source:
        CS231n 2019, lecture 4, slides 8 and 14.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcnet import nn
        >>> params = nn.init_mlp(jax.random.key(0), (4, 5, 3))
        >>> def loss(params, x, labels):
        ...     return nn.softmax_loss(nn.mlp(params, x), labels).mean()
        >>> report = check_gradient(loss, params, jnp.ones((2, 4)), jnp.array([0, 2]))
        >>> {leaf.name: leaf.band for leaf in report.leaves}["params['layer2']['w']"]
        'good'
    """
    __tracebackhide__ = True
    try:
        of_params = _bound(loss, batch)
        made = trial(
            of_params, subject(of_params, (params,)), None, key, call="check_gradient({}, params, *batch{})"
        )
        shapes = [y.shape for y in made.results(made.base)]
        if shapes != [()]:
            raise GradientError(
                f"check_gradient of {made.subject.name}: the result has floats of shapes {shapes}, expected "
                f"one scalar; return the loss alone, summed or averaged"
            )
        return GradientReport(made.subject.name, tuple(_leaves(made)))
    except VJPCheckError as error:
        raise VJPCheckError(error.finding) from None


def _bound(loss: Callable, batch: tuple[Any, ...]) -> Callable:
    """The loss as a function of its parameters alone, under its own name and theirs."""

    def of_params(params: Any) -> Any:
        return loss(params, *batch)

    first, *_ = inspect.signature(loss).parameters.values()
    of_params.__name__ = getattr(loss, "__name__", type(loss).__name__)
    of_params.__signature__ = inspect.Signature([first])  # pyright: ignore[reportFunctionMemberAccess]
    return of_params


def _leaves(made: Trial) -> list[Leaf]:
    probe = made.probe(made.base)
    probe = Probe(probe.xs, tuple(np.ones_like(y_bar) for y_bar in probe.y_bars))
    (answer,) = made.ask([probe], made.base)
    (wide,) = made.widened([probe])
    moves = directions.random(wide, made.rng)
    for i, x_bar in enumerate(answer.x_bars):
        moves += [(i, directions.single(wide, i, place)) for place in _elements(x_bar, made.rng)]
    slopes, tangents = made.slopes(probe, [v for _, v in moves])
    leaves = []
    for i, x in enumerate(probe.xs):
        views = [
            View(made, answer.x_bars, v, slope, tangent)
            for (place, v), slope, tangent in zip(moves, slopes, tangents, strict=True)
            if place == i
        ]
        if x.size:
            leaves.append(_leaf(made, i, views))
    return leaves


def _elements(x_bar: Host, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """The place of the largest gradient, and one at random."""
    if not x_bar.size:
        return []
    largest = np.nan_to_num(np.abs(x_bar.astype(complex))).argmax()
    return [
        tuple(map(int, np.unravel_index(flat, x_bar.shape))) for flat in (largest, rng.integers(x_bar.size))
    ]


def _leaf(made: Trial, i: int, views: Sequence[View]) -> Leaf:
    wrong = [view for view in views if not np.isfinite(view.rule) or not view.agrees()]
    if wrong:
        view, slope = wrong[0], wrong[0].slope
        raise made.fail(
            "KINK" if slope.kink else "WRONG",
            "the gradient of the loss is not its slope",
            ("along v", f"⟨x̄, v⟩ {number(view.rule)}, differences {number(slope.value)} ± {slope.error:.0e}"),
            ("error", f"{_relative(view):.1e} relative: {Leaf('', (), 0, 0, _relative(view), False).band}"),
            ("found", f"in {len(wrong)} of {len(views)} directions"),
            ("do", "check the rules on the way to this parameter one by one with funcnet.check_vjp"),
            argument=made.describe(i, made.base),
        )
    worst = max(views, key=_relative)
    name, shape = made.subject.names[i], made.subject.xs[i].shape
    return Leaf(name, shape, worst.rule, worst.slope.value, _relative(worst), worst.slope.kink)


def _relative(view: View) -> float:
    """|x̄ − n| / max(|x̄|, |n|); 0 where both vanish."""
    size = max(abs(view.rule), abs(view.slope.value))
    if not np.isfinite(view.slope.error):
        return 0.0
    return abs(view.rule - view.slope.value) / size if size > 10 * view.slope.error else 0.0
