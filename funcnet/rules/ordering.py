"""Sorting: sort, top_k, approx_top_k.

A sorted array is its input rearranged, y[j] = x[order[j]], so its Jacobian is a permutation and ȳ goes back:

    x̄[order[j]] = ȳ[j],        and zero to what was not taken.

Where the order changes, at a tie, y is continuous and its gradient jumps: the order that the forward pass
chose decides, which for a stable sort gives the first of two equal elements the first of the two cotangents.
"""

import numpy as np
from jax import lax

from funcnet.rules._table import rule
from funcnet.rules.products import sharding_of

_PERMUTATION = "Blondel, Teboul, Berthet and Djolonga 2020, abstract: a sort is piecewise linear"


def _sort_and_order(*xs, dimension, is_stable, num_keys):
    lies = sharding_of(xs[0], range(xs[0].ndim))
    positions = lax.broadcasted_iota(np.int32, xs[0].shape, dimension, out_sharding=lies)
    *ys, order = lax.sort((*xs, positions), dimension, is_stable, num_keys)
    return tuple(ys), order


@rule("sort", formula="x̄ₖ[order] = ȳₖ", source=_PERMUTATION, forward=_sort_and_order)
def sort(order, y_bars, *, dimension, is_stable, num_keys):
    """Every operand is rearranged by the keys, which are its first `num_keys`; one order is kept for all."""
    return [None if y_bar is None else _back(y_bar, order, order.shape, dimension) for y_bar in y_bars]


@rule("top_k", formula="x̄[indices] = ȳ, else 0", source=_PERMUTATION)
def top_k(y_bars, ys, x, *, k, axis, is_stable=True):
    return (_back(y_bars[0], ys[1], x.shape, axis),)


@rule("approx_top_k", formula="x̄[indices] = ȳ, else 0", source=_PERMUTATION)
def approx_top_k(
    y_bars,
    ys,
    x,
    *,
    k,
    reduction_dimension,
    recall_target,
    is_max_k,
    reduction_input_size_override,
    aggregate_to_topk,
):
    """The gradient of what was found, which need not be the true top k."""
    return (_back(y_bars[0], ys[1], x.shape, reduction_dimension % x.ndim),)


def _back(y_bar, indices, shape, axis):
    """Zeros of this shape in which ȳ stands at its indices along an axis."""
    others = tuple(d for d in range(len(shape)) if d != axis)
    places = lax.ScatterDimensionNumbers(
        update_window_dims=(),
        inserted_window_dims=(axis,),
        scatter_dims_to_operand_dims=(axis,),
        operand_batching_dims=others,
        scatter_indices_batching_dims=others,
    )
    column = lax.reshape(indices, (*indices.shape, 1))
    zeros = lax.full(shape, 0, y_bar.dtype)
    return lax.scatter(zeros, column, y_bar, places, unique_indices=True, mode="promise_in_bounds")
