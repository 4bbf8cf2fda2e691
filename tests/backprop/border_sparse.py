"""`jax.experimental.sparse`: gradients by the stored numbers, and by what is dense beside them."""

# ruff: noqa: N803
# J is a library that differentiates.

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse

from tests.backprop.border import AROUND, Kind

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])
DENSE = np.float32([[0, 2, 0], [1, 0, 3], [0, 0, 0], [4, 0, 5]])

SPARSE = Kind("jax.experimental.sparse")

NUMBERS = np.float32([2, 1, 3, 4, 5])
PLACES = np.array([[0, 1], [1, 0], [1, 2], [3, 0], [3, 2]], np.int32)

bcoo = sparse.BCOO((NUMBERS, PLACES), shape=(4, 3))
bcsr = sparse.BCSR((NUMBERS, PLACES[:, 1], np.array([0, 1, 3, 3, 5], np.int32)), shape=(4, 3))
batch = sparse.BCOO((np.stack([NUMBERS, 2 * NUMBERS]), np.stack([PLACES, PLACES])), shape=(2, 4, 3))
hybrid = sparse.BCOO((DENSE[[0, 1, 3]], PLACES[:3, :1] + np.int32([[0], [0], [2]])), shape=(4, 3))
square = sparse.BCOO((NUMBERS, PLACES % 3), shape=(3, 3))


def of(matrix, data):
    """The same sparsity with other numbers."""
    return type(matrix)((data, *(getattr(matrix, name) for name in _indices(matrix))), shape=matrix.shape)


def _indices(matrix):
    return ("indices",) if isinstance(matrix, sparse.BCOO) else ("indices", "indptr")


def weighted(y):
    """A sum with different weights."""
    y = y.todense() if hasattr(y, "todense") else y
    return (y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)).sum()


OF_DATA = {
    "todense": (bcoo, lambda m: m.todense() ** 2),
    "todense of BCSR": (bcsr, lambda m: m.todense() ** 2),
    "todense of a batch": (batch, lambda m: m.todense() ** 2),
    "todense with a dense axis": (hybrid, lambda m: m.todense() ** 2),
    "matrix times vector": (bcoo, lambda m: m @ X),
    "vector times matrix": (bcoo, lambda m: jnp.ones(4) @ m),
    "matrix times matrix": (bcoo, lambda m: m @ np.outer(X, Y)),
    "matrix times vector, BCSR": (bcsr, lambda m: m @ X),
    "matrix times matrix, BCSR": (bcsr, lambda m: m @ np.outer(X, Y)),
    "transposed": (bcoo, lambda m: m.T @ np.ones(4, np.float32)),
    "a sum over rows": (bcoo, lambda m: m.sum(0).todense()),
    "a sum over columns": (bcoo, lambda m: m.sum(1).todense()),
    "a sum of all": (bcoo, lambda m: m.sum() ** 2),
    "a scaled matrix": (bcoo, lambda m: (m * 3.0).todense() ** 2),
    "times a dense matrix, by element": (bcoo, lambda m: (m * (DENSE + 1)).todense()),
    "times a sparse matrix, by element": (bcoo, lambda m: (m * m).todense()),
    "plus a sparse matrix": (square, lambda m: (m + m.T).todense() ** 2),
    "minus": (bcoo, lambda m: (-m).todense() ** 2),
    "a row": (bcoo, lambda m: m[1].todense() ** 2),
    "a slice": (bcoo, lambda m: m[1:, :2].todense() ** 2),
    "reshaped": (bcoo, lambda m: m.reshape(2, 6).todense() ** 2),
    "sorted indices": (bcoo, lambda m: m.sort_indices().todense() ** 2),
    "summed duplicates": (bcoo, lambda m: m.sum_duplicates(nse=6).todense() ** 2),
    "a broadcast": (
        bcoo,
        lambda m: sparse.bcoo_broadcast_in_dim(m, shape=(2, 4, 3), broadcast_dimensions=(1, 2)).todense(),
    ),
    "concatenated": (bcoo, lambda m: sparse.bcoo_concatenate([m, m], dimension=0).todense() ** 2),
    "squeezed": (bcoo, lambda m: sparse.bcoo_squeeze(m[1:2], dimensions=(0,)).todense() ** 2),
    "extracted": (bcoo, lambda m: sparse.bcoo_extract(m, m.todense() ** 2, assume_unique=True).data),
    "layout changed": (
        bcoo,
        lambda m: sparse.bcoo_update_layout(m, n_dense=1, on_inefficient=None).todense() ** 2,
    ),
    "BCSR from BCOO": (bcoo, lambda m: sparse.BCSR.from_bcoo(m) @ X),
    "BCOO from BCSR": (bcsr, lambda m: m.to_bcoo() @ X),
    "a batch times a batch": (
        batch,
        lambda m: sparse.bcoo_dot_general(m, np.stack([X, Y]), dimension_numbers=(([2], [1]), ([0], [0]))),
    ),
    "the data alone": (bcoo, lambda m: m.data**2),
    "a dynamic slice": (bcoo, lambda m: sparse.bcoo_dynamic_slice(m, (1, 0), (2, 3)).todense() ** 2),
    "reversed": (
        bcoo,
        lambda m: (
            sparse.bcoo_rev(m, dimensions=(0,)).todense() * np.arange(12.0, dtype=np.float32).reshape(4, 3)
        ),
    ),
}
for _name, (_matrix, _f) in OF_DATA.items():
    SPARSE.add(
        _name, lambda J, m=_matrix, f=_f: J.value_and_grad(lambda data: weighted(f(of(m, data))))(m.data)
    )
