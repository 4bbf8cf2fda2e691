"""Small sparse arrays of every format and layout, for the tests of their rules."""

import numpy as np
from jax.experimental.sparse import BCOO, BCSR, COO, CSR

SHAPE = (4, 5)
PLACES = np.array([[0, 1], [3, 4], [2, 0], [0, 1], [4, 5], [2, 3], [2, 0]], np.int32)
"""Two places twice, and one that is outside."""
PER_BATCH = np.array([[[0, 1], [3, 4], [0, 1]], [[4, 5], [1, 0], [3, 2]]], np.int32)
OF_ROWS = np.array([[[1], [4], [1]], [[5], [0], [2]], [[0], [3], [1]], [[2], [2], [5]]], np.int32)
COLUMNS, STARTS = np.array([1, 4, 0, 3, 3, 4, 5, 5], np.int32), np.array([0, 2, 2, 5, 6], np.int32)
"""The last two elements stand behind all rows: padding."""
COLUMNS_PER_BATCH = np.array([[1, 4, 0], [3, 1, 5]], np.int32)
STARTS_PER_BATCH = np.array([[0, 1, 1, 2, 3], [0, 0, 1, 2, 2]], np.int32)
ROW, COL = PLACES[PLACES[:, 0] < 4].T
KEPT = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1], [1, 1, 0, 0, 0]], bool)

STRETCHED = "jax.vjp gives d a gradient of another shape than it has"
NOT_REVERSED = "jax.vjp raises NotImplementedError"
"""Reasons why JAX is no oracle."""


def fixed(*shapes):
    """What has no vmap in JAX gets one sample only: COO, CSR, spsolve."""
    return tuple(np.random.default_rng(0).normal(size=shape) for shape in shapes)


def bcoo(d, i=PLACES, shape=SHAPE):
    return BCOO((d, i), shape=shape)


def bcsr(d, columns=COLUMNS, starts=STARTS, shape=SHAPE):
    return BCSR((d, columns, starts), shape=shape)


def coo(d):
    return COO((d, ROW, COL), shape=SHAPE)


def csr(d):
    return CSR((d, COLUMNS[:6], STARTS), shape=SHAPE)


def padded_csr(d):
    return CSR((d, COLUMNS, STARTS), shape=SHAPE)
