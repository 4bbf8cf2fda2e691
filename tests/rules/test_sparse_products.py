"""The rules of products with sparse arrays, of sampled products, and of solving sparse systems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse
from jax.experimental.sparse import BCOO

import funcnet
from tests.rules.rows import Row, check, check_low_precision, complex_normal, normal, squared
from tests.rules.sparse_arrays import (
    COL,
    COLUMNS_PER_BATCH,
    NOT_REVERSED,
    OF_ROWS,
    PER_BATCH,
    PLACES,
    ROW,
    SHAPE,
    STARTS_PER_BATCH,
    STRETCHED,
    bcoo,
    bcsr,
    coo,
    csr,
    fixed,
    padded_csr,
)

JAX_RIGHT = jax.__version_info__ >= (0, 12)
TRANSPOSED = "before 0.11 JAX has a wrong gradient of d in the product with the transpose"


def product(contract=((1,), (0,)), batch=((), ()), i=PLACES, shape=SHAPE, **options):
    numbers = (contract, batch)
    return squared(
        lambda d, w: sparse.bcoo_dot_general(bcoo(d, i, shape), w, dimension_numbers=numbers, **options)
    )


def times(op, make, transpose):
    return squared(lambda d, w: op(make(d), w, transpose=transpose))


def sampled(contract, batch=((), ()), i=PLACES):
    return squared(lambda a, b: sparse.bcoo_dot_general_sampled(a, b, i, dimension_numbers=(contract, batch)))


PRODUCTS = [
    Row("bcoo_dot_general", product(), normal(7, (5, 3))),
    Row("bcoo_dot_general", product(), normal(7, 5), name="vector"),
    Row("bcoo_dot_general", product(((0,), (1,))), complex_normal(7, (3, 4)), name="transposed, complex"),
    Row("bcoo_dot_general", product(((1, 0), (0, 2))), normal(7, (5, 3, 4)), name="two axes"),
    Row("bcoo_dot_general", product(((), ())), normal(7, 3), name="no axes"),
    Row(
        "bcoo_dot_general",
        product(((2,), (1,)), ((0,), (0,)), PER_BATCH, (2, 4, 5)),
        normal((2, 3), (2, 5, 3)),
        name="batch",
    ),
    Row(
        "bcoo_dot_general",
        product(((2,), (0,)), ((), ()), PER_BATCH, (2, 4, 5)),
        normal((2, 3), (5, 3)),
        name="batch of one only",
    ),
    Row(
        "bcoo_dot_general",
        product(((2, 0), (0, 2)), ((), ()), PER_BATCH, (2, 4, 5)),
        normal((2, 3), (5, 3, 2)),
        name="batch summed over",
    ),
    Row(
        "bcoo_dot_general",
        product(((2,), (1,)), ((0,), (0,)), PER_BATCH, (2, 4, 5)),
        normal((1, 3), (2, 5, 3)),
        name="numbers stretched",
        jax=False,
        reason=STRETCHED,
    ),
    Row(
        "bcoo_dot_general",
        product(((2,), (1,)), ((0,), (0,)), PER_BATCH[:1], (2, 4, 5)),
        normal((2, 3), (2, 5, 3)),
        name="places stretched",
        second=False,
        reason="the gradient of jax.vjp's gradient raises ValueError",
    ),
    Row(
        "bcoo_dot_general",
        product(((1,), (1,)), ((0,), (2,)), OF_ROWS, (4, 5, 2)),
        normal((4, 3, 2), (3, 5, 4)),
        name="all kinds",
        jax=False,
        reason="jax.vjp raises NotImplementedError where w is multiplied by blocks",
    ),
    Row(
        "bcoo_dot_general",
        product(((), ()), ((0,), (0,)), np.zeros((4, 3, 0), np.int32), (4, 2)),
        normal((4, 3, 2), (4, 5)),
        name="no places",
        jax=False,
        reason="jax.vjp raises",
    ),
    Row(
        "bcoo_dot_general",
        product(preferred_element_type=np.float64),
        lambda rng: (rng.normal(size=7).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)),
        name="accumulates wide",
        differences=False,
        second=False,
        tolerance=1e-6,
        reason="the inputs are float32, for which jax.vjp gives gradients in float64",
    ),
    Row(
        "bcoo_dot_general",
        lambda d, w, i: (bcoo(d, i) @ w) ** 2,
        lambda rng: (rng.normal(size=6), rng.normal(size=(5, 3)), rng.integers(0, 5, (6, 2))),
        name="places given",
    ),
    Row("bcsr_dot_general", squared(lambda d, w: bcsr(d) @ w), normal(8, (5, 3))),
    Row("bcsr_dot_general", squared(lambda d, w: bcsr(d) @ w), complex_normal(8, 5), name="vector, complex"),
    Row(
        "bcsr_dot_general",
        squared(
            lambda d, w: sparse.bcsr_dot_general(
                bcsr(d, COLUMNS_PER_BATCH, STARTS_PER_BATCH, (2, 4, 5)),
                w,
                dimension_numbers=(((1,), (2,)), ((0,), (0,))),
            )
        ),
        normal((2, 3), (2, 3, 4)),
        name="batch, transposed",
    ),
    *(
        Row(
            name,
            times(getattr(sparse, name), make, transpose),
            fixed(6, (4 if transpose else 5, *columns)),
            name="transposed" if transpose else "",
            jax=JAX_RIGHT or not transpose,
            second=JAX_RIGHT,
            reason=TRANSPOSED,
        )
        for transpose in (False, True)
        for name, make, columns in [
            ("coo_matvec", coo, ()),
            ("coo_matmat", coo, (3,)),
            ("csr_matvec", csr, ()),
            ("csr_matmat", csr, (3,)),
        ]
    ),
    Row(
        "csr_matmat",
        squared(lambda d, w: padded_csr(d) @ w),
        fixed(8, (5, 3)),
        name="padding",
        jax=False,
        reason="jax.vjp gives padding the gradient of the last row",
    ),
    Row("bcoo_dot_general_sampled", sampled(((1,), (0,))), normal((4, 6), (6, 5))),
    Row("bcoo_dot_general_sampled", sampled(((), ())), normal(4, 5), name="outer"),
    Row(
        "bcoo_dot_general_sampled",
        sampled(((2, 1), (0, 3)), ((0,), (2,)), PER_BATCH),
        complex_normal((2, 6, 7, 4), (7, 5, 2, 6)),
        name="batch, two axes, complex",
    ),
    Row(
        "bcoo_dot_general_sampled",
        sampled(((2,), (1,)), ((0,), (0,)), PER_BATCH[:1]),
        normal((2, 4, 6), (2, 6, 5)),
        name="places stretched",
    ),
    Row("bcoo_dot_general_sampled", sampled(((1,), (2,)), i=PLACES), normal((4, 6), (5, 3, 6)), name="block"),
    Row("bcoo_dot_general_sampled", sampled(((1,), (0,)), i=OF_ROWS), normal((4, 6), (6, 5)), name="by rows"),
    Row(
        "bcoo_spdot_general",
        squared(lambda d, e: (bcoo(d) @ bcoo(e, PLACES[:5, ::-1], (5, 4))).data),
        normal(7, 5),
        jax=False,
        reason=NOT_REVERSED,
    ),
    Row(
        "bcoo_spdot_general",
        squared(
            lambda d, e: (
                sparse.bcoo_dot_general(
                    bcoo(d, PER_BATCH, (2, 4, 5)),
                    bcoo(e, PER_BATCH, (2, 4, 5)),
                    dimension_numbers=(((2,), (2,)), ((0,), (0,))),
                ).data
            )
        ),
        normal((2, 3), (2, 3)),
        name="batch",
        jax=False,
        reason=NOT_REVERSED,
    ),
]

DIAGONAL = np.array([0, 2, 1, 0, 2, 3, 0, 3], np.int32), np.array([0, 2, 3, 6, 8], np.int32)
SYSTEM = np.array([2.0, 0.5, 3.0, 0.7, 2.5, 1.0, -1.0, 4.0]), np.array([1.0, -2.0, 0.5, 3.0])


def solve(name, dtype, columns=DIAGONAL[0], system=SYSTEM, **options):
    def function(d, b):
        return sparse.linalg.spsolve(d, columns, DIAGONAL[1], b) ** 2

    unit = 1 + 0.3j if issubclass(dtype, np.complexfloating) else 1
    return Row("spsolve", function, tuple(np.asarray(x * unit, dtype) for x in system), name, **options)


SOLVES = [
    solve(name, dtype, differences=False, tolerance=1e-5, reason="float32: see test_solves_in_float64")
    for name, dtype in [("", np.float32), ("complex", np.complex64)]
]
WIDE_SOLVES = [
    solve("float64", np.float64),
    solve("complex128", np.complex128),
    solve(
        "padding",
        np.float64,
        np.append(DIAGONAL[0], np.int32(1)),
        (np.append(SYSTEM[0], 5.0), SYSTEM[1]),
        jax=False,
        reason="jax.vjp takes the padding into the transposed matrix",
    ),
]

ROWS = [*PRODUCTS, *SOLVES]


@pytest.mark.usefixtures("x64")
@pytest.mark.in_turns(3)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row):
    check(row)


@pytest.fixture
def x64_in_all_threads():
    """SciPy solves in a thread of its own."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.usefixtures("x64_in_all_threads")
