"""`rules=RULES | {…}` replaces a rule for one call: three gradients that people use on purpose.

Each expected value is worked out by hand beside it.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import RULES, grad, rule, value_and_grad
from funcnet.rules import PIECEWISE_CONSTANT


@rule(
    "round", formula="x̄ = ȳ", source="Bengio, Léonard and Courville 2013, Estimating or Propagating Gradients"
)
def straight_through(y_bar, y, x, *, rounding_method):
    return (y_bar,)


def quantized_loss(w):
    return jnp.sum((jnp.round(w) - 3.0) ** 2)


def test_a_straight_through_estimator_sees_the_rounded_value_and_skips_the_rounding():
    w = jnp.array([0.7, 2.4])
    value, w_bar = value_and_grad(quantized_loss, rules=RULES | {"round": straight_through})(w)
    assert value == 5  # (1 − 3)² + (2 − 3)²
    np.testing.assert_array_equal(w_bar, [-4, -2])  # 2 (round w − 3)
    np.testing.assert_array_equal(grad(quantized_loss)(w), [0, 0])


@rule(
    "max",
    formula="x̄₁ = ȳ · [x₁ > x₂] [ȳ > 0]",
    source="Springenberg et al. 2015, Striving for Simplicity, §3.4",
)
def guided(y_bar, y, x1, x2):
    return lax.select((x1 > x2) & (y_bar > 0), y_bar, lax.full_like(y_bar, 0)), None


def test_guided_backprop_lets_only_positive_gradients_of_positive_inputs_through():
    x = jnp.array([1.0, -1.0, 2.0, -2.0])
    weights = jnp.array([3.0, 4.0, -5.0, -6.0])
    loss = lambda x: weights @ jnp.maximum(x, 0)  # noqa: E731
    np.testing.assert_array_equal(grad(loss)(x), [3, 0, -5, 0])
    np.testing.assert_array_equal(grad(loss, rules=RULES | {"max": guided})(x), [3, 0, 0, 0])


BETA = 10.0


@rule(
    "sign",
    formula="x̄ = ȳ / (β|x| + 1)²",
    source="Neftci, Mostafa and Zenke 2019, Surrogate Gradient Learning, fig. 3",
)
def surrogate(y_bar, y, x):
    return (y_bar / (BETA * jnp.abs(x) + 1) ** 2,)


def spikes(voltage):
    """1 above the threshold 1, else 0."""
    return (jnp.sign(voltage - 1.0) + 1.0) / 2.0


def test_a_surrogate_gradient_trains_through_a_step():
    voltage = jnp.array([0.9, 1.0, 1.4])
    loss = lambda v: jnp.array([1.0, 2.0, 4.0]) @ spikes(v)  # noqa: E731
    value, v_bar = value_and_grad(loss, rules=RULES | {"sign": surrogate})(voltage)
    assert value == 5  # 1 · 0 + 2 · ½ + 4 · 1
    np.testing.assert_allclose(v_bar, [0.5 / 4, 1.0, 2.0 / 25], rtol=2e-6)  # ½ ȳ / (10 |v − 1| + 1)²
    np.testing.assert_array_equal(grad(loss)(voltage), [0, 0, 0])


def test_replacing_a_rule_leaves_the_table_alone():
    assert RULES | {"max": guided} is not RULES
    assert RULES["max"] is not guided
    assert "round" in PIECEWISE_CONSTANT


@pytest.mark.parametrize("times", [1, 2])
def test_a_plain_function_is_rule_enough(times):
    rules = RULES | {"sin": lambda y_bar, y, x: (times * y_bar,)}
    assert grad(jnp.sin, rules=rules)(0.5) == times


@rule(
    "jax.numpy.logaddexp",
    formula="x̄₁ = ȳ · σ(x₁ − x₂),  x̄₂ = ȳ · σ(x₂ − x₁)",
    source="Dugas et al. 2001",
    forward=lambda x1, x2: (jnp.logaddexp(x1, x2), x1 - x2),
)
def by_difference(difference, y_bar):
    return y_bar * lax.logistic(difference), y_bar * lax.logistic(-difference)


def test_a_rule_with_its_own_forward_gets_arguments_in_the_shape_of_the_result():
    x1, x2 = jnp.zeros((2, 3)), jnp.log(3.0)  # σ(−ln 3) = ¼
    slopes = grad(
        lambda *xs: jnp.logaddexp(*xs).sum(), (0, 1), rules=RULES | {"jax.numpy.logaddexp": by_difference}
    )
    x1_bar, x2_bar = slopes(x1, x2)
    np.testing.assert_allclose(x1_bar, jnp.full((2, 3), 0.25), rtol=1e-6)
    np.testing.assert_allclose(x2_bar, 6 * 0.75, rtol=1e-6)
