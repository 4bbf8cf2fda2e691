"""The functions of jnp.linalg and jax.scipy.linalg against jax.grad.

The Cholesky factorization of SciPy reads one triangle of its matrix, and before version 0.12 JAX gives the
other half of the gradient: here it gets a matrix that is symmetric by its making.
"""

import jax
import jax.numpy as jnp
import jax.scipy.linalg as scipy
import numpy as np
import pytest

import funcnet

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 4)) + 3 * np.eye(4)
SPD = A @ A.T + np.eye(4)
TALL = RNG.normal(size=(5, 3))
WIDE = TALL.T
COMPLEX = A + 1j * RNG.normal(size=(4, 4))
STACK = RNG.normal(size=(2, 3, 3)) + 3 * np.eye(3)
B = RNG.normal(size=(4, 2))

FUNCTIONS = {
    "cholesky": (jnp.linalg.cholesky, SPD),
    "cholesky upper": (lambda a: jnp.linalg.cholesky(a, upper=True), SPD),
    "solve": (jnp.linalg.solve, A, B),
    "solve vector, complex": (jnp.linalg.solve, COMPLEX, B[:, 0] + 0j),
    "solve stacked": (jnp.linalg.solve, STACK, RNG.normal(size=(2, 3, 2))),
    "inv": (jnp.linalg.inv, A),
    "inv stacked": (jnp.linalg.inv, STACK),
    "det": (jnp.linalg.det, A),
    "det 3×3": (jnp.linalg.det, STACK),
    "det singular": (jnp.linalg.det, np.outer([1.0, 2, 3, 4], [1.0, 1, 2, 1]) + np.diag([0, 0, 1.0, 1])),
    "slogdet": (jnp.linalg.slogdet, A),
    "slogdet complex": (jnp.linalg.slogdet, COMPLEX),
    "slogdet by QR": (lambda a: jnp.linalg.slogdet(a, method="qr"), A),
    "lstsq": (lambda a, b: jnp.linalg.lstsq(a, b)[0], TALL, RNG.normal(size=(5, 2))),
    "pinv": (jnp.linalg.pinv, TALL),
    "qr": (jnp.linalg.qr, TALL),
    "qr complete": (lambda a: jnp.linalg.qr(a, mode="complete"), TALL),
    "eigh": (jnp.linalg.eigh, SPD),
    "eigvalsh": (jnp.linalg.eigvalsh, SPD),
    "eigvals": (jnp.linalg.eigvals, A),
    "svd": (lambda a: jnp.linalg.svd(a, full_matrices=False), WIDE),
    "svd values": (jnp.linalg.svdvals, TALL),
    "norm Frobenius": (jnp.linalg.norm, A),
    "norm nuclear": (lambda a: jnp.linalg.norm(a, "nuc"), TALL),
    "norm spectral": (lambda a: jnp.linalg.norm(a, 2), A),
    "norm of rows": (lambda a: jnp.linalg.norm(a, 3, axis=1), A),
    "matrix_power": (lambda a: jnp.linalg.matrix_power(a, 5), A),
    "matrix_power negative": (lambda a: jnp.linalg.matrix_power(a, -3), A),
    "cond": (jnp.linalg.cond, A),
    "multi_dot": (lambda a, b, c: jnp.linalg.multi_dot([a, b, c]), A, B, B.T),
    "tensorsolve": (jnp.linalg.tensorsolve, A.reshape(2, 2, 2, 2), B.reshape(2, 2, 2)[..., 0]),
    "scipy cholesky": (lambda a: scipy.cholesky(a @ a.T, lower=True), A),
    "cho_solve": (lambda a, b: scipy.cho_solve(scipy.cho_factor(a @ a.T), b), A, B),
    "lu": (lambda a: scipy.lu(a)[1:], WIDE),
    "lu_solve": (lambda a, b: scipy.lu_solve(scipy.lu_factor(a), b), A, B),
    "lu_solve transposed": (lambda a, b: scipy.lu_solve(scipy.lu_factor(a), b, trans=1), A, B),
    "solve, positive definite": (lambda a, b: scipy.solve(a, b, assume_a="pos"), SPD, B),
    "solve_triangular": (lambda a, b: scipy.solve_triangular(a, b, lower=True, trans=1), A, B),
    "expm": (scipy.expm, A / 8),
    "expm scaled and squared": (scipy.expm, A),
    "block_diag": (scipy.block_diag, A, B),
    "polar": (lambda a: scipy.polar(a, method="svd"), A),
    "toeplitz": (scipy.toeplitz, B[:, 0], B[:, 1]),
    "scipy svd": (lambda a: scipy.svd(a, full_matrices=False), TALL),
    "scipy eigh": (lambda a: scipy.eigh(a, eigvals_only=True), SPD),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    function, *xs = FUNCTIONS[name]
    xs = list(map(jnp.asarray, xs))

    def loss(*xs):
        ys = jax.tree.leaves(function(*xs))
        return sum(jnp.sum(jnp.real(y * jnp.cos(jnp.arange(y.size) + 1).reshape(y.shape))) for y in ys)

    every = tuple(range(len(xs)))
    ours, theirs = (jax.jit(grad(loss, every))(*xs) for grad in (funcnet.grad, jax.grad))
    for a, b in zip(ours, theirs, strict=True):
        assert np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * np.abs(b).max())
