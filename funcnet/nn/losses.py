"""Losses: one number Lᵢ for each example; the data loss of a batch is their mean.

CS231n 2019, lecture 4, slides 6 and 36 to 38, with scores s [*batch, classes] and y the label of
the right class:

    softmax     −log p_y,  p = exp(s) / Σ exp(s)          s̄_j = ȳ (p_j − [j = y])
    SVM         Σ_{j ≠ y} max(0, s_j − s_y + Δ)           s̄_j = ȳ [margin_j > 0],  s̄_y = −Σ_{j ≠ y} s̄_j
    MSE         mean_j (s_j − t_j)²                       s̄_j = ȳ · 2 (s_j − t_j) / n
    logistic    −t log σ(s) − (1 − t) log σ(−s)           s̄ = ȳ ((1 − t) σ(s) − t σ(−s))

Where the right class is nearly certain, p_y − 1 rounds to 0 and the truth is not 0. The gradient of
the right class is therefore −Σ_{j ≠ y} p_j: the same number without a cancellation, as it is in
the logistic loss with both of its terms. p and its derivatives are those of `funcnet.rules.softmax`.

Losses of float16 and bfloat16 scores are worked out and returned in float32, since a loss can be
twice as large as the largest score. Gradients have the scores' dtype.

What is no label, and what its loss is then, stands in `_labels`.
"""

import jax
import jax.core
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Integer

from funcnet._errors import ParameterError, ShapeError
from funcnet.nn._dtypes import at_least_float32, is_floating
from funcnet.nn._gate import gate
from funcnet.nn._labels import is_right_class, nan_unless_labelled, one_hot
from funcnet.rules.softmax import below_best, others, probabilities, total


def _check_same_shape(name: str, scores: Array, targets: Array) -> None:
    if scores.shape != targets.shape:
        raise ShapeError(
            f"{name}: scores have shape {list(scores.shape)} and targets {list(targets.shape)}; expected "
            f"equal shapes: broadcasting would compare each example with the targets of others"
        )


@gate(
    formula="s̄_j = ȳ p_j for j ≠ y,  s̄_y = −ȳ Σ_{j ≠ y} p_j;  for class probabilities q: "
    "s̄_j = ȳ Σ_{k ≠ j} (q_k p_j − q_j p_k),  q̄_j = −ȳ log p_j",
    source="CS231n 2019, lecture 4, slide 6; Bridle 1990",
)
def softmax_loss(
    scores: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"] | Float[Array, "*batch classes"]
) -> Float[Array, "*batch"]:
    """Softmax loss (cross-entropy) −log p_y of each example.

    Args:
        scores: unnormalized log-probabilities.
        labels: the right class of each example as an integer, or a probability for each class.

    Returns:
        The loss of each example, at least in float32; NaN where an integer label is no class.

    Raises:
        ShapeError: labels are neither integers [*batch] nor floats [*batch, classes].
        ParameterError: an integer label is no class; traced ones give NaN.

    >>> f"{softmax_loss(jnp.array([3.2, 5.1, -1.7]), 0):.2f}"  # the course's cat, car and frog
    '2.04'
    """
    minus_log_p = _minus_log_p(at_least_float32(scores))
    if is_floating(labels):
        _check_same_shape("softmax_loss", scores, labels)
        return jnp.sum(at_least_float32(labels) * minus_log_p, axis=-1)
    right = is_right_class("softmax_loss", scores, labels)
    return nan_unless_labelled(jnp.sum(minus_log_p, axis=-1, where=right), right)


@softmax_loss.forward
def softmax_loss_forward(scores, labels):
    return softmax_loss.primal(scores, labels), (scores, labels)


@softmax_loss.backward
def softmax_loss_backward(stash, y_bar):
    scores, labels = stash
    s, axes = at_least_float32(scores), (scores.ndim - 1,)
    p = probabilities(axes, s)
    if is_floating(labels):
        q = at_least_float32(labels)
        s_bar = _upstream_times(y_bar, p * _sum_of_others(q) - q * _sum_of_others(p), scores)
        return s_bar, _upstream_times(y_bar, _minus_log_p(s), labels)
    right = one_hot(labels, scores.shape[-1])
    local = jnp.where(right, jnp.where(p > 0.6, -others(p, axes), p - 1), p)
    return _upstream_times(y_bar, local, scores), None


def _minus_log_p(s: Array) -> Array:
    """log(1 + (Σ exp(d) − 1)) − d, which keeps the digits of the likeliest class."""
    d, exp_d = below_best(s, [s.ndim - 1])
    best, rest = (total(exp_d, [s.ndim - 1], where) for where in (d == 0, d != 0))
    return jnp.log1p((best - 1) + rest) - d


def _upstream_times(y_bar: Array, local: Array, x: Array) -> Array:
    """Each example's upstream gradient × its local gradient, in the dtype of x, whose gradient it is."""
    return (y_bar[..., None] * local).astype(x.dtype)


def _sum_of_others(p: Array) -> Array:
    """Σ_{k ≠ j} p_k for each j: the sums before and after j, where Σ − p_j would cancel."""
    no_pad = [(0, 0)] * (p.ndim - 1)
    before = lax.cumsum(jnp.pad(p[..., :-1], [*no_pad, (1, 0)]), axis=p.ndim - 1)
    after = lax.cumsum(jnp.pad(p[..., 1:], [*no_pad, (0, 1)]), axis=p.ndim - 1, reverse=True)
    return before + after


