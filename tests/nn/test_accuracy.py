"""Gradients in float32 against 60-digit arithmetic: the tails, the roots, the last normal numbers.

The truth is mpmath's, from the derivative written on paper. An error is counted in ulp of the truth: the
distance to the next float32. Where the truth is below the smallest normal float32 a gradient may be
flushed to 0, so those inputs are left out.
"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from mpmath import mp

from funcnet import nn

MAX_ULP = 4
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


@pytest.fixture(scope="module")
def quick():
    """No: here every ulp counts."""


@pytest.fixture(autouse=True)
def sixty_digits():
    with mp.workdps(60):
        yield


def logistic(x):
    return 1 / (1 + mp.exp(-x))


def ulps(got, truth):
    """The error in units of the distance between neighbouring float32 numbers at the truth."""
    spacing = np.spacing(np.float32(abs(float(truth))))
    return float(abs(mp.mpf(float(got)) - truth) / mp.mpf(float(spacing)))


def worst(got, truths):
    """The largest error, over the truths that are normal float32 numbers."""
    normal = [(g, t) for g, t in zip(np.ravel(got), truths, strict=True) if abs(t) >= SMALLEST_NORMAL]
    assert normal
    return max(ulps(g, t) for g, t in normal)


def spread(low, high, count=600):
    """Float32 numbers of every magnitude between low and high, both signs where the range has both."""
    rng = np.random.default_rng(0)
    largest = max(abs(low), abs(high))
    magnitudes = np.exp(rng.uniform(np.log(1e-30), np.log(largest), count))
    x = np.concatenate([rng.uniform(low, high, count), magnitudes, -magnitudes, [0.0, low, high]])
    return np.unique(x[(x >= low) & (x <= high)].astype(np.float32))


def near(x, count=200):
    """The float32 number nearest to x and its neighbours on both sides."""
    steps = np.arange(-count, count + 1, dtype=np.int32)
    return (np.float32(x).view(np.int32) + steps).view(np.float32)


SILU_ROOT, GELU_ROOT = -1.2784645427610738, -0.7517915246935645

ACTIVATIONS = [
    (nn.sigmoid, {}, lambda x: logistic(x) * logistic(-x), spread(-89, 89)),
    (nn.tanh, {}, lambda x: mp.sech(x) ** 2, np.append(spread(-45, 45), near(44.3614))),
    (nn.softplus, {}, logistic, spread(-89, 89)),
    (nn.elu, {}, lambda x: mp.exp(x) if x <= 0 else mp.mpf(1), spread(-89, 5)),
    (nn.elu, {"alpha": 3.0}, lambda x: 3 * mp.exp(x) if x <= 0 else mp.mpf(1), spread(-89, 5)),
    (
        nn.silu,
        {},
        lambda x: logistic(x) * (1 + x * logistic(-x)),
        np.concatenate([spread(-95, 95), near(SILU_ROOT), near(-SILU_ROOT)]),
    ),
    (
        nn.gelu,
        {},
        lambda x: mp.ncdf(x) + x * mp.npdf(x),
        np.concatenate([spread(-14, 14), near(GELU_ROOT), near(-GELU_ROOT)]),
    ),
]


@pytest.mark.parametrize(
    ("gate", "params", "derivative", "x"), ACTIVATIONS, ids=lambda v: getattr(v, "__name__", None)
)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])  # XLA rearranges what it compiles
def test_derivative_is_within_4_ulp(gate, params, derivative, x, compiled):
    gradient = jax.vmap(jax.grad(lambda x: gate(x, **params)))
    got = (jax.jit(gradient) if compiled else gradient)(jnp.asarray(x))
    assert worst(got, [derivative(mp.mpf(float(v))) for v in x]) <= MAX_ULP


WHERE_AUTODIFF_IS_ZERO = [  # in JAX 0.10; the smallest inputs at which the usual formulas round to 0
    (nn.tanh, 9.0, lambda x: mp.sech(x) ** 2),
    (nn.sigmoid, 31.0, lambda x: logistic(x) * logistic(-x)),
    (nn.elu, -23.0, mpmath.exp),
]


@pytest.mark.parametrize(("gate", "x", "derivative"), WHERE_AUTODIFF_IS_ZERO, ids=["tanh", "sigmoid", "elu"])
def test_gradient_survives_where_that_of_the_usual_formula_is_zero(gate, x, derivative):
    assert ulps(jax.grad(gate)(x), derivative(mp.mpf(x))) <= MAX_ULP


def softmax(scores):
    exponentials = [mp.exp(mp.mpf(float(s))) for s in scores]
    return [e / sum(exponentials) for e in exponentials]


def minus_one_for_the_right_class(scores, label):
    """p − [j = y] in 60 digits, where the cancellation costs nothing."""
    return [p - (j == label) for j, p in enumerate(softmax(scores))]


SCORES = {
    "ordinary": lambda rng, n: rng.normal(size=n),
    "wide": lambda rng, n: 20 * rng.normal(size=n),
    "confident": lambda rng, n: np.append(30 + 10 * rng.uniform(), rng.normal(size=n - 1)),
    "certain": lambda rng, n: np.append(80.0, rng.normal(size=n - 1)),
    "large and close": lambda rng, n: 1e4 + rng.normal(size=n),
    "tied": lambda rng, n: np.full(n, 3.0),
}


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("one_hot", [False, True], ids=["label", "one-hot probabilities"])
def test_softmax_gradient_is_within_4_ulp(kind, classes, one_hot):
    rng = np.random.default_rng(0)
    gradient = jax.jit(jax.grad(nn.softmax_loss))
    for label in [0, 1, 0, 1, 0]:
        scores = SCORES[kind](rng, classes).astype(np.float32)
        target = jax.nn.one_hot(label, classes) if one_hot else jnp.int32(label)
        assert worst(gradient(scores, target), minus_one_for_the_right_class(scores, label)) <= MAX_ULP


def test_softmax_gradient_of_a_confident_right_class_is_not_zero():
    scores = jnp.array([60.0, 0.0, 1.0])
    truth = minus_one_for_the_right_class(scores, 0)[0]
    assert ulps(jax.grad(nn.softmax_loss)(scores, 0)[0], truth) <= MAX_ULP


def test_softmax_loss_of_a_confident_right_class_is_not_zero():
    scores = jnp.array([60.0, 0.0, 1.0])
    truth = mp.log1p(mp.exp(-60) + mp.exp(-59))
    assert ulps(nn.softmax_loss(scores, 0), truth) <= MAX_ULP


@pytest.mark.parametrize("target", [0, 1])
def test_logistic_gradient_is_within_4_ulp(target):
    x = spread(-89, 89)
    got = jax.vmap(jax.grad(nn.logistic_loss), (0, None))(jnp.asarray(x), target)
    assert (
        worst(got, [(1 - target) * logistic(v) - target * logistic(-v) for v in map(mp.mpf, map(float, x))])
        <= 4
    )


@pytest.mark.parametrize("loss", ["softmax", "svm", "mse", "logistic"])
@pytest.mark.parametrize(
    ("dtype", "extreme"), [(jnp.float32, 1e4), (jnp.bfloat16, 1e4), (jnp.float16, 6e4)], ids=lambda v: str(v)
)
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
    truth = float(2**16 * softmax(scores)[1])
    np.testing.assert_allclose(gradient, [-truth, truth], rtol=2**-10)


@pytest.mark.parametrize("name", sorted(set(nn.ACTIVATIONS) - {"none", "maxout"}))
@pytest.mark.parametrize(
    ("dtype", "extreme"), [(jnp.float32, 1e4), (jnp.bfloat16, 1e4), (jnp.float16, 6e4)], ids=lambda v: str(v)
)
def test_extreme_inputs_neither_overflow_nor_give_nan(name, dtype, extreme):
    activation = nn.ACTIVATIONS[name]
    x = jnp.array([extreme, -extreme, 100, -100, 12, -12, 0], dtype)
    first = jax.vmap(jax.grad(activation))
    second = jax.vmap(jax.grad(jax.grad(activation)))
    for result in (activation(x), first(x), second(x)):
        assert result.dtype == dtype
        assert np.all(np.isfinite(result))


@pytest.mark.parametrize("gate", [nn.tanh, nn.sigmoid, nn.silu, nn.gelu, nn.elu, nn.softplus])
def test_nan_is_not_hidden(gate):
    assert np.isnan(gate(jnp.nan))
    assert np.isnan(jax.grad(gate)(jnp.nan))


@pytest.mark.parametrize("gate", [nn.tanh, nn.sigmoid, nn.silu, nn.gelu])
def test_saturated_gradients_are_exactly_zero(gate):
    assert jax.grad(gate)(-1e4) == 0


def test_probabilities_of_zero_against_scores_of_minus_infinity_are_masked_out():
    scores = jnp.array([1.0, -jnp.inf, 2.0])
    value, gradient = jax.value_and_grad(nn.softmax_loss)(scores, 0)
    assert float(value) == pytest.approx(float(mp.log1p(mp.e)), rel=1e-6)
    assert np.all(np.isfinite(gradient))
    assert float(gradient[1]) == 0.0