for _name in ("matrix times vector", "extracted"):
    _matrix, _f = OF_DATA[_name]
    SPARSE.add(
        f"{_name}, jit outside",
        lambda J, m=_matrix, f=_f: jax.jit(J.value_and_grad(lambda data: weighted(f(of(m, data)))))(m.data),
    )
    SPARSE.add(
        f"{_name}, jit inside",
        lambda J, m=_matrix, f=_f: J.grad(jax.jit(lambda data: weighted(f(of(m, data)))))(m.data),
    )
    SPARSE.add(
        f"{_name}, jacobian", lambda J, m=_matrix, f=_f: J.jacobian(lambda data: f(of(m, data)))(m.data)
    )
    SPARSE.add(
        f"{_name}, twice",
        lambda J, m=_matrix, f=_f: J.grad(
            lambda data: (J.grad(lambda data: weighted(f(of(m, data))) ** 2)(data) ** 2).sum()
        )(m.data),
        ulps=64,  # of sums of products of four factors, in another order
    )

SPARSE_PRODUCTS = {
    "sparse times sparse": (square, lambda m: m @ m),
    "a Gram matrix": (bcoo, lambda m: m.T @ m),
}
for _name, (_matrix, _f) in SPARSE_PRODUCTS.items():
    SPARSE.add(
        _name,
        lambda J, m=_matrix, f=_f: J.grad(lambda data: weighted(f(of(m, data))))(m.data),
        raises=NotImplementedError,
        right=lambda m=_matrix, f=_f: jax.grad(lambda data: weighted(f(of(m, data).todense())))(m.data),
        ulps=64,  # of sums in another order
    )

OF_DENSE = {
    "of a vector": lambda x: bcoo @ x,
    "of a vector, BCSR": lambda x: bcsr @ x,
    "of a matrix": lambda x: bcoo @ jnp.outer(x, x),
    "of a vector in front": lambda x: jnp.concatenate([x, x[:1]]) @ bcoo,
    "of a factor by element": lambda x: (bcoo * (DENSE * x)).todense(),
    "of a scale": lambda x: (bcoo * x[0]).todense(),
    "of what is made sparse": lambda x: sparse.BCOO.fromdense(DENSE * x, nse=5) @ Y,
    "of what is made BCSR": lambda x: sparse.BCSR.fromdense(DENSE * x, nse=5) @ Y,
    "of an identity": lambda x: sparse.eye(3, dtype=np.float32) @ x,
    "of an empty matrix": lambda x: sparse.empty((2, 3), dtype=np.float32) @ x,
    "of a sampled product": lambda x: sparse.bcoo_dot_general_sampled(
        jnp.outer(jnp.arange(4.0), x), jnp.outer(x, x), bcoo.indices, dimension_numbers=(([1], [0]), ([], []))
    ),
    "of numbers on given places": lambda x: (
        sparse.BCOO((x, np.array([[0, 1], [2, 2], [1, 0]])), shape=(3, 3)) @ Y
    ),
    "of doubled places": lambda x: (
        sparse.BCOO((x, np.array([[0, 1], [0, 1], [1, 0]])), shape=(3, 3)).todense() ** 2
    ),
    "of COO": lambda x: sparse.COO((x, np.array([0, 1, 2]), np.array([1, 1, 0])), shape=(3, 3)) @ Y,
    "of CSR": lambda x: sparse.CSR((x, np.array([1, 1, 0]), np.array([0, 1, 2, 3])), shape=(3, 3)) @ Y,
    "of a conjugate gradient solver": lambda x: jax.scipy.sparse.linalg.cg(
        sparse.BCOO.fromdense(np.float32([[3, 1], [1, 2]])), x[:2], tol=1e-6
    )[0],
}
OTHER_SOLVES = {"of a conjugate gradient solver": 64}
"""In units of the last place: the solver stops within its own tolerance."""
for _name, _f in OF_DENSE.items():
    SPARSE.add(
        _name,
        lambda J, f=_f: J.value_and_grad(lambda x: weighted(f(x)))(X),
        **({"ulps": OTHER_SOLVES[_name]} if _name in OTHER_SOLVES else {}),
    )

