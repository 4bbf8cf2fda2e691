"""Cholesky, LU and QR: factors that are triangular or unitary.

Writing A = FG as dA = dF G + F dG and multiplying with the inverses of the factors leaves on one side
a matrix whose lower triangle belongs to one factor and whose upper triangle to the other; the way back
runs through the same split. Notation: Aᵀ without, Aᴴ with conjugation, A* conjugated; gradients pair
with differentials as Re tr(Āᵀ dA).
"""

from jax import lax

from funcnet.rules._matrices import (
    Solver,
    adjoint,
    below,
    columns,
    conj,
    copyltu,
    diagonal,
    dot,
    halved_tril,
    inverse,
    rows,
    take_rows,
    total,
    transpose,
    tril,
    triu,
)
from funcnet.rules._table import rule


@rule(
    "cholesky",
    formula="Ā = Φ(B + Bᴴ),  B = L⁻ᵀ Φ(Lᵀ L̄) L*⁻¹",
    source="Murray 2016, eq. 8–10; Giles 2008, §3.3",
)
def cholesky(y_bar, y, x):
    """Φ takes the lower triangle and halves its diagonal.

    The primitive reads the lower triangle of A only, and so only that has a gradient: the upper
    triangle's share, its mirror image, is added to it (JAX before 0.12 does not, which saves 2 % of the
    FLOPs at n = 64). A caller who symmetrizes A first gets the symmetric gradient by that step.
    """
    low = tril(y)
    b = halved_tril(dot(transpose(low), y_bar))
    b = lax.linalg.triangular_solve(low, b, left_side=True, lower=True, transpose_a=True)
    b = lax.linalg.triangular_solve(low, b, left_side=False, lower=True, conjugate_a=True)
    return (halved_tril(b + adjoint(b)),)


@rule(
    "lu",
    formula="PĀ = L⁻ᵀ (tril₋₁(Lᵀ L̄) + triu(Ū Uᵀ)) U⁻ᵀ",
    source="de Hoog, Anderssen and Lukas 2011; Seeger, Hetzel, Dai and Lawrence 2017",
)
def lu(y_bars, ys, x):
    """L, without its unit diagonal, and U come packed in one matrix of A's shape; the pivots are constants.

    Of a tall A, the rows L₂ below the square part solve L₂U = A₂; of a wide one, the columns U₂ beside it
    solve LU₂ = A₂. Their gradients L̄₂U⁻ᵀ and L⁻ᵀŪ₂ go to A₂, and −L₂ᵀL̄₂ and −Ū₂U₂ᵀ join the middle.
    """
    (factors_bar, *_), (factors, _, permutation) = y_bars, ys
    m, n = x.shape[-2:]
    k = min(m, n)
    square, square_bar = (columns(rows(a, 0, k), 0, k) for a in (factors, factors_bar))
    l_bar = tril(square_bar, strict=True)
    of_l = l_bar + dot(transpose(tril(square, strict=True)), l_bar)
    of_u = dot(triu(square_bar), transpose(triu(square)))
    if m > n:
        of_u -= dot(transpose(rows(factors, k, m)), rows(factors_bar, k, m))
    if n > m:
        of_l -= dot(columns(factors_bar, k, n), transpose(columns(factors, k, n)))
    middle = lax.select(below(square), of_l, of_u)

    def through_l(c):
        return lax.linalg.triangular_solve(
            square, c, left_side=True, lower=True, transpose_a=True, unit_diagonal=True
        )

    def through_u(c):
        return lax.linalg.triangular_solve(square, c, left_side=False, lower=False, transpose_a=True)

    if m >= n:
        a_bar = through_u(lax.concatenate([through_l(middle), rows(factors_bar, k, m)], x.ndim - 2))
    else:
        a_bar = through_l(lax.concatenate([through_u(middle), columns(factors_bar, k, n)], x.ndim - 1))
    return (take_rows(a_bar, inverse(permutation)),)


@rule(
    "qr",
    formula="Ā = (Q̄ − (QZ)*) R⁻ᵀ,  Z = copyltu(Q̄ᵀQ − R R̄ᵀ)",
    source="Walter and Lehmann 2010; Seeger, Hetzel, Dai and Lawrence 2017",
)
def qr(y_bars, ys, x, *, pivoting, full_matrices, use_magma):
    """copyltu(K) is the Hermitian matrix with K's lower triangle; R has a real diagonal.

    A wide A = Q [R₁ R₂] has a second part A₂ = Q R₂: its gradient is Q* R̄₂, and Q gets (R₂R̄₂ᵀ)ᴴ more
    (Roberts and Roberts 2020). With pivoting these are the gradients of the permuted columns.
    """
    q_bar, r_bar, *_ = y_bars
    q, r, *permutation = ys
    m, n = x.shape[-2:]
    k = min(m, n)
    if full_matrices and m > n:
        q_bar = None if q_bar is None else _of_first_columns(q_bar, q, n)
        q, r = columns(q, 0, n), rows(r, 0, n)
        r_bar = None if r_bar is None else rows(r_bar, 0, n)
    r1, r2 = columns(r, 0, k), columns(r, k, n)
    from_q = from_r1 = from_r2 = r2_bar = None
    if q_bar is not None:
        from_q = dot(transpose(q_bar), q)
    if r_bar is not None:
        from_r1 = -dot(r1, transpose(columns(r_bar, 0, k)))
    if r_bar is not None and n > m:
        r2_bar = columns(r_bar, k, n)
        from_r2 = dot(r2, transpose(r2_bar))
    z = copyltu(total(from_q, from_r1, None if from_r2 is None else adjoint(from_r2)))
    a_bar = total(q_bar, -conj(dot(q, z if from_r2 is None else z - from_r2)))
    a_bar = lax.linalg.triangular_solve(r1, a_bar, left_side=False, lower=False, transpose_a=True)
    if n > m:
        a2_bar = lax.full_like(r2, 0) if r2_bar is None else dot(conj(q), r2_bar)
        a_bar = lax.concatenate([a_bar, a2_bar], x.ndim - 1)
    return (transpose(take_rows(transpose(a_bar), inverse(permutation[0]))) if pivoting else a_bar,)


def _of_first_columns(q_bar, q, n):
    """The gradient of all columns of Q as one of its first n, Q₁.

    Householder reflections make Q = I − VTVᴴ with a trapezoidal V (Schreiber and Van Loan 1989), so
    Q₁ fixes the other columns: Q₂ = E₂ + (Q₁ − E₁)Zᴴ, Z = V₂V₁⁻¹ = Q₂₁W⁻¹, W = Q₁₁ − I, where E is the
    identity's columns and Q₁₁, Q₂₁ are the upper and the lower rows of Q₁. Hence

        Z̄ = (Q̄₂ᵀ(Q₁ − E₁))*,  S = Z̄W⁻ᵀ,  Q̄₁ += Q̄₂Z* + [−ZᵀS; S].
    """
    m = q.shape[-1]
    q1 = columns(q, 0, n)
    reflected = q1 - diagonal(q1).astype(q.dtype)
    w = Solver(rows(reflected, 0, n))
    z_t = w.transposed(transpose(rows(q1, n, m)))
    q2_bar = columns(q_bar, n, m)
    s_t = w.solve(conj(dot(transpose(reflected), q2_bar)))
    s = transpose(s_t)
    return columns(q_bar, 0, n) + dot(q2_bar, adjoint(z_t)) + lax.concatenate([-dot(z_t, s), s], q.ndim - 2)
