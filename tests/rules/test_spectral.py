"""The rules of eigenvalues, eigenvectors and singular vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.lax import linalg

import funcnet
from funcnet._errors import ParameterError
from tests.rules.rows import Row, check, check_low_precision


def normal(*shape):
    return lambda rng: [rng.normal(size=shape)]


def complex_normal(*shape):
    return lambda rng: [rng.normal(size=shape) + 1j * rng.normal(size=shape)]


SAME = "the second order of the same formula is in the rows above"
LAPACK_PHASE = "the phase that LAPACK gives a vector is no smooth function of the matrix"


def without_phase(function):
    """Vectors as |vᵢⱼ|, which has no phase."""
    return lambda x: jax.tree.map(lambda y: jnp.real(y * jnp.conj(y)), function(x))


EIGH = [
    Row("eigh", linalg.eigh, normal(4, 4)),
    Row(
        "eigh",
        lambda x: linalg.eigh(x, lower=False)[1],
        normal(2, 3, 3),
        name="values alone, stacked",
        second=False,
        reason=SAME,
    ),
    Row("eigh", lambda x: linalg.eigh(x)[0], normal(3, 3), name="vectors alone", second=False, reason=SAME),
    Row("eigh", linalg.eigh, complex_normal(2, 3, 3), name="complex", differences=False, reason=LAPACK_PHASE),
    Row(
        "eigh",
        without_phase(linalg.eigh),
        complex_normal(3, 3),
        name="complex, without phase",
        second=False,
        reason=SAME,
    ),
    Row("eigh", linalg.eigh, normal(0, 0), name="empty", second=False, reason=SAME),
]


def eig(left, right):
    """Eigenvalues, and the squares of the vectors' components: LAPACK may flip the sign of a vector."""

    def function(x):
        w, *vectors = linalg.eig(
            x,
            compute_left_eigenvectors=left,
            compute_right_eigenvectors=right,
            enable_eigvec_derivs=True,
        )
        return w, *(v * v for v in vectors)

    return function


EIG = [
    Row("eig", eig(False, False), normal(4, 4), name="values alone"),
    Row("eig", eig(False, True), normal(4, 4), name="right vectors"),
    Row("eig", eig(True, False), complex_normal(3, 3), name="left vectors, complex"),
    Row("eig", eig(True, True), normal(2, 3, 3), name="both, stacked", second=False, reason=SAME),
    Row(
        "eig",
        lambda x: eig(True, True)(x)[1],
        complex_normal(3, 3),
        name="of both the left alone",
        second=False,
        reason=SAME,
    ),
    Row(
        "eig",
        lambda x: eig(True, False)(x)[0],
        normal(3, 3),
        name="values beside left vectors",
        second=False,
        reason=SAME,
    ),
    Row(
        "eig",
        lambda x: jnp.linalg.eig(x)[1] ** 2,
        normal(3, 3),
        name="numpy's",
        jax=False,
        reason="JAX has the gradients of eigenvectors on request only, and jnp.linalg.eig cannot ask",
    ),
    Row(
        "eig",
        eig(False, True),
        normal(0, 0),
        name="empty",
        jax=False,
        reason="JAX takes an argmax of nothing",
    ),
]


def svd(**options):
    return lambda x: linalg.svd(x, **options)


def tall_without_gauge(x):
    """Of full matrices, what does not depend on the basis of the complement: its projector."""
    u, s, vt = jnp.linalg.svd(x)
    return u[:, :2] * s, u[:, 2:] @ u[:, 2:].T, vt


def wide_without_gauge(x):
    u, _, vt = jnp.linalg.svd(x)
    return u, vt[2:].T @ vt[2:]


SVD = [
    Row("svd", svd(compute_uv=False), normal(4, 3), name="values alone"),
    Row(
        "svd",
        lambda x: linalg.svd(x)[1],
        complex_normal(3, 4),
        name="values beside full vectors",
        jax=False,
        reason="JAX has no gradient of full matrices",
    ),
    Row("svd", svd(), normal(3, 3), name="square"),
    Row("svd", svd(full_matrices=False), normal(5, 3), name="tall"),
    Row("svd", svd(full_matrices=False), normal(2, 3, 4), name="wide, stacked", second=False, reason=SAME),
    Row(
        "svd",
        svd(full_matrices=False),
        complex_normal(4, 3),
        name="complex, tall",
        differences=False,
        reason=LAPACK_PHASE,
    ),
    Row(
        "svd",
        svd(full_matrices=False),
        complex_normal(2, 2, 3),
        name="complex, wide, stacked",
        differences=False,
        second=False,
        reason=f"{LAPACK_PHASE}; {SAME}",
    ),
    Row(
        "svd",
        without_phase(svd()),
        complex_normal(3, 3),
        name="complex, without phase",
        second=False,
        reason=SAME,
    ),
    Row(
        "svd",
        lambda x: svd(full_matrices=False)(x)[0],
        normal(4, 3),
        name="U alone",
        second=False,
        reason=SAME,
    ),
    Row(
        "svd",
        lambda x: svd(full_matrices=False)(x)[2],
        normal(3, 4),
        name="V alone",
        second=False,
        reason=SAME,
    ),
    Row(
        "svd",
        tall_without_gauge,
        normal(4, 2),
        name="full, tall",
        jax=False,
        reason="JAX has no gradient of full matrices",
    ),
    Row(
        "svd",
        wide_without_gauge,
        lambda rng: [rng.normal(size=(2, 3))],
        name="full, wide",
        jax=False,
        reason="JAX has no gradient of full matrices",
    ),
    Row("svd", svd(full_matrices=False), normal(0, 3), name="empty", second=False, reason=SAME),
]


ROWS = [*EIGH, *EIG, *SVD]