@pytest.mark.parametrize("row", WIDE_SOLVES, ids=str)
def test_solves_in_float64(row):
    check(row)


NARROW = [row for row in PRODUCTS if str(row) in ("bcoo_dot_general", "bcsr_dot_general", "coo_matmat")]


@pytest.mark.in_turns(3)
@pytest.mark.usefixtures("x64")
@pytest.mark.filterwarnings("ignore:bcsr_dot_general cpu lowering not available")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("row", NARROW, ids=str)
def test_low_precision(row, dtype):
    check_low_precision(row, dtype)


def by_numbers(numbers, *operands):
    return sparse.sparsify(lambda *xs: jax.lax.dot_general(*xs, numbers))(*operands)


def dense(matrix):
    """By JAX's todense, which has no gradient where numbers are stretched."""
    if not isinstance(matrix, BCOO):
        return matrix
    n = matrix.n_batch
    d = jnp.broadcast_to(matrix.data, (*matrix.shape[:n], *matrix.data.shape[n:]))
    return BCOO((d, matrix.indices), shape=matrix.shape).todense()


BLOCKS = (OF_ROWS, (4, 5, 2))
BATCH = (PER_BATCH, (2, 4, 5))
STRETCHED_PLACES = (PER_BATCH[:1], (2, 4, 5))
BESIDE_DENSE = {
    "sparse times sparse": (lambda a, b: a @ b, [7, 6], [(PLACES, SHAPE), (PLACES[:6, ::-1], (5, 4))]),
    "sparse times sparse, batch": (
        lambda a, b: by_numbers((((2,), (2,)), ((0,), (0,))), a, b),
        [(2, 3), (2, 3)],
        [BATCH, BATCH],
    ),
    "blocks times dense": (
        lambda a, w: by_numbers((((1,), (1,)), ((0,), (2,))), a, w),
        [(4, 3, 2), (3, 5, 4)],
        [BLOCKS],
    ),
    "stretched numbers times dense": (lambda a, w: a @ w, [(1, 3), (2, 5, 3)], [BATCH]),
    "stretched places times dense": (lambda a, w: a @ w, [(2, 3), (2, 5, 3)], [STRETCHED_PLACES]),
    "dense times sparse": (lambda a, w: w @ a, [7, (3, 4)], [(PLACES, SHAPE)]),
    "sparse plus sparse": (lambda a, b: a + b, [7, 5], [(PLACES, SHAPE), (PLACES[2:], SHAPE)]),
    "sparse · sparse": (lambda a, b: a * b, [7, 5], [(PLACES, SHAPE), (PLACES[2:], SHAPE)]),
    "sums": (lambda a: (a.sum(0), a.sum(1), a.sum()), [7], [(PLACES, SHAPE)]),
    "parts": (lambda a: (a[1:, ::2], a[2], a.reshape(2, 10)), [7], [(PLACES, SHAPE)]),
}
"""What takes sparse arrays and numpy arrays alike: function, shapes of its numbers, places and shapes."""


