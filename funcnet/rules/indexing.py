"""Reading and writing at computed places: gather, and the scatters.

Gather copies windows of x to y; scatter writes windows u into a copy of x. Write i for the places, x[i] for
the windows there, and 0[i] += ȳ for an array of zeros to which the windows of ȳ are added:

    gather         y = x[i]                x̄ = 0[i] += ȳ
    scatter-add    y = x with y[i] += u    x̄ = ȳ,                   ū = ȳ[i]
    scatter-sub    y = x with y[i] −= u    x̄ = ȳ,                   ū = −ȳ[i]
    scatter        y = x with y[i] = u     x̄ = ȳ with x̄[i] = 0,     ū = ȳ[i] where u stands in y, else 0
    scatter-mul    y = x with y[i] ·= u    x̄ = ȳ with x̄[i] ·= u,    ū = (ȳ · x)[i] · ∏ of the other u there
    scatter-max    y = x with y[i] = max(y[i], u), and -min: ȳ in equal parts to all of x and u that equal y

Places may repeat and windows may overlap; where `unique_indices` promises that they do not, or there is only
one window, the cheaper form is used. A rule reads and writes in the mode of the forward pass: with CLIP a
window outside is moved to the edge, with FILL_OR_DROP it neither gives nor takes a gradient.

The parameters that say where (`dimension_numbers`, `indices_are_sorted`, `unique_indices`, `mode`) are passed
on whole, as `at`; `jax.lax` refuses any other.
"""

import math

import numpy as np
from jax import lax

from funcnet._errors import MissingRuleError
from funcnet.rules._table import rule

_LINEAR = "Griewank and Walther 2008, §3.2: the adjoint of y = Ax is x̄ = Aᵀȳ"


@rule("gather", formula="x̄ = 0 with x̄[i] += ȳ", source=_LINEAR)
def gather(y_bar, y, x, i, *, dimension_numbers, slice_sizes, fill_value, **at):
    places = lax.ScatterDimensionNumbers(
        update_window_dims=dimension_numbers.offset_dims,
        inserted_window_dims=dimension_numbers.collapsed_slice_dims,
        scatter_dims_to_operand_dims=dimension_numbers.start_index_map,
        operand_batching_dims=dimension_numbers.operand_batching_dims,
        scatter_indices_batching_dims=dimension_numbers.start_indices_batching_dims,
    )
    return lax.scatter_add(lax.full_like(x, 0), i, y_bar, places, **at), None


@rule("scatter-add", "scatter_add", formula="x̄ = ȳ,  ū = ȳ[i]", source=_LINEAR)
def scatter_add(y_bar, y, x, i, u, *, update_jaxpr, update_consts, **at):
    return y_bar, None, _windows(y_bar, i, u, **at)


@rule("scatter-sub", "scatter_sub", formula="x̄ = ȳ,  ū = −ȳ[i]", source=_LINEAR)
def scatter_sub(y_bar, y, x, i, u, *, update_jaxpr, update_consts, **at):
    return y_bar, None, -_windows(y_bar, i, u, **at)


def _scatter_and_winners(x, i, u, *, update_jaxpr, update_consts, **at):
    """y; what of x is kept in it and what of u stands in it, or None where the places are distinct.

    Which of several writes to one place comes last is not specified, and two scatters need not agree. So
    the windows are numbered from 1, the numbers are scattered, and what loses is masked: one sum.
    """
    if update_jaxpr is not None:
        raise MissingRuleError(
            "scatter: got a function to apply, as in `x.at[i].apply(f)`, expected values to write; "
            "for a gradient write `x.at[i].set(f(x[i]))`"
        )
    if _distinct(i, u, **at):
        return lax.scatter(x, i, u, **at), (i, u, None, None)
    number = _numbered_windows(u, **at)
    written = lax.scatter(lax.full(x.shape, 0, np.int32), i, number, **at)
    kept = lax.eq(written, np.int32(0))
    # The number of a window that was dropped stands nowhere: any place may be read for it.
    wins = lax.eq(number, _windows(written, i, u, **{**at, "mode": "clip"}))
    return lax.scatter_add(_where(kept, x), i, _where(wins, u), **at), (i, u, kept, wins)


@rule(
    "scatter",
    formula="x̄ = ȳ · [x is kept],  ū = ȳ[i] · [u stands in y]",
    source=_LINEAR,
    forward=_scatter_and_winners,
)
def scatter(stash, y_bar, *, update_jaxpr, update_consts, **at):
    i, u, kept, wins = stash
    u_bar = _windows(y_bar, i, u, **at)
    if wins is None:
        return lax.scatter(y_bar, i, lax.full_like(u, 0), **at), None, u_bar
    return _where(kept, y_bar), None, _where(wins, u_bar)


