"""The pattern of a Jacobian: of small ones that are formed, and of large ones that never are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from funcnet._errors import GradientError
from funcnet.drawing import jacobians
from funcnet.drawing.jacobians import jacobian_structure, size

V = jnp.asarray([0.3, -1.2, 2.0, 0.7, -0.4, 1.1])
M = jnp.arange(24.0).reshape(4, 6) % 7 - 3.2
LABELS = jnp.asarray([0, 1, 2, 0])

# name, function, arguments, kind and detail for each argument
ROWS = [
    (
        "relu, slide 113",
        nn.relu,
        (jnp.asarray([1.0, -2.0, 3.0, -1.0]),),
        [("diagonal", "y_i depends on x_i alone")],
    ),
    ("sigmoid of a matrix", nn.sigmoid, (M,), [("diagonal", "y_i depends on x_i alone")]),
    ("square of a number", jnp.square, (2.0,), [("diagonal", "y_i depends on x_i alone")]),
    (
        "bias",
        jnp.add,
        (M, V),
        [("diagonal", "y_i depends on x_i alone"), ("broadcast and sum", "each y is one of the x")],
    ),
    ("sum", jnp.sum, (M,), [("broadcast and sum", "each x goes into one y")]),
    (
        "mean over examples",
        lambda x: x.mean(0),
        (M,),
        [("broadcast and sum", "each x goes into one y, times 0.25")],
    ),
    (
        "broadcast",
        lambda x: jnp.broadcast_to(x, (3, 6)),
        (V,),
        [("broadcast and sum", "each y is one of the x")],
    ),
    (
        "repeated take",
        lambda x: x[jnp.array([0, 0, 3])],
        (V,),
        [("broadcast and sum", "each y is one of the x")],
    ),
    ("transpose", jnp.transpose, (M,), [("permutation", "each y is one of the x")]),
    ("negative transpose", lambda x: -x.T, (M,), [("permutation", "each y is one of the x, times -1")]),
    ("reshape", lambda x: x.reshape(3, 8), (M,), [("permutation", "each y is one of the x")]),
    ("slice", lambda x: x[1:3], (V,), [("permutation", "each y is one of the x")]),
    ("sort", jnp.sort, (V,), [("permutation", "each y is one of the x")]),
    ("matrix product, slide 117", jnp.matmul, (M, M.T), [("block diagonal", "4 blocks of 4 × 6")] * 2),
    (
        "matrix product with zeros",
        jnp.matmul,
        (jnp.maximum(M, 0), M.T),  # one of x's columns is all 0, and so one row of w moves nothing
        [("block diagonal", "4 blocks of 4 × 6"), ("block diagonal", "4 blocks of 4 × 5")],
    ),
    ("softmax of examples", jax.nn.softmax, (M,), [("block diagonal", "4 blocks of 6 × 6")]),
    ("softmax loss", lambda s: nn.softmax_loss(s, LABELS), (M,), [("block diagonal", "4 blocks of 1 × 6")]),
    (
        "outer product",
        jnp.outer,
        (V, V[:3]),
        [("block diagonal", "6 blocks of 3 × 1"), ("block diagonal", "3 blocks of 6 × 1")],
    ),
    ("one direction", lambda x: V * jnp.sum(V * x), (V,), [("low rank", "rank 1")]),
    (
        "‖Wx‖², slide 126",
        lambda w, x: jnp.sum((w @ x) ** 2),
        (M, V),
        [("dense", "1 × 24"), ("dense", "1 × 6")],
    ),
    ("cumulative sum", jnp.cumsum, (V,), [("dense", "6 × 6")]),
    ("softmax", jax.nn.softmax, (V,), [("dense", "6 × 6")]),
    ("constant", lambda x: jnp.round(x) * 2, (V,), [("zero", "x does not move y")]),
]


@pytest.mark.parametrize(("f", "args", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_pattern_is_that_of_the_formed_jacobian(f, args, expected):
    found = jacobian_structure(f, *args)
    assert [(one.kind, one.detail) for one in found] == expected
    jacs = jax.jacobian(f, argnums=tuple(range(len(args))))(*args)
    for one, jac in zip(found, jacs, strict=True):
        assert one.y_shape + one.x_shape == jac.shape
        assert one.explicit_bytes == jac.nbytes
        assert one.density == pytest.approx(np.count_nonzero(jac) / jac.size)
        assert one.verified


ONE_OF_EACH = (
    "relu, slide 113",
    "bias",
    "transpose",
    "softmax of examples",
    "one direction",
    "softmax",
    "constant",
)
SAMPLED = [row for row in ROWS if row[0] in ONE_OF_EACH]


@pytest.mark.parametrize("row", SAMPLED, ids=[row[0] for row in SAMPLED])
def test_what_is_only_sampled_is_told_the_same_pattern(row, monkeypatch):
    _, f, args, expected = row
    monkeypatch.setattr(jacobians, "SMALL", 0)
    found = jacobian_structure(f, *args)
    assert not any(one.verified for one in found)
    assert [one.kind for one in found] == [kind for kind, _ in expected]


NAMES = [("derivative", jnp.square, 2.0), ("gradient", jnp.sum, V), ("Jacobian", nn.relu, V)]


@pytest.mark.parametrize(("name", "f", "x"), NAMES)
def test_scalar_gradient_jacobian(name, f, x):
    """Slides 99 to 103: what the derivative is called and what shape it has."""
    (found,) = jacobian_structure(f, x)
    assert found.name == name
    assert str(found).startswith(f"∂y/∂{found.argument}: {name} of y{list(found.y_shape)}")


def test_a_layer_needs_megabytes_where_its_jacobian_would_need_256_gib(key):
    """Slide 119: N = 64, D = M = 4096 in float32."""
    x, w = jax.random.normal(key, (64, 4096)), jnp.full((4096, 4096), 0.01)
    of_x, of_w = jacobian_structure(jnp.matmul, x, w)
    assert (of_x.explicit_bytes, of_w.explicit_bytes) == (256 * 2**30, 16 * 2**40)
    assert (of_x.kind, of_x.detail) == ("block diagonal", "64 blocks of 4096 × 4096")
    assert (of_w.kind, of_w.detail) == ("block diagonal", "4096 blocks of 64 × 4096")
    assert of_x.rule_bytes < 70 * 2**20  # w, ȳ and x̄: 64, 1 and 1 MiB
    assert of_w.rule_bytes < 70 * 2**20
    assert "256 GiB, 1.56 % of it not zero (never formed)" in str(of_x)


def test_a_million_elements_of_relu(key):
    (found,) = jacobian_structure(nn.relu, jax.random.normal(key, (1_000_000,)))
    assert (found.kind, found.explicit_bytes) == ("diagonal", 4 * 10**12)
    assert found.rule_bytes < 10 * 2**20


def test_only_floats_have_one():
    (found,) = jacobian_structure(lambda x, i: x[i] * 2, V, jnp.asarray([1, 2]))
    assert found.argument == "x"


REFUSED = [
    ("an integer result", jnp.argmax, (V,)),
    ("two results", lambda x: (x, x), (V,)),
    ("no float", lambda i: i * 1.0, (jnp.asarray(1),)),
]


@pytest.mark.parametrize(("f", "args"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_has_no_jacobian_is_an_error(f, args):
    with pytest.raises(
        GradientError, match="expected one array of real floats as the result, and one at least"
    ):
        jacobian_structure(f, *args)


SIZES = [(7, "7 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (64 * 2**20, "64 MiB"), (16 * 2**40, "16 TiB")]


@pytest.mark.parametrize(("n", "text"), SIZES)
def test_sizes_in_words(n, text):
    assert size(n) == text
