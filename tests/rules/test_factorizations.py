"""The rules of triangular systems and of Cholesky, LU and QR."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.lax import linalg

import funcnet
from funcnet._errors import MissingRuleError
from tests.rules.rows import Row, check, check_low_precision, complex_normal, each, normal
from tests.rules.test_without import equations


def strong_diagonal(sample):
    """The first matrix with 4 added on the diagonal: far from singular."""

    def shifted(rng):
        a, *rest = sample(rng)
        return [a + 4 * np.eye(a.shape[-1]), *rest]

    return shifted


def gram(sample):
    """A positive definite matrix."""

    def product(rng):
        (a,) = sample(rng)
        return [a @ np.conj(np.swapaxes(a, -1, -2)) + np.eye(a.shape[-1])]

    return product


SAME = "the second order of the same formula is in the rows above"


def solve(**options):
    return lambda a, b: linalg.triangular_solve(a, b, **options)


TRIANGULAR = [
    Row("triangular_solve", solve(left_side=True, lower=True), strong_diagonal(normal((3, 3), (3, 2)))),
    Row(
        "triangular_solve",
        solve(),
        strong_diagonal(normal((3, 3), (2, 3))),
        name="right side, upper",
        second=False,
        reason=SAME,
    ),
    Row(
        "triangular_solve",
        solve(left_side=True, lower=True, transpose_a=True, unit_diagonal=True),
        normal((3, 3), (3, 4)),
        name="transposed, unit diagonal, wide",
    ),
    Row(
        "triangular_solve",
        solve(left_side=True, unit_diagonal=True),
        normal((2, 3, 3), (2, 3, 2)),
        name="upper, unit diagonal, stacked",
    ),
    Row(
        "triangular_solve",
        solve(lower=True, transpose_a=True, conjugate_a=True),
        strong_diagonal(complex_normal((3, 3), (4, 3))),
        name="right side, adjoint, tall",
    ),
    Row(
        "triangular_solve",
        solve(left_side=True, conjugate_a=True),
        strong_diagonal(complex_normal((2, 2, 2), (2, 2, 2))),
        name="conjugated, stacked",
        second=False,
        reason=SAME,
    ),
    Row(
        "triangular_solve",
        solve(left_side=True),
        normal((0, 0), (0, 2)),
        name="no equations",
        second=False,
        reason=SAME,
    ),
    Row(
        "triangular_solve",
        solve(left_side=True),
        normal((2, 2), (2, 0)),
        name="nothing to solve for",
        second=False,
        reason=SAME,
    ),
]


def tridiagonal(dl, d, du, b):
    return linalg.tridiagonal_solve(dl, d + 4, du, b)


TRIDIAGONAL = [
    Row("tridiagonal_solve", tridiagonal, normal((4,), (4,), (4,), (4, 2))),
    Row("tridiagonal_solve", tridiagonal, complex_normal((2, 3), (2, 3), (2, 3), (2, 3, 1)), name="stacked"),
    Row(
        "tridiagonal_solve",
        tridiagonal,
        normal((1,), (1,), (1,), (1, 2)),
        name="one equation",
        second=False,
        reason=SAME,
    ),
]

CHOLESKY = [
    Row("cholesky", linalg.cholesky, gram(normal((4, 4)))),
    Row("cholesky", linalg.cholesky, gram(complex_normal((2, 3, 3))), name="complex, stacked"),
    Row(
        "cholesky",
        lambda x: linalg.cholesky(x, symmetrize_input=False),
        gram(normal((3, 3))),
        name="lower triangle only",
        jax=False,
        reason="before version 0.12 JAX gives the upper triangle, which is not read, half of the gradient",
    ),
    Row(
        "cholesky",
        lambda x: linalg.cholesky(x, symmetrize_input=False),
        gram(complex_normal((3, 3))),
        name="complex lower triangle only",
        jax=False,
        reason="before version 0.12 JAX gives the upper triangle, which is not read, half of the gradient",
    ),
    Row("cholesky", linalg.cholesky, normal((0, 0)), name="empty", second=False, reason=SAME),
]

LU = [
    Row("lu", linalg.lu, normal((4, 4))),
    Row("lu", linalg.lu, normal((5, 3)), name="tall", second=False, reason=SAME),
    Row("lu", linalg.lu, complex_normal((3, 5)), name="wide, complex", second=False, reason=SAME),
    Row(
        "lu",
        linalg.lu,
        complex_normal((2, 2, 4, 3)),
        name="tall, complex, stacked",
        second=False,
        reason=SAME,
    ),
    Row("lu", linalg.lu, normal((3, 0)), name="no columns", second=False, reason=SAME),
]


def qr(**options):
    return lambda x: linalg.qr(x, **options)


QR = [
    Row("qr", qr(full_matrices=False), normal((4, 4))),
    Row("qr", qr(full_matrices=False), normal((5, 3)), name="tall", second=False, reason=SAME),
    Row(
        "qr",
        qr(full_matrices=False),
        complex_normal((2, 4, 3)),
        name="tall, complex, stacked",
        second=False,
        reason=SAME,
    ),
    Row("qr", qr(full_matrices=True), normal((5, 3)), name="tall, full"),
    Row(
        "qr",
        qr(full_matrices=True),
        complex_normal((2, 4, 2)),
        name="tall, full, complex, stacked",
        second=False,
        reason=SAME,
    ),
    Row("qr", qr(full_matrices=True), normal((3, 5)), name="wide"),
    Row(
        "qr", qr(full_matrices=False), complex_normal((3, 4)), name="wide, complex", second=False, reason=SAME
    ),
    Row(
        "qr",
        qr(full_matrices=False, pivoting=True),
        normal((5, 3)),
        name="tall, pivoting",
        second=False,
        reason=SAME,
    ),
    Row(
        "qr",
        qr(full_matrices=True, pivoting=True),
        normal((2, 3, 5)),
        name="wide, pivoting, stacked",
        jax=False,
        reason="JAX takes the wide part of A unpermuted, and has no stacks with pivoting",
    ),
    Row(
        "qr",
        lambda x: linalg.qr(x, full_matrices=True)[0],
        normal((3, 5)),
        name="wide, Q alone",
        second=False,
        reason=SAME,
    ),
    Row(
        "qr",
        lambda x: linalg.qr(x, full_matrices=False)[1],
        normal((4, 3)),
        name="tall, R alone",
        second=False,
        reason=SAME,
    ),
    Row("qr", qr(full_matrices=False), normal((0, 0)), name="empty", second=False, reason=SAME),
]

PRODUCTS = [
    Row(
        "symmetric_product",
        lambda a, c: linalg.symmetric_product(a, c, alpha=2.0, beta=-1.5, symmetrize_output=True),
        normal((2, 3, 4), (2, 3, 3)),
        jax=False,
        reason="JAX has no gradient",
    )
]

ROWS = [*TRIANGULAR, *TRIDIAGONAL, *CHOLESKY, *LU, *QR, *PRODUCTS]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("row", [TRIANGULAR[0], TRIDIAGONAL[0], CHOLESKY[0], LU[0], QR[1]], ids=str)
def test_float32(row):
    check_low_precision(row, jnp.float32)


def test_the_upper_triangle_of_what_cholesky_reads_has_no_gradient():
    a = jnp.eye(3) + 0.1
    a_bar = funcnet.grad(lambda a: linalg.cholesky(a, symmetrize_input=False).sum())(a)
    np.testing.assert_array_equal(a_bar, jnp.tril(a_bar))
    assert (a_bar[jnp.tril_indices(3)] != 0).all()


def test_a_constant_right_hand_side_of_many_columns_costs_a_small_solve():
    """With 64 right-hand sides for 4 unknowns nothing of the size of X is solved for on the way back."""
    b = np.ones((4, 64), np.float32)
    program = jax.make_jaxpr(funcnet.grad(lambda a: solve(left_side=True)(a, b).sum()))(jnp.eye(4))
    solves = [eqn for eqn in equations(program.jaxpr) if eqn.primitive.name == "triangular_solve"]
    assert [eqn.outvars[0].aval.shape for eqn in solves] == [(4, 64), (4, 4)]


@pytest.mark.parametrize("name", ["householder_product", "schur", "hessenberg"])
def test_what_has_no_gradient_says_why(name):
    functions = {
        "householder_product": lambda a: linalg.householder_product(a, a[0]),
        "schur": lambda a: linalg.schur(a)[0],
        "hessenberg": lambda a: linalg.hessenberg(a)[0],
    }
    with pytest.raises(MissingRuleError, match=f"'{name}' has no gradient, used at .*test_factorizations.py"):
        funcnet.grad(lambda a: functions[name](a).sum())(jnp.eye(3))
