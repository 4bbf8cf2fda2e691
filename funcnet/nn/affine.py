"""Gates with weights: linear, affine, maxout.

Row vectors, as on slides 114 to 123: a batch x [*batch, in], weights w [in, out], y = x w + b. With
ȳ = ∂L/∂y of y's shape, the backward pass is two more matrix products and a sum,

    x̄ = ȳ wᵀ        w̄ = xᵀ ȳ        b̄ = Σ_batch ȳ

No Jacobian is formed and nothing is transposed: each product names the axes that it sums over
(`lax.dot_general`), so weights that are sharded stay where they are.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType
from jaxtyping import Array, Float

from funcnet._errors import ShapeError
from funcnet.nn._gate import gate


def _dot(
    a: Array, b: Array, a_axes: tuple[int, ...], b_axes: tuple[int, ...], like: Array | None = None
) -> Array:
    """The sum of products over paired axes; XLA sums half precision in float32 and rounds once.

    Where shardings are part of types, the result is spread as what it is the gradient of.
    """
    where = jax.typeof(like).sharding if like is not None else None
    explicit = where is not None and AxisType.Explicit in where.mesh.axis_types
    return lax.dot_general(a, b, ((a_axes, b_axes), ((), ())), out_sharding=where if explicit else None)


def _x_times_w(gate_name: str, x: Array, w: Array, w_shape: str) -> Array:
    """x w over x's last axis and w's first."""
    if w.ndim != len(w_shape.split()) or x.ndim == 0 or x.shape[-1] != w.shape[0]:
        raise ShapeError(
            f"{gate_name}: x has shape {list(x.shape)} and w {list(w.shape)}; expected x [*batch, in] and "
            f"w [{w_shape.replace(' ', ', ')}] with the same number of inputs. A weight matrix written "
            f"[out, in] must be given as w.T."
        )
    return _dot(x, w, (x.ndim - 1,), (0,))


def _plus_b(gate_name: str, y: Array, w: Array, b: Array) -> Array:
    """y + b, for a bias of exactly the shape of w without its inputs."""
    if b.shape != w.shape[1:]:
        raise ShapeError(
            f"{gate_name}: b has shape {list(b.shape)} beside w {list(w.shape)}; expected {list(w.shape[1:])}"
        )
    return y + b


def _x_bar(y_bar: Array, x: Array, w: Array) -> Array:
    """ȳ wᵀ: a sum over the axes of w after its first."""
    out_axes = tuple(range(1, w.ndim))
    return _dot(y_bar, w, tuple(range(y_bar.ndim - len(out_axes), y_bar.ndim)), out_axes, like=x)


def _w_bar(y_bar: Array, x: Array, w: Array) -> Array:
    """xᵀ ȳ: a sum over the batch."""
    batch_axes = tuple(range(x.ndim - 1))
    return _dot(x, y_bar, batch_axes, batch_axes, like=w)


def _b_bar(x: Array, y_bar: Array) -> Array:
    """Σ ȳ over the batch; the bias was copied to every example, and copies add up."""
    return jnp.sum(y_bar, axis=tuple(range(x.ndim - 1)))


@gate(formula="x̄ = ȳ wᵀ,  w̄ = xᵀ ȳ", source="CS231n 2019, lecture 4, slides 114-123")
def linear(
    x: Float[Array, "*batch inputs"], w: Float[Array, "inputs outputs"]
) -> Float[Array, "*batch outputs"]:
    """Linear scores y = x w.

    Raises:
        ShapeError: x's last axis is not w's first.

    >>> linear(jnp.array([1.0, 2.0]), jnp.array([[3.0], [4.0]]))
    Array([11.], dtype=float32)
    """
    return _x_times_w("linear", x, w, "in out")


@linear.forward
def linear_forward(x, w):
    return linear.primal(x, w), (x, w)


@linear.backward
def linear_backward(stash, y_bar):
    x, w = stash
    return _x_bar(y_bar, x, w), _w_bar(y_bar, x, w)


@gate(formula="x̄ = ȳ wᵀ,  w̄ = xᵀ ȳ,  b̄ = Σ ȳ", source="CS231n 2019, lecture 4, slides 114-123")
def affine(
    x: Float[Array, "*batch inputs"], w: Float[Array, "inputs outputs"], b: Float[Array, " outputs"]
) -> Float[Array, "*batch outputs"]:
    """Affine scores y = x w + b, a fully connected layer without its activation.

    Raises:
        ShapeError: x's last axis is not w's first, or b's length is not w's second.

    >>> affine(jnp.array([1.0, 2.0]), jnp.array([[3.0], [4.0]]), jnp.array([0.5]))
    Array([11.5], dtype=float32)
    """
    return _plus_b("affine", _x_times_w("affine", x, w, "in out"), w, b)


@affine.forward
def affine_forward(x, w, b):
    return affine.primal(x, w, b), (x, w)


@affine.backward
def affine_backward(stash, y_bar):
    x, w = stash
    return _x_bar(y_bar, x, w), _w_bar(y_bar, x, w), _b_bar(x, y_bar)


def _pieces(x: Array, w: Array, b: Array) -> Array:
    """The affine pieces z [*batch, pieces, out] among which maxout chooses."""
    return _plus_b("maxout", _x_times_w("maxout", x, w, "in pieces out"), w, b)


@gate(
    formula="z̄ₖ = ȳ · [zₖ = y] / #winners,  x̄ = Σₖ z̄ₖ wₖᵀ,  w̄ₖ = xᵀ z̄ₖ,  b̄ₖ = Σ z̄ₖ",
    source="Goodfellow et al. 2013, Maxout Networks, eq. 1; CS231n 2019, lecture 4, slides 21 and 80-83",
)
def maxout(
    x: Float[Array, "*batch inputs"],
    w: Float[Array, "inputs pieces outputs"],
    b: Float[Array, "pieces outputs"],
) -> Float[Array, "*batch outputs"]:
    """Maxout y = max_k (x w_k + b_k): a layer whose activation is learned, from k affine pieces.

    The max routes the gradient to the winning piece; pieces that tie share it equally, as in
    `jnp.max`.

    Raises:
        ShapeError: x's last axis is not w's first, or b is not shaped like w without its inputs.

    >>> w, b = jnp.array([[[1.0], [-1.0]]]), jnp.zeros((2, 1))  # max(x, −x)
    >>> maxout(jnp.array([-3.0]), w, b)
    Array([3.], dtype=float32)
    """
    return jnp.max(_pieces(x, w, b), axis=-2)


@maxout.forward
def maxout_forward(x, w, b):
    z = _pieces(x, w, b)
    y = jnp.max(z, axis=-2)
    return y, (x, w, z == y[..., None, :])


@maxout.backward
def maxout_backward(stash, y_bar):
    x, w, wins = stash
    winners = jnp.sum(wins, axis=-2, keepdims=True, dtype=y_bar.dtype)
    z_bar = jnp.where(wins, y_bar[..., None, :] / winners, 0)
    return _x_bar(z_bar, x, w), _w_bar(z_bar, x, w), _b_bar(x, z_bar)
