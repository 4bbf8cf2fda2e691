"""The gradient check of the lecture, for a whole network: numerical beside analytic, leaf by leaf.

CS231n 2019, lecture 4, slides 8 and 14, with the course's notes on gradient checks: in double precision,
by the relative error |x̄ − n| / max(|x̄|, |n|), in the words of `thresholds.BANDS`.

A net has too many parameters to move each one. Every leaf is moved in two random directions, which see an
error in any of its elements, and in two elements alone, its largest gradient and one at random. The step
is found by extrapolation, so the numerical gradient is good to ten digits where the loss is smooth.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from funcnet._compiled import undisturbed
from funcnet._errors import GradientError
from funcnet._types import Host
from funcnet.check.answers import Answers, answers
from funcnet.check.case import Case
from funcnet.check.comparisons import Along, slopes_along
from funcnet.check.criteria import ends, finite, first, typed
from funcnet.check.finding import Finding, finding, number, raised
from funcnet.check.layer import wrong_gate
from funcnet.check.noise import signs
from funcnet.check.options import Options
from funcnet.check.oracles import set_up
from funcnet.check.probes import at_random, one_element
from funcnet.check.report import table
from funcnet.check.thresholds import BANDS, COARSE, TIMEOUT
from funcnet.numerical.slopes import SURE


@dataclass(frozen=True)
class Leaf:
    """One array of the parameters.

    Attributes:
        name: `params['layer1']['w']`.
        shape: its shape.
        analytic: ⟨x̄, v⟩ along the direction with the largest relative error.
        numerical: the slope of the loss along it.
        error: the relative error.
        band: what the lecture calls such an error; or "kink" where the slopes to either side differ and hold
            the gradient, and "not seen" where there are none, as of a loss that is rounded to bfloat16.
    """

    name: str
    shape: tuple[int, ...]
    analytic: float
    numerical: float
    error: float
    band: str


def _band(error: float) -> str:
    return next((name for limit, name in BANDS if error <= limit), "wrong")


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
            numbers = f"{leaf.analytic:.6g}", f"{leaf.numerical:.6g}", f"{leaf.error:.1e}"
            rows.append((name, *numbers, leaf.band))
        hidden = sum(leaf.band == "not seen" for leaf in self.leaves)
        limits = f", where differences see it: not in {hidden} of {len(self.leaves)} arrays" if hidden else ""
        return "\n".join([f"{self.function}: the gradient of the loss is right{limits}", *table(rows)])


def check_gradient(
    loss: Callable,
    params: Any,
    *batch: Any,
    argnums: int | Sequence[int] = 0,
    reference: Callable | None = None,
    order: int = 1,
    timeout: float | int = TIMEOUT,
    key: Any = 0,
) -> GradientReport:
    """Check the gradient of a whole network against the slopes of its loss, in float64.

    A model that runs in float32 alone is checked there, as well as that can be. Where the gradient is wrong,
    the message names the gate behind which it is still right, and its source line.

    Args:
        loss: `loss(params, *batch)`, to a scalar.
        params: pytree of floats.
        *batch: whatever else the loss takes.
        argnums: which of `(params, *batch)` are differentiated.
        reference: the same loss without rules of its own, whose slopes are taken.
        order: 2 checks the gradient of ⟨∇L, w⟩ for a random w too, which is the Hessian times w.
        timeout: seconds that loops and callbacks may take.
        key: a number or a key of jax.random, from which the directions come.

    Returns:
        For each leaf of the parameters the largest relative error found, and the lecture's word for it, or
        "not seen" where the differences show no slope, as of a loss that is rounded to bfloat16.

    Raises:
        VJPCheckError: the gradient of a leaf is not the slope of the loss.
        GradientError: the loss is no scalar.
        ParameterError: an argument of the check itself is not what it should be.

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
    options = Options(check_gradient, argnums, reference, order=order, elsewhere=(), timeout=timeout, key=key)
    return raised(_in_orders(loss, (params, *batch), options))