@rule(
    "scatter-mul",
    "scatter_mul",
    formula="x̄ = ȳ with x̄[i] ·= u,  ū = (ȳ · x)[i] · ∏ of the other u there",
    source="Hillis and Steele 1986: all partial results by doubling, here products",
)
def scatter_mul(y_bar, y, x, i, u, *, update_jaxpr, update_consts, **at):
    """Nothing is divided: factors of zero get their gradient, and that of the second order too."""
    u_bar = _windows(y_bar, i, u, **at) * _windows(x, i, u, **at)
    if not _distinct(i, u, **at):
        place = lax.reshape(lax.iota(np.int32, x.size) + 1, x.shape)
        u_bar = u_bar * _product_of_others(u, _windows(place, i, u, **at))
    return lax.scatter_mul(y_bar, i, u, **at), None, u_bar


@rule(
    "scatter-max",
    "scatter-min",
    "scatter_max",
    "scatter_min",
    formula="x̄ = ȳ · [x = y] / n,  ū = (ȳ / n)[i] · [u = y[i]],  n = how many equal y",
    source="CS231n 2019, lecture 4, slides 80–83: max routes; a tie shares, as in jax.lax",
)
def scatter_max(y_bar, y, x, i, u, *, update_jaxpr, update_consts, **at):
    """Where places repeat, x̄ is written several times, each time the same."""
    y_bar_i, y_i, x_i = (_windows(a, i, u, **at) for a in (y_bar, y, x))
    x_wins, u_wins = lax.eq(x_i, y_i), lax.eq(u, y_i)
    n = lax.convert_element_type(u_wins, np.int32)
    if not _distinct(i, u, **at):
        n = _windows(lax.scatter_add(lax.full(x.shape, 0, np.int32), i, n, **at), i, u, **at)
    n = lax.max(n + lax.convert_element_type(x_wins, np.int32), np.int32(1))
    share = y_bar_i / lax.convert_element_type(n, y_bar.dtype)
    return lax.scatter(y_bar, i, _where(x_wins, share), **at), None, _where(u_wins, share)


def _windows(x, i, u, *, dimension_numbers, **at):
    """x[i]: what stands in x at the places to which u is written, and 0 for a place outside."""
    inserted = (*dimension_numbers.inserted_window_dims, *dimension_numbers.operand_batching_dims)
    sizes = iter(u.shape[d] for d in dimension_numbers.update_window_dims)
    places = lax.GatherDimensionNumbers(
        offset_dims=dimension_numbers.update_window_dims,
        collapsed_slice_dims=dimension_numbers.inserted_window_dims,
        start_index_map=dimension_numbers.scatter_dims_to_operand_dims,
        operand_batching_dims=dimension_numbers.operand_batching_dims,
        start_indices_batching_dims=dimension_numbers.scatter_indices_batching_dims,
    )
    window = [1 if d in inserted else next(sizes) for d in range(x.ndim)]
    return lax.gather(x, i, places, window, fill_value=0, **at)


def _numbered_windows(u, *, dimension_numbers, **at):
    """1, 2, 3, … throughout the first, second, third, … window."""
    outer = [d for d in range(u.ndim) if d not in dimension_numbers.update_window_dims]
    shape = [u.shape[d] for d in outer]
    numbers = lax.reshape(lax.iota(np.int32, math.prod(shape)) + 1, shape)
    return lax.broadcast_in_dim(numbers, u.shape, outer)


def _elements(x, number):
    """The elements of x, numbered in order, that have these numbers."""
    places = lax.GatherDimensionNumbers(offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,))
    column = lax.reshape(number, (*number.shape, 1))
    return lax.gather(lax.reshape(x, (x.size,)), column, places, (1,), mode="promise_in_bounds")


def _distinct(i, u, *, dimension_numbers, indices_are_sorted, unique_indices, mode):
    """Whether no place is written twice, as far as the program says."""
    batch = dimension_numbers.scatter_indices_batching_dims
    windows = math.prod(n for d, n in enumerate(i.shape[:-1]) if d not in batch)
    return unique_indices or windows <= 1 or u.size == 0


def _where(mask, x):
    return lax.select(mask, x, lax.full_like(x, 0))


def _product_of_others(u, place):
    """∏ of the u at the same place but this one: those before it times those after it; 1 at place 0."""
    numbers = lax.iota(np.int32, u.size)
    place, order = lax.sort((lax.reshape(place, numbers.shape), numbers), num_keys=1)
    factors = _elements(u, order)
    factors = lax.select(lax.eq(place, np.int32(0)), lax.full_like(factors, 1), factors)
    others = _product_beside(factors, place, 1) * _product_beside(factors, place, -1)
    _, back = lax.sort((order, numbers), num_keys=1)
    return lax.reshape(_elements(others, back), u.shape)


def _product_beside(u, place, direction):
    """For each u the product of those on one side at the same place; equal places are neighbours."""

    def from_beside(product, steps):
        moved = [(direction * steps, -direction * steps, 0)]
        same = lax.eq(place, lax.pad(place, np.int32(-1), moved))
        return lax.select(same, lax.pad(product, u.dtype.type(1), moved), lax.full_like(u, 1))

    product = from_beside(u, 1)
    for doubling in range((u.size - 1).bit_length()):
        product = product * from_beside(product, 2**doubling)
    return product
