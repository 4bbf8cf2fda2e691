"""Linear systems by lineax: every solver, every kind of operator; gradients in matrix and vector.

lineax solves by a primitive of its own, `linear_solve`, which registers its rule with JAX: the tangent of
x = A⁻¹b is A⁻¹(ḃ − Ȧx), so that the way back is a solve with Aᵀ.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, check, parametrize

lx = pytest.importorskip("lineax")

rng = np.random.default_rng(13)
SIZE = 4
MATRIX = rng.standard_normal((SIZE, SIZE)) + 4 * np.eye(SIZE)
VECTOR = rng.standard_normal(SIZE)
TALL = rng.standard_normal((SIZE + 2, SIZE))
LONG = rng.standard_normal(SIZE + 2)
WEIGHTS = np.linspace(0.5, 1.5, SIZE)

SYSTEM = {"a": MATRIX, "b": VECTOR}


def solution(solver, operator=lx.MatrixLinearOperator):
    """A loss of the solution of a x = b, both given."""

    def loss(p):
        x = lx.linear_solve(operator(p["a"]), p["b"], solver).value
        return jnp.sum(WEIGHTS * jnp.sin(x))

    return loss


def symmetric(a):
    return lx.MatrixLinearOperator(a + a.T, lx.symmetric_tag)


def definite(a):
    return lx.MatrixLinearOperator(a @ a.T + jnp.eye(SIZE), lx.positive_semidefinite_tag)


def negative(a):
    return lx.MatrixLinearOperator(-a @ a.T - jnp.eye(SIZE), lx.negative_semidefinite_tag)


def lower(a):
    return lx.MatrixLinearOperator(jnp.tril(a), lx.lower_triangular_tag)


def upper(a):
    return lx.MatrixLinearOperator(jnp.triu(a), (lx.upper_triangular_tag, lx.unit_diagonal_tag))


def diagonal(a):
    return lx.DiagonalLinearOperator(jnp.diag(a))


def tridiagonal(a):
    return lx.TridiagonalLinearOperator(jnp.diag(a), jnp.diag(a, -1), jnp.diag(a, 1))


def function(a):
    """A as the function that applies it; the matrix is closed over, and not an argument."""
    return lx.FunctionLinearOperator(lambda x: a @ x, jax.ShapeDtypeStruct(VECTOR.shape, a.dtype))


def definite_function(a):
    return lx.FunctionLinearOperator(
        lambda x: a @ (a.T @ x) + x,
        jax.ShapeDtypeStruct(VECTOR.shape, a.dtype),
        lx.positive_semidefinite_tag,
    )


def jacobian(a):
    """The Jacobian of x ↦ a x + sin x at 1."""
    return lx.JacobianLinearOperator(lambda x, args: a @ x + jnp.sin(x), jnp.ones_like(a[0]))


def composed(a):
    return (2.0 * lx.MatrixLinearOperator(a) + lx.IdentityLinearOperator(_shape(a))) @ diagonal(a)


def _shape(a):
    return jax.ShapeDtypeStruct((SIZE,), a.dtype)


def of_pytrees(p):
    """A matrix of blocks: a pytree of outputs, each a pytree over the inputs."""
    a, b = p["a"], p["b"]
    blocks = {"y": {"u": a[:2, :2], "v": a[:2, 2:]}, "z": {"u": a[2:, :2], "v": a[2:, 2:]}}
    shapes = {"y": jax.ShapeDtypeStruct((2,), a.dtype), "z": jax.ShapeDtypeStruct((2,), a.dtype)}
    operator = lx.PyTreeLinearOperator(blocks, shapes)
    x = lx.linear_solve(operator, {"y": b[:2], "z": b[2:]}, lx.LU()).value
    return jnp.sum(jnp.sin(x["u"]) + x["v"] ** 2)


def least_squares(solver, transposed=False):
    """The least squares solution of a tall system, or the solution of least norm of a wide one."""

    def loss(p):
        a = p["a"].T if transposed else p["a"]
        x = lx.linear_solve(lx.MatrixLinearOperator(a), p["b"], solver).value
        return jnp.sum(jnp.sin(x))

    return loss


def factored_once(p):
    """One factorization for two right-hand sides, the state handed over by hand."""
    operator, solver = lx.MatrixLinearOperator(p["a"]), lx.LU()
    state = jax.lax.stop_gradient(solver.init(operator, {}))
    first = lx.linear_solve(operator, p["b"], solver, state=state).value
    second = lx.linear_solve(operator, first, solver, state=state).value
    return jnp.sum(WEIGHTS * second)


def many_at_once(p):
    operator = lx.MatrixLinearOperator(p["a"])
    bs = jnp.stack([p["b"], 2 * p["b"], jnp.sin(p["b"])])
    xs = jax.vmap(lambda b: lx.linear_solve(operator, b, lx.LU()).value)(bs)
    return jnp.sum(WEIGHTS * xs**2)


def within_scan(p):
    def step(x, _):
        return lx.linear_solve(lx.MatrixLinearOperator(p["a"]), x + p["b"], lx.QR()).value, None

    return jnp.sum(WEIGHTS * jax.lax.scan(step, p["b"], length=3)[0])


def within_checkpoint(p):
    return jax.checkpoint(solution(lx.LU()))(p)


ROWS = [
    Row("AutoLinearSolver", solution(lx.AutoLinearSolver(well_posed=True)), SYSTEM),
    Row("AutoLinearSolver, symmetric", solution(lx.AutoLinearSolver(well_posed=None), symmetric), SYSTEM),
    Row("LU", solution(lx.LU()), SYSTEM, second=True),
    Row("LU, in the vector", lambda b: solution(lx.LU())({"a": jnp.asarray(MATRIX), "b": b}), VECTOR),
    Row("LU, in the matrix", lambda a: solution(lx.LU())({"a": a, "b": jnp.asarray(VECTOR)}), MATRIX),
    Row("QR", solution(lx.QR()), SYSTEM, second=True),
    Row("SVD", solution(lx.SVD()), SYSTEM),
    Row("Cholesky", solution(lx.Cholesky(), definite), SYSTEM),
    Row("Cholesky, negative", solution(lx.Cholesky(), negative), SYSTEM),
    Row("Diagonal", solution(lx.Diagonal(), diagonal), SYSTEM),
    Row("Triangular, lower", solution(lx.Triangular(), lower), SYSTEM),
    Row("Triangular, upper with a diagonal of ones", solution(lx.Triangular(), upper), SYSTEM),
    Row("Tridiagonal", solution(lx.Tridiagonal(), tridiagonal), SYSTEM),
    Row("CG", solution(lx.CG(rtol=1e-6, atol=1e-6), definite), SYSTEM, second=True),
    Row("CG, function", solution(lx.CG(rtol=1e-6, atol=1e-6), definite_function), SYSTEM),
    Row("GMRES", solution(lx.GMRES(rtol=1e-6, atol=1e-6)), SYSTEM, turns=4),
    Row("BiCGStab", solution(lx.BiCGStab(rtol=1e-4, atol=1e-4), definite), SYSTEM, turns=4),
    Row("function", solution(lx.LU(), function), SYSTEM),
    Row("Jacobian", solution(lx.LU(), jacobian), SYSTEM),
    Row("sum, product and composition", solution(lx.LU(), composed), SYSTEM),
    Row("pytree", of_pytrees, SYSTEM),
    Row("least squares, QR", least_squares(lx.QR()), {"a": TALL, "b": LONG}),
    Row("least squares, SVD", least_squares(lx.SVD()), {"a": TALL, "b": LONG}, second=True),
    Row("least squares, automatic", least_squares(lx.AutoLinearSolver(None)), {"a": TALL, "b": LONG}),
    Row("least norm, QR", least_squares(lx.QR(), transposed=True), {"a": TALL, "b": VECTOR}),
    Row("LSMR", least_squares(lx.LSMR(rtol=1e-7, atol=1e-7)), {"a": TALL, "b": LONG}, turns=4),
    Row("Normal(CG)", least_squares(lx.Normal(lx.CG(rtol=1e-6, atol=1e-6))), {"a": TALL, "b": LONG}, turns=4),
    Row("a state for two solves", factored_once, SYSTEM),
    Row("vmap", many_at_once, SYSTEM),
    Row("scan", within_scan, SYSTEM),
    Row("checkpoint", within_checkpoint, SYSTEM),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
