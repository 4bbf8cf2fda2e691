"""Values of the losses that are published or can be worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnet
from funcnet import nn
from funcnet._errors import ParameterError, ShapeError

CAT, CAR, FROG = [3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]


def test_svm_losses_of_the_course():
    """CS231n 2019, lecture 3: losses 2.9, 0 and 12.9 with mean 5.27."""
    losses = nn.svm_loss(jnp.array([CAT, CAR, FROG]), jnp.array([0, 1, 2]))
    np.testing.assert_allclose(losses, [2.9, 0, 12.9], atol=1e-6)
    assert float(jnp.mean(losses)) == pytest.approx(5.27, abs=0.005)


def test_softmax_loss_of_the_course():
    """CS231n 2019, lecture 3: the cat's probability is 0.13 and its loss −ln 0.13 = 2.04."""
    loss = nn.softmax_loss(jnp.array(CAT), 0)
    assert float(loss) == pytest.approx(2.04, abs=0.005)
    assert float(jnp.exp(-loss)) == pytest.approx(0.13, abs=0.005)


def test_losses_at_the_start_are_as_the_course_says():
    """With all scores equal: log C for softmax, (C − 1)Δ for the SVM (CS231n 2019, lecture 3)."""
    scores = jnp.full((4, 10), 0.3)
    labels = jnp.arange(4)
    np.testing.assert_allclose(nn.softmax_loss(scores, labels), np.log(10), rtol=1e-6)
    np.testing.assert_allclose(nn.svm_loss(scores, labels), 9, rtol=1e-6)
    np.testing.assert_allclose(nn.svm_loss(scores, labels, margin=0.5), 4.5, rtol=1e-6)


def test_svm_does_not_see_jiggling_within_the_margin():
    assert nn.svm_loss(jnp.array([10.0, -2.0, 3.0]), 0) == 0
    assert nn.svm_loss(jnp.array([10.0, 9.0, 9.0]), 0) == 0


def test_integer_labels_and_one_hot_probabilities_agree(key):
    scores = jax.random.normal(key, (5, 4))
    labels = jnp.array([0, 3, 1, 1, 2])
    for function in (nn.softmax_loss, lambda s, y: jax.grad(lambda s: jnp.sum(nn.softmax_loss(s, y)))(s)):
        np.testing.assert_allclose(
            function(scores, labels), function(scores, jax.nn.one_hot(labels, 4)), rtol=1e-6
        )


@pytest.mark.parametrize("name", nn.LOSSES)
@pytest.mark.parametrize("make", [lambda f: f, jax.jit, jax.vmap], ids=["eager", "jit", "vmap"])
def test_an_example_without_a_label_has_no_loss(name, make):
    losses = make(nn.LOSSES[name])(jnp.array([CAT, CAR]), jnp.array([-1, 1]))
    assert np.isnan(losses).tolist() == [True, False]


@pytest.mark.parametrize("name", nn.LOSSES)
@pytest.mark.parametrize("label", [-2, 3, 200])
def test_a_label_that_is_no_class_is_loud(name, label):
    """An error where its value is known, with gradients as without; NaN where it is traced."""
    loss, scores = nn.LOSSES[name], jnp.array([CAT, CAR])
    labels = jnp.array([1, label], jnp.int32)
    words = (
        rf"{name}_loss: 1 of 2 labels are no class, the first is {label}; expected 0 to 2, .* or −1 for none"
    )
    for function in (
        loss,
        jax.grad(lambda s, y: loss(s, y).sum()),
        funcnet.grad(lambda s, y: loss(s, y).sum()),
    ):
        with pytest.raises(ParameterError, match=words):
            function(scores, labels)
    assert np.isnan(jax.jit(loss)(scores, labels)).tolist() == [False, True]
    assert np.isnan(jax.vmap(loss)(scores, labels)).tolist() == [False, True]


def test_labels_of_a_byte_count_to_more_classes_than_a_byte_does():
    scores = jnp.zeros(300).at[299 - 256].set(5.0)
    assert nn.softmax_loss(scores, jnp.uint8(43)) < nn.softmax_loss(scores, jnp.uint8(255))


@pytest.mark.parametrize("name", nn.LOSSES)
def test_losses_by_name_take_labels_and_return_one_number_an_example(name):
    scores = jnp.array([CAT, CAR, FROG])
    losses = nn.LOSSES[name](scores, jnp.array([0, 1, 2]))
    assert losses.shape == (3,)
    assert jnp.argmin(losses) == 1, "only the car is classified rightly"


def test_squared_error_by_name_is_against_one_hot():
    np.testing.assert_allclose(nn.LOSSES["mse"](jnp.array([[1.0, 2.0]]), jnp.array([1])), [(1 + 1) / 2])


def test_logistic_by_name_is_one_class_against_the_rest():
    np.testing.assert_allclose(
        nn.LOSSES["logistic"](jnp.zeros((1, 3)), jnp.array([1])), [3 * np.log(2)], rtol=1e-6
    )


def test_half_precision_losses_come_in_float32():
    for loss in nn.LOSSES.values():
        assert loss(jnp.zeros((1, 3), jnp.float16), jnp.array([1])).dtype == jnp.float32


@pytest.mark.parametrize("make", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_weights_count_examples_and_leave_out_those_without_a_label(make):
    """By hand from the losses of the others; a label left out has no gradient, where NaN · 0 would be NaN."""
    scores, labels = jnp.array([CAT, CAR, FROG]), jnp.array([0, -1, 2])

    def loss(scores, weights):
        return nn.weighted_mean(nn.softmax_loss(scores, labels), weights)

    cat, _, frog = nn.softmax_loss(scores, jnp.array([0, 1, 2]))
    np.testing.assert_allclose(make(loss)(scores, labels != -1), (cat + frog) / 2, rtol=1e-6)
    np.testing.assert_allclose(make(loss)(scores, jnp.array([1, 0, 3])), (cat + 3 * frog) / 4, rtol=1e-6)
    gradient = make(jax.grad(loss))(scores, labels != -1)
    np.testing.assert_array_equal(gradient[1], 0)
    np.testing.assert_allclose(gradient[0], jax.grad(nn.softmax_loss)(scores[0], 0) / 2, rtol=1e-6)
    assert make(loss)(scores, jnp.zeros(3)) == 0
    np.testing.assert_array_equal(make(jax.grad(loss))(scores, jnp.zeros(3)), 0)


def test_weights_of_another_shape_are_refused(no_shape_checks):
    with pytest.raises(ShapeError, match=r"weighted_mean: scores have shape \[3\] and targets \[2\]"):
        nn.weighted_mean(jnp.ones(3), jnp.ones(2))
