"""Windows: pooling, and what its gradients are made of.

Window o of w elements with dilation d reads the places o·s − p + k·d, k < w, of an input whose elements
stand b apart (s is the stride, p the padding, b the base dilation).

Sum: an input gets the gradients of all windows that read it. Output o reads input i where
i·b = o·s − p + k·d; turned round, k → w − 1 − k, that is a window sum over ȳ in which stride and base
dilation have changed places (Dumoulin and Visin 2016, §4).

Max and min: the first winner of each window takes all. `select_and_scatter_add` sends ȳ there, and its
own gradient, `select_and_gather_add`, fetches from there; each is the transpose of the other.
"""

from jax import lax
from jax.extend.core import primitives

from funcnet.rules._table import rule


@rule(
    "reduce_window_sum",
    formula="x̄ᵢ = Σ ȳₒ over the windows o that read xᵢ",
    source="Dumoulin and Visin 2016, §4",
)
def reduce_window_sum(
    y_bar, y, x, *, window_dimensions, window_strides, padding, base_dilation, window_dilation
):
    margins = []
    for axis, (w, s, (low, _), b, d) in enumerate(
        zip(window_dimensions, window_strides, padding, base_dilation, window_dilation, strict=True)
    ):
        before = (w - 1) * d - low
        whole = (x.shape[axis] - 1) * b + (w - 1) * d + 1
        margins.append((before, whole - before - _dilated(y.shape[axis], s), s - 1))
    x_bar = primitives.reduce_window_sum_p.bind(
        lax.pad(y_bar, lax.full((), 0, y_bar.dtype), margins),
        window_dimensions=window_dimensions,
        window_strides=base_dilation,
        padding=((0, 0),) * x.ndim,
        base_dilation=(1,) * x.ndim,
        window_dilation=window_dilation,
    )
    return (x_bar,)


@rule(
    "reduce_window_max",
    formula="x̄ᵢ = Σ ȳₒ over the windows o whose first maximum is xᵢ",
    source="Zeiler and Fergus 2014, §2.1 (switches)",
)
def reduce_window_max(
    y_bar, y, x, *, window_dimensions, window_strides, padding, base_dilation, window_dilation
):
    window = window_dimensions, window_strides, padding, base_dilation, window_dilation
    return (to_winners(y_bar, x, primitives.ge_p, *window),)


@rule(
    "reduce_window_min",
    formula="x̄ᵢ = Σ ȳₒ over the windows o whose first minimum is xᵢ",
    source="Zeiler and Fergus 2014, §2.1 (switches)",
)
def reduce_window_min(
    y_bar, y, x, *, window_dimensions, window_strides, padding, base_dilation, window_dilation
):
    window = window_dimensions, window_strides, padding, base_dilation, window_dilation
    return (to_winners(y_bar, x, primitives.le_p, *window),)


@rule(
    "select_and_scatter_add",
    formula="s̄ₒ = ȳ at the first winner of window o",
    source="Zeiler and Fergus 2014, §2.1 (switches)",
)
def select_and_scatter_add(y_bar, y, s, x, *, select_prim, window_dimensions, window_strides, padding):
    s_bar = primitives.select_and_gather_add_p.bind(
        y_bar,
        x,
        select_prim=select_prim,
        window_dimensions=window_dimensions,
        window_strides=window_strides,
        padding=padding,
        base_dilation=(1,) * x.ndim,
        window_dilation=(1,) * x.ndim,
    )
    return s_bar, None


@rule(
    "select_and_gather_add",
    formula="t̄ᵢ = Σ ȳₒ over the windows o whose first winner is xᵢ",
    source="Zeiler and Fergus 2014, §2.1 (switches)",
)
def select_and_gather_add(
    y_bar, y, t, x, *, select_prim, window_dimensions, window_strides, padding, base_dilation, window_dilation
):
    window = window_dimensions, window_strides, padding, base_dilation, window_dilation
    return to_winners(y_bar, x, select_prim, *window), None


def to_winners(y_bar, x, select_prim, dimensions, strides, padding, base_dilation, window_dilation):
    """Add each ȳₒ at the place of x that window o chose.

    `select_and_scatter_add` knows no dilation and crops nothing. Where that is asked for, x is first
    dilated, padded and cropped, with a padding that never wins.
    """
    if 0 in y_bar.shape or 0 in x.shape:
        return lax.full_like(x, 0)
    plain = max((*base_dilation, *window_dilation)) == 1 and min(map(min, padding)) >= 0
    if plain:
        return scatter_to_winners(y_bar, x, select_prim, dimensions, strides, padding)
    loser = lax.full((), float("-inf") if select_prim is primitives.ge_p else float("inf"), x.dtype)
    padded = lax.pad(x, loser, [(*ends, b - 1) for ends, b in zip(padding, base_dilation, strict=True)])
    x_bar = scatter_by_strands(y_bar, padded, select_prim, loser, dimensions, strides, window_dilation)
    x_bar = lax.pad(x_bar, lax.full((), 0, x.dtype), [(-low, -high, 0) for low, high in padding])
    return lax.slice(x_bar, (0,) * x.ndim, x_bar.shape, base_dilation)


def scatter_to_winners(y_bar, x, select_prim, dimensions, strides, padding):
    return primitives.select_and_scatter_add_p.bind(
        y_bar,
        x,
        select_prim=select_prim,
        window_dimensions=tuple(dimensions),
        window_strides=tuple(strides),
        padding=tuple(padding),
    )


def scatter_by_strands(y_bar, x, select_prim, loser, dimensions, strides, dilation):
    """The same for windows that read every d-th element, without padding.

    Along an axis, x of length n is d interleaved strands of ⌈n/d⌉ elements, in each of which the windows
    are plain ones. Strides other than one become zeros between the elements of ȳ.
    """
    lengths = [-(-n // d) for n, d in zip(x.shape, dilation, strict=True)]
    outputs = [m - w + 1 for m, w in zip(lengths, dimensions, strict=True)]
    x_ends = [(0, m * d - n, 0) for n, m, d in zip(x.shape, lengths, dilation, strict=True)]
    y_ends = [
        (0, o * d - _dilated(n, s), s - 1)
        for n, o, d, s in zip(y_bar.shape, outputs, dilation, strides, strict=True)
    ]
    y_strands = lax.pad(y_bar, lax.full((), 0, y_bar.dtype), y_ends).reshape(_paired(outputs, dilation))
    x_padded = lax.pad(x, loser, x_ends)
    x_bar = scatter_to_winners(
        y_strands,
        x_padded.reshape(_paired(lengths, dilation)),
        select_prim,
        _paired(dimensions, [1] * x.ndim),
        [1] * (2 * x.ndim),
        [(0, 0)] * (2 * x.ndim),
    )
    return lax.slice(x_bar.reshape(x_padded.shape), (0,) * x.ndim, x.shape)


def _paired(firsts, seconds):
    return [n for pair in zip(firsts, seconds, strict=True) for n in pair]


def _dilated(n, step):
    """The length of n elements that stand `step` apart."""
    return max((n - 1) * step + 1, 0)
