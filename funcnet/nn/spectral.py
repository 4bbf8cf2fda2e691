"""Functions of a matrix that have a gradient where eigenvalues or singular values are equal.

Written with eigenvectors, V g(w) Vᴴ loses its gradient at equal w, whose vectors have none. The function has
one, by divided differences (Daleckii and Krein 1951; Higham 2008, Functions of Matrices, theorem 3.11), in
which nothing is divided by a gap:

    L(A, E) = V (g[wᵢ, wⱼ] ∘ VᴴEV) Vᴴ        g[x, y] = (g(x) − g(y)) / (x − y),  g[x, x] = g′(x)

is its derivative along E, the Fréchet derivative, which is self-adjoint: Ā = L(A, Ȳ). How L changes with A
has second differences (Horn and Johnson 1991, Topics in Matrix Analysis, section 6.6): in the basis V,

    M(A, E, Z)ᵢⱼ = Σₖ g[wᵢ, wₖ, wⱼ] (Eᵢₖ Zₖⱼ + Zᵢₖ Eₖⱼ)

Singular vectors are eigenvectors of B = [[0, A], [Aᴴ, 0]]: (u, ±v) / √2 have the eigenvalues ±s. So the polar
factor and what follows are made of the projector of B. `_differences` has the g. Half precision is worked out
in float32. Two derivatives are exact at any gap; a third one is taken through the eigenvectors. A forward
pass calls its own gate: whoever differentiates it with its gradient gets the rule of the gate there too.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from funcnet._errors import ParameterError, ShapeError
from funcnet.nn._differences import FUNCTIONS, Leading, Spectral
from funcnet.nn._dtypes import at_least_float32, is_floating
from funcnet.nn._gate import gate
from funcnet.rules._matrices import adjoint, dot
from funcnet.rules._ties import small

_SOURCE = "Daleckii and Krein 1951; Higham 2008, Functions of Matrices, theorem 3.11"


def _named(function: str | Spectral) -> Spectral:
    if not isinstance(function, str):
        return function
    if function not in FUNCTIONS:
        raise ParameterError(f"matrix function: got {function!r}, expected one of {', '.join(FUNCTIONS)}")
    return FUNCTIONS[function]


def _wide(x: Array) -> Array:
    return x if jnp.iscomplexobj(x) else at_least_float32(x)


def _like(x: Array, y: Array) -> Array:
    """y in the dtype of x, if the gate widened that."""
    return y.astype(x.dtype) if is_floating(x) else y


def _eigh(name: str, a: Array) -> tuple[Array, Array]:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{name}: a has shape {list(a.shape)}; expected square matrices [*batch, n, n]")
    w, v = jnp.linalg.eigh(_wide(a))
    return w, v


def _hermitian(x: Array) -> Array:
    """(X + Xᴴ) / 2, which is all that can be read of A."""
    return (x + adjoint(x)) / 2


def _rotated(v: Array, inner: Array) -> Array:
    """V X Vᴴ."""
    return dot(v, dot(inner, adjoint(v)))


@gate(formula="Ā = L(A, Ȳ) = V (g[wᵢ, wⱼ] ∘ VᴴȲV) Vᴴ", source=_SOURCE)
def matrix_function(
    a: Inexact[Array, "*batch n n"], *, function: str = "exp"
) -> Inexact[Array, "*batch n n"]:
    """exp, log, √ or 1/√ of a Hermitian matrix, V g(w) Vᴴ, with exact gradients where eigenvalues are equal.

    Args:
        a: a symmetric or Hermitian matrix; of others the Hermitian part (A + Aᴴ) / 2 is read.
        function: "exp", "log", "sqrt", or "rsqrt" for the inverse square root, which whitens. An eigenvalue
            outside of the domain gives NaN.

    Raises:
        ShapeError: a is not square.
        ParameterError: the function has another name.

    >>> import jax
    >>> log_det = lambda a: jnp.trace(matrix_function(a, function="log"))
    >>> jax.grad(log_det)(2 * jnp.eye(2))
    Array([[0.5, 0. ],
           [0. , 0.5]], dtype=float32)
    """
    w, v = _eigh("matrix_function", a)
    return _like(a, dot(v * _named(function).value(w)[..., None, :].astype(v.dtype), adjoint(v)))


@matrix_function.forward
def matrix_function_forward(a, *, function="exp"):
    return matrix_function(a, function=function), a


@matrix_function.backward
def matrix_function_backward(a, y_bar, *, function="exp"):
    return (frechet(a, _hermitian(y_bar.conj()), function=function).conj(),)


@gate(formula="Ē = L(A, Ȳ),  Ā = M(A, Eᴴ, Ȳ)", source=f"{_SOURCE}; Horn and Johnson 1991, section 6.6")
def frechet(
    a: Inexact[Array, "*batch n n"], e: Inexact[Array, "*batch n n"], *, function: str | Spectral = "exp"
) -> Inexact[Array, "*batch n n"]:
    """The Fréchet derivative L(A, E) of a function of a Hermitian matrix: how V g(w) Vᴴ changes along E.

    Args:
        a: a symmetric or Hermitian matrix, or of others the Hermitian part.
        e: the direction.
        function: as in `matrix_function`, or a function of all eigenvalues and its differences.

    Raises:
        ShapeError: a is not square, or e has another shape.
        ParameterError: the function has another name.

    >>> frechet(jnp.zeros((2, 2)), jnp.array([[0.0, 1.0], [1.0, 0.0]]))
    Array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    w, v = _eigh("frechet", a)
    if e.shape != a.shape:
        raise ShapeError(f"frechet: e has shape {list(e.shape)}, expected that of a, {list(a.shape)}")
    inner = dot(adjoint(v), dot(_wide(e), v))
    return _like(a, _rotated(v, _named(function).first(w).astype(v.dtype) * inner))


