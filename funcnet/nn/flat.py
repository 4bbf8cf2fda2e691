"""Backpropagation with no machinery at all: the forward code, then its lines mirrored in reverse.

CS231n 2019, lecture 4, slides 84 to 92. `x_bar` is the cotangent of `x`: ∂loss/∂x, an array of x's shape.
Read the first half of a function from its last line up and the second half from its first line down: the
one is the mirror of the other, line by line, in these patterns.

    forward               backward
    y = f(x)              x_bar = y_bar · f′(x)             elementwise: local gradient × upstream gradient
    y = u + v             u_bar = y_bar,  v_bar = y_bar     a sum passes its cotangent on
    y = x @ w             x_bar = y_bar @ w.T,  w_bar = x.T @ y_bar
    y = x.sum()           x_bar = y_bar, repeated           a sum and a broadcast are each other's mirror
    y = x[i]              x_bar = 0, and y_bar at i         so are reading and writing
    x used twice          x_bar = …,  x_bar += …            cotangents of the uses add up

Nothing here calls automatic differentiation or a gate of funcnet, so its gradients are a third opinion
beside those two.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from funcnet._types import Params


def svm(
    w: Float[Array, "features classes"],
    x: Float[Array, "examples features"],
    y: Int[Array, " examples"],
    reg: float,
) -> tuple[Float[Array, ""], Float[Array, "features classes"]]:
    """Loss and gradient of a linear classifier under the multiclass SVM loss with margin 1.

    loss = 1/n Σᵢ Σ_{j≠yᵢ} max(0, sᵢⱼ − sᵢ,yᵢ + 1) + reg · Σ w², with the scores s = x w. A class exactly on
    its margin counts as inside it: its gradient is 0.

    Args:
        w: one column of weights for each class.
        x: one example in each row.
        y: the true class of each example, 0 to classes − 1.
        reg: weight λ of the L2 penalty, which has no factor ½.

    Returns:
        The loss and `w_bar`.

    Source: Weston & Watkins 1999; CS231n 2019, lecture 4, slides 36 and 84 to 92.

    >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> loss, w_bar = svm(jnp.zeros((2, 3)), x, jnp.array([0, 2]), reg=0.1)
    >>> float(loss)
    2.0
    >>> w_bar.tolist()
    [[-1.0, 0.5, 0.5], [0.5, 0.5, -1.0]]
    """
    n = len(y)
    own = jnp.arange(n), y

    scores = x @ w
    own_scores = scores[own]
    margins = scores - own_scores[:, None] + 1
    hinges = jnp.maximum(margins, 0).at[own].set(0)
    data_loss = hinges.sum() / n
    penalty = reg * (w * w).sum()
    loss = data_loss + penalty

    data_loss_bar = penalty_bar = 1.0
    w_bar = penalty_bar * reg * 2 * w
    hinges_bar = jnp.full_like(hinges, data_loss_bar / n)
    margins_bar = (hinges_bar * (margins > 0)).at[own].set(0)
    scores_bar = margins_bar
    own_scores_bar = -margins_bar.sum(axis=1)
    scores_bar = scores_bar.at[own].add(own_scores_bar)
    w_bar += x.T @ scores_bar
    return loss, w_bar


def two_layer(
    params: Params,
    x: Float[Array, "examples features"],
    y: Int[Array, " examples"],
    reg: float,
) -> tuple[Float[Array, ""], Params]:
    """Loss and gradients of the two-layer net affine → ReLU → affine under the softmax loss.

    loss = 1/n Σᵢ −log softmax(sᵢ)[yᵢ] + reg · Σ (w1² + w2²), with s = max(0, x w1 + b1) w2 + b2. The biases
    are not regularized, and ReLU's gradient at 0 is 0.

    Args:
        params: `{"layer1": {"w", "b"}, "layer2": {"w", "b"}}` with w of shape [in, out] and b of shape [out].
        x: one example in each row.
        y: the true class of each example, 0 to classes − 1.
        reg: weight λ of the L2 penalty, which has no factor ½.

    Returns:
        The loss and the cotangents of the parameters, laid out as `params`.

    Source: CS231n 2019, lecture 4, slides 13 and 84 to 92.

    >>> params = {"layer1": {"w": jnp.eye(2), "b": jnp.zeros(2)},
    ...           "layer2": {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)}}
    >>> loss, params_bar = two_layer(params, jnp.array([[3.0, -1.0]]), jnp.array([0]), reg=0.0)
    >>> round(float(loss), 4)  # log 2: both classes are equally probable
    0.6931
    >>> params_bar["layer2"]["w"].tolist()
    [[-1.5, 1.5], [0.0, 0.0]]
    """
    n = len(y)
    own = jnp.arange(n), y
    w1, b1 = params["layer1"]["w"], params["layer1"]["b"]
    w2, b2 = params["layer2"]["w"], params["layer2"]["b"]

    a = x @ w1 + b1
    h = jnp.maximum(a, 0)
    scores = h @ w2 + b2
    shifted = scores - scores.max(axis=1, keepdims=True)
    exps = jnp.exp(shifted)
    totals = exps.sum(axis=1, keepdims=True)
    log_p = shifted - jnp.log(totals)
    data_loss = -log_p[own].sum() / n
    penalty = reg * ((w1 * w1).sum() + (w2 * w2).sum())
    loss = data_loss + penalty

    data_loss_bar = penalty_bar = 1.0
    w1_bar = penalty_bar * reg * 2 * w1
    w2_bar = penalty_bar * reg * 2 * w2
    log_p_bar = jnp.zeros_like(log_p).at[own].set(-data_loss_bar / n)
    shifted_bar = log_p_bar
    totals_bar = -log_p_bar.sum(axis=1, keepdims=True) / totals
    exps_bar = jnp.broadcast_to(totals_bar, exps.shape)
    shifted_bar += exps_bar * exps
    scores_bar = shifted_bar  # each row sums to 0, so nothing flows to the row's maximum
    h_bar = scores_bar @ w2.T
    w2_bar += h.T @ scores_bar
    b2_bar = scores_bar.sum(axis=0)
    a_bar = h_bar * (a > 0)
    w1_bar += x.T @ a_bar
    b1_bar = a_bar.sum(axis=0)
    return loss, {"layer1": {"w": w1_bar, "b": b1_bar}, "layer2": {"w": w2_bar, "b": b2_bar}}


def two_layer_sigmoid(
    w1: Float[Array, "features hidden"],
    w2: Float[Array, "hidden outputs"],
    x: Float[Array, "examples features"],
    y: Float[Array, "examples outputs"],
) -> tuple[Float[Array, ""], tuple[Float[Array, "features hidden"], Float[Array, "hidden outputs"]]]:
    """Loss and gradients of the 20-line net: loss = Σ (σ(x w1) w2 − y)², with the logistic sigmoid σ.

    Returns:
        The squared error, summed over examples and outputs, and `(w1_bar, w2_bar)`.

    Source: CS231n 2019, lecture 4, slide 25.

    >>> one = jnp.ones((1, 1))
    >>> loss, (w1_bar, w2_bar) = two_layer_sigmoid(0 * one, 2 * one, one, 0 * one)
    >>> float(loss), w1_bar.item(), w2_bar.item()  # ŷ = σ(0) · 2 = 1
    (1.0, 1.0, 1.0)
    """
    a = x @ w1
    h = 1 / (1 + jnp.exp(-a))
    y_pred = h @ w2
    loss = jnp.square(y_pred - y).sum()

    y_pred_bar = 2 * (y_pred - y)
    h_bar = y_pred_bar @ w2.T
    w2_bar = h.T @ y_pred_bar
    a_bar = h_bar * h * (1 - h)
    w1_bar = x.T @ a_bar
    return loss, (w1_bar, w2_bar)


def train_two_layer_sigmoid(
    w1: Float[Array, "features hidden"],
    w2: Float[Array, "hidden outputs"],
    x: Float[Array, "examples features"],
    y: Float[Array, "examples outputs"],
    *,
    step: float = 1e-4,
    iterations: int = 2000,
) -> tuple[Float[Array, "features hidden"], Float[Array, "hidden outputs"], Float[Array, " iterations"]]:
    """Trains the 20-line net by gradient descent on the whole batch.

    From standard normal data and weights of the lecture's sizes every step lowers the loss, and 2000 of them
    bring it from about 30,000 to about 5.

    Returns:
        The trained w1 and w2, and the loss before each of the steps.

    Source: CS231n 2019, lecture 4, slide 25, where examples, features, hidden, outputs = 64, 1000, 100, 10.

    >>> one = jnp.ones((1, 1))
    >>> w1, w2, losses = train_two_layer_sigmoid(0 * one, 2 * one, one, 0 * one, step=1.0, iterations=50)
    >>> float(losses[0]), bool(losses[-1] < 1e-4)
    (1.0, True)
    """

    def descend(weights, _):
        w1, w2 = weights
        loss, (w1_bar, w2_bar) = two_layer_sigmoid(w1, w2, x, y)
        return (w1 - step * w1_bar, w2 - step * w2_bar), loss

    (w1, w2), losses = jax.lax.scan(descend, (w1, w2), length=iterations)
    return w1, w2, losses
