"""Convolutions with strides, dilations, padding and groups.

Along one spatial axis of N inputs, K taps and O outputs, with stride s, dilation d of the kernel w,
dilation e of x, and p zeros put before x (p < 0 cuts off instead), input i, tap k and output o meet where

    e·i = s·o + d·k − p                                                                           (★)

    y[o] = Σ x[i] · w[k]        x̄[i] = Σ ȳ[o] · w[k]        w̄[k] = Σ x[i] · ȳ[o]        over (★)

Solved for another unknown, (★) is a convolution again (Dumoulin and Visin 2016, chapter 4):

    x̄    s·o = e·i + d·k' − (d·(K−1) − p)    ȳ dilated by s, w flipped (k' = K−1−k), dilation d, stride e
    w̄    e·i = d·k + s·o − p                  x dilated by e, ȳ for the kernel, dilation s, stride d

This shows the zeros before. Those behind follow from the number of results: dilated by α, n entries
stretch over D = α·(n−1) + 1, and n results at stride γ of a kernel that stretches over D take γ·(n−1) + D.

Examples m and features c, f contract as in a product of matrices, y[m, f] = Σ x[m, c] · w[c, f], so w̄ has
the examples where a convolution has features. Groups split two of the three letters and pair the parts:

    groups of features    y[m, gf] = Σ x[m, gc] · w[c, gf]    x̄[m, gc] = Σ ȳ[m, gf] · w[f, gc]
                                                              w̄[c, gf] = Σ x[gc, m] · ȳ[m, gf]
    groups of examples    y[m, gf] = Σ x[gm, c] · w[c, gf]    x̄[m, gc] = Σ ȳ[m, gf] · w[f, gc]
                                                              w̄[c, gf] = Σ x[c, gm] · ȳ[m, gf]

Both x̄ have groups of features: w's are moved from its outputs to its inputs beforehand, and in the second
those of the result are moved from its features to its examples afterwards. The first w̄ has groups of
examples, the second groups of features.
"""

from collections.abc import Sequence
from typing import Any

from jax import lax

from funcnet.rules._table import rule
from funcnet.rules.products import sharding_of


@rule(
    "conv_general_dilated",
    formula="x̄ = ȳ ⋆ flip(w),  w̄ = x ⋆ ȳ, with y's strides as ȳ's dilations",
    source="Dumoulin and Visin 2016, chapter 4",
)
def conv_general_dilated(
    y_bar, y, x, w, *, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
    feature_group_count, batch_group_count, precision, preferred_element_type,
):  # fmt: skip
    """ȳ is as wide as the forward pass accumulated, and so are both convolutions."""
    if 0 in (x.size, w.size, y.size):
        return lax.full_like(x, 0), lax.full_like(w, 0)
    x_spec, w_spec, y_spec = dimension_numbers
    inputs, taps, outputs = (
        [array.shape[axis] for axis in spec[2:]]
        for array, spec in zip((x, w, y), dimension_numbers, strict=True)
    )
    x_span, w_span = _span(inputs, lhs_dilation), _span(taps, rhs_dilation)
    y_span = _span(outputs, window_strides)
    before = [low for low, _ in padding]
    groups = max(feature_group_count, batch_group_count)
    x_wide, w_wide = (lax.convert_element_type(array, y_bar.dtype) for array in (x, w))

    x_bar = lax.conv_general_dilated(
        y_bar,
        lax.rev(_move_groups(w_wide, w_spec[0], w_spec[1], groups), w_spec[2:]),
        window_strides=lhs_dilation,
        padding=_zeros_around(
            [d - 1 - p for d, p in zip(w_span, before, strict=True)], y_span, w_span, lhs_dilation, inputs
        ),
        lhs_dilation=window_strides,
        rhs_dilation=rhs_dilation,
        dimension_numbers=lax.ConvDimensionNumbers(y_spec, _contracted(w_spec), x_spec),
        feature_group_count=groups,
        precision=precision,
        out_sharding=sharding_of(x, range(x.ndim), y_bar) if batch_group_count == 1 else None,
    )
    w_bar = lax.conv_general_dilated(
        x_wide,
        y_bar,
        window_strides=rhs_dilation,
        padding=_zeros_around(before, x_span, y_span, rhs_dilation, taps),
        lhs_dilation=lhs_dilation,
        rhs_dilation=window_strides,
        dimension_numbers=lax.ConvDimensionNumbers(*map(_contracted, (x_spec, y_spec, w_spec))),
        feature_group_count=batch_group_count,
        batch_group_count=feature_group_count,
        precision=precision,
        out_sharding=sharding_of(w, range(w.ndim), y_bar),
    )
    x_bar = _move_groups(x_bar, x_spec[1], x_spec[0], batch_group_count)
    return lax.convert_element_type(x_bar, x.dtype), lax.convert_element_type(w_bar, w.dtype)


def _span(counts: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """D = α·(n−1) + 1: over how many places n entries stretch once they are dilated."""
    return [a * (n - 1) + 1 for n, a in zip(counts, dilations, strict=True)]


def _zeros_around(before, array_span, kernel_span, strides, results) -> list[tuple[int, int]]:
    """The padding of a convolution that is to have so many results."""
    needed = [last + kernel for last, kernel in zip(_span(results, strides), kernel_span, strict=True)]
    return [(q, n - 1 - q - span) for q, n, span in zip(before, needed, array_span, strict=True)]


def _contracted(spec: Sequence[int]) -> tuple[int, ...]:
    """The axes of an array whose examples and features (or outputs and inputs) change places."""
    return (spec[1], spec[0], *spec[2:])


def _move_groups(x: Any, source: int, target: int, groups: int) -> Any:
    """Take the groups, which count slowest, out of one axis and into another."""
    if groups == 1:
        return x
    shape = list(x.shape)
    shape[source] //= groups
    shape[target] *= groups
    split = [*x.shape[:source], groups, x.shape[source] // groups, *x.shape[source + 1 :]]
    axes = [axis for axis in range(len(split)) if axis != source]
    axes.insert(axes.index(target + (target > source)), source)
    return lax.reshape(lax.transpose(lax.reshape(x, split), axes), shape)
