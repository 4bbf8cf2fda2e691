"""The pattern of a Jacobian: of small ones that are formed, and of large ones that never are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from funcnet._errors import GradientError
from funcnet.structure import jacobians
from funcnet.structure.jacobians import jacobian_structure, size
from funcnet.structure.patterns import Products

V = jnp.asarray([0.3, -1.2, 2.0, 0.7, -0.4, 1.1])
M = jnp.arange(24.0).reshape(4, 6) % 7 - 3.2
X, W = jnp.asarray([[2.0, 1, -3], [-3, 4, 2]]), jnp.asarray([[3.0, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]])
LABELS = jnp.asarray([0, 1, 2, 0])

OWN = ("diagonal", "y_i depends on x_i alone")
ONE_X = ("permutation", "each y is one of the x")
COPIES = ("broadcast and sum", "each y is one of the x")
SUMS = ("broadcast and sum", "each x goes into one y")


def blocks(detail):
    return ("block diagonal", detail)


# name, function, arguments, kind and detail for each argument
ROWS = [
    ("relu, slide 113", nn.relu, (jnp.asarray([1.0, -2.0, 3.0, -1.0]),), [OWN]),
    ("sigmoid of a matrix", nn.sigmoid, (M,), [OWN]),
    ("square of a number", jnp.square, (2.0,), [OWN]),
    ("identity", lambda x: x, (V,), [OWN]),
    ("negative", jnp.negative, (V,), [OWN]),
    ("bias", jnp.add, (M, V), [OWN, COPIES]),
    ("sum", jnp.sum, (M,), [SUMS]),
    ("mean of examples", lambda x: x.mean(0), (M,), [("broadcast and sum", SUMS[1] + ", times 0.25")]),
    ("broadcast", lambda x: jnp.broadcast_to(x, (3, 6)), (V,), [COPIES]),
    ("repeated take", lambda x: x[jnp.array([0, 0, 3])], (V,), [COPIES]),
    ("take", lambda x: x[jnp.array([4, 0, 3])], (V,), [ONE_X]),
    ("max", jnp.max, (V,), [ONE_X]),
    ("transpose", jnp.transpose, (M,), [ONE_X]),
    ("negative transpose", lambda x: -x.T, (M,), [("permutation", ONE_X[1] + ", times -1")]),
    ("sine, transposed", lambda x: jnp.sin(x).T, (M,), [("permutation", ONE_X[1] + ", times a factor")]),
    ("reshape", lambda x: x.reshape(3, 8), (M,), [ONE_X]),
    ("slice", lambda x: x[1:3], (V,), [ONE_X]),
    ("sort", jnp.sort, (V,), [ONE_X]),
    (
        "matrix product, slide 117",
        jnp.matmul,
        (X, W),
        [blocks("2 blocks of 4 × 3"), blocks("4 blocks of 2 × 3")],
    ),
    (
        "matrix product with zeros",
        jnp.matmul,
        (jnp.maximum(M, 0), M.T),  # one of x's columns is all 0, and so one row of w moves nothing
        [blocks("4 blocks of 4 × 6"), blocks("4 blocks of 4 × 5")],
    ),
    ("softmax of examples", jax.nn.softmax, (M,), [blocks("4 blocks of 6 × 6")]),
    ("softmax loss", lambda s: nn.softmax_loss(s, LABELS), (M,), [blocks("4 blocks of 1 × 6")]),
    ("outer product", jnp.outer, (V, V[:3]), [blocks("6 blocks of 3 × 1"), blocks("3 blocks of 6 × 1")]),
    (
        "softmax of unequal parts",
        lambda x: jnp.concatenate([jax.nn.softmax(x[:2]), jax.nn.softmax(x[2:])]),
        (V,),
        [blocks("2 blocks of up to 4 × 4")],
    ),
    ("differences", jnp.diff, (M.ravel(),), [("sparse", "each y depends on at most 2 of 24 x")]),
    (
        "convolution",
        functools.partial(jnp.convolve, mode="same"),
        (M.ravel(), V[:3]),
        [("sparse", "each y depends on at most 3 of 24 x"), ("dense", "24 × 3")],
    ),
    ("one direction", lambda x: V * jnp.sum(V * x), (V,), [("low rank", "rank 1")]),
    ("‖Wx‖², slide 126", lambda w, x: sum((w @ x) ** 2), (M, V), [("dense", "1 × 24"), ("dense", "1 × 6")]),
    ("cumulative sum", jnp.cumsum, (V,), [("dense", "6 × 6")]),
    ("softmax", jax.nn.softmax, (V,), [("dense", "6 × 6")]),
    ("round", lambda x: jnp.round(x) * 2, (V,), [("zero", "x does not move y")]),
    ("constant", lambda x: jnp.ones(3), (V,), [("zero", "x does not move y")]),
]  # fmt: skip


@functools.cache
def true_jacobians(name):
    """JAX's own, for each argument."""
    ((f, args),) = [row[1:3] for row in ROWS if row[0] == name]
    return jax.jit(jax.jacobian(f, argnums=tuple(range(len(args)))))(*args)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_pattern_is_that_of_the_formed_jacobian(row):
    name, f, args, expected = row
    found = jacobian_structure(f, *args)
    assert [(one.kind, one.detail) for one in found] == expected
    for one, jac in zip(found, true_jacobians(name), strict=True):
        assert one.y_shape + one.x_shape == jac.shape
        assert one.explicit_bytes == jac.nbytes
        assert one.density == pytest.approx(np.count_nonzero(jac) / jac.size)
        assert one.formed
        assert one.verified


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_sample_of_the_products_tells_the_same(row):
    name, _, args, expected = row
    for x, jac, (kind, _) in zip(args, true_jacobians(name), expected, strict=True):
        matrix = np.asarray(jac).reshape(-1, jnp.size(x))
        sampled = Products(
            matrix.T.__matmul__, matrix.__matmul__, np.float32, np.float32, *matrix.shape, 1.2e-7
        )
        assert sampled.pattern(jac.shape == jnp.shape(x) * 2)[0] == kind


