"""The determinant, whose gradient is finite where the matrix is singular too.

    d det A = tr(adj(A) dA),        adj(A) = det(A) A⁻¹ where there is an inverse

With A = U S Vᴴ, adj(A) = δ V D Uᴴ and δ = det(U) det(Vᴴ), where Dᵢ = Πₖ sₖ over k ≠ i is finite at any rank.
Its derivative along E has M in the place of D, with Pᵢⱼ = Πₖ sₖ over k ≠ i, j and X = Uᴴ E V,

    Mᵢᵢ = Σⱼ Pᵢⱼ Xⱼⱼ over j ≠ i,        Mᵢⱼ = −Pᵢⱼ Xᵢⱼ

as the part of det(S + X) in which X stands twice is Σ Pᵢⱼ (Xᵢᵢ Xⱼⱼ − Xᵢⱼ Xⱼᵢ) over i < j. An LU
factorization is quicker and serves where all its pivots are large enough: for the cofactors any but 0, for
their derivative, in which A⁻¹ stands twice and what is 1/s² must cancel, from √ε of the largest.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax

from funcnet.rules._matrices import (
    Solver,
    across,
    adjoint,
    diagonal,
    diagonal_of,
    dot,
    down,
    transpose,
    triu,
    where,
)
from funcnet.rules._table import derivative_along, rule


@rule("jax.numpy.linalg.det", formula="Ā = ȳ · adj(A)ᵀ", source="Magnus and Neudecker 2019, ch. 8, §3")
def det(y_bar, y, a):
    return (lax.expand_dims(y_bar, (a.ndim - 2, a.ndim - 1)) * transpose(adjugate(a)),)


def adjugate(a: Any) -> Any:
    """adj(A), for 2 × 2 and 3 × 3 as it is written out."""
    if a.shape[-1] == 2:
        (p, q), (r, s) = ([a[..., i, j] for j in range(2)] for i in range(2))
        return jnp.stack([jnp.stack([s, -q], -1), jnp.stack([-r, p], -1)], -2)
    if a.shape[-1] == 3:
        rows = [a[..., i, :] for i in range(3)]
        return jnp.stack([jnp.cross(rows[i - 2], rows[i - 1]) for i in range(3)], -1)
    return _adjugate(a)


def _slope(a: Any, e: Any) -> Any:
    solver = Solver(a)
    large = _pivots_above(float(jnp.finfo(a.dtype).eps) ** 0.5, solver)
    return lax.cond(large, _slope_by_inverse, _slope_by_singular_values, a, e)


@derivative_along(_slope)
def _adjugate(a: Any) -> Any:
    solver = Solver(a)

    def by_inverse(a: Any) -> Any:
        return solver.determinant[..., None, None] * solver.solve(diagonal(a).astype(a.dtype))

    return lax.cond(_pivots_above(0.0, solver), by_inverse, _by_singular_values, a)


def _pivots_above(part: float, solver: Solver) -> Any:
    """Whether all pivots of all matrices are above this part of the largest of their matrix."""
    pivots = lax.abs(lax.stop_gradient(diagonal_of(solver.lu)))
    return jnp.all(pivots > part * jnp.max(pivots, -1, keepdims=True))


def _slope_by_inverse(a: Any, e: Any) -> Any:
    inverse, y = jnp.linalg.inv(a), jnp.linalg.det(a)[..., None, None]
    x = dot(inverse, e)
    trace = jnp.trace(x, axis1=-2, axis2=-1)[..., None, None]
    return y * (trace * inverse - dot(x, inverse))


def _by_singular_values(a: Any) -> Any:
    delta, u, s, vt = _decomposed(a)
    inner = where(diagonal(u), _products_without_two(s))
    return delta * dot(adjoint(vt), dot(inner.astype(u.dtype), adjoint(u)))


def _slope_by_singular_values(a: Any, e: Any) -> Any:
    delta, u, s, vt = _decomposed(a)
    x = dot(adjoint(u), dot(e, adjoint(vt)))
    p = where(~diagonal(u), _products_without_two(s)).astype(u.dtype)
    middle = jnp.sum(p * down(diagonal_of(x), x.shape), -2)
    inner = where(diagonal(x), across(middle, x.shape)) - p * x
    return delta * dot(adjoint(vt), dot(inner, adjoint(u)))


def _decomposed(a: Any) -> tuple[Any, ...]:
    """δ, U, S and Vᴴ."""
    u, s, vt = jnp.linalg.svd(a)
    return jnp.linalg.slogdet(dot(u, vt))[0][..., None, None], u, s, vt


def _products_without_two(s: Any) -> Any:
    """Πₖ sₖ over k ≠ i, j at each place (i, j), so without one on the diagonal; by no division."""
    shape = (*s.shape, s.shape[-1])
    one = lax.full_like(s[..., :1], 1)
    before = jnp.cumprod(jnp.concatenate([one, s[..., :-1]], -1), -1)
    behind = jnp.flip(jnp.cumprod(jnp.concatenate([one, jnp.flip(s[..., 1:], -1)], -1), -1), -1)
    later = jnp.where(triu(jnp.ones(shape, bool), strict=True), across(s, shape), 1)
    between = jnp.cumprod(jnp.concatenate([jnp.ones_like(later[..., :1]), later[..., :-1]], -1), -1)
    upper = triu(down(before, shape) * between * across(behind, shape))
    return upper + transpose(triu(upper, strict=True))
