"""Eigenvalues, eigenvectors and singular vectors.

First-order perturbation theory: dA adds to an eigenvector the others, each in proportion to their coupling
over their gap, dvⱼ = Σᵢ vᵢ (V⁻¹ dA V)ᵢⱼ / (wⱼ − wᵢ), and moves the eigenvalue by the diagonal of the same
matrix. Notation: Fᵢⱼ = 1 / (wⱼ − wᵢ), ∘ is the elementwise product; Aᵀ without, Aᴴ with conjugation, A*
conjugated; gradients pair with differentials as Re tr(Āᵀ dA).

**Values alone.** Their gradient divides by no gap and is exact at ties. A singular value |uᴴAv| has a kink at
0, in whose middle its slope is 0, and from the right from the second derivative on, as |x|.
**Gauge.** A vector is fixed up to a factor only; each rule says what it takes that factor to do.
**Ties.** Equal values leave the basis of their vectors open: `_ties` says when the gradient is NaN. The
gradient of a leading eigenvector is right whatever is tied behind it, where JAX's is NaN.
"""

import jax.numpy as jnp
from jax import lax

from funcnet._errors import ParameterError
from funcnet.rules._matrices import (
    Solver,
    across,
    adjoint,
    columns,
    conj,
    diagonal,
    diagonal_of,
    dot,
    down,
    skew,
    total,
    transpose,
    where,
)
from funcnet.rules._table import rule
from funcnet.rules._ties import alike, gaps, over, over_gaps, small
from funcnet.rules.arithmetic import signed


@rule("eigh", formula="Ā = V* (diag(w̄) + F ∘ skew(VᵀV̄)) Vᵀ", source="Giles 2008, §3.1; Boeddeker et al. 2017")
def eigh(y_bars, ys, a, *, lower, sort_eigenvalues, subset_by_index, algorithm):
    """Gauge: dvⱼ has no component along vⱼ.

    A is a whole Hermitian matrix, as in JAX, and so is its gradient, where JAX leaves the Hermitian part to
    the step that symmetrizes A: what turns of a pair must cancel does so before it is divided by a gap.
    """
    (v_bar, w_bar), (v, w) = y_bars, ys
    if v_bar is None:
        return (dot(conj(v), down(w_bar.astype(v.dtype), transpose(v).shape) * transpose(v)),)
    _whole("eigh", subset_by_index, a.shape[-1])
    x = dot(transpose(v), v_bar)
    gap = gaps(w, x.shape)
    same = alike(diagonal_of(x), w_bar, x.shape)
    inner = over_gaps(skew(x), gap, small(gap, w), x, x, same, w_bar is not None)
    inner = _with_diagonal(inner, lax.full_like(w, 0) if w_bar is None else w_bar)
    return (dot(conj(v), dot(inner, transpose(v))),)


def _with_eigenvectors(
    x,
    *,
    compute_left_eigenvectors,
    compute_right_eigenvectors,
    enable_eigvec_derivs,
    implementation,
):
    w, *vectors = lax.linalg.eig(
        x,
        compute_left_eigenvectors=compute_left_eigenvectors,
        compute_right_eigenvectors=compute_right_eigenvectors or not compute_left_eigenvectors,
        enable_eigvec_derivs=enable_eigvec_derivs,
        implementation=implementation,
    )
    wanted = compute_left_eigenvectors + compute_right_eigenvectors
    return (w, *vectors[:wanted]), (x, w, vectors)


