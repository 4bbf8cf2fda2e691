"""Convolutions: of all channels, and of each channel by itself.

Channels come last: x [*batch, *space, channels]. A kernel w [*taps, inputs, outputs] slides over x, and y is
a sum over its taps t and inputs c,

    y[o, f] = Σ x[s·o + d·t − p, c] w[t, c, f]

with stride s, dilation d and p zeros before x. Each product x w is read backwards in two ways,

    x̄[i, c] = Σ ȳ[o, f] w[t, c, f]    over the t, o, f with s·o + d·t − p = i
    w̄[t, c, f] = Σ x[s·o + d·t − p, c] ȳ[o, f]    over the o

and both are convolutions again (Dumoulin and Visin 2016, chapter 4). A depthwise kernel w [*taps, channels]
has one filter for each channel and sums over taps alone: y is a sum of shifted products, and so are x̄ and w̄.
XLA fuses these into few passes over memory, each of one array with zeros around it: of x, which is kept so,
as both ways read it, and of ȳ. Its grouped convolution is several times slower on a CPU, and where examples
are spread over devices each of these first gets all of them. So a few groups are convolved one after the
other.
"""

import functools
import math
import operator
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from funcnet._errors import ShapeError
from funcnet.nn._dtypes import at_least_float32
from funcnet.nn._gate import gate
from funcnet.nn._windows import Lengths, Padding, Windows, windows
from funcnet.rules.convolutions import conv_general_dilated

FEW = 8
"""Groups that are convolved one after the other."""


@gate(
    formula="x̄[i, c] = Σ ȳ[o, f] w[t, c, f] where s·o + d·t − p = i,  "
    "w̄[t, c, f] = Σₒ x[s·o + d·t − p, c] ȳ[o, f]",
    source="LeCun et al. 1989; Dumoulin and Visin 2016, chapter 4; CS231n 2019, lecture 4, slide 39",
)
def conv(
    x: Float[Array, "*batch_and_space inputs"],
    w: Float[Array, "*taps inputs_of_group outputs"],
    *,
    stride: Lengths = 1,
    padding: Padding = "valid",
    dilation: Lengths = 1,
    groups: int = 1,
) -> Float[Array, "*batch_and_windows outputs"]:
    """Convolution (cross-correlation) over as many spatial axes as the kernel has.

    Args:
        x: [*batch, *space, inputs].
        w: [*taps, inputs / groups, outputs].
        stride: places from one window to the next.
        padding: "valid", "same", or how many zeros to put around.
        dilation: places from one tap to the next.
        groups: into how many parts inputs and outputs are split, each part by itself.

    Returns:
        [*batch, *windows, outputs].

    Raises:
        ParameterError: a stride, padding or dilation that is none.
        ShapeError: channels that do not fit, or no window.

    >>> difference = jnp.array([-1.0, 1.0]).reshape(2, 1, 1)
    >>> conv(jnp.array([0.0, 0.0, 3.0, 3.0])[:, None], difference)[:, 0]
    Array([0., 3., 0.], dtype=float32)
    """
    options = _options(x, w, stride, padding, dilation, groups)
    if 1 < groups <= FEW:
        parts = _parts(groups, x, w)
        ways = {"stride": stride, "padding": padding, "dilation": dilation}
        return jnp.concatenate([conv.primal(*each, **ways) for each in parts], axis=-1)
    y = lax.conv_general_dilated(_examples(x, w), w, **options)
    return y.reshape(*x.shape[: x.ndim + 1 - w.ndim], *y.shape[1:])


@conv.forward
def conv_forward(x, w, **params):
    return conv.primal(x, w, **params), (x, w)


@conv.backward
def conv_backward(stash, y_bar, *, stride=1, padding="valid", dilation=1, groups=1):
    x, w = stash
    if 1 < groups <= FEW:
        parts = _parts(groups, y_bar, x, w)
        ways = {"stride": stride, "padding": padding, "dilation": dilation}
        bars = [conv_backward(stash, y_bar, **ways) for y_bar, *stash in parts]
        return tuple(jnp.concatenate(each, axis=-1) for each in zip(*bars, strict=True))
    y_bar = y_bar.reshape(-1, *y_bar.shape[x.ndim + 1 - w.ndim :])
    x_bar, w_bar = conv_general_dilated(
        y_bar, y_bar, _examples(x, w), w, **_options(x, w, stride, padding, dilation, groups),
        lhs_dilation=(1,) * (w.ndim - 2), batch_group_count=1, precision=None, preferred_element_type=None,
    )  # fmt: skip
    return x_bar.reshape(x.shape), w_bar


