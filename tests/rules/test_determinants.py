"""The rule of the determinant, which is linear in each element, so that differences are derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import grad, hessian, jacobian
from tests.rules.rows import Row, check, each, normal


def of_rank(rank, n=4):
    rng = np.random.default_rng(rank)
    return (rng.integers(-3, 4, (n, rank)) @ rng.integers(-3, 4, (rank, n))).astype(float)


ROWS = [
    Row("jax.numpy.linalg.det", jnp.linalg.det, normal((4, 4))),
    Row("jax.numpy.linalg.det", jnp.linalg.det, normal((2, 5, 5)), name="stacked"),
    Row("jax.numpy.linalg.det", jnp.linalg.det, normal((1, 1)), name="of one element"),
]

SINGULAR = {
    **{f"rank {rank}": of_rank(rank) for rank in range(5)},
    "a zero pivot before the last": np.diag([1.0, 2, 3, 0, 4]),
    "two zero pivots": np.diag([0.0, 0, 1, 2]),
    "no pivot, rank n - 1": np.diag(np.ones(3), 1),
    "nearly singular": np.diag([1.0, 1e-9, 3, 4]),
    "3 × 3": np.diag([1.0, 0, 3]),
    "2 × 2": np.zeros((2, 2)),
    "1 × 1": np.zeros((1, 1)),
}


@each(ROWS)
def test_rule(row):
    check(row)


def steps(a):
    return np.eye(a.size).reshape(a.size, *a.shape)


def cofactors(a):
    det = np.linalg.det
    return np.reshape([(det(a + e) - det(a - e)) / 2 for e in steps(a)], a.shape)


def second(a):
    det = np.linalg.det
    return [[det(a + e + f) - det(a + e) - det(a + f) + det(a) for f in steps(a)] for e in steps(a)]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", SINGULAR)
def test_first_and_second_derivatives(name):
    """JAX is off by 24 and more where a pivot before the last is 0."""
    a = SINGULAR[name]
    np.testing.assert_allclose(grad(jnp.linalg.det)(a), cofactors(a), atol=1e-11)
    found = np.asarray(hessian(jnp.linalg.det)(a)).reshape(a.size, a.size)
    np.testing.assert_allclose(found, second(a), atol=1e-11)


@pytest.mark.usefixtures("x64")
def test_a_complex_singular_matrix():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    a[:, 1] = 2j * a[:, 0]
    np.testing.assert_allclose(grad(jnp.linalg.det, holomorphic=True)(a), cofactors(a), atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_third_derivatives_are_those_of_jax_where_it_has_them():
    a = np.random.default_rng(0).normal(size=(4, 4))
    truth = jax.jacfwd(jax.hessian(jnp.linalg.det))(a)
    np.testing.assert_allclose(jacobian(hessian(jnp.linalg.det))(a), truth, atol=1e-12)


MAPPED = {
    "stacked": (jnp.linalg.det, (0, 1, 2)),
    "the first axis": (jax.vmap(jnp.linalg.det), (0, 1, 2)),
    "the second axis": (jax.vmap(jnp.linalg.det, in_axes=1), (1, 0, 2)),
    "the last axis": (jax.vmap(jnp.linalg.det, in_axes=2), (1, 2, 0)),
    "twice": (lambda x: jax.vmap(jax.vmap(jnp.linalg.det))(x[None]), (0, 1, 2)),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", MAPPED)
@pytest.mark.parametrize("n", [3, 5])
def test_under_vmap(name, n):
    f, order = MAPPED[name]
    stack = np.stack([np.diag([*range(1, n - 1), 0.0, 4]), np.random.default_rng(0).normal(size=(n, n))])
    found = jax.jit(grad(lambda x: jnp.sum(f(x))))(stack.transpose(order))
    truth = np.stack(list(map(cofactors, stack)))
    np.testing.assert_allclose(np.transpose(found, np.argsort(order)), truth, atol=1e-12)


def test_a_matrix_of_float32_keeps_its_dtype():
    found = funcnet.grad(jnp.linalg.det)(np.diag([1.0, 2, 3, 0, 4]).astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.diag([0, 0, 0, 24, 0]), atol=1e-5)