@pytest.mark.usefixtures("x64")
@pytest.mark.in_turns(3)
@pytest.mark.parametrize("name", BESIDE_DENSE)
def test_two_orders_beside_jax_on_dense_arrays(name):
    function, shapes, formats = BESIDE_DENSE[name]
    rng = np.random.default_rng(0)
    numbers = [rng.normal(size=shape) for shape in shapes]

    def loss(numbers, change):
        operands = [bcoo(d, *form) for d, form in zip(numbers, formats, strict=False)]
        operands = [*map(change, operands), *numbers[len(formats) :]]
        leaves = jax.tree.leaves(function(*operands), is_leaf=lambda y: isinstance(y, BCOO))
        return sum(jnp.sum(jnp.sin(dense(y))) for y in leaves)

    def slope(differentiate, change):
        first = differentiate(lambda numbers: loss(numbers, change))
        return first, differentiate(lambda numbers: sum(jnp.sum(jnp.cos(g)) for g in first(numbers)))

    ours, reference = slope(funcnet.grad, lambda a: a), slope(jax.grad, dense)
    for one, other in zip(ours, reference, strict=True):
        for a, b in zip(jax.jit(one)(numbers), other(numbers), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_jacobian_of_a_product_that_jax_cannot_batch():
    d, v = np.arange(6.0), np.linspace(-1, 1, 5)
    ours = funcnet.jacobian(lambda d: coo(d) @ v)(d)
    reference = jax.jacrev(lambda d: bcoo(d, np.stack([ROW, COL], 1)) @ v)(d)
    np.testing.assert_allclose(ours, reference, rtol=1e-14)
