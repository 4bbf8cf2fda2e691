"""Products: of matrices, of stacks of matrices, and of stacks whose members differ in size.

The axes of x are of three kinds: batch axes b, which x, w and y share; contracted axes k, which x and w
share and the product sums over; kept axes, m of x and n of w. y has them in the order b, m, n:

    y[b, m, n] = Σₖ x[b, m, k] · w[b, k, n]

    x̄[b, m, k] = Σₙ ȳ[b, m, n] · w[b, k, n]
    w̄[b, n, k] = Σₘ ȳ[b, m, n] · x[b, m, k]

So each gradient is a product again, of as many multiplications, in which ȳ stands in the place of the
operand asked for. It comes out with the axes in this order, and one transpose, which the compiler turns
into a layout, puts them where the operand has them. ȳ is as wide as the forward pass accumulated
(`preferred_element_type`), so the gradients accumulate as wide without being told, and are rounded to
the operand's dtype once, at the end.

Where w̄ sums over several axes m, as over examples and the words of each, XLA on a CPU copies the first
factor, or computes it once more for this product. So the smaller one comes first.

In a ragged product one axis of x is cut into groups of consecutive indices. With e(i) the group of
index i, and no group for the indices behind the last one:

    m is cut     y[b, m, n] = Σₖ x[b, m, k] · w[e(m), b, k, n]
    k is cut     y[e, b, m, n] = Σ x[b, m, k] · w[b, k, n] over the k with e(k) = e
    b is cut     as without groups

Where m is cut, x̄ is a product of the first kind and w̄ one of the second; where k is cut, both are of
the first; where b is cut, of the third.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from funcnet.rules._table import rule


@rule("dot_general", formula="x̄ = ȳ · wᵀ,  w̄ = xᵀ · ȳ", source="CS231n 2019, lecture 4, slides 114-123")
def dot_general(y_bar, y, x, w, *, dimension_numbers, precision, preferred_element_type):
    (x_contract, w_contract), (x_batch, w_batch) = dimension_numbers
    x_kept, w_kept = _kept(x, x_contract, x_batch), _kept(w, w_contract, w_batch)
    b, m, n = _axes_of_y(x_batch, x_kept, w_kept)
    x_axes = [*x_batch, *x_kept, *_in_order_of(w_contract, x_contract)]
    x_bar = lax.dot_general(
        y_bar, w, ((n, w_kept), (b, w_batch)), precision, out_sharding=sharding_of(x, x_axes, y_bar)
    )
    if x.size < y_bar.size:
        w_axes = [*w_batch, *_in_order_of(x_contract, w_contract), *w_kept]
        w_bar = lax.dot_general(
            x, y_bar, ((x_kept, m), (x_batch, b)), precision, out_sharding=sharding_of(w, w_axes, y_bar)
        )
    else:
        w_axes = [*w_batch, *w_kept, *_in_order_of(x_contract, w_contract)]
        w_bar = lax.dot_general(
            y_bar,
            x,
            ((m, x_kept), (b, x_batch)),
            _exchanged(precision),
            out_sharding=sharding_of(w, w_axes, y_bar),
        )
    return _placed(x_bar, x_axes, x), _placed(w_bar, w_axes, w)


@rule(
    "ragged_dot_general",
    formula="x̄ = ȳ · w[e]ᵀ,  w̄[e] = xᵀ · ȳ over the group e",
    source="Gale, Narayanan, Young and Zaharia 2023, MegaBlocks, section 5",
)
def ragged_dot_general(
    y_bar, y, x, w, sizes, *, ragged_dot_dimension_numbers, precision, preferred_element_type, group_offset
):
    """JAX has the gradient where m is cut, not where k or b is."""
    (x_contract, w_contract), (x_batch, w_batch) = ragged_dot_dimension_numbers.dot_dimension_numbers
    (cut,), group = (
        ragged_dot_dimension_numbers.lhs_ragged_dimensions,
        ragged_dot_dimension_numbers.rhs_group_dimensions,
    )
    x_kept, w_kept = _kept(x, x_contract, x_batch), _kept(w, w_contract, [*w_batch, *group])
    b, m, n = _axes_of_y(x_batch, x_kept, w_kept)

    def product(left, right, contract, batch, cut, group, precision=precision):
        numbers = lax.RaggedDotDimensionNumbers((contract, batch), [cut], group)
        return lax.ragged_dot_general(left, right, sizes, numbers, precision, group_offset=group_offset)

    if cut not in x_contract:
        x_bar = product(y_bar, w, (n, w_kept), (b, w_batch), [*x_batch, *x_kept].index(cut), group)
        w_bar = product(x, y_bar, (x_kept, m), (x_batch, b), cut, [])
        return (
            _placed(x_bar, [*x_batch, *x_kept, *_in_order_of(w_contract, x_contract)], x),
            _placed(w_bar, [*group, *w_batch, *_in_order_of(x_contract, w_contract), *w_kept], w),
            None,
        )
    # The sizes may differ along the axes b and k before the cut: b, k comes first, in their order.
    x_axes, w_axes = [*x_batch, *x_contract, *x_kept], [*w_batch, *w_contract, *w_kept]
    b, m, n = ([1 + axis for axis in axes] for axes in (b, m, n))
    k = len(x_batch) + len(x_contract)
    batch, cut = (range(len(b)), b), x_axes.index(cut)
    x_bar = product(
        lax.transpose(w, w_axes), y_bar, (range(k, w.ndim), n), batch, cut, [0], _exchanged(precision)
    )
    w_bar = product(lax.transpose(x, x_axes), y_bar, (range(k, x.ndim), m), batch, cut, [0])
    return _placed(x_bar, x_axes, x), _placed(w_bar, w_axes, w), None


def sharding_of(x: Any, axes: Sequence[int], *beside: Any) -> NamedSharding | None:
    """Where a gradient whose i-th axis is the axis `axes[i]` of x lies, if types say so: where x does.

    A sum over an axis that both factors spread over devices could lie anywhere, so JAX wants to be told. An x
    that lies nowhere, as a constant of NumPy's, is whole on each device of the mesh of what is `beside` it.
    """
    shardings = [jax.typeof(one).sharding for one in (x, *beside)]
    mesh = next((one.mesh for one in shardings if AxisType.Explicit in one.mesh.axis_types), None)
    return mesh and NamedSharding(mesh, PartitionSpec(*(shardings[0].spec[axis] for axis in axes)))


def _kept(x: Any, *others: Sequence[int]) -> list[int]:
    """The axes of x that are of no other kind."""
    return [axis for axis in range(x.ndim) if not any(axis in axes for axes in others)]


def _axes_of_y(*axes: Sequence[int]) -> list[Sequence[int]]:
    """Where batch, m and n axes stand in y."""
    ends = np.cumsum([len(one) for one in axes])
    return [range(end - len(one), end) for one, end in zip(axes, ends, strict=True)]


def _in_order_of(keys: Sequence[int], axes: Sequence[int]) -> list[int]:
    """The contracted axes of one operand as they follow one another in the other."""
    return [axis for _, axis in sorted(zip(keys, axes, strict=True))]


def _placed(x_bar: Any, axes: Sequence[int], x: Any) -> Any:
    """A gradient whose i-th axis is the axis `axes[i]` of x: with the axes and the dtype of x."""
    x_bar = lax.transpose(x_bar, np.argsort(axes))
    if jnp.iscomplexobj(x_bar) and not jnp.iscomplexobj(x):
        x_bar = lax.real(x_bar)
    return lax.convert_element_type(x_bar, x.dtype)


def _exchanged(precision: Any) -> Any:
    """The precision of a product with its operands exchanged; ȳ takes that of the operand it replaces."""
    if isinstance(precision, lax.DotAlgorithm):
        return precision._replace(
            lhs_precision_type=precision.rhs_precision_type,
            rhs_precision_type=precision.lhs_precision_type,
            lhs_component_count=precision.rhs_component_count,
            rhs_component_count=precision.lhs_component_count,
        )
    return precision[::-1] if isinstance(precision, tuple) else precision
