"""Pictures of a gradient: our float32 numbers on the true curve, and the errors over all of its domain."""

import io
from typing import Any

import jax
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, SymmetricalLogLocator

from funcnet import vjp

_POINTS = 90
_NEAR = 5.9  # not a whole number, where gamma and its kin have poles
_SMALLEST_SHOWN = 2.0**-4
_STEEP = 100.0


def plot(name: str, truth: Any) -> str:
    """The gradient and its errors as SVG.

    Args:
        name: of the gradient.
        truth: a `tests.rules.ulp.Truth`: the function, its true derivative, and where to look.
    """
    from tests.rules.ulp import NO_DIGIT, errors, true_gradients

    everywhere = _some_of(truth)
    curve = len(everywhere) == 1
    xs = (np.concatenate([_near_zero(everywhere[0]), everywhere[0]]),) if curve else everywhere
    true = true_gradients(truth, xs)[0]
    ours, theirs = (_gradient(truth, transform, xs) for transform in (vjp, jax.vjp))
    x = xs[truth.argument]
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(7.0 if curve else 3.6, 2.3))
        figure.subplots_adjust(left=0.08 if curve else 0.18, right=0.98, bottom=0.2, top=0.88)
        if curve:
            near = slice(0, _POINTS)
            _draw_curve(figure.add_subplot(1, 2, 1), x[near], true[near], ours[near])
        axes = figure.add_subplot(1, 2, 2) if curve else figure.add_subplot()
        for gradient, color, label in [(theirs, "C3", "jax.grad"), (ours, "C0", "funcnet")]:
            ulps = np.maximum(errors(gradient, true), _SMALLEST_SHOWN)
            axes.plot(x, ulps, ".", color=color, markersize=3, label=label)
        axes.set(
            xscale="symlog", yscale="log", ylim=(_SMALLEST_SHOWN / 2, 4 * NO_DIGIT), title="error in ulp"
        )
        _finish(axes, name.partition(" ")[2] or "x")
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()


def _draw_curve(axes: Axes, x: np.ndarray, true: np.ndarray, ours: np.ndarray) -> None:
    axes.plot(x, true, color="0.6", linewidth=2, label="truth")
    axes.plot(x[::3], ours[::3], ".", color="C0", markersize=4, label="rule, float32")
    axes.set(title="gradient for ȳ = 1", yscale="symlog" if abs(true).max() > _STEEP else "linear")
    _finish(axes, "x")


def _finish(axes: Axes, xlabel: str) -> None:
    """Names the axis, and writes numbers as plain text, of which Matplotlib need not typeset powers."""
    axes.set_xlabel(xlabel)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
        ticks = axis.get_major_locator()
        if isinstance(ticks, SymmetricalLogLocator):
            ticks.set_params(numticks=6)
    axes.legend(frameon=False)


def _some_of(truth: Any) -> tuple[np.ndarray, ...]:
    """A few of the inputs over which the errors on record are the largest, in the order of the argument."""
    xs = truth.inputs(np.random.default_rng(231))
    order = np.argsort(xs[truth.argument], kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, 2 * _POINTS).astype(int)]
    return tuple(x[chosen] for x in xs)


def _near_zero(x: np.ndarray) -> np.ndarray:
    """Points within the domain where most of a curve is, without its ends, which may be poles."""
    ends = max(x.min(), -_NEAR), min(x.max(), _NEAR)
    return np.linspace(*ends, _POINTS + 2, dtype=np.float32)[1:-1]


def _gradient(truth: Any, transform: Any, xs: tuple[np.ndarray, ...]) -> np.ndarray:
    from tests.rules.ulp import AS_INSTALLED, gradients

    if transform is jax.vjp and truth.jax < 1:
        return np.full(xs[0].shape, np.nan)
    one = jax.jit(
        lambda *xs: gradients(transform, truth.function, *xs)[truth.argument], compiler_options=AS_INSTALLED
    )
    return np.asarray(one(*xs))