def _in_orders(
    loss: Callable, args: Sequence[Any], options: Options, order: int = 1
) -> GradientReport | Finding:
    case = set_up(loss, args, options, order=order)
    outcome = _checked(case, answers(case, batch=1))
    if order == options.order or isinstance(outcome, Finding):
        return outcome
    again = _in_orders(_product(case), args, options, order + 1)
    if isinstance(again, Finding):
        return replace(again, summary=f"at order {order + 1}, of ⟨∇L, w⟩: {again.summary}")
    return replace(outcome, leaves=(*outcome.leaves, *again.leaves))


def _product(case: Case) -> Callable:
    """⟨∇L, w⟩ for a random w, whose gradient is the Hessian times w."""
    rng, gradient = case.rng("Hessian"), case.gradient(case.flat, [np.ones(())])
    weights = [signs(x, rng) for x in case.subject.xs]

    def product(*args: Any) -> Any:
        pairs = zip(gradient(*args), weights, strict=True)
        return sum((x_bar * w.astype(x_bar.dtype)).sum() for x_bar, w in pairs)

    return functools.wraps(case.subject.fun)(product)


@undisturbed()
def _checked(case: Case, seen: Answers) -> GradientReport | Finding:
    if lost := first(seen, (typed, ends, finite)):
        return lost
    shapes = [y.shape for y in case.traced(case.base).ys]
    if shapes != [()]:
        raise GradientError(
            f"check_gradient of {case.subject.name}: the result has floats of shapes {shapes}, expected "
            f"one scalar; return the loss alone, summed or averaged"
        )
    point = case.widened(seen.probe)
    moves = at_random(point.xs, case.rng("directions"))
    for i, x_bar in enumerate(seen.rule.found):
        places = _elements(x_bar, case.rng(f"elements {i}")) if x_bar.size else []
        moves += [(i, "", one_element(point.xs, i, place)) for place in places]
    along = slopes_along(seen, moves)
    leaves = []
    for i, x in enumerate(seen.probe.xs):
        own = [one for one in along if one.i == i]
        wrong = [one for one in own if not np.isfinite(one.rule) or not one.agrees()]
        if wrong:
            return _wrong(case, seen, i, wrong, len(own))
        if x.size:
            worst, scale = max(own, key=_relative), float(seen.probe.given[0])
            zero = case.u <= COARSE and any(one.slope.is_zero for one in own)
            is_seen = zero or any(_is_seen(one) or one.slope.kink for one in own)
            band = ("kink" if worst.slope.kink else _band(_relative(worst))) if is_seen else "not seen"
            sizes = worst.rule / scale, worst.slope.value / scale, _relative(worst)
            leaves.append(Leaf(case.subject.names[i], x.shape, *sizes, band))
    return GradientReport(case.subject.name, tuple(leaves))


def _elements(x_bar: Host, rng: np.random.Generator) -> list[tuple[Any, ...]]:
    """The place of the largest gradient, and one at random."""
    largest = np.nan_to_num(np.abs(x_bar.astype(complex))).argmax()
    return [np.unravel_index(flat, x_bar.shape) for flat in (largest, rng.integers(x_bar.size))]


def _wrong(case: Case, seen: Answers, i: int, wrong: Sequence[Along], tried: int) -> Finding:
    one, scale = wrong[0], float(seen.probe.given[0])
    rule, slope, error = (x / scale for x in (one.rule, one.slope.value, one.slope.error))
    return finding(
        case,
        "KINK" if one.slope.kink else "WRONG",
        "the gradient of the loss is not its slope",
        ("along v", f"⟨x̄, v⟩ {number(rule)}, differences {number(slope)} ± {abs(error):.0e}"),
        ("error", f"{_relative(one):.1e} relative: {_band(_relative(one))}"),
        ("found", f"in {len(wrong)} of {tried} directions"),
        ("layer", wrong_gate(seen, one.move)),
        ("do", "check the rules on the way to this parameter one by one with funcnet.check_vjp"),
        about=(i, case.base),
    )


def _relative(one: Along) -> float:
    """|x̄ − n| / max(|x̄|, |n|); 0 where both vanish."""
    error, size = abs(one.rule - one.slope.value), max(abs(one.rule), abs(one.slope.value))
    return error / size if _is_seen(one) else 0.0


def _is_seen(one: Along) -> bool:
    """Whether it is told from 0, by differences and beside its terms; what is no number is."""
    return not max(abs(one.rule), abs(one.slope.value)) <= max(SURE * one.slope.error, one.rounding)
