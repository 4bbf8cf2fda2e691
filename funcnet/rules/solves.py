"""Linear systems with a triangular or a tridiagonal matrix, and the product A Aᵀ.

X solves A X = B. From dX = A⁻¹(dB − dA X) follow, with one more solve,

    B̄ = A⁻ᵀ X̄,    Ā = −B̄ Xᵀ                             (Giles 2008, section 2)

and of Ā the entries at which A can be other than zero. For XA = B the two are mirrored: B̄ = X̄ A⁻ᵀ,
Ā = −Xᵀ B̄.
"""

from jax import lax

from funcnet.rules._matrices import conj, dot, transpose, tril, triu
from funcnet.rules._table import rule

_GILES = "Giles 2008, section 2"


@rule("triangular_solve", formula="B̄ = A⁻ᵀ X̄,  Ā = −triangle(B̄ Xᵀ)", source=_GILES)
def triangular_solve(y_bar, y, a, b, *, left_side, lower, transpose_a, conjugate_a, unit_diagonal):
    """A stands for a, aᵀ, a* or aᴴ.

    With fewer equations than right-hand sides the product X̄ Xᵀ is the smaller thing to solve for.
    """

    def solve(c):
        return lax.linalg.triangular_solve(
            a,
            c,
            left_side=left_side,
            lower=lower,
            transpose_a=not transpose_a,
            conjugate_a=conjugate_a,
            unit_diagonal=unit_diagonal,
        )

    b_bar = solve(y_bar)
    m, n = y.shape[-2:]
    if left_side:
        a_bar = dot(b_bar, transpose(y)) if m >= n else solve(dot(y_bar, transpose(y)))
    else:
        a_bar = dot(transpose(y), b_bar) if m <= n else solve(dot(transpose(y), y_bar))
    a_bar = transpose(a_bar) if transpose_a else a_bar
    a_bar = conj(a_bar) if conjugate_a else a_bar
    triangle = tril(a_bar, unit_diagonal) if lower else triu(a_bar, unit_diagonal)
    return -triangle, b_bar


@rule("tridiagonal_solve", formula="B̄ = A⁻ᵀ X̄,  Ā = −tridiagonal(B̄ Xᵀ)", source=_GILES)
def tridiagonal_solve(y_bar, y, dl, d, du, b, *, perturb_singular):
    """Row i of A is (dl[i], d[i], du[i]); dl[0] and du[-1] lie outside and have zero gradients."""
    b_bar = lax.linalg.tridiagonal_solve(
        _shift(du, 1), d, _shift(dl, -1), y_bar, perturb_singular=perturb_singular
    )
    below, beside, above = (
        -lax.reduce_sum(b_bar * _shift(y, k, axis=y.ndim - 2), (y.ndim - 1,)) for k in (1, 0, -1)
    )
    return below, beside, above, b_bar


def _shift(x, k, axis=None):
    """x moved by k places along an axis, with zeros moving in: (x[i − k])."""
    axis = x.ndim - 1 if axis is None else axis
    config = [(k, -k, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)]
    return lax.pad(x, lax.full((), 0, x.dtype), config)


@rule("symmetric_product", formula="Ā = α (Ȳ + Ȳᵀ) A,  C̄ = β Ȳ", source="Giles 2008, section 2")
def symmetric_product(y_bar, y, a, c, *, alpha, beta):
    """Y = α A Aᵀ + β C, which JAX has no gradient for."""
    return alpha * dot(y_bar + transpose(y_bar), a), beta * y_bar