@gate(
    formula="s̄_j = ȳ [s_j − s_y + Δ > 0] for j ≠ y,  s̄_y = −Σ_{j ≠ y} s̄_j",
    source="Weston and Watkins 1999; CS231n 2019, lecture 4, slides 6 and 36",
)
def svm_loss(
    scores: Float[Array, "*batch classes"], labels: Integer[Array, "*batch"], *, margin: float = 1.0
) -> Float[Array, "*batch"]:
    """Multiclass SVM (hinge) loss Σ_{j ≠ y} max(0, s_j − s_y + Δ) of each example.

    At a margin of exactly 0 the gradient is 0, as for ReLU.

    Args:
        scores: one score for each class.
        labels: the right class of each example.
        margin: Δ, by how much the right class should win.

    Returns:
        The loss of each example, at least in float32; NaN where a label is no class.

    Raises:
        ShapeError: labels are not integers [*batch].
        ParameterError: the margin is negative, or a label no class; traced labels give NaN.

    >>> f"{svm_loss(jnp.array([3.2, 5.1, -1.7]), 0):.1f}"  # the course's cat, car and frog
    '2.9'
    """
    right = is_right_class("svm_loss", scores, labels)
    margins = _margins(scores, right, margin)
    return nan_unless_labelled(jnp.sum(jax.nn.relu(margins), axis=-1, where=~right), right)


def _margins(scores: Array, right: Array, margin: float) -> Array:
    if not margin >= 0:
        raise ParameterError(f"svm_loss: margin is {margin}; expected a number ≥ 0")
    s = at_least_float32(scores)
    return s - jnp.sum(s, axis=-1, keepdims=True, where=right) + margin


@svm_loss.forward
def svm_loss_forward(scores, labels, *, margin=1.0):
    return svm_loss.primal(scores, labels, margin=margin), (scores, labels)


@svm_loss.backward
def svm_loss_backward(stash, y_bar, *, margin=1.0):
    scores, labels = stash
    right = one_hot(labels, scores.shape[-1])
    violated = ((_margins(scores, right, margin) > 0) & ~right).astype(y_bar.dtype)
    local = jnp.where(right, -jnp.sum(violated, axis=-1, keepdims=True), violated)
    return _upstream_times(y_bar, local, scores), None


@gate(formula="s̄ = ȳ · 2 (s − t) / n,  t̄ = −s̄", source="Gauss 1809; CS231n 2019, lecture 4, slide 25")
def mse_loss(scores: Float[Array, "*batch n"], targets: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    """Mean squared error of each example: the mean of (s − t)² over the last axis.

    Raises:
        ShapeError: scores and targets differ in shape.

    >>> mse_loss(jnp.array([1.0, 5.0]), jnp.array([2.0, 3.0]))
    Array(2.5, dtype=float32)
    """
    _check_same_shape("mse_loss", scores, targets)
    return jnp.mean((at_least_float32(scores) - at_least_float32(targets)) ** 2, axis=-1)


@mse_loss.forward
def mse_loss_forward(scores, targets):
    return mse_loss.primal(scores, targets), (scores, targets)


@mse_loss.backward
def mse_loss_backward(stash, y_bar):
    scores, targets = stash
    difference = at_least_float32(scores) - at_least_float32(targets)
    s_bar = _upstream_times(y_bar, 2 / scores.shape[-1] * difference, scores)
    return s_bar, -s_bar


@gate(
    formula="s̄ = ȳ ((1 − t) σ(s) − t σ(−s)),  t̄ = −ȳ s",
    source="Bishop 2006, Pattern Recognition and Machine Learning, eq. 4.90 and 4.91",
)
def logistic_loss(
    scores: Float[Array, "*batch"],
    targets: Float[Array, "*batch"] | Int[Array, "*batch"] | Bool[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """Logistic loss (binary cross-entropy) of each score against its target.

    Args:
        scores: log-odds of the positive class.
        targets: 1 or True where the positive class is right, 0 or False where not, or its probability.

    Raises:
        ShapeError: scores and targets differ in shape.

    >>> f"{logistic_loss(3.0, 0):.3f}"
    '3.049'
    """
    _check_same_shape("logistic_loss", scores, targets)
    s = at_least_float32(scores)
    t = targets.astype(s.dtype)
    return t * jax.nn.softplus(-s) + (1 - t) * jax.nn.softplus(s)


@logistic_loss.forward
def logistic_loss_forward(scores, targets):
    return logistic_loss.primal(scores, targets), (scores, targets)


@logistic_loss.backward
def logistic_loss_backward(stash, y_bar):
    scores, targets = stash
    s = at_least_float32(scores)
    t = targets.astype(s.dtype)
    s_bar = ((1 - t) * jax.nn.sigmoid(s) - t * jax.nn.sigmoid(-s)) * y_bar
    t_bar = (-s * y_bar).astype(targets.dtype) if is_floating(targets) else None
    return s_bar.astype(scores.dtype), t_bar


def weighted_mean(
    losses: Float[Array, "*batch"],
    weights: Float[Array, "*batch"] | Int[Array, "*batch"] | Bool[Array, "*batch"],
) -> Float[Array, ""]:
    """The weighted mean Σ w L / Σ w of examples' losses; what has weight 0 does not count, if it is NaN too.

    So examples are left out by their labels: `weighted_mean(softmax_loss(scores, labels), labels != -1)`.

    Args:
        losses: of each example.
        weights: of each example, 0 or more; booleans say which count.

    Returns:
        The mean, 0 where nothing counts.

    Raises:
        ShapeError: losses and weights differ in shape.

    >>> weighted_mean(jnp.array([1.0, 4.0, jnp.nan]), jnp.array([2, 1, 0]))
    Array(2., dtype=float32)
    """
    _check_same_shape("weighted_mean", losses, weights)
    w = weights.astype(losses.dtype)
    total = jnp.sum(w)
    counted = jnp.sum(jnp.where(w == 0, 0, w * jnp.where(w == 0, 0, losses)))
    return counted / jnp.where(total == 0, 1, total)