@rule(
    "eig",
    formula="Ā = V⁻ᵀ (diag(w̄) + F ∘ VᵀV̄ᵍ) Vᵀ,  v̄ᵍ = v̄ − Re(α) v* − i Im(α) eₖ / vₖ,  α = v̄ᵀv",
    source="Magnus 1985; Boeddeker et al. 2017",
    forward=_with_eigenvectors,
)
def eig(
    stash,
    y_bars,
    *,
    compute_left_eigenvectors,
    compute_right_eigenvectors,
    enable_eigvec_derivs,
    implementation,
):
    """Gauge: that of LAPACK's geev. A vector has norm 1, and its largest component, the k-th, is real.

    The two terms with α take from v̄ what moves v along v itself: Re(α) its norm, Im(α) its phase.
    Left eigenvectors are the right ones of Aᴴ, with the eigenvalues w*. JAX has the gradients of the
    vectors only on request (`enable_eigvec_derivs`); here they need none.
    """
    (x, w, vectors), (w_bar, *bars) = stash, y_bars
    if x.size == 0:
        return (lax.full_like(x, 0),)
    norm = lax.sqrt(lax.reduce_sum(lax.square(lax.abs(x)), (x.ndim - 2, x.ndim - 1)))
    from_left = from_right = None
    if compute_left_eigenvectors:
        left, *vectors = vectors
        left_bar, *bars = bars
        w_bar_of_left = None if compute_right_eigenvectors or w_bar is None else conj(w_bar)
        if left_bar is not None or w_bar_of_left is not None:
            from_left = adjoint(_of_eigenpairs(norm, conj(w), left, w_bar_of_left, left_bar))
    if vectors:
        right_bar = bars[0] if bars else None
        if right_bar is not None or w_bar is not None:
            from_right = _of_eigenpairs(norm, w, vectors[0], w_bar, right_bar)
    a_bar = total(from_left, from_right)
    return (a_bar if jnp.issubdtype(x.dtype, jnp.complexfloating) else lax.real(a_bar),)


def _of_eigenpairs(norm, w, v, w_bar, v_bar):
    solver = Solver(v)
    if v_bar is None:
        inner_v = down(w_bar, v.shape) * transpose(v)
    else:
        raw, raw_bar = dot(transpose(v), v_bar), v_bar
        alpha = diagonal_of(raw)
        k = _largest_real(v)
        v_k = lax.reduce_sum(where(k, v), (v.ndim - 2,))
        turn = lax.complex(lax.full_like(lax.real(alpha), 0), lax.imag(alpha)) / v_k
        v_bar = v_bar - across(lax.real(alpha).astype(v.dtype), v.shape) * conj(v)
        v_bar = v_bar - where(k, across(turn, v.shape))
        x = dot(transpose(v), v_bar)
        gap = gaps(w, x.shape)
        equal = small(gap, norm, _sensitivity(v, solver))
        same = alike(diagonal_of(raw), w_bar, x.shape)
        inner = over_gaps(x, gap, equal, raw, raw_bar, same, read=True)
        inner = _with_diagonal(inner, lax.full_like(w, 0) if w_bar is None else w_bar)
        inner_v = dot(inner, transpose(v))
    return solver.transposed(inner_v)


def _sensitivity(v, solver):
    """By how much more than a Hermitian matrix's the eigenvalues of a pair may move: max |yᵢ||vᵢ|."""
    identity = diagonal(v).astype(v.dtype)
    rows = lax.sqrt(lax.reduce_sum(lax.square(lax.abs(solver.solve(identity))), (v.ndim - 1,)))
    return lax.max(across(rows, v.shape), down(rows, v.shape))


def _largest_real(v):
    """A mask of one place in each column: where geev made the largest component real."""
    size = lax.abs(v) + (lax.imag(v) == 0).astype(lax.real(v).dtype)
    k = lax.argmax(size, v.ndim - 2, "int32")
    return lax.broadcasted_iota("int32", v.shape, v.ndim - 2) == across(k, v.shape)


def _with_vectors(x, *, full_matrices, compute_uv, subset_by_index, algorithm):
    u, s, vt = lax.linalg.svd(
        x,
        full_matrices=full_matrices and compute_uv,
        compute_uv=True,
        subset_by_index=subset_by_index,
        algorithm=algorithm,
    )
    return (s, u, vt) if compute_uv else (s,), (x, s, u, vt)


