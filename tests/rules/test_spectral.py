"""The rules of eigenvalues, eigenvectors and singular vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.lax import linalg

import funcnet
from funcnet._errors import MissingRuleError, ParameterError
from tests.rules.rows import Row, check, check_low_precision, complex_normal, each, normal

SAME = "the second order of the same formula is in the rows above"
LAPACK_PHASE = "the phase that LAPACK gives a vector is no smooth function of the matrix"


def without_phase(function):
    """Vectors as |vᵢⱼ|, which has no phase."""
    return lambda x: jax.tree.map(lambda y: jnp.real(y * jnp.conj(y)), function(x))


EIGH = [
    Row("eigh", linalg.eigh, normal((4, 4))),
    Row(
        "eigh",
        lambda x: linalg.eigh(x, lower=False)[1],
        normal((2, 3, 3)),
        name="values alone, stacked",
        second=False,
        reason=SAME,
    ),
    Row("eigh", lambda x: linalg.eigh(x)[0], normal((3, 3)), name="vectors alone", second=False, reason=SAME),
    Row(
        "eigh", linalg.eigh, complex_normal((2, 3, 3)), name="complex", differences=False, reason=LAPACK_PHASE
    ),
    Row(
        "eigh",
        without_phase(linalg.eigh),
        complex_normal((3, 3)),
        name="complex, without phase",
        second=False,
        reason=SAME,
    ),
    Row("eigh", linalg.eigh, normal((0, 0)), name="empty", second=False, reason=SAME),
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
    Row("eig", eig(False, False), normal((4, 4)), name="values alone"),
    Row("eig", eig(False, True), normal((4, 4)), name="right vectors"),
    Row("eig", eig(True, False), complex_normal((3, 3)), name="left vectors, complex"),
    Row("eig", eig(True, True), normal((2, 3, 3)), name="both, stacked", second=False, reason=SAME),
    Row(
        "eig",
        lambda x: eig(True, True)(x)[1],
        complex_normal((3, 3)),
        name="of both the left alone",
        second=False,
        reason=SAME,
    ),
    Row(
        "eig",
        lambda x: eig(True, False)(x)[0],
        normal((3, 3)),
        name="values beside left vectors",
        second=False,
        reason=SAME,
    ),
    Row(
        "eig",
        lambda x: jnp.linalg.eig(x)[1] ** 2,
        normal((3, 3)),
        name="numpy's",
        jax=False,
        reason="JAX has the gradients of eigenvectors on request only, and jnp.linalg.eig cannot ask",
    ),
    Row(
        "eig",
        eig(False, True),
        normal((0, 0)),
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
    Row("svd", svd(compute_uv=False), normal((4, 3)), name="values alone"),
    Row(
        "svd",
        lambda x: linalg.svd(x)[1],
        complex_normal((3, 4)),
        name="values beside full vectors",
        jax=False,
        reason="JAX has no gradient of full matrices",
    ),
    Row("svd", svd(), normal((3, 3)), name="square"),
    Row("svd", svd(full_matrices=False), normal((5, 3)), name="tall"),
    Row("svd", svd(full_matrices=False), normal((2, 3, 4)), name="wide, stacked", second=False, reason=SAME),
    Row(
        "svd",
        svd(full_matrices=False),
        complex_normal((4, 3)),
        name="complex, tall",
        differences=False,
        reason=LAPACK_PHASE,
    ),
    Row(
        "svd",
        svd(full_matrices=False),
        complex_normal((2, 2, 3)),
        name="complex, wide, stacked",
        differences=False,
        second=False,
        reason=f"{LAPACK_PHASE}; {SAME}",
    ),
    Row(
        "svd",
        without_phase(svd()),
        complex_normal((3, 3)),
        name="complex, without phase",
        second=False,
        reason=SAME,
    ),
    Row(
        "svd",
        lambda x: svd(full_matrices=False)(x)[0],
        normal((4, 3)),
        name="U alone",
        second=False,
        reason=SAME,
    ),
    Row(
        "svd",
        lambda x: svd(full_matrices=False)(x)[2],
        normal((3, 4)),
        name="V alone",
        second=False,
        reason=SAME,
    ),
    Row(
        "svd",
        tall_without_gauge,
        normal((4, 2)),
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
    Row("svd", svd(full_matrices=False), normal((0, 3)), name="empty", second=False, reason=SAME),
]


ROWS = [*EIGH, *EIG, *SVD]


@each(ROWS)
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


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("diagonal", [(0, 0, 0), (3, 0, 0), (2, 1, 0)])
def test_a_singular_value_of_zero_alone_has_the_slope_in_the_middle_of_its_kink(diagonal):
    a = np.diag(np.array(diagonal, float))
    nuclear = lambda a: np.linalg.svd(a, compute_uv=False).sum()  # noqa: E731
    steps = 1e-6 * np.eye(a.size).reshape(a.size, *a.shape)
    truth = [(nuclear(a + e) - nuclear(a - e)) / 2e-6 for e in steps]
    found = funcnet.grad(lambda a: jnp.linalg.norm(a, "nuc"))(a)
    np.testing.assert_allclose(np.ravel(found), truth, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_the_second_derivative_of_squares_of_singular_values_where_one_is_0():
    """Σ s² is Σ aᵢⱼ², of which the Hessian is 2; JAX has it here."""
    squares = lambda a: (linalg.svd(a, compute_uv=False) ** 2).sum()  # noqa: E731
    second = funcnet.hessian(squares)(jnp.diag(jnp.array([3.0, 1.0, 0.0]))).reshape(9, 9)
    np.testing.assert_allclose(second, 2 * np.eye(9), atol=1e-12)


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


def unitary(n, dtype, seed):
    """A random one, or for the seed None that of a diagonal matrix."""
    if seed is None:
        return np.eye(n, dtype=dtype)
    return np.linalg.qr(normal_like(np.zeros((n, n), dtype), seed))[0]


def normal_like(a, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=a.shape)
    return (x + 1j * rng.normal(size=a.shape) if np.iscomplexobj(a) else x).astype(a.dtype)


def hermitian(spectrum, dtype, seed):
    q = unitary(len(spectrum), np.result_type(dtype, np.float64), seed)
    return jnp.asarray((q * np.array(spectrum)) @ q.conj().T, dtype)


def rectangular(spectrum, dtype, seed, shape):
    wide = np.result_type(dtype, np.float64)
    u, v = (unitary(n, wide, None if seed is None else seed + n) for n in shape)
    k = len(spectrum)
    return jnp.asarray((u[:, :k] * np.array(spectrum)) @ v[:, :k].conj().T, dtype)


def weights_like(a, seed=9):
    return jnp.asarray(normal_like(np.asarray(a), seed))


def composed(values):
    """V g(w) Vᴴ by eigh."""

    def function(a):
        w, v = jnp.linalg.eigh(a)
        return (v * values(w)) @ v.conj().T

    return function


def put_together(a):
    """U S Vᴴ by svd, which is A."""
    u, s, vt = jnp.linalg.svd(a, full_matrices=False)
    return (u * s) @ vt


def polar(a):
    u, _, vt = jnp.linalg.svd(a, full_matrices=False)
    return u @ vt


def against(c, function):
    return lambda a: jnp.sum(c * function(a)).real


DTYPES = ["float32", "float64", "complex64", "complex128"]
CLUSTERS = [(1, 1, 3), (2, 2, 2), (1, 1, 2, 2), (0, 0, 1), (1, 1, 1, 5)]
SHAPES = [(4, 4), (6, 4), (4, 5)]
CLUSTERS_OF_SVD = [(3, 1, 1, 1), (2, 2, 2, 2), (2, 2, 1, 1), (2, 1, 0, 0)]
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_seed = pytest.mark.parametrize("seed", [None, 0, 1])


@pytest.mark.in_turns(6)
@pytest.mark.usefixtures("x64")
@each_dtype
@each_seed
@pytest.mark.parametrize("spectrum", CLUSTERS, ids=str)
def test_equal_eigenvalues(spectrum, dtype, seed):
    """The gradient is NaN where V̄ and w̄ do not tell it, and exact where they do."""
    a = hermitian(spectrum, dtype, seed)
    c, tolerance = weights_like(a), 1e3 * float(jnp.finfo(dtype).eps)
    vectors = lambda a: jnp.linalg.eigh(a)[1]  # noqa: E731
    unknown = {
        "V g(w) Vᴴ": against(c, composed(jnp.exp)),
        "V w Vᴴ": against(c, composed(lambda w: w)),
        "V": against(c, vectors),
        "V and w": lambda a: against(c, vectors)(a) + jnp.linalg.eigvalsh(a).sum(),
        "|V|²": against(abs(c), lambda a: jnp.abs(vectors(a)) ** 2),
        "one component": lambda a: jnp.abs(vectors(a)[0, 0]),
    }
    for name, f in unknown.items():
        if name != "one component" or seed is None:
            assert np.isnan(funcnet.grad(f)(a)).all(), name
    exp = jax.scipy.linalg.expm(a).conj()
    known = {
        "Σ w²": (lambda a: (jnp.linalg.eigvalsh(a) ** 2).sum(), 2 * a.conj()),
        "tr V w² Vᴴ": (lambda a: jnp.trace(composed(jnp.square)(a)).real, 2 * a.conj()),
        "|V w Vᴴ|²": (lambda a: (abs(composed(lambda w: w)(a)) ** 2).sum(), 2 * a.conj()),
        "tr V exp(w) Vᴴ": (lambda a: jnp.trace(composed(jnp.exp)(a)).real, exp),
    }
    for name, (f, truth) in known.items():
        np.testing.assert_allclose(funcnet.grad(f)(a), truth, atol=tolerance * abs(truth).max(), err_msg=name)


@pytest.mark.usefixtures("x64")
@each_dtype
@each_seed
def test_a_projector_by_eigh_has_its_gradients(dtype, seed):
    """dP = Σ (vᵢ vᵢᴴ dA vⱼ vⱼᴴ + …) / (wᵢ − wⱼ), over i of the projector and j of the rest: A = 1 + 2P."""
    a = hermitian((1, 1, 3, 3), dtype, seed)
    c, d = weights_like(a), weights_like(a, 10)
    p = (a - jnp.eye(4)) / 2

    def perturbed(x):
        x = (x + x.conj().T) / 2
        return (p @ x @ (jnp.eye(4) - p) + (jnp.eye(4) - p) @ x @ p) / 2

    def loss(a, c):
        v = jnp.linalg.eigh(a)[1][:, 2:]
        return against(c, lambda v: v @ v.conj().T)(v)

    tolerance = 1e3 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(funcnet.grad(loss)(a, c), perturbed(c.conj()).conj(), atol=tolerance)
    of_c = funcnet.grad(lambda c: (d * funcnet.grad(loss)(a, c)).sum().real)(c)
    np.testing.assert_allclose(of_c, perturbed(d), atol=tolerance)


@pytest.mark.in_turns(6)
@pytest.mark.usefixtures("x64")
@each_dtype
@each_seed
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spectrum", CLUSTERS_OF_SVD, ids=str)
def test_equal_singular_values(spectrum, shape, dtype, seed):
    a = rectangular(spectrum, dtype, seed, shape)
    c, tolerance = weights_like(a), 1e3 * float(jnp.finfo(dtype).eps)
    assert np.isnan(funcnet.grad(against(c, put_together))(a)).all()
    known = {
        "Σ s²": lambda a: (jnp.linalg.svd(a, compute_uv=False) ** 2).sum(),
        "|U s Vᴴ|²": lambda a: (abs(put_together(a)) ** 2).sum(),
    }
    for name, f in known.items():
        np.testing.assert_allclose(funcnet.grad(f)(a), 2 * a.conj(), atol=5 * tolerance, err_msg=name)
    of_polar = funcnet.grad(against(c, polar))(a)
    if min(spectrum):
        np.testing.assert_allclose(of_polar, of_polar_factor(a, c.conj()).conj(), atol=5 * tolerance)
    else:
        assert np.isnan(of_polar).all()


def of_polar_factor(a, da):
    """dQ of A = Q H: H dH + dH H = d(AᴴA) and dA = dQ H + Q dH."""
    if a.shape[0] < a.shape[1]:
        return of_polar_factor(a.conj().T, da.conj().T).conj().T
    w, v = np.linalg.eigh(np.asarray(a.conj().T @ a, complex))
    s = np.sqrt(w)
    h = (v * s) @ v.conj().T
    square = v.conj().T @ (a.conj().T @ da + da.conj().T @ a) @ v
    dh = v @ (square / (s[:, None] + s)) @ v.conj().T
    return (da - a @ np.linalg.inv(h) @ dh) @ np.linalg.inv(h)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gap", [30, 100, 1e4, 1e6])
def test_just_above_a_tie_the_error_is_that_of_the_gap(gap, dtype):
    """ε‖A‖ / gap for V w Vᵀ and U s Vᵀ, whose gradients are C; at 8 ε‖A‖ the values count as equal."""
    eps = float(jnp.finfo(dtype).eps)
    for seed in range(5):
        near, tied = ((1, 1 + 2 * k * eps, 2) for k in (gap, 8))
        for matrix, function, part in (
            (hermitian, composed(lambda w: w), lambda c: (c + c.T) / 2),
            (lambda *args: rectangular(*args, (3, 3)), put_together, lambda c: c),
        ):
            a, b = matrix(near, dtype, seed), matrix(tied, dtype, seed)
            c = weights_like(a)
            error = abs(funcnet.grad(against(c, function))(a) - part(c)).max() / abs(c).max()
            assert error <= 1 / gap
            assert np.isnan(funcnet.grad(against(c, function))(b)).all()


@pytest.mark.usefixtures("x64")
@each_seed
def test_second_derivatives_at_equal_eigenvalues(seed):
    """Exact where the first derivative has no more than a projector in it, else NaN: never a number."""
    a = hermitian((1, 1, 3, 3), "float64", seed)
    c, d = weights_like(a), weights_like(a, 10)

    def along_d(f):
        return funcnet.grad(lambda a: (d * funcnet.grad(f)(a)).sum())(a)

    two_largest = along_d(lambda a: jnp.linalg.eigvalsh(a)[2:].sum())
    p, s = (a - jnp.eye(4)) / 2, (d + d.T) / 2
    truth = (p @ s @ (jnp.eye(4) - p) + (jnp.eye(4) - p) @ s @ p) / 2
    np.testing.assert_allclose(two_largest, truth, atol=1e-13)
    np.testing.assert_allclose(along_d(lambda a: jnp.linalg.eigvalsh(a).sum()), 0 * a, atol=1e-13)
    for f in (
        lambda a: (jnp.linalg.eigvalsh(a) ** 2).sum(),
        lambda a: (composed(lambda w: w)(a) ** 2).sum(),
        against(c, composed(jnp.exp)),
        against(c, lambda a: jnp.linalg.eigh(a)[1]),
    ):
        assert np.isnan(along_d(f)).all()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("scale", [0.0, 1.0])
@each_seed
def test_what_is_unread_at_one_upstream_gradient_is_unknown_at_others(scale, seed):
    """The gradient at C = 1 and at C = 0 is known, and how it changes with C is not: g′(w) is in it."""
    a = hermitian((1, 1, 3), "float64", seed)
    d = weights_like(a)

    def along_d(c):
        return (d * funcnet.grad(against(c, composed(jnp.exp)))(a)).sum()

    c = scale * jnp.eye(3)
    assert np.isfinite(along_d(c))
    assert np.isnan(funcnet.grad(along_d)(c)).any()


@pytest.mark.usefixtures("x64")
def test_ties_of_one_matrix_of_a_stack_leave_the_others_alone():
    a = jnp.stack([hermitian(w, "float64", 0) for w in ((1, 1, 3), (1, 2, 3))])
    c = weights_like(a[0])
    tied, apart = funcnet.grad(lambda a: jax.vmap(against(c, composed(lambda w: w)))(a).sum())(a)
    assert np.isnan(tied).all()
    np.testing.assert_allclose(apart, (c + c.T) / 2, atol=1e-13)


@pytest.mark.usefixtures("x64")
@each_seed
def test_equal_eigenvalues_of_a_general_matrix(seed):
    """Σ w² is tr A², with the gradient 2Aᵀ; V w V⁻¹ is A, which V̄ and w̄ do not tell."""
    p = np.eye(4) if seed is None else np.random.default_rng(seed).normal(size=(4, 4))
    a = jnp.asarray((p * np.array([1.0, 1.0, 1.0, 2.0])) @ np.linalg.inv(p))
    c = weights_like(a)

    def inverted(a):
        w, v = jnp.linalg.eig(a)
        return (v * w) @ jnp.linalg.inv(v)

    np.testing.assert_allclose(
        funcnet.grad(lambda a: (jnp.linalg.eigvals(a) ** 2).sum().real)(a), 2 * a.T, atol=1e-10
    )
    assert np.isnan(funcnet.grad(against(c, inverted))(a)).all()
    assert np.isnan(funcnet.grad(against(c, lambda a: abs(jnp.linalg.eig(a)[1])))(a)).all()


def test_the_vectors_of_a_defective_matrix_have_no_gradient():
    jordan = jnp.array([[1.0, 1.0], [0.0, 1.0]])
    assert np.isnan(funcnet.grad(lambda a: abs(jnp.linalg.eig(a)[1]).sum())(jordan)).all()


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


def of_values(f, a):
    """The gradient from values of scipy's or numpy's function: central differences, extrapolated, to 1e-9."""
    steps = [np.eye(1, a.size, k).reshape(a.shape) for k in range(a.size)]
    coarse, fine = ([(f(a + h * e) - f(a - h * e)) / (2 * h) for e in steps] for h in (2e-4, 1e-4))
    return ((4 * np.array(fine) - np.array(coarse)) / 3).reshape(a.shape)


OF_JAX = {
    "expm": (jax.scipy.linalg.expm, scipy.linalg.expm),
    "expm_frechet": (
        lambda a: jax.scipy.linalg.expm_frechet(a, jnp.ones((3, 3)), compute_expm=False),
        lambda a: scipy.linalg.expm_frechet(a, np.ones((3, 3)), compute_expm=False),
    ),
    "pinv": (jnp.linalg.pinv, np.linalg.pinv),
    "nuclear norm": (lambda a: jnp.linalg.norm(a, ord="nuc"), lambda a: np.linalg.norm(a, ord="nuc")),
    "log det": (lambda a: jnp.linalg.slogdet(a)[1], lambda a: np.linalg.slogdet(a)[1]),
    "rank": (lambda a: 1.0 * jnp.linalg.matrix_rank(a), np.linalg.matrix_rank),
    "polar by svd": (
        lambda a: jax.scipy.linalg.polar(a, method="svd")[0],
        lambda a: scipy.linalg.polar(a)[0],
    ),
    "polar by iteration": (lambda a: jax.scipy.linalg.polar(a)[0], lambda a: scipy.linalg.polar(a)[0]),
    "its other factor": (lambda a: jax.scipy.linalg.polar(a)[1], lambda a: scipy.linalg.polar(a)[1]),
}


@pytest.mark.in_turns(4)
@pytest.mark.usefixtures("x64")
@each_seed
@pytest.mark.parametrize("spectrum", [(3, 1, 1), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("name", OF_JAX)
def test_functions_of_jax_are_right_at_equal_singular_values(name, spectrum, seed):
    ours, theirs = OF_JAX[name]
    a = rectangular(spectrum, "float64", seed, (3, 3))
    c = np.asarray(weights_like(a))
    truth = of_values(lambda a: np.sum(c * theirs(a)), np.asarray(a))
    np.testing.assert_allclose(funcnet.grad(against(c, ours))(a), truth, atol=1e-8 * (1 + abs(truth).max()))


@pytest.mark.usefixtures("x64")
@each_seed
def test_functions_of_jax_that_read_u_s_and_v_have_no_gradient_at_equal_singular_values(seed):
    """A⁻¹B is V (Uᵀ B / s), and H is V s Vᵀ: g′(s) between equal ones is in neither Ū, s̄ nor V̄."""
    a = rectangular((3, 1, 1), "float64", seed, (3, 3))
    c = weights_like(a)
    for function in (
        lambda a: jnp.linalg.lstsq(a, c)[0],
        lambda a: jax.scipy.linalg.polar(a, method="svd")[1],
    ):
        assert np.isnan(funcnet.grad(against(c, function))(a)).all()


@pytest.mark.parametrize("function", [jax.scipy.linalg.sqrtm, lambda a: jax.scipy.linalg.funm(a, jnp.exp)])
def test_functions_of_jax_by_schur_have_no_gradient(function):
    with pytest.raises(MissingRuleError, match="'schur' has no gradient"):
        funcnet.grad(lambda a: function(a).sum().real)(jnp.eye(3))


def test_the_hessian_of_an_eigenvector():
    """Where its pullback is mapped over all directions first, and differentiated then."""
    square = lambda x: x.reshape(2, 2) @ x.reshape(2, 2).T  # noqa: E731
    first = lambda x: jnp.linalg.eigh(square(x))[1][0, 0] ** 2  # noqa: E731
    x = jnp.array([1.0, 2.0, -0.5, -3.0])
    np.testing.assert_allclose(funcnet.hessian(first)(x), jax.hessian(first)(x), rtol=1e-4, atol=1e-6)
