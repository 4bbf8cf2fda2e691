"""The loss of many classes beside that of all scores at once: numbers in float64, and memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn
from funcnet._errors import ParameterError, ShapeError

CLASSES = 20_011
"""A prime: the last of five chunks is smaller than the others."""


@pytest.fixture(scope="module")
def quick():
    """No: here ulps are counted."""


def sample(examples=32, inputs=16, classes=CLASSES):
    """Of few binary digits, so that scores are exact and what is measured is the loss's own error."""
    rng = np.random.default_rng(0)
    x, w = (np.round(8 * rng.normal(size=shape)) / 8 for shape in ((examples, inputs), (inputs, classes)))
    labels = rng.integers(classes, size=examples)
    w[:, labels[0]] = 2 * x[0]  # one example of which the right class is nearly certain
    return jnp.float32(x), jnp.float32(w / 4), jnp.int32(labels)


def of_all_scores(x, w, labels):
    return nn.softmax_loss(nn.linear(x, w), labels)


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradients(loss, x, w, labels):
    y, vjp = jax.vjp(lambda x, w: loss(x, w, labels), x, w)
    return y, *vjp(jnp.linspace(1, 2, y.size, dtype=y.dtype).reshape(y.shape))


def in_float64(x, w, labels):
    with jax.enable_x64(True):
        return loss_and_gradients(of_all_scores, jnp.float64(x), jnp.float64(w), labels)


def in_ulp_of_largest(got, true):
    scale = np.spacing(np.abs(np.asarray(true)).max().astype(np.float32))
    return np.abs(np.asarray(got, np.float64) - np.asarray(true)).max() / scale


@pytest.mark.parametrize("classes", [CLASSES, 3 * 4096, 100], ids=["a rest", "whole chunks", "one chunk"])
def test_loss_and_gradients_are_within_4_ulp_of_the_largest(classes):
    arguments = sample(classes=classes)
    for got, true in zip(
        loss_and_gradients(nn.linear_softmax_loss, *arguments), in_float64(*arguments), strict=True
    ):
        assert in_ulp_of_largest(got, true) <= 4


def test_it_is_nearer_to_the_truth_than_all_scores_at_once():
    """In the gradient of x, where the right class would be one of 20,011 terms."""
    arguments = sample()
    _, true, _ = in_float64(*arguments)
    _, ours, _ = loss_and_gradients(nn.linear_softmax_loss, *arguments)
    _, theirs, _ = loss_and_gradients(of_all_scores, *arguments)
    assert in_ulp_of_largest(ours, true) < in_ulp_of_largest(theirs, true)


def test_gradient_of_a_certain_right_class_is_not_zero():
    """−others where p − 1 is 0: one example, weights as scores."""
    x, w = jnp.ones((1, 1)), jnp.zeros((1, 10)).at[0, 3].set(40.0)
    gradient = jax.grad(lambda w: nn.linear_softmax_loss(x, w, jnp.array([3]), chunk=4)[0])(w)
    np.testing.assert_allclose(gradient[0, 3], -9 * np.exp(-40.0), rtol=4e-7)
    assert nn.linear_softmax_loss(x, w, jnp.array([3]), chunk=4)[0] > 0


def test_no_array_of_all_scores_is_planned():
    """An eighth of the temporary bytes at most, where there are 25 chunks."""
    x, w, labels = (
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (((256, 8), "float32"), ((8, 100_000), "float32"), ((256,), "int32"))
    )
    ours, theirs = (
        loss_and_gradients.lower(loss, x, w, labels).compile().memory_analysis().temp_size_in_bytes
        for loss in (nn.linear_softmax_loss, of_all_scores)
    )
    assert theirs >= 8 * ours


def test_half_precision_is_summed_in_float32():
    """Gradients are those of the same numbers in float32, rounded."""
    x, w, labels = sample(classes=9000)
    x, w = x.astype(jnp.bfloat16), w.astype(jnp.bfloat16)
    loss, *gradients = loss_and_gradients(nn.linear_softmax_loss, x, w, labels)
    _, *true = in_float64(x, w, labels)
    assert loss.dtype == jnp.float32
    for got, expected in zip(gradients, true, strict=True):
        assert got.dtype == jnp.bfloat16
        np.testing.assert_allclose(np.float64(got), expected, rtol=2**-7, atol=2**-8 * np.abs(expected).max())


@pytest.mark.parametrize("make", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_an_example_without_a_label_has_no_loss_and_no_gradient_where_it_is_left_out(make):
    x, w, labels = sample(examples=3, classes=10)
    labels = labels.at[1].set(-1)

    def mean(loss, x, w):
        return nn.weighted_mean(loss(x, w, labels), labels != -1)

    ours, theirs = (
        make(jax.grad(functools.partial(mean, loss), argnums=(0, 1)))(x, w)
        for loss in (functools.partial(nn.linear_softmax_loss, chunk=4), of_all_scores)
    )
    assert np.isnan(nn.linear_softmax_loss(x, w, labels)).tolist() == [False, True, False]
    np.testing.assert_array_equal(ours[0][1], 0)
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "params", "error", "words"),
    [
        (
            ((3, 4), (5, 6), (3,)),
            {},
            ShapeError,
            r"x has shape \[3, 4\] and w \[5, 6\]; expected x \[\*batch",
        ),
        (((3, 4), (4, 6), (2,)), {}, ShapeError, r"x has shape \[3, 4\], labels \[2\] with dtype int32"),
        (((3, 4), (4, 6), (3,)), {"chunk": 0}, ParameterError, r"chunk is 0; expected a number of classes"),
    ],
    ids=["inputs", "labels", "chunk"],
)
def test_what_does_not_fit_is_refused(no_shape_checks, arguments, params, error, words):
    x, w, labels = arguments
    with pytest.raises(error, match=f"linear_softmax_loss: {words}"):
        nn.linear_softmax_loss(jnp.ones(x), jnp.ones(w), jnp.zeros(labels, jnp.int32), **params)


def test_a_label_that_is_no_class_is_loud():
    x, w, _ = sample(examples=2, classes=5)
    with pytest.raises(
        ParameterError, match="linear_softmax_loss: 1 of 2 labels are no class, the first is 5"
    ):
        nn.linear_softmax_loss(x, w, jnp.array([0, 5]))
    assert np.isnan(jax.jit(nn.linear_softmax_loss)(x, w, jnp.array([0, 5]))).tolist() == [False, True]