END_TO_END = [row for row in ROWS if row[0] in ("bias", "softmax of examples", "one direction", "constant")]


@pytest.mark.parametrize("row", END_TO_END, ids=[row[0] for row in END_TO_END])
def test_the_compiled_rule_tells_the_same(row, monkeypatch):
    _, f, args, expected = row
    monkeypatch.setattr(jacobians, "SMALL", 0)
    found = jacobian_structure(f, *args)
    assert not any(one.formed or one.verified for one in found)
    assert [(one.kind, one.detail) for one in found] == expected


BIG = jnp.sin(jnp.arange(2000.0))
POWERS = BIG[:, None] ** jnp.arange(1, 4)

# name, function of BIG, kind and detail
RARE = [
    ("nearly dead relu", lambda x: nn.relu(x - 0.999), "diagonal", "y_i depends on x_i alone"),
    ("one more x in one y", lambda x: x.at[7].add(x[9]), "sparse", "each y depends on about 1 of 2000 x"),
    ("one x taken twice", lambda x: x[jnp.arange(1999) - jnp.arange(1999) // 1998], *COPIES),
    ("neighbours", jnp.diff, "sparse", "each y depends on about 2 of 2000 x"),
    ("pairs", lambda x: jax.nn.softmax(x.reshape(-1, 2)), "block diagonal", "1000 blocks of 2 × 2"),
    ("three directions", lambda x: POWERS @ (POWERS.T @ x), "low rank", "rank 3"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "detail"), [row[1:] for row in RARE], ids=[row[0] for row in RARE])
def test_what_few_rows_do_not_show(f, kind, detail):
    (found,) = jacobian_structure(f, BIG)
    assert not found.formed
    assert (found.kind, found.detail) == (kind, detail)


NAMES = [("derivative", jnp.square, 2.0), ("gradient", jnp.sum, V), ("Jacobian", nn.relu, V)]


@pytest.mark.parametrize(("name", "f", "x"), NAMES)
def test_scalar_gradient_jacobian(name, f, x):
    """Slides 99 to 103: what the derivative is called and what shape it has."""
    (found,) = jacobian_structure(f, x)
    assert found.name == name
    assert str(found).startswith(f"∂y/∂{found.argument}: {name} of y{list(found.y_shape)}")
    assert "(formed, and agrees with the rule)" in str(found)


@pytest.mark.parametrize(("dtype", "entry"), [(jnp.bfloat16, 2), (jnp.float16, 2), (jnp.float64, 8)])
@pytest.mark.usefixtures("x64")
def test_other_dtypes(dtype, entry, monkeypatch):
    x, w = X.astype(dtype), W.astype(dtype)
    for small in (jacobians.SMALL, 0):
        monkeypatch.setattr(jacobians, "SMALL", small)
        of_x, _ = jacobian_structure(jnp.matmul, x, w)
        assert (of_x.kind, of_x.detail) == blocks("2 blocks of 4 × 3")
        assert of_x.explicit_bytes == 48 * entry


def test_a_layer_needs_megabytes_where_its_jacobian_would_need_256_gib(key):
    """Slide 119: N = 64, D = M = 4096 in float32."""
    x, w = jax.random.normal(key, (64, 4096)), jnp.full((4096, 4096), 0.01)
    of_x, of_w = jacobian_structure(jnp.matmul, x, w)
    assert (of_x.explicit_bytes, of_w.explicit_bytes) == (256 * 2**30, 16 * 2**40)
    assert (of_x.kind, of_x.detail) == blocks("64 blocks of 4096 × 4096")
    assert (of_w.kind, of_w.detail) == blocks("4096 blocks of 64 × 4096")
    assert 66 * 2**20 <= of_x.rule_bytes < 70 * 2**20  # w, ȳ and x̄: 64, 1 and 1 MiB
    assert 66 * 2**20 <= of_w.rule_bytes < 70 * 2**20  # x, ȳ and w̄
    assert "256 GiB, 1.56 % of it not zero (never formed)" in str(of_x)


def test_a_million_elements_of_relu(key):
    (found,) = jacobian_structure(nn.relu, jax.random.normal(key, (1_000_000,)))
    assert (found.kind, found.explicit_bytes) == ("diagonal", 4 * 10**12)
    assert found.rule_bytes < 10 * 2**20


def test_the_sum_of_a_million_elements_is_formed_in_one_row():
    (found,) = jacobian_structure(jnp.sum, jnp.ones(2**20))
    assert (found.kind, found.detail) == SUMS
    assert found.verified


def test_one_number_copied_a_million_times_is_formed_in_one_column():
    (found,) = jacobian_structure(lambda x: jnp.broadcast_to(x, 2**20), 2.0)
    assert (found.kind, found.detail) == COPIES
    assert found.verified


def test_only_floats_have_one(key):
    (found,) = jacobian_structure(lambda x, i, axis: x[i].sum(axis) * 2, V, jnp.asarray([1, 2]), 0)
    assert found.argument == "x"
    (found,) = jacobian_structure(nn.dropout, V, key)
    assert found.kind == "diagonal"


def test_parameters_are_named():
    of_b, of_w = jacobian_structure(lambda params: params["w"] @ V + params["b"], {"w": M, "b": V[:4]})
    assert (of_b.argument, of_w.argument) == ("params['b']", "params['w']")


def test_a_rule_that_is_not_linear_is_told():
    squared = jax.custom_vjp(lambda x: x)
    squared.defvjp(lambda x: (x, None), lambda _, y_bar: (y_bar**2,))
    (found,) = jacobian_structure(squared, V)
    assert found.formed
    assert not found.verified
    assert "(formed, and differs from the rule)" in str(found)


REFUSED = [
    ("an integer result", jnp.argmax, (V,), r"the result is int32\[\], expected one array of real floats"),
    ("two results", lambda x: (x, x), (V,), r"the result is .*float32\[6\]', .*return that alone"),
    ("no float", lambda i: i * 1.0, (jnp.asarray(1), "a"), "the arguments are int32, str, expected"),
    ("no arguments", lambda: 1.0, (), "the arguments are nothing, expected real floats among them"),
    ("an infinite slope", jnp.sqrt, (V * 0,), "infinite or NaN here, expected finite numbers"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("f", "args", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_has_no_jacobian_is_an_error(f, args, words):
    with pytest.raises(GradientError, match=words):
        jacobian_structure(f, *args)


SIZES = [(7, "7 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (64 * 2**20, "64 MiB"), (16 * 2**40, "16 TiB")]


@pytest.mark.parametrize(("n", "text"), SIZES)
def test_sizes_in_words(n, text):
    assert size(n) == text
