"""Gradients of the gates in float32 against 60-digit arithmetic: tails, roots, the last normal numbers.

The truth is mpmath's, from the derivative written on paper. An error is counted in ulp of the truth: the
distance to the next float32. Where the truth is below the smallest normal float32 a gradient may be
flushed to 0, and more than that smallest number it must not be.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from funcnet import nn
from tests.nn.test_gates import GATES
from tests.rules.ulp import AS_INSTALLED, SMALLEST, errors, near

MAX_ULP, MAX_ULP_OF_SECOND = 4, 8


@pytest.fixture(scope="module")
def quick():
    """No: here every ulp counts."""


@pytest.fixture(autouse=True)
def sixty_digits():
    with mp.workdps(60):
        yield


@dataclass(frozen=True, eq=False)
class Truth:
    """What the gradient of a gate is, and where to look.

    Attributes:
        gate: it, or what `nn.LOSSES` has of it.
        inputs: its arrays, along whose first axis the examples stand, or the weights.
        derivative: of one example, all of mpmath's numbers: one number or one for each class.
        params: the gate's.
        argument: which input the derivative is in.
        name: what is special.
        terms: two functions like `derivative`, where it is their difference and its error is counted in
            ulp of the larger of them.
        second: the derivative of `derivative`, of an activation.
    """

    gate: Callable
    inputs: Sequence[np.ndarray]
    derivative: Callable[..., Any]
    params: dict[str, float] = field(default_factory=dict)
    argument: int = 0
    name: str = ""
    terms: Sequence[Callable[..., Any]] = ()
    second: Callable[[Any], Any] | None = None

    def __str__(self) -> str:
        return f"{self.gate.__name__} {self.name}".strip()


def spread(low, high, *roots, count=2000):
    """Float32 numbers of every magnitude between low and high, of both signs, the ends, 0, next to roots."""
    rng = np.random.default_rng(0)
    logs = rng.uniform(np.log(1e-30), np.log(max(abs(low), abs(high))), count)
    x = np.concatenate([rng.uniform(low, high, count), np.exp(logs), -np.exp(logs)]).astype(np.float32)
    x = rng.permutation(x[(x >= low) & (x <= high)])
    ends = np.float32([0.0, low, high])
    neighbours = [near(root, 200) for root in roots]
    return np.concatenate([ends, *neighbours, x])[:count]


def logistic(x):
    return 1 / (1 + mp.exp(-x))


def bell(x):
    return logistic(x) * logistic(-x)


def softmax(scores):
    exponentials = [mp.exp(s) for s in scores]
    return [e / sum(exponentials) for e in exponentials]


def others(ps):
    """Σ_{k ≠ j} p_k for each j."""
    return [sum(p for k, p in enumerate(ps) if k != j) for j in range(len(ps))]


def minus_one_for_the_right_class(scores, label):
    """p − [j = y] in 60 digits, where the cancellation costs nothing."""
    return [p - (j == label) for j, p in enumerate(softmax(scores))]


def minus_probabilities(scores, q):
    return [p * sum(q) - q_j for p, q_j in zip(softmax(scores), q, strict=True)]


def violations(scores, label, margin):
    violated = [s - scores[int(label)] + margin > 0 and j != label for j, s in enumerate(scores)]
    return [mpf(-sum(violated) if j == label else each) for j, each in enumerate(violated)]


def twice_the_difference(scores, targets):
    return [2 * (s - t) / len(scores) for s, t in zip(scores, targets, strict=True)]


SCORES = {
    "ordinary": lambda rng, n: rng.normal(size=n),
    "wide": lambda rng, n: 20 * rng.normal(size=n),
    "confident": lambda rng, n: np.append(30 + 10 * rng.uniform(), rng.normal(size=n - 1)),
    "certain": lambda rng, n: np.append(80.0, rng.normal(size=n - 1)),
    "large and close": lambda rng, n: 1e4 + rng.normal(size=n),
    "tied": lambda rng, n: np.full(n, 3.0),
}


def scores(classes):
    """Sixteen examples of each kind."""
    rng = np.random.default_rng(0)
    return np.float32([kind(rng, classes) for kind in SCORES.values() for _ in range(16)])


def labels(classes):
    """Of these examples: the first class and another by turns, for the first is the confident one."""
    rng = np.random.default_rng(1)
    return np.int32([0 if i % 2 else rng.integers(1, classes) for i in range(16 * len(SCORES))])


def one_hot(classes):
    return np.eye(classes, dtype=np.float32)[labels(classes)]


def probabilities(classes):
    return np.random.default_rng(2).dirichlet(np.ones(classes), 16 * len(SCORES)).astype(np.float32)


def sign(x):
    return mpf(mp.sign(x))


X = spread(-89, 89)
ANY = spread(-3e38, 3e38)
SILU_ROOT, GELU_ROOT = 1.2784645427610738, 0.7517915246935645
SILU_BEND, GELU_BEND = 2.3993572805154677, 2**0.5  # the roots of the second derivatives
TWO, TEN = (scores(2), labels(2)), (scores(10), labels(10))
SOFT = (scores(10), probabilities(10))
TARGETS = np.random.default_rng(3).uniform(size=X.size).astype(np.float32)

TRUTHS = [
    Truth(nn.sigmoid, [X], bell, second=lambda x: -mp.tanh(x / 2) * bell(x)),
    Truth(
        nn.tanh,
        [spread(-45, 45, 44.3614, 44.6)],
        lambda x: mp.sech(x) ** 2,
        second=lambda x: -2 * mp.tanh(x) * mp.sech(x) ** 2,
    ),
    Truth(nn.softplus, [X], logistic, second=bell),
    Truth(nn.relu, [ANY], lambda x: mpf(x > 0), second=lambda x: mpf(0)),
    Truth(nn.leaky_relu, [ANY], lambda x: mpf(1 if x >= 0 else 0.1), second=lambda x: mpf(0)),
    Truth(nn.leaky_relu, [ANY], lambda x: mpf(1 if x >= 0 else 0.3), {"slope": 0.3}, name="slope 0.3"),
    Truth(
        nn.elu,
        [spread(-89, 5)],
        lambda x: mp.exp(x) if x <= 0 else mpf(1),
        second=lambda x: mp.exp(x) if x <= 0 else mpf(0),
    ),
    Truth(
        nn.elu,
        [spread(-89, 5)],
        lambda x: 3 * mp.exp(x) if x <= 0 else mpf(1),
        {"alpha": 3.0},
        name="alpha 3",
        second=lambda x: 3 * mp.exp(x) if x <= 0 else mpf(0),
    ),
    Truth(
        nn.silu,
        [spread(-95, 95, -SILU_ROOT, SILU_ROOT, -SILU_BEND, SILU_BEND, count=4000)],
        lambda x: logistic(x) * (1 + x * logistic(-x)),
        second=lambda x: bell(x) * (2 - x * mp.tanh(x / 2)),
    ),
    Truth(
        nn.gelu,
        [spread(-14, 14, -GELU_ROOT, GELU_ROOT, -GELU_BEND, GELU_BEND, count=4000)],
        lambda x: mp.ncdf(x) + x * mp.npdf(x),
        second=lambda x: mp.npdf(x) * (2 - x * x),
    ),
    Truth(nn.softmax_loss, TWO, minus_one_for_the_right_class, name="of two classes"),
    Truth(nn.softmax_loss, TEN, minus_one_for_the_right_class),
    Truth(nn.softmax_loss, (TWO[0], one_hot(2)), minus_probabilities, name="one-hot, of two classes"),
    Truth(nn.softmax_loss, (TEN[0], one_hot(10)), minus_probabilities, name="one-hot"),
    Truth(
        nn.softmax_loss,
        SOFT,
        minus_probabilities,
        name="probabilities",
        terms=[
            lambda s, q: [p * rest for p, rest in zip(softmax(s), others(q), strict=True)],
            lambda s, q: [q_j * rest for q_j, rest in zip(q, others(softmax(s)), strict=True)],
        ],
    ),
    Truth(
        nn.softmax_loss,
        SOFT,
        lambda s, q: [-mp.log(p) for p in softmax(s)],
        argument=1,
        name="in the probabilities",
    ),
    Truth(nn.svm_loss, TEN, functools.partial(violations, margin=1)),
    Truth(nn.svm_loss, TEN, functools.partial(violations, margin=0.5), {"margin": 0.5}, name="margin 0.5"),
    Truth(nn.mse_loss, (SOFT[0], 3 * SOFT[1]), twice_the_difference),
    Truth(
        nn.mse_loss,
        (3 * SOFT[1], SOFT[0]),
        lambda s, t: twice_the_difference(t, s),
        argument=1,
        name="in the targets",
    ),
    Truth(
        nn.LOSSES["mse"],
        TEN,
        lambda s, label: twice_the_difference(s, [j == label for j in range(len(s))]),
    ),
    Truth(nn.logistic_loss, (X, np.zeros_like(X)), lambda s, t: logistic(s), name="target 0"),
    Truth(nn.logistic_loss, (X, np.ones_like(X)), lambda s, t: -logistic(-s), name="target 1"),
    Truth(
        nn.logistic_loss,
        (X, TARGETS),
        lambda s, t: logistic(s) - t,
        name="probabilities",
        terms=[lambda s, t: (1 - t) * logistic(s), lambda s, t: t * logistic(-s)],
    ),
    Truth(nn.logistic_loss, (X, TARGETS), lambda s, t: -s, argument=1, name="in the targets"),
    Truth(
        nn.LOSSES["logistic"],
        TEN,
        lambda s, label: [-logistic(-s_j) if j == label else logistic(s_j) for j, s_j in enumerate(s)],
    ),
    Truth(nn.l1, [ANY], sign),
    Truth(nn.l2, [ANY / 4], lambda w: 2 * w),
    Truth(nn.elastic_net, [ANY / 4], lambda w: 2 * w + sign(w)),
    Truth(nn.elastic_net, [ANY / 4], lambda w: 0.4 * w + sign(w), {"beta": 0.2}, name="beta 0.2"),
]
NOT_MEASURED = {
    nn.linear: "sums of products, whose error grows with their number and is that of jnp.dot",
    nn.affine: "sums of products, whose error grows with their number and is that of jnp.dot",
    nn.linear_softmax_loss: "sums of products; beside float64 in tests/nn/test_many_classes.py",
    nn.maxout: "sums of products, whose error grows with their number and is that of jnp.dot",
    nn.matrix_function: "eigenvectors, whose error grows with the condition of the matrix",
    nn.frechet: "eigenvectors, whose error grows with the condition of the matrix",
    nn.projector: "eigenvectors, whose error grows with the condition of the matrix",
    nn.polar: "singular vectors, whose error grows with the condition of the matrix",
    nn.nuclear_norm: "singular vectors, whose error grows with the condition of the matrix",
    nn.conv: "sums of products, whose error grows with their number and is that of lax's convolution",
    nn.depthwise_conv: "sums of products, whose error grows with their number",
    nn.max_pool: "sums of the ȳ of the windows that an element wins: exact where it wins one",
    nn.avg_pool: "sums of products, whose error grows with their number",
    nn.embedding: "sums of the ȳ of one row",
    nn.circular_convolution: "sums of products, whose error grows with their number",
    nn.cosine_similarity: "a projection, whose error is a rounding of what is projected",
    nn.batch_norm: "a projection, whose error is a rounding of what is projected",
    nn.batch_norm_inference: "products and their sums",
    nn.layer_norm: "a projection, whose error is a rounding of what is projected",
    nn.local_response_norm: "a difference of two terms, whose error is a rounding of the larger",
    nn.lstm_cell: "sums of products of slopes that the rows of tanh and sigmoid measure",
    nn.dropout: "0 or ȳ / (1 − rate), the one number that tests/nn/test_gates.py compares with y",
}


def test_every_gate_and_whatever_is_chosen_by_name_is_measured():
    named = {*nn.ACTIVATIONS.values(), *nn.LOSSES.values(), *nn.REGULARIZERS.values()} - {None}
    measured = {truth.gate for truth in TRUTHS}
    assert measured | set(NOT_MEASURED) == GATES | named
    assert measured.isdisjoint(NOT_MEASURED)


def of_each_example(function, inputs):
    """Its values in 60 digits for all examples, rounded to float64."""
    examples = zip(*(x.tolist() for x in inputs), strict=True)
    exact = [[list(map(mpf, x)) if isinstance(x, list) else mpf(x) for x in example] for example in examples]
    return np.array([function(*xs) for xs in exact], object).astype(np.float64)


@functools.cache
def true_gradient(truth):
    """And what its errors are counted in ulp of."""
    true = of_each_example(truth.derivative, truth.inputs)
    terms = [abs(of_each_example(term, truth.inputs)) for term in truth.terms]
    return true, np.max([abs(true), *terms], axis=0)


@pytest.mark.parametrize("truth", TRUTHS, ids=str)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])  # XLA rearranges what it compiles
def test_gradient_is_within_4_ulp(truth, compiled):
    def gradient(*xs):
        y, pullback = jax.vjp(functools.partial(truth.gate, **truth.params), *xs)
        return pullback(jnp.ones_like(y))[truth.argument]

    run = jax.jit(gradient, compiler_options=AS_INSTALLED) if compiled else gradient
    got, (true, unit) = np.asarray(run(*map(jnp.asarray, truth.inputs))), true_gradient(truth)
    assert got.shape == true.shape
    assert np.all(abs(got[unit < SMALLEST]) <= SMALLEST)
    assert errors(got, true, unit).max() <= MAX_ULP


TWICE = [truth for truth in TRUTHS if truth.second]


@pytest.mark.parametrize("truth", TWICE, ids=str)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_second_derivative_is_within_8_ulp(truth, compiled):
    second = jax.vmap(jax.grad(jax.grad(functools.partial(truth.gate, **truth.params))))
    run = jax.jit(second, compiler_options=AS_INSTALLED) if compiled else second
    (x,) = truth.inputs
    got, true = np.asarray(run(x)), of_each_example(truth.second, truth.inputs)
    assert np.all(abs(got[abs(true) < SMALLEST]) <= SMALLEST)
    assert errors(got, true).max() <= MAX_ULP_OF_SECOND


def test_every_activation_is_differentiated_twice():
    assert {truth.gate for truth in TWICE} == {*nn.ACTIVATIONS.values()} - {None, nn.maxout}


SMOOTH = [truth for truth in TWICE if truth.gate not in {nn.relu, nn.leaky_relu, nn.elu}]


@pytest.mark.parametrize("truth", SMOOTH, ids=str)
def test_orders_one_to_four_at_0_near_it_and_where_forms_join(truth):
    """What is 0 at 0 is exactly 0; elsewhere the higher orders are right beside the largest of them."""
    derivatives = [truth.gate]
    for _ in range(4):
        derivatives.append(jax.grad(derivatives[-1]))
    for x in np.float32([0, 1e-30, -1e-30, 1e-6, -1e-6, 32, -32, 64, -64, SILU_BEND, GELU_BEND]):
        trues = [float(mp.chop(mp.diff(truth.derivative, mpf(float(x)), n), 1e-50)) for n in range(4)]
        founds = [float(derivative(x)) for derivative in derivatives[1:]]
        scale = 0 if x == 0 else max(map(abs, trues))
        np.testing.assert_allclose(founds, trues, rtol=1e-6, atol=1e-6 * scale + SMALLEST * (x != 0))


def ulps(got, truth):
    """The error of one number."""
    return errors(np.asarray(got), np.array(float(truth))).item()


WHERE_AUTODIFF_IS_ZERO = [  # in JAX 0.10; the smallest inputs at which the usual formulas round to 0
    (nn.tanh, 9.0, lambda x: mp.sech(x) ** 2),
    (nn.sigmoid, 31.0, lambda x: logistic(x) * logistic(-x)),
    (nn.elu, -23.0, mpmath.exp),
]


@pytest.mark.parametrize(("gate", "x", "derivative"), WHERE_AUTODIFF_IS_ZERO, ids=["tanh", "sigmoid", "elu"])
def test_gradient_survives_where_that_of_the_usual_formula_is_zero(gate, x, derivative):
    assert ulps(jax.jit(jax.grad(gate))(x), derivative(mpf(x))) <= MAX_ULP


def test_softmax_gradient_of_a_confident_right_class_is_not_zero():
    scores = jnp.array([60.0, 0.0, 1.0])
    truth = minus_one_for_the_right_class([60, 0, 1], 0)[0]
    assert ulps(jax.jit(jax.grad(nn.softmax_loss))(scores, 0)[0], truth) <= MAX_ULP


def test_softmax_loss_of_a_confident_right_class_is_not_zero():
    scores = jnp.array([60.0, 0.0, 1.0])
    truth = mp.log1p(mp.exp(-60) + mp.exp(-59))
    assert ulps(jax.jit(nn.softmax_loss)(scores, 0), truth) <= MAX_ULP