def _parts(groups: int, *arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Of each array the channels of one group after the other."""
    return zip(*(jnp.split(array, groups, axis=-1) for array in arrays), strict=True)


def _examples(x: Array, w: Array) -> Array:
    """x with one batch axis."""
    space = x.shape[x.ndim + 1 - w.ndim :]
    return x.reshape(math.prod(x.shape[: x.ndim + 1 - w.ndim]), *space)


def _options(
    x: Array, w: Array, stride: Lengths, padding: Padding, dilation: Lengths, groups: int
) -> dict[str, Any]:
    """How `lax.conv_general_dilated` is told."""
    axes = w.ndim - 2
    if axes < 1 or x.ndim < axes + 1 or w.shape[-2] * groups != x.shape[-1] or w.shape[-1] % groups:
        raise ShapeError(
            f"conv: x has shape {list(x.shape)} and w {list(w.shape)} with groups={groups}; expected "
            f"x [*batch, *space, inputs] and w [*taps, inputs / groups, outputs] with as many spatial axes, "
            f"and outputs that the groups divide"
        )
    window = windows("conv", x.shape[-axes - 1 : -1], w.shape[:-2], stride, padding, dilation)
    space = range(1, axes + 1)
    return {
        "window_strides": window.stride,
        "padding": window.padding,
        "rhs_dilation": window.dilation,
        "dimension_numbers": lax.ConvDimensionNumbers(
            (0, axes + 1, *space), (axes + 1, axes, *range(axes)), (0, axes + 1, *space)
        ),
        "feature_group_count": groups,
    }


@gate(
    formula="x̄[i, c] = Σ ȳ[o, c] w[t, c] where s·o + d·t − p = i,  w̄[t, c] = Σₒ x[s·o + d·t − p, c] ȳ[o, c]",
    source="Sifre and Mallat 2013; Chollet 2017, Xception; Dumoulin and Visin 2016, chapter 4",
)
def depthwise_conv(
    x: Float[Array, "*batch_and_space channels"],
    w: Float[Array, "*taps channels"],
    *,
    stride: Lengths = 1,
    padding: Padding = "same",
    dilation: Lengths = 1,
) -> Float[Array, "*batch_and_windows channels"]:
    """Convolution of each channel with a filter of its own.

    Args:
        x: [*batch, *space, channels].
        w: [*taps, channels].
        stride: places from one window to the next.
        padding: "valid", "same", or how many zeros to put around.
        dilation: places from one tap to the next.

    Returns:
        [*batch, *windows, channels], summed in float32 at least and rounded once.

    Raises:
        ParameterError: a stride, padding or dilation that is none.
        ShapeError: channels that do not fit, or no window.

    >>> smooth = jnp.full((3, 1), 1 / 3)
    >>> depthwise_conv(jnp.array([0.0, 3.0, 6.0, 0.0])[:, None], smooth)[:, 0]
    Array([1., 3., 3., 2.], dtype=float32)
    """
    window = _depthwise_windows(x, w, stride, padding, dilation)
    return _slid(window, window.padded(x), w)


@depthwise_conv.forward
def depthwise_conv_forward(x, w, *, stride=1, padding="same", dilation=1):
    window = _depthwise_windows(x, w, stride, padding, dilation)
    padded = window.padded(x)
    return _slid(window, padded, w), (window, padded, w)


@depthwise_conv.backward
def depthwise_conv_backward(stash, y_bar, **_):
    window, padded, w = stash
    wide, y_bar = at_least_float32(w), at_least_float32(y_bar)
    came = window.padded_back(y_bar)
    x_bar = functools.reduce(operator.add, (window.read_back(came, tap) * wide[tap] for tap in window.taps))
    batch = tuple(range(y_bar.ndim - 1))
    w_bar = [jnp.sum(window.read(at_least_float32(padded), tap) * y_bar, batch) for tap in window.taps]
    return x_bar.astype(padded.dtype), jnp.stack(w_bar).reshape(w.shape).astype(w.dtype)


def _slid(window: Windows, padded: Array, w: Array) -> Array:
    """The sum over taps of what each reads of a padded array, times its weights."""
    wide, weights = at_least_float32(padded), at_least_float32(w)
    products = (window.read(wide, tap) * weights[tap] for tap in window.taps)
    return functools.reduce(operator.add, products).astype(padded.dtype)


def _depthwise_windows(x: Array, w: Array, stride: Lengths, padding: Padding, dilation: Lengths) -> Windows:
    axes = w.ndim - 1
    if axes < 1 or x.ndim < axes + 1 or w.shape[-1] != x.shape[-1]:
        raise ShapeError(
            f"depthwise_conv: x has shape {list(x.shape)} and w {list(w.shape)}; expected "
            f"x [*batch, *space, channels] and w [*taps, channels] with as many spatial axes"
        )
    return windows("depthwise_conv", x.shape[-axes - 1 : -1], w.shape[:-1], stride, padding, dilation)
