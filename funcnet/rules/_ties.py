"""Ties: what a gradient can be where eigenvalues or singular values are equal.

Vectors of one value w have no basis of their own, and a vector has no derivative: dA turns vⱼ towards vᵢ by
(V⁻¹ dA V)ᵢⱼ / (wⱼ − wᵢ). A function f of A that depends on no basis has a gradient, but V̄ and w̄ at one basis
do not tell it: that of V g(w) Vᵀ needs g′(w) between vᵢ and vⱼ, and w̄ has it on the diagonal only.

Values count as equal where rounding alone could part them, |wⱼ − wᵢ| ≤ (16 + n) ε ‖A‖, twice what LAPACK was
seen to make of equal ones; above, a gradient is good to ε ‖A‖ / gap. Of a pair of equal ones the gradient is
NaN, with two exceptions, which X = VᵀV̄ shows ("0" is (16 + n) ε beside the largest element):

    unread         Xᵢⱼ and Xⱼᵢ are 0, Xᵢᵢ = Xⱼⱼ and w̄ᵢ = w̄ⱼ: the same in any basis. What follows the
                   leading vectors alone, or the trace of g(A), gains nothing from a turn.
    turned alike   X is Hermitian and not diagonal, and nothing reads w: a turn changes nothing. So are
                   a projector, and the polar factor by svd.

The first 0 holds for this V̄ only, and its own derivative is NaN; that of the second is 0. No numbers tell
these from what is there by chance: V₀₁ + V₁₀ is stationary in the basis that LAPACK finds for A = 1, and the
V̄ and w̄ of (log A)₀₁ vanish there. The gates of `funcnet.nn` that depend on no basis are exact at any gap.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._matrices import across, diagonal, down, transpose, where
from funcnet.rules._table import slope as slope_of


def small(x: Any, beside: Any, times: Any = 1.0) -> Any:
    """A mask of |x| ≤ (16 + n) ε max |beside|, for matrices x and what stands beside each of them."""
    axes = tuple(range(x.ndim - 2, beside.ndim))
    largest = lax.reduce_max(lax.abs(beside), axes)
    largest = lax.broadcast_in_dim(largest, x.shape, range(largest.ndim))
    limit = (16 + x.shape[-1]) * float(jnp.finfo(x.dtype).eps) * largest * times
    return (lax.abs(x) <= limit) & (limit < jnp.inf)


def gaps(w: Any, shape: Any) -> Any:
    """wⱼ − wᵢ, and ∞ on the diagonal: no vector turns towards itself."""
    gap = across(w, shape) - down(w, shape)
    return lax.select(diagonal(gap), lax.full_like(gap, jnp.inf), gap)


def alike(d: Any, w_bar: Any, shape: Any, sign: int = 1) -> Any:
    """A mask of dᵢ = dⱼ and w̄ᵢ = ±w̄ⱼ: the diagonal of X, and the gradient of the values."""
    same = small(across(d, shape) - down(d, shape), d)
    if w_bar is None:
        return same
    return same & small(across(w_bar, shape) - sign * down(w_bar, shape), w_bar)


def over_gaps(coupling: Any, gap: Any, equal: Any, x: Any, beside: Any, same: Any, read: bool) -> Any:
    """coupling / gap, and for equal values what is known of it.

    Args:
        coupling: what f gains as vⱼ turns towards vᵢ, and vᵢ away where the two stay orthogonal.
        gap: wⱼ − wᵢ.
        equal: where that counts as 0.
        x: X.
        beside: in comparison with these the elements of X are 0.
        same: where Xᵢᵢ = Xⱼⱼ and w̄ᵢ = w̄ⱼ.
        read: whether anything reads w.
    """
    apart = small(x, beside)
    apart &= transpose(apart)
    turned_alike = small(coupling, beside) & ~apart
    unknown = equal if read else equal & ~turned_alike
    return over(coupling, gap, equal, unknown, equal & apart & same)


def over(x: Any, gap: Any, equal: Any, unknown: Any, unread: Any) -> Any:
    """x / gap; for equal values NaN or 0, and a 0 of which the derivative is NaN."""
    slope = where(~equal, 1 / lax.select(equal, lax.full_like(gap, 1), gap))
    slope = lax.select(unknown, lax.full_like(gap, jnp.nan), slope)
    return lax.select(unread, _zero_here(x), slope.astype(x.dtype) * x)


@slope_of(lambda s, x: lax.full_like(x, jnp.nan))
def _zero_here(x: Any) -> Any:
    """0, which need not be 0 anywhere else; vmap maps it along with x."""
    zero = lax.full_like(x, 0)
    return lax.select(x == x, zero, zero)
