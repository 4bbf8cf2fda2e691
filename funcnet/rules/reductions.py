"""Reductions over axes: y = ⊕ x over the elements of some axes.

Sum hands ȳ to every element. Max and min hand it to the winners, in equal shares. A product hands each
element ȳ times the product of all others, which no division gives where an element is zero: the factors
are multiplied as a balanced tree, and ȳ walks down it, multiplied at each fork by the other branch.

                y                       left = ȳ · right,  right = ȳ · left
            ╱       ╲
          left     right
"""

from jax import lax

from funcnet.rules._table import rule


def spread(y, x, axes):
    """Broadcast the result of a reduction of x over the axes back to the shape of x."""
    return lax.broadcast_in_dim(y, x.shape, [axis for axis in range(x.ndim) if axis not in axes])


@rule("reduce_sum", formula="x̄ = ȳ, broadcast", source="CS231n 2019, lecture 4, slide 82")
def reduce_sum(y_bar, y, x, *, axes):
    return (spread(y_bar, x, axes),)


@rule(
    "reduce_max",
    "reduce_min",
    formula="x̄ⱼ = ȳ · [xⱼ = y] / #{k : xₖ = y}",
    source="CS231n 2019, lecture 4, slide 82",
)
def reduce_max(y_bar, y, x, *, axes):
    """Winners share evenly. The share multiplies the mask, so that a NaN among x is not hidden.

    Winners are counted in float32 at least: bfloat16 cannot count beyond 256.
    """
    wins = lax.eq(x, spread(y, x, axes))
    ones = lax.convert_element_type(wins, "float32" if x.dtype.itemsize < 4 else x.dtype)
    share = y_bar / lax.convert_element_type(lax.reduce_sum(ones, axes), x.dtype)
    return (spread(share, x, axes) * lax.convert_element_type(wins, x.dtype),)


def halves(x, axis):
    """Two halves of equal size along an axis, and the element that remains of an odd number."""
    n = x.shape[axis]
    ends = [(0, n // 2), (n // 2, n - n % 2), (n - n % 2, n)]
    return [lax.slice_in_dim(x, start, end, axis=axis) for start, end in ends]


def product_tree(x, *, axes):
    """The product over the axes, and for each axis the levels of its tree from the leaves on."""
    trees = []
    for axis in axes:
        trees.append([])
        while x.shape[axis] > 1:
            trees[-1].append(x)
            left, right, rest = halves(x, axis)
            x = lax.concatenate([left * right, rest], axis)
        if x.shape[axis] == 0:
            trees[-1].append(x)
            x = lax.full([1 if d == axis else n for d, n in enumerate(x.shape)], 1, x.dtype)
    return lax.squeeze(x, axes), trees


@rule(
    "reduce_prod",
    formula="x̄ⱼ = ȳ · Π_{k≠j} xₖ",
    source="Griewank and Walther 2008, §3.3 (Speelpenning's product)",
    forward=product_tree,
)
def reduce_prod(trees, y_bar, *, axes):
    x_bar = lax.expand_dims(y_bar, axes)
    for axis, levels in zip(reversed(axes), reversed(trees), strict=True):
        for x in reversed(levels):
            left, right, rest = halves(x, axis)
            pairs = left.shape[axis]
            pair_bar = lax.slice_in_dim(x_bar, 0, pairs, axis=axis)
            rest_bar = lax.slice_in_dim(x_bar, pairs, pairs + rest.shape[axis], axis=axis)
            x_bar = lax.concatenate([pair_bar * right, pair_bar * left, rest_bar], axis)
    return (x_bar,)