SPARSIFIED = {
    "a product": lambda m, x: m @ x,
    "a sum": lambda m, x: (m * x).sum(0),
    "a function of both": lambda m, x: jnp.sin(m @ x) * 2 + m.sum(1),
    "a transposition": lambda m, x: m.T @ jnp.ones(4),
}
for _name, _f in SPARSIFIED.items():
    SPARSE.add(
        f"sparsify: {_name}",
        lambda J, f=_f: J.grad(lambda data, x: weighted(sparse.sparsify(f)(of(bcoo, data), x)), (0, 1))(
            bcoo.data, X
        ),
    )


@SPARSE()
def vmap_over_a_batch(J):
    def f(data):
        return jax.vmap(lambda m: m @ X)(of(batch, data)).sum()

    return J.grad(f)(batch.data)


@SPARSE()
def vmap_over_vectors(J):
    return J.grad(lambda x: jax.vmap(lambda x: bcoo @ x)(x).sum())(np.stack([X, Y]))


@SPARSE()
def around_a_product(J):
    f = lambda x: (of(bcoo, bcoo.data * x) @ X).sum()  # noqa: E731
    places = (
        "eager",
        "jit inside",
        "vmap outside",
        "vmap inside",
        "scan inside",
        "checkpoint inside",
        "cond inside",
    )
    return [AROUND[place](J, f, jnp.float32(0.7)) for place in places]


@SPARSE()
def a_matrix_as_the_argument_with_allow_int(J):
    gradient = J.grad(lambda m: (m @ X).sum(), allow_int=True)(bcoo)
    return gradient.data, gradient.indices


@SPARSE(raises=TypeError)
def a_matrix_as_the_argument(J):
    return J.grad(lambda m: (m @ X).sum())(bcoo)


@SPARSE()
def a_matrix_as_an_argument_of_vjp(J):
    y, pull = J.vjp(lambda m, x: m @ x, bcoo, X)
    m_bar, x_bar = pull(jnp.ones(4))
    return y, m_bar.data, m_bar.indices, x_bar


@SPARSE()
def a_matrix_as_data(J):
    return J.grad(lambda x, m: (m @ x).sum())(X, bcoo), J.jacobian(lambda x, m: m @ x)(X, bcsr)


@SPARSE()
def complex_numbers(J):
    return J.grad(lambda data: jnp.abs((of(bcoo, data) @ X).sum()) ** 2)(bcoo.data * (1 + 2j))


@SPARSE()
def bfloat16(J):
    return J.grad(lambda data: (of(bcoo, data).todense() * 2).sum())(bcoo.data.astype(jnp.bfloat16))


@SPARSE()
def float64(J):
    with jax.enable_x64(True):
        return J.grad(lambda data: weighted(of(bcoo, data) @ np.float64(X)))(np.float64(bcoo.data))


@SPARSE()
def a_linear_layer(J):
    def loss(w, x):
        return (jnp.sin(of(bcoo, w["data"]) @ x + w["bias"]) ** 2).sum()

    return J.value_and_grad(loss)({"data": bcoo.data, "bias": np.ones(4, np.float32)}, X)


@SPARSE()
def a_graph_laplacian(J):
    edges = np.array([[0, 1], [1, 2], [2, 0], [1, 0]])

    def energy(weights, x):
        a = sparse.BCOO((weights, edges), shape=(3, 3))
        return x @ (a.sum(1).todense() * x) - x @ (a @ x)

    return J.grad(energy, (0, 1))(np.float32([1, 2, 3, 4]), X), J.hessian(energy, 1)(
        np.float32([1, 2, 3, 4]), X
    )