@frechet.forward
def frechet_forward(a, e, *, function="exp"):
    return frechet(a, e, function=function), (a, e)


@frechet.backward
def frechet_backward(stash, y_bar, *, function="exp"):
    a, e = stash
    w, v = _eigh("frechet", a)
    e_, z = (dot(adjoint(v), dot(_wide(x), v)) for x in (adjoint(e), y_bar.conj()))
    differences = _named(function).second(w).astype(v.dtype)
    terms = (_sum_over_k(differences, *pair) for pair in ((e_, z), (z, e_)))
    a_bar = _hermitian(_rotated(v, sum(terms, jnp.zeros_like(z))))
    return _like(a, a_bar.conj()), frechet(a, y_bar.conj(), function=function).conj()


def _sum_over_k(differences: Array, x: Array, y: Array) -> Array:
    return jnp.einsum("...ikj,...ik,...kj->...ij", differences, x, y, precision="highest")


@gate(
    formula="Ā = L(A, Ȳ),  g[wᵢ, wⱼ] = 1 / |wᵢ − wⱼ| for i of the leading and j of the others", source=_SOURCE
)
def projector(a: Inexact[Array, "*batch n n"], *, rank: int = 1) -> Inexact[Array, "*batch n n"]:
    """The projector V₁V₁ᴴ onto the eigenvectors of the largest eigenvalues of a Hermitian matrix.

    Equal eigenvalues on either side do not matter. Where the least of the largest equals the largest of the
    others, the projector is not defined, and its gradient NaN. On a cluster inside of the spectrum it is the
    difference of two.

    Args:
        a: a symmetric or Hermitian matrix, or of others the Hermitian part.
        rank: how many eigenvectors.

    Raises:
        ShapeError: a is not square.
        ParameterError: the rank is not between 0 and n.

    >>> projector(jnp.diag(jnp.array([3.0, 1.0, 3.0])), rank=2)
    Array([[1., 0., 0.],
           [0., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    w, v = _eigh("projector", a)
    _check_rank("projector", rank, a.shape[-1])
    return _like(a, dot(v * Leading(rank).value(w)[..., None, :].astype(v.dtype), adjoint(v)))


def _check_rank(name: str, rank: int, largest: int) -> None:
    if not 0 <= rank <= largest:
        raise ParameterError(f"{name}: rank is {rank}; expected 0 to {largest}")


@projector.forward
def projector_forward(a, *, rank=1):
    return projector(a, rank=rank), a


@projector.backward
def projector_backward(a, y_bar, *, rank=1):
    return (frechet(a, _hermitian(y_bar.conj()), function=Leading(rank)).conj(),)


def _doubled(a: Array) -> Array:
    """B = [[0, A], [Aᴴ, 0]]."""
    m, n = a.shape[-2:]
    above = jnp.concatenate([jnp.zeros((*a.shape[:-2], m, m), a.dtype), a], axis=-1)
    below = jnp.concatenate([adjoint(a), jnp.zeros((*a.shape[:-2], n, n), a.dtype)], axis=-1)
    return jnp.concatenate([above, below], axis=-2)


def _check_matrices(name: str, a: Array) -> None:
    if a.ndim < 2:
        raise ShapeError(f"{name}: a has shape {list(a.shape)}; expected matrices [*batch, m, n]")


@gate(formula="Ā = 2 L(B, [[0, Ȳ], [Ȳᴴ, 0]])₁₂,  g = projector", source=f"Higham 2008, chapter 8; {_SOURCE}")
def polar(a: Inexact[Array, "*batch m n"]) -> Inexact[Array, "*batch m n"]:
    """The polar factor U Vᴴ of A = U S Vᴴ: the nearest matrix with orthonormal rows or columns.

    Where singular values are 0 it is the canonical one, without these; it jumps there, and its gradient
    is NaN.

    >>> polar(jnp.array([[0.0, 3.0], [3.0, 0.0]]))
    Array([[0., 1.],
           [1., 0.]], dtype=float32)
    """
    _check_matrices("polar", a)
    u, s, vh = jnp.linalg.svd(_wide(a), full_matrices=False)
    kept = ~small(s[..., None, :], s)
    return _like(a, dot(u * kept.astype(u.dtype), vh))


@polar.forward
def polar_forward(a):
    return polar(a), a


@polar.backward
def polar_backward(a, y_bar):
    m, n = a.shape[-2:]
    whole = frechet(_doubled(a), _doubled(y_bar.conj()), function=Leading(min(m, n)))
    return (2 * whole[..., :m, m:].conj(),)


@gate(
    formula="Ā = ȳ (U Vᴴ)*",
    source="Watson 1992, Characterization of the subdifferential of some matrix norms",
)
def nuclear_norm(a: Inexact[Array, "*batch m n"]) -> Float[Array, "*batch"]:
    """The sum of the singular values of a matrix.

    Where some are 0 the gradient is the element of least norm of the subdifferential, without these.

    >>> import jax
    >>> jax.grad(nuclear_norm)(jnp.diag(jnp.array([2.0, 2.0, 0.0])))
    Array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    _check_matrices("nuclear_norm", a)
    s = jnp.linalg.svd(_wide(a), compute_uv=False)
    return jnp.sum(s, axis=-1)


@nuclear_norm.forward
def nuclear_norm_forward(a):
    return nuclear_norm(a), a


@nuclear_norm.backward
def nuclear_norm_backward(a, y_bar):
    factor = _wide(polar(a)).conj()
    return (_like(a, y_bar[..., None, None].astype(factor.dtype) * factor),)


def low_rank(a: Inexact[Array, "*batch m n"], *, rank: int) -> Inexact[Array, "*batch m n"]:
    """The nearest matrix of a rank: A V₁V₁ᴴ, its largest singular values (Eckart and Young 1936).

    Where the least of these equals the largest of the others it is not defined, and its gradient NaN.

    >>> low_rank(jnp.diag(jnp.array([2.0, 2.0, 1.0])), rank=2).diagonal().round(3)
    Array([2., 2., 0.], dtype=float32)
    """
    _check_matrices("low_rank", a)
    m, n = a.shape[-2:]
    if rank >= min(m, n):
        return a
    onto = 2 * projector(_doubled(a), rank=rank)[..., m:, m:]
    return dot(a, onto)