@pytest.mark.in_turns(2)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", [EIGH[0], EIG[0], SVD[3]], ids=str)
def test_float32(row):
    check_low_precision(row, jnp.float32)


@pytest.mark.parametrize(
    "values", [jnp.linalg.eigvalsh, lambda x: linalg.svd(x, compute_uv=False)], ids=["eigh", "svd"]
)
def test_values_alone_are_exact_at_ties(values):
    """Σ w² of a symmetric A is Σ aᵢⱼ², of which the gradient is 2A."""
    a = jnp.diag(jnp.array([2.0, 1.0, 1.0, 1.0]))
    np.testing.assert_allclose(funcnet.grad(lambda a: (values(a) ** 2).sum())(a), 2 * a, atol=1e-6)


def test_a_leading_eigenvector_has_a_gradient_whatever_is_tied_behind_it():
    """Of A = diag(1, 1, 3): dv = (dA₁₃, dA₂₃, 0) / 2 by first-order perturbation theory. JAX: NaN."""
    a = jnp.diag(jnp.array([1.0, 1.0, 3.0]))

    def second_component(a):
        v = jnp.linalg.eigh(a)[1][:, 2]
        return v[1] / v[2]

    truth = jnp.zeros((3, 3)).at[1, 2].set(0.25).at[2, 1].set(0.25)
    np.testing.assert_allclose(funcnet.grad(second_component)(a), truth, atol=1e-6)


def test_a_leading_singular_vector_has_a_gradient_whatever_is_tied_behind_it():
    """Of A = diag(3, 1, 1): du = Σ (3 dAᵢ₁ + dA₁ᵢ) / 8 eᵢ. JAX: NaN."""
    a = jnp.diag(jnp.array([3.0, 1.0, 1.0]))

    def second_component(a):
        u = jnp.linalg.svd(a)[0][:, 0]
        return u[1] / u[0]

    truth = jnp.zeros((3, 3)).at[1, 0].set(3 / 8).at[0, 1].set(1 / 8)
    np.testing.assert_allclose(funcnet.grad(second_component)(a), truth, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 2), (4, 2), (2, 4)])
def test_a_singular_value_of_zero_leaves_the_leading_vectors_their_gradient(shape):
    """Of A = 2 e₁e₁ᵀ: du₂ = dA₂₁ / 2. JAX has NaN for the rectangular ones."""
    a = jnp.zeros(shape).at[0, 0].set(2.0)

    def second_component(a):
        u = jnp.linalg.svd(a, full_matrices=False)[0][:, 0]
        return u[1] / u[0]

    truth = jnp.zeros(shape).at[1, 0].set(0.5)
    np.testing.assert_allclose(funcnet.grad(second_component)(a), truth, atol=1e-6)


def test_tied_vectors_themselves_get_no_finite_gradient():
    """V g(w) Vᵀ has a gradient at A = 1, but one that V̄ and w̄ do not tell: better NaN than wrong."""

    def root(a):
        w, v = jnp.linalg.eigh(a)
        return ((v * jnp.sqrt(w)) @ v.T)[0, 1]

    assert not np.isfinite(funcnet.grad(root)(jnp.eye(2))).all()


@pytest.mark.usefixtures("x64")
def test_small_singular_values_keep_their_digits():
    """The squares of 1e-170 and 3e-170 are 0 in float64; d(u₂/u₁) = (s₁ dA₂₁ + s₂ dA₁₂) / (s₁² − s₂²)."""
    a = jnp.diag(jnp.array([3e-170, 1e-170]))

    def ratio(a):
        u = jnp.linalg.svd(a)[0][:, 0]
        return u[1] / u[0]

    truth = np.array([[0.0, 1.0], [3.0, 0.0]]) / 8e-170
    np.testing.assert_allclose(funcnet.grad(ratio)(a), truth, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_the_phase_of_an_eigenvector_with_two_components_of_the_same_size():
    """Of (1, ±i)/√2, the eigenvectors of a rotation, LAPACK makes one component real: that one stays so."""
    rotation = np.array([[0.0, -1.0], [1.0, 0.0]])
    direction = np.array([[0.3, -0.2], [0.5, 0.1]])
    at_rotation = np.asarray(jnp.linalg.eig(rotation)[1])

    def loss(v):
        return (v.real * np.array([[1.0, 2.0], [3.0, 5.0]]) + v.imag * 0.7).sum()

    def loss_nearby(h):
        v = np.linalg.eig(rotation + h * direction)[1]
        one = np.sum(v / at_rotation * (np.imag(at_rotation) == 0), axis=0)
        return loss(v * np.conj(one) / np.abs(one))

    slope = jnp.sum(funcnet.grad(lambda a: loss(jnp.linalg.eig(a)[1]))(rotation) * direction)
    np.testing.assert_allclose(slope, (loss_nearby(1e-5) - loss_nearby(-1e-5)) / 2e-5, rtol=1e-7)


@pytest.mark.parametrize("function", [linalg.eigh, linalg.svd], ids=["eigh", "svd"])
def test_vectors_of_a_part_of_the_spectrum_are_refused(function):
    options = {"full_matrices": False} if function is linalg.svd else {}

    def first_vectors(a):
        return function(a, subset_by_index=(0, 1), **options)[0].sum()

    with pytest.raises(ParameterError, match=r"a part of the spectrum \(subset_by_index=\(0, 1\), n=3\)"):
        jax.make_jaxpr(funcnet.grad(first_vectors))(jnp.eye(3))


def test_values_of_a_part_of_the_spectrum_have_gradients():
    def first_value(a):
        return linalg.eigh(a, subset_by_index=(0, 1))[1].sum()

    (a_bar,) = jax.make_jaxpr(funcnet.grad(first_value))(jnp.eye(3)).out_avals
    assert a_bar.shape == (3, 3)
