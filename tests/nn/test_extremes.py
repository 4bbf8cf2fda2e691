"""Gates at the ends of their dtypes: no overflow, no NaN that was not there, no NaN that is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import nn

each_dtype = pytest.mark.parametrize(
    ("dtype", "extreme"), [(jnp.float32, 1e4), (jnp.bfloat16, 1e4), (jnp.float16, 6e4)], ids=lambda v: str(v)
)
ACTIVATIONS = sorted(set(nn.ACTIVATIONS) - {"none", "maxout"})
"""Those that are elementwise."""


@pytest.mark.parametrize("loss", nn.LOSSES)
@each_dtype
def test_extreme_scores_neither_overflow_nor_give_nan(loss, dtype, extreme):
    scores = jnp.array([[extreme, -extreme, 0], [-extreme, extreme, extreme], [extreme] * 3], dtype)
    labels = jnp.array([0, 0, 2])
    value, gradient = jax.value_and_grad(lambda s: jnp.mean(nn.LOSSES[loss](s, labels)))(scores)
    assert np.isfinite(value)
    assert gradient.dtype == dtype
    assert np.all(np.isfinite(gradient))


def test_half_precision_gradients_survive_loss_scaling():
    """p = 1.5e-8 is below the smallest float16, but 2¹⁶ p is not (Micikevicius et al. 2018)."""
    scores = jnp.array([18.0, 0.0], jnp.float16)
    gradient = jax.grad(lambda s: 2.0**16 * nn.softmax_loss(s, 0))(scores)
    truth = 2**16 / (1 + np.exp(18))
    np.testing.assert_allclose(gradient, [-truth, truth], rtol=2**-10)


@pytest.mark.parametrize("name", ACTIVATIONS)
@each_dtype
def test_extreme_inputs_neither_overflow_nor_give_nan(name, dtype, extreme):
    activation = nn.ACTIVATIONS[name]
    x = jnp.array([extreme, -extreme, 100, -100, 12, -12, 0], dtype)
    first = jax.vmap(jax.grad(activation))
    second = jax.vmap(jax.grad(jax.grad(activation)))
    for result in (activation(x), first(x), second(x)):
        assert result.dtype == dtype
        assert np.all(np.isfinite(result))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_is_not_hidden(name):
    value, slope = jax.value_and_grad(nn.ACTIVATIONS[name])(jnp.nan)
    assert np.isnan(value)
    assert np.isnan(slope) or name in ("relu", "leaky_relu")  # whose slope is one of two numbers


@pytest.mark.parametrize("name", sorted({*ACTIVATIONS} - {"leaky_relu"}))
def test_saturated_gradients_are_exactly_zero(name):
    assert jax.grad(nn.ACTIVATIONS[name])(-1e4) == 0


def test_probabilities_of_zero_against_scores_of_minus_infinity_are_masked_out():
    scores = jnp.array([1.0, -jnp.inf, 2.0])
    value, gradient = jax.value_and_grad(nn.softmax_loss)(scores, 0)
    assert float(value) == pytest.approx(np.log1p(np.e), rel=1e-6)
    assert np.all(np.isfinite(gradient))
    assert float(gradient[1]) == 0.0
