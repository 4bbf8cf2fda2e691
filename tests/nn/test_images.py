"""Gates of images and memories: their values beside other people's formulas, and their edges."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import nn
from funcnet._errors import ParameterError, ShapeError

pytestmark = pytest.mark.usefixtures("no_shape_checks")

RNG = np.random.default_rng(231)
IMAGE = np.float32(RNG.normal(size=(2, 7, 6, 4)))
SPACES = [  # size, stride, padding of ours and of lax
    ((2, 2), 2, "valid", "VALID"),
    ((3, 3), 2, "same", "SAME"),
    ((3, 2), 1, "same", "SAME"),
    ((3, 3), (3, 2), ((0, 1), 2), ((0, 1), (2, 2))),
]
each_space = pytest.mark.parametrize(("size", "stride", "padding", "of_lax"), SPACES)


def strides(stride):
    return (stride,) * 2 if isinstance(stride, int) else stride


@each_space
def test_convolutions_are_those_of_lax(size, stride, padding, of_lax):
    w = np.float32(RNG.normal(size=(*size, 2, 6)))
    expected = lax.conv_general_dilated(
        IMAGE, w, strides(stride), of_lax, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
    )
    y = nn.conv(IMAGE, w, stride=stride, padding=padding, groups=2)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@each_space
def test_depthwise_convolutions_are_those_of_lax(size, stride, padding, of_lax):
    w = np.float32(RNG.normal(size=(*size, 4)))
    expected = lax.conv_general_dilated(
        IMAGE, w[:, :, None], strides(stride), of_lax,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=4,
    )  # fmt: skip
    y = nn.depthwise_conv(IMAGE, w, stride=stride, padding=padding)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@each_space
def test_pooling_is_that_of_lax(size, stride, padding, of_lax):
    whole = (1, *size, 1), (1, *strides(stride), 1)
    of_lax = of_lax if isinstance(of_lax, str) else ((0, 0), *of_lax, (0, 0))
    largest = lambda x: lax.reduce_window(x, -jnp.inf, lax.max, *whole, of_lax)  # noqa: E731
    mean = lambda x: lax.reduce_window(x, 0.0, lax.add, *whole, of_lax) / np.prod(size)  # noqa: E731
    options = {"size": size, "stride": stride, "padding": padding}
    for gate, function in ((nn.max_pool, largest), (nn.avg_pool, mean)):
        y, vjp = jax.vjp(lambda x, gate=gate: gate(x, **options), IMAGE)
        expected, of_jax = jax.vjp(function, IMAGE)
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-7)  # terms of about 1 in another order
        y_bar = np.float32(RNG.normal(size=y.shape))
        np.testing.assert_allclose(vjp(y_bar)[0], of_jax(y_bar)[0], rtol=1e-5, atol=1e-6)


def test_equal_largest_elements_send_all_to_the_first():
    x_bar = jax.grad(lambda x: nn.max_pool(x, size=(3,)).sum())(jnp.array([[1.0], [5.0], [5.0]]))
    assert x_bar[:, 0].tolist() == [0, 1, 0]


def test_a_window_with_nan_gives_nan():
    x = jnp.array([1.0, jnp.nan, 3.0, 4.0, 2.0, jnp.nan])[:, None]
    assert np.isnan(nn.max_pool(x, size=(3,))).tolist() == [[True], [True]]
    assert jax.grad(lambda x: nn.max_pool(x, size=(3,)).sum())(x)[:, 0].tolist() == [0, 1, 0, 0, 0, 1]


def test_max_pooling_keeps_a_byte_a_window():
    _, stash = nn.max_pool.forward(jnp.asarray(IMAGE))
    assert [(leaf.dtype, leaf.shape) for leaf in jax.tree.leaves(stash)] == [(jnp.uint8, (2, 3, 3, 4))]


@pytest.mark.parametrize(("size", "alpha", "beta", "k"), [(5, 1e-4, 0.75, 2.0), (3, 0.5, 0.5, 1.0)])
def test_local_response_normalization_is_the_sum_of_the_paper(size, alpha, beta, k):
    x = IMAGE[0, 0].astype(np.float64)
    expected = np.empty_like(x)
    for c in range(4):
        near = x[:, max(0, c - size // 2) : c + size // 2 + 1]
        expected[:, c] = x[:, c] / (k + alpha * (near**2).sum(1)) ** beta
    y = nn.local_response_norm(np.float32(x), size=size, alpha=alpha, beta=beta, k=k)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_batch_normalization_hands_out_what_it_goes_by():
    scale, shift = np.float32(RNG.normal(size=(2, 4)))
    y, mean, variance = nn.batch_norm(IMAGE, scale, shift)
    wide = IMAGE.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, wide.var((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(
        nn.batch_norm_inference(IMAGE, scale, shift, mean, variance), y, rtol=1e-5, atol=1e-6
    )


def test_a_feature_that_is_the_same_everywhere_has_no_gradient():
    x, one, zero = jnp.full((4, 3), 2.0), jnp.ones(3), jnp.zeros(3)
    assert np.all(nn.batch_norm(x, one, zero)[0] == 0)
    assert np.all(jax.grad(lambda x: nn.layer_norm(x, one, zero)[:, 0].sum() * 0)(x) == 0)


def test_numbers_of_no_row_give_nan_and_send_nothing():
    rows = jnp.arange(6.0).reshape(3, 2)
    y, vjp = jax.vjp(lambda rows: nn.embedding(rows, jnp.array([3, -1, 2, 2])), rows)
    assert np.isnan(y).tolist() == [[True] * 2, [True] * 2, [False] * 2, [False] * 2]
    assert vjp(jnp.ones_like(y))[0].tolist() == [[0, 0], [0, 0], [2, 2]]


@pytest.mark.parametrize("length", [1e-30, 1e-6, 1.0, 1e30])
def test_a_cosine_has_no_length(length):
    u, rows = jnp.float32([3, 4]), jnp.float32([[4, 3], [0, 1]])
    cosines = nn.cosine_similarity(length * u, rows / length)
    np.testing.assert_allclose(cosines, [0.96, 0.8], rtol=1e-6)
    u_bar = jax.grad(lambda u: nn.cosine_similarity(length * u, rows)[0])(u)
    np.testing.assert_allclose(u_bar, [0.8 - 0.96 * 0.6, 0.6 - 0.96 * 0.8] / np.float64(5), rtol=1e-5)


def test_without_a_direction_there_is_no_cosine_and_no_gradient():
    u, rows = jnp.zeros(2), jnp.float32([[4, 3], [0, 0]])
    value, bars = jax.value_and_grad(lambda u, r: nn.cosine_similarity(u, r).sum(), (0, 1))(u, rows)
    assert value == 0
    assert all(np.all(bar == 0) for bar in bars)


def test_a_circular_convolution_is_a_sum_over_pairs():
    w, s = RNG.normal(size=6), RNG.normal(size=5)
    expected = np.zeros(6)
    for i, j in itertools.product(range(6), range(5)):
        expected[(i + j - 2) % 6] += w[i] * s[j]
    np.testing.assert_allclose(nn.circular_convolution(w, s), expected, rtol=1e-5, atol=1e-6)


def test_a_step_of_an_lstm():
    x, h, c = (RNG.normal(size=n) for n in (3, 2, 2))
    w, b = RNG.normal(size=(5, 8)), RNG.normal(size=8)
    sigma = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    z_i, z_f, z_g, z_o = np.split(np.concatenate([x, h]) @ w + b, 4)
    c_next = sigma(z_f) * c + sigma(z_i) * np.tanh(z_g)
    got = nn.lstm_cell(x, h, c, w, b)
    np.testing.assert_allclose(got[1], c_next, rtol=1e-5)
    np.testing.assert_allclose(got[0], sigma(z_o) * np.tanh(c_next), rtol=1e-5)


X = jnp.zeros((2, 5, 5, 4))
WRONG = {
    "channels": (lambda: nn.conv(X, jnp.zeros((3, 3, 3, 2))), ShapeError, "inputs / groups"),
    "groups": (lambda: nn.conv(X, jnp.zeros((3, 3, 2, 3)), groups=2), ShapeError, "groups=2"),
    "no space": (lambda: nn.conv(X, jnp.zeros((4, 2))), ShapeError, "as many spatial axes"),
    "too large": (lambda: nn.conv(X, jnp.zeros((6, 3, 4, 2))), ShapeError, "do not fit into space"),
    "padding": (lambda: nn.conv(X, jnp.zeros((3, 3, 4, 2)), padding="full"), ParameterError, '"valid"'),
    "padding below 0": (lambda: nn.max_pool(X, padding=-1), ParameterError, "a number ≥ 0"),
    "stride": (lambda: nn.max_pool(X, stride=0), ParameterError, "stride is 0"),
    "strides": (lambda: nn.avg_pool(X, stride=(1, 1, 1)), ParameterError, "each of 2 axes"),
    "size": (lambda: nn.max_pool(X[0, 0], size=(2, 2)), ShapeError, "a size for each spatial axis"),
    "one size": (lambda: nn.max_pool(X, size=2), ShapeError, "size is 2; expected .* a tuple"),
    "filters": (lambda: nn.depthwise_conv(X, jnp.zeros((3, 3, 2))), ShapeError, "channels"),
    "even neighbours": (lambda: nn.local_response_norm(X, size=4), ParameterError, "odd number"),
    "scale": (lambda: nn.layer_norm(X, jnp.ones(3), jnp.ones(4)), ShapeError, "last axis"),
    "nothing": (lambda: nn.batch_norm(X[:0], jnp.ones(4), jnp.ones(4)), ShapeError, "something in x"),
    "rows": (lambda: nn.embedding(jnp.zeros((2, 3)), jnp.zeros(2)), ShapeError, "integers"),
    "memory": (lambda: nn.cosine_similarity(jnp.zeros(3), jnp.zeros((2, 4))), ShapeError, "rows, features"),
    "shifts": (lambda: nn.circular_convolution(jnp.zeros(5), jnp.zeros(2)), ShapeError, "odd number"),
    "cell": (
        lambda: nn.lstm_cell(jnp.zeros(3), jnp.zeros(2), jnp.zeros(2), jnp.zeros((5, 6)), jnp.zeros(6)),
        ShapeError,
        "4 units",
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_told(call, error, words):
    with pytest.raises(error, match=words):
        call()
