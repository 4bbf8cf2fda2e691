"""The functions that the lecture's examples differentiate, in the order of the slides."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from funcnet import nn
from funcnet._types import Params

Number = Float[Array, ""]


def neuron(w: Float[Array, " inputs"], x: Float[Array, " inputs"], b: Number) -> Number:
    """The firing rate σ(Σ wᵢ xᵢ + b); `funcnet.nn.neuron` takes batches too."""
    return nn.sigmoid(w @ x + b)


def sum_times(x: Number, y: Number, z: Number) -> Number:
    """(x + y) z."""
    return (x + y) * z


def sigmoid_gates(w0: Number, x0: Number, w1: Number, x1: Number, w2: Number) -> Number:
    """1 / (1 + exp(−(w₀x₀ + w₁x₁ + w₂))), gate by gate."""
    return 1 / (1 + jnp.exp(-(w0 * x0 + w1 * x1 + w2)))


def sigmoid_neuron(w0: Number, x0: Number, w1: Number, x1: Number, w2: Number) -> Number:
    """The same, with one sigmoid gate."""
    return nn.sigmoid(w0 * x0 + w1 * x1 + w2)


def add(x: Number, y: Number) -> Number:
    """x + y."""
    return x + y


def mul(x: Number, y: Number) -> Number:
    """x y."""
    return x * y


def larger(x: Number, y: Number) -> Number:
    """max(x, y)."""
    return jnp.maximum(x, y)


def copy(x: Number) -> tuple[Number, Number]:
    """One value, used twice."""
    return x, x


REG = 0.05
"""The weight λ of the penalty λ Σ w² in the two examples of slides 84 to 92."""


def svm(
    w: Float[Array, "features classes"], x: Float[Array, "examples features"], y: Int[Array, " examples"]
) -> Number:
    """The loss of a linear classifier under the multiclass SVM loss, a graph for `funcnet.nn.flat.svm`."""
    return nn.svm_loss(nn.linear(x, w), y).mean() + REG * nn.l2(w)


def two_layer(params: Params, x: Float[Array, "examples features"], y: Int[Array, " examples"]) -> Number:
    """The softmax loss of a two-layer net, a graph for `funcnet.nn.flat.two_layer`."""
    w1, w2 = nn.weights(params)
    return nn.softmax_loss(nn.mlp(params, x), y).mean() + REG * (nn.l2(w1) + nn.l2(w2))


def products(x: Float[Array, " n"]) -> Float[Array, " n-1"]:
    """xᵢ xᵢ₊₁: a vector of a vector, whose Jacobian has two diagonals."""
    return x[:-1] * x[1:]


def matmul(x: Float[Array, "n d"], w: Float[Array, "d m"]) -> Float[Array, "n m"]:
    """The product x w of two matrices."""
    return x @ w


LARGE = {"x": (64, 4096), "w": (4096, 4096)}
"""Shapes for `matmul` (N = 64, D = M = 4096) with which ∂y/∂x alone would take 256 GiB in float32."""


def squared_norm(W: Float[Array, "m n"], x: Float[Array, " n"]) -> Number:  # noqa: N803
    """‖Wx‖² as two gates: a product and a sum of squares."""
    return nn.l2(W @ x)
