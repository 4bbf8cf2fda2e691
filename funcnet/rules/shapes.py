"""Moving numbers about: reshape, transpose, broadcast, slice, pad, concatenate, select.

Each of these is a linear map y = A x whose matrix holds zeros and ones: every element of y is a copy of
one element of x, or a constant. Its gradient is the transposed map, x̄ = Aᵀ ȳ, which puts each ȳ back
where its y came from and adds where one x was copied to several places:

    a rearrangement    reshape, transpose, rev, squeeze        → the inverse rearrangement
    a copy             broadcast, tile                         → a sum over the copies
    a part             slice, split, unstack, dynamic slice    → zeros around the part
    parts put together concatenate, stack, pad, update         → the parts taken out again
    a choice           select                                  → ȳ to the chosen, zero to the others

Nothing here reads a value of the forward pass except a position or a selector, so nothing else is kept.
"""

import numpy as np
from jax import lax

from funcnet.rules._table import rule
from funcnet.rules.products import sharding_of

_LINEAR = "Griewank and Walther 2008, §3.2: the adjoint of y = Ax is x̄ = Aᵀȳ"
_COPIES = "CS231n 2019, lecture 4, slides 80–83: the gradients of copies add"
_ROUTER = "CS231n 2019, lecture 4, slides 80–83: the gradient goes where the value came from"


@rule("reshape", formula="x̄ = reshape(ȳ)", source=_LINEAR)
def reshape(y_bar, y, x, *, new_sizes, dimensions):
    if dimensions is None:
        return (lax.reshape(y_bar, x.shape, out_sharding=sharding_of(x, range(x.ndim))),)
    transposed = lax.reshape(y_bar, [x.shape[d] for d in dimensions])
    return (lax.transpose(transposed, np.argsort(dimensions)),)


@rule("squeeze", formula="x̄ = reshape(ȳ)", source=_LINEAR)
def squeeze(y_bar, y, x, *, dimensions):
    return (lax.reshape(y_bar, x.shape),)


@rule("transpose", formula="x̄ = ȳ with the inverse permutation of axes", source=_LINEAR)
def transpose(y_bar, y, x, *, permutation):
    return (lax.transpose(y_bar, np.argsort(permutation)),)


@rule("rev", formula="x̄ = rev(ȳ)", source=_LINEAR)
def rev(y_bar, y, x, *, dimensions):
    return (lax.rev(y_bar, dimensions),)


@rule("broadcast_in_dim", formula="x̄ = Σ ȳ over the copies", source=_COPIES)
def broadcast_in_dim(y_bar, y, x, *, shape, broadcast_dimensions):
    stretched = [d for n, d in zip(x.shape, broadcast_dimensions, strict=True) if n != shape[d]]
    new = [d for d in range(len(shape)) if d not in broadcast_dimensions]
    return (lax.reshape(_sum(y_bar, stretched + new), x.shape),)


@rule("tile", formula="x̄ = Σ ȳ over the copies", source=_COPIES)
def tile(y_bar, y, x, *, reps):
    copies = lax.reshape(y_bar, [n for pair in zip(reps, x.shape, strict=True) for n in pair])
    return (_sum(copies, range(0, 2 * x.ndim, 2)),)


@rule("pad", formula="x̄ = ȳ[where x went],  v̄ = Σ ȳ[elsewhere]", source=_LINEAR)
def pad(y_bar, y, x, value, *, padding_config):
    """v̄ is summed where v stands, which costs a mask, and not as Σȳ − Σx̄, which cancels."""
    dilated = lax.pad(y_bar, y_bar.dtype.type(0), [(-low, -high, 0) for low, high, _ in padding_config])
    x_bar = lax.slice(dilated, [0] * x.ndim, dilated.shape, [inner + 1 for *_, inner in padding_config])
    elsewhere = lax.pad(lax.full_like(x, False, bool), np.True_, padding_config)
    return x_bar, _sum(lax.select(elsewhere, y_bar, _zeros(y_bar)), range(y_bar.ndim))


@rule("concatenate", formula="x̄ₖ = the part of ȳ that came from xₖ", source=_LINEAR)
def concatenate(y_bar, y, *xs, dimension):
    return lax.split(y_bar, [x.shape[dimension] for x in xs], dimension)


@rule("split", formula="x̄ = concatenate(ȳ₁, ȳ₂, …)", source=_LINEAR)
def split(y_bars, ys, x, *, sizes, axis):
    return (lax.concatenate(_with_zeros(y_bars, ys), axis),)


@rule("stack", formula="x̄ₖ = ȳ[k]", source=_LINEAR)
def stack(y_bar, y, *xs, axis):
    return lax.unstack(y_bar, axis)


@rule("unstack", formula="x̄ = stack(ȳ₁, ȳ₂, …)", source=_LINEAR)
def unstack(y_bars, ys, x, *, axis):
    return (lax.stack(_with_zeros(y_bars, ys), axis),)


@rule("slice", formula="x̄ = ȳ with zeros around and between", source=_LINEAR)
def slice_(y_bar, y, x, *, start_indices, limit_indices, strides):
    steps = strides or (1,) * x.ndim
    spans = [step * (m - 1) + 1 if m else 0 for step, m in zip(steps, y.shape, strict=True)]
    around = [
        (start, n - start - span, step - 1)
        for n, start, span, step in zip(x.shape, start_indices, spans, steps, strict=True)
    ]
    return (lax.pad(y_bar, y_bar.dtype.type(0), around),)


@rule("dynamic_slice", formula="x̄ = 0 with x̄[i:i+n] = ȳ", source=_LINEAR)
def dynamic_slice(y_bar, y, x, *starts, slice_sizes):
    x_bar = lax.dynamic_update_slice(_zeros(x), y_bar, starts, allow_negative_indices=False)
    return x_bar, *[None for _ in starts]


@rule("dynamic_update_slice", formula="x̄ = ȳ with ȳ[i:i+n] = 0,  ū = ȳ[i:i+n]", source=_LINEAR)
def dynamic_update_slice(y_bar, y, x, update, *starts):
    x_bar = lax.dynamic_update_slice(y_bar, _zeros(update), starts, allow_negative_indices=False)
    u_bar = lax.dynamic_slice(y_bar, starts, update.shape, allow_negative_indices=False)
    return x_bar, u_bar, *[None for _ in starts]


@rule("select_n", formula="x̄ₖ = ȳ · [which = k]", source=_ROUTER)
def select_n(y_bar, y, which, *cases):
    """A selector outside 0 … n−1 means the nearest case, as in the forward pass."""
    if len(cases) == 1:
        return None, y_bar
    zeros = _zeros(y_bar)
    if which.dtype == bool:
        return None, lax.select_n(which, y_bar, zeros), lax.select_n(which, zeros, y_bar)
    relations = [lax.le, *[lax.eq] * (len(cases) - 2), lax.ge]
    chosen = [is_(which, which.dtype.type(k)) for k, is_ in enumerate(relations)]
    return None, *[lax.select_n(one, zeros, y_bar) for one in chosen]


def _sum(x, axes):
    return lax.reduce_sum(x, axes) if len(axes) else x


def _zeros(x):
    return lax.full_like(x, 0)


def _with_zeros(y_bars, ys):
    """Cotangents to put together: what nothing depends on fills its place with zeros."""
    return [_zeros(y) if y_bar is None else y_bar for y_bar, y in zip(y_bars, ys, strict=True)]