@rule(
    "svd",
    formula="Ā = U* (diag(s̄) + F⁻∘(X + Y) + F⁺∘(X − Y)) Vᵀ,  X = skew(UᵀŪ),  Y = skew(VᵀV̄)",
    source="Townsend 2016; Wan and Zhang 2019; Seeger, Hetzel, Dai and Lawrence 2017",
    forward=_with_vectors,
)
def svd(stash, y_bars, *, full_matrices, compute_uv, subset_by_index, algorithm):
    """F⁻ = 1 / (sⱼ − sᵢ), F⁺ = 1 / (sⱼ + sᵢ), each apart: the squares of small s would vanish.

    Of a tall A, U can leave its span, which adds (I − U*Uᵀ) Ū S⁻¹ Vᵀ; of a wide one V can, which adds
    the mirror image. The columns that full matrices have beyond these stand for the complement as a
    whole, and turn as little as they can.
    Gauge: where a complex pair uⱼ, vⱼ is free to turn its common phase, vⱼ stays and uⱼ turns, as in JAX.
    """
    x, s, u, vt = stash
    s_bar, u_bar, vt_bar = y_bars if compute_uv else (*y_bars, None, None)
    (m, n), k = x.shape[-2:], s.shape[-1]
    u, u_bar = _first_columns(u, u_bar, k)
    v, v_bar = _first_columns(adjoint(vt), None if vt_bar is None else adjoint(vt_bar), k)
    if u_bar is None and v_bar is None:
        s_bar = signed(s_bar, s).astype(u.dtype)
        return (dot(conj(u) * across(s_bar, u.shape), transpose(v)),)
    _whole("svd", subset_by_index, min(m, n))
    zero = lax.full_like(dot(transpose(v), v), 0)
    u_u = zero if u_bar is None else dot(transpose(u), u_bar)
    v_v = zero if v_bar is None else dot(transpose(v), v_bar)
    inner = _between_singular_vectors(s, s_bar, u_u, v_v)
    if s_bar is not None:
        inner += where(diagonal(inner), across(s_bar.astype(u.dtype), inner.shape))
    if m > k and u_bar is not None:
        out = _out_of_span(u, u_bar, u_u, s, s_bar)
        return (dot(dot(conj(u), inner) + out, transpose(v)),)
    if n > k and v_bar is not None:
        out = _out_of_span(v, v_bar, v_v, s, s_bar)
        return (dot(conj(u), transpose(dot(v, transpose(inner)) + conj(out))),)
    return (dot(conj(u), dot(inner, transpose(v))),)


def _first_columns(u, u_bar, k):
    """The first k columns and their gradient, to which U₂, the others, add −(U₂Ū₂ᵀU₁)*: dU₂ = −U₁ dU₁ᴴ U₂."""
    n = u.shape[-1]
    if n == k or u_bar is None:
        return columns(u, 0, k), u_bar
    u1, u2 = columns(u, 0, k), columns(u, k, n)
    u1_bar, u2_bar = columns(u_bar, 0, k), columns(u_bar, k, n)
    return u1, u1_bar - conj(dot(u2, dot(transpose(u2_bar), u1)))


def _between_singular_vectors(s, s_bar, u_u, v_v):
    """F⁻∘(X + Y) + F⁺∘(X − Y); a complex X takes the diagonal of Y, which is the gauge.

    Both are gaps: u, v are eigenvectors (u, ±v) of [[0, A], [Aᴴ, 0]] with the eigenvalues ±s.
    """
    x, y = skew(u_u), skew(v_v)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        y = lax.select(diagonal(y), -x, y)
    one, other = u_u + v_v, u_u - v_v
    both = lax.concatenate([one, other], x.ndim - 1)
    middle, read = diagonal_of(one), s_bar is not None
    sums = across(s, x.shape) + down(s, x.shape)
    if not jnp.issubdtype(x.dtype, jnp.complexfloating):
        sums = lax.select(diagonal(sums), lax.full_like(sums, jnp.inf), sums)  # no phase to turn

    def part(coupling, gap, z, sign):
        same = alike(middle, s_bar, x.shape, sign)
        return over_gaps(coupling, gap, small(gap, s), z, both, same, read)

    return part(x + y, gaps(s, x.shape), one, 1) + part(x - y, sums, other, -1)


def _out_of_span(u, u_bar, u_u, s, s_bar):
    """(I − U*Uᵀ) Ū S⁻¹: what no column of U reaches has the singular value 0."""
    out, s_j = u_bar - dot(conj(u), u_u), across(s, u.shape)
    unread = small(out, u_bar) & small(across(diagonal_of(u_u), u.shape), u_bar)
    if s_bar is not None:
        unread &= small(across(s_bar, u.shape), s_bar)
    equal = small(s_j, s)
    return over(out, s_j, equal, equal, equal & unread)


def _with_diagonal(x, entries):
    return lax.select(diagonal(x), across(entries.astype(x.dtype), x.shape), x)


def _whole(name, subset_by_index, n):
    if subset_by_index not in (None, (0, n)):
        raise ParameterError(
            f"{name}: got a gradient for vectors of a part of the spectrum "
            f"(subset_by_index={subset_by_index}, n={n}), which depends on the other part; "
            f"decompose the whole matrix and slice its vectors"
        )
