"""The rules of sparse formats, to, from and among each other; sparse arrays as arguments of a function."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse
from jax.experimental.sparse import BCOO, BCSR, COO, CSC, CSR

import funcnet
from tests.rules.rows import Row, check, complex_normal, normal, squared
from tests.rules.sparse_arrays import (
    COLUMNS,
    COLUMNS_PER_BATCH,
    KEPT,
    NOT_REVERSED,
    OF_ROWS,
    PER_BATCH,
    PLACES,
    SHAPE,
    STARTS,
    STARTS_PER_BATCH,
    STRETCHED,
    bcoo,
    bcsr,
    coo,
    csr,
    fixed,
    padded_csr,
)


def todense(make, *places, **options):
    return squared(lambda d: make(d, *places, **options).todense())


def summed(nse, *places):
    return squared(lambda d: sparse.bcoo_sum_duplicates(bcoo(d, *places), nse).data)


def from_dense(make, *, kept=None, **options):
    """The numbers that are stored, and the dense matrix again; where nothing is kept there are zeros."""

    def function(x):
        matrix = make.fromdense(x if kept is None else x * kept, **options)
        return matrix.data**2, matrix.todense() ** 2

    return function


TO_DENSE = [
    Row("bcoo_todense", todense(bcoo), normal(7)),
    Row("bcoo_todense", todense(bcoo, shape=(4, 5, 2)), normal((7, 2)), name="dense axis"),
    Row("bcoo_todense", todense(bcoo, PER_BATCH, (2, 4, 5)), normal((2, 3)), name="batch"),
    Row("bcoo_todense", todense(bcoo, OF_ROWS, (4, 5, 2)), complex_normal((4, 3, 2)), name="all kinds"),
    Row("bcoo_todense", todense(bcoo, PER_BATCH[:1], (2, 4, 5)), normal((2, 3)), name="places stretched"),
    Row(
        "bcoo_todense",
        todense(bcoo, PER_BATCH, (2, 4, 5)),
        normal((1, 3)),
        name="numbers stretched",
        jax=False,
        reason=STRETCHED,
    ),
    Row("bcoo_todense", todense(bcoo, np.zeros((4, 3, 0), np.int32), (4,)), normal((4, 3)), name="no places"),
    Row("bcoo_todense", todense(bcoo, PLACES[:0]), normal(0), name="empty"),
    Row(
        "bcoo_todense",
        lambda d, i: bcoo(d, i).todense() ** 2,
        lambda rng: (rng.normal(size=6), rng.integers(0, 5, (6, 2))),
        name="places given",
    ),
    Row("bcsr_todense", todense(bcsr), normal(8)),
    Row("bcsr_todense", todense(bcsr, shape=(4, 5, 2)), normal((8, 2)), name="dense axis"),
    Row(
        "bcsr_todense",
        todense(bcsr, COLUMNS_PER_BATCH, STARTS_PER_BATCH, (2, 4, 5)),
        normal((2, 3)),
        name="batch",
    ),
    Row("coo_todense", todense(coo), fixed(6)),
    Row("csr_todense", todense(csr), fixed(6)),
    Row("csr_todense", todense(lambda d: CSC((d, COLUMNS[:6], STARTS), shape=(5, 4))), fixed(6), name="CSC"),
    Row(
        "csr_todense",
        todense(padded_csr),
        fixed(8),
        name="padding",
        jax=False,
        reason="jax.vjp gives padding the gradient of the last row",
    ),
    Row("todense", squared(lambda d: sparse.todense(bcoo(d))), normal(7)),
    Row("todense", squared(lambda d: sparse.todense(bcsr(d))), normal(8), name="BCSR"),
    Row("todense", squared(sparse.todense), normal((2, 3)), name="of what is dense"),
]

FROM_DENSE = [
    Row("bcoo_fromdense", from_dense(BCOO, nse=20), normal(SHAPE)),
    Row("bcoo_fromdense", from_dense(BCOO, nse=12, kept=KEPT), normal(SHAPE), name="padding"),
    Row("bcoo_fromdense", from_dense(BCOO, nse=5, kept=KEPT), normal(SHAPE), name="too few"),
    Row(
        "bcoo_fromdense",
        from_dense(BCOO, nse=4, n_batch=1, n_dense=1, kept=KEPT[:, :, None]),
        normal((4, 5, 2)),
        name="all kinds",
    ),
    Row(
        "bcoo_fromdense",
        from_dense(BCOO, nse=3, n_batch=1),
        normal(4),
        name="no places",
        jax=False,
        reason="jax.vjp takes the padding for the element",
    ),
    Row("bcsr_fromdense", from_dense(BCSR, nse=20), normal(SHAPE)),
    Row("bcsr_fromdense", from_dense(BCSR, nse=12, kept=KEPT), normal(SHAPE), name="padding"),
    Row(
        "bcsr_fromdense",
        from_dense(BCSR, nse=8, n_batch=1, kept=KEPT),
        normal((2, *SHAPE)),
        name="batch",
    ),
    Row("coo_fromdense", from_dense(COO, nse=20), fixed(SHAPE)),
    Row(
        "coo_fromdense",
        from_dense(COO, nse=12, kept=KEPT),
        fixed(SHAPE),
        name="padding",
        jax=False,
        reason="jax.vjp adds the gradient of the padding, which is at (0, 0), to that of x[0, 0]",
    ),
    Row("csr_fromdense", from_dense(CSR, nse=20), fixed(SHAPE)),
    Row(
        "csr_fromdense",
        from_dense(CSR, nse=12, kept=KEPT),
        fixed(SHAPE),
        name="padding",
    ),
    Row(
        "bcoo_extract",
        squared(lambda x: sparse.bcoo_extract_p.bind(PLACES, x, assume_unique=True)),
        normal(SHAPE),
    ),
    Row(
        "bcoo_extract",
        squared(lambda x: sparse.bcoo_extract_p.bind(OF_ROWS, x, assume_unique=True)),
        normal((4, 5, 2)),
        name="all kinds",
    ),
    Row(
        "bcoo_extract",
        squared(lambda x: sparse.bcoo_extract_p.bind(PER_BATCH[:1], x, assume_unique=True)),
        normal((2, *SHAPE)),
        name="places stretched",
    ),
    *(
        Row(
            "bcoo_extract",
            squared(lambda x, i=i: sparse.bcoo_extract_p.bind(i, x, assume_unique=False)),
            fixed(shape),
            name=f"each place once, {name}",
            jax=False,
            reason=NOT_REVERSED,
        )
        for name, i, shape in [
            ("plain", PLACES, SHAPE),
            ("all kinds", OF_ROWS, (4, 5, 2)),
            ("no places", np.zeros((4, 3, 0), np.int32), (4, 2)),
        ]
    ),
    Row("bcsr_extract", squared(lambda x: sparse.bcsr_extract(COLUMNS, STARTS, x)), normal(SHAPE)),
    Row(
        "bcsr_extract",
        squared(lambda x: sparse.bcsr_extract(COLUMNS_PER_BATCH, STARTS_PER_BATCH, x)),
        normal((2, *SHAPE, 2)),
        name="all kinds",
    ),
]

REARRANGED = [
    Row("bcoo_transpose", squared(lambda d: bcoo(d).T.data), normal(7)),
    Row(
        "bcoo_transpose",
        squared(lambda d: bcoo(d, PER_BATCH[None], (3, 2, 4, 5, 6, 7)).transpose((1, 0, 3, 2, 5, 4)).data),
        normal((3, 2, 3, 6, 7)),
        name="all kinds",
    ),
    Row("bcoo_sort_indices", squared(lambda d: bcoo(d).sort_indices().data), normal(7)),
    Row(
        "bcoo_sort_indices",
        squared(lambda d: bcoo(d, OF_ROWS, (4, 5, 2)).sort_indices().data),
        normal((4, 3, 2)),
        name="all kinds",
    ),
    *(
        Row("bcoo_sum_duplicates", summed(nse, *places), normal(shape), name=name)
        for name, nse, places, shape in [
            ("", 5, (), 7),
            ("padding", 9, (), 7),
            ("too few", 2, (), 7),
            ("all kinds", 3, (OF_ROWS, (4, 5, 2)), (4, 3, 2)),
        ]
    ),
]

ROWS = [*TO_DENSE, *FROM_DENSE, *REARRANGED]


@pytest.mark.usefixtures("x64")
@pytest.mark.in_turns(3)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row):
    check(row)


@sparse.sparsify
def likelihood(features, weights):
    """Of a logistic regression."""
    logits = features @ weights
    return jnp.sum(jax.nn.log_sigmoid(logits)) + 0.1 * jnp.sum(features * features)


def power_iteration(a, v):
    return jax.lax.scan(lambda v, _: ((u := a.T @ (a @ v)) / jnp.linalg.norm(u), None), v, None, 3)[0]


OF_BCOO = {
    "@": lambda a, w: a @ w,
    "@ from the left": lambda a, w: w[:4] @ a,
    "todense": lambda a, w: a.todense() @ w,
    "sum": lambda a, w: a.sum() * w,
    "T": lambda a, w: a.T @ w[:4],
    "multiply": lambda a, w: sparse.bcoo_multiply_dense(a, w),
    "sparsify": likelihood,
    "jit": jax.jit(lambda a, w: a @ w),
    "checkpoint": jax.checkpoint(lambda a, w: a @ jnp.sin(w)),
    "scan": power_iteration,
    "vmap over w": lambda a, w: jax.vmap(lambda w: a @ w)(jnp.stack([w, 2 * w])),
    "cg": lambda a, w: jax.scipy.sparse.linalg.cg(lambda v: v + a @ (a.T @ v), w[:4], tol=1e-14)[0],
}
OF_BCSR = {
    "@": lambda a, w: a @ w,
    "todense": lambda a, w: a.todense() @ w,
    "to BCOO": lambda a, w: a.to_bcoo() @ w,
    "from BCOO": lambda a, w: BCSR.from_bcoo(a.to_bcoo().T.sort_indices()) @ w[:4],
}
OF_COO = {"@": lambda a, w: a @ w, "todense": lambda a, w: a.todense() @ w}
MATRICES = {
    "BCOO": (bcoo, 7, OF_BCOO),
    "BCSR": (bcsr, 8, OF_BCSR),
    "COO": (coo, 6, OF_COO),
    "CSR": (csr, 6, OF_COO),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.in_turns(3)
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in MATRICES for name in MATRICES[kind][2]])
def test_a_sparse_array_as_an_argument(kind, name):
    """The gradient is a sparse array again, of the same places, which have float0 as all integers have."""
    make, size, functions = MATRICES[kind]
    matrix = make(jnp.asarray(*fixed(size)))
    w = jnp.linspace(-1.0, 1.0, 5)

    def loss(matrix, w):
        return jnp.sum(jnp.sin(functions[name](matrix, w)))

    ours = funcnet.value_and_grad(loss, (0, 1), allow_int=True)(matrix, w)
    reference = jax.value_and_grad(loss, (0, 1), allow_int=True)(matrix, w)
    assert jax.tree.structure(ours) == jax.tree.structure(reference)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if a.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    subspace = sparse.grad(loss)(matrix, w)
    np.testing.assert_allclose(ours[1][0].data, subspace.data, rtol=1e-12, atol=1e-12)


def test_sparse_is_not_imported_before_it_is_used():
    program = "import sys, funcnet; funcnet.grad(lambda x: x * x)(1.0); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert "funcnet.rules.sparse" in run.stdout.split()
    assert "jax.experimental.sparse" not in run.stdout.split()
