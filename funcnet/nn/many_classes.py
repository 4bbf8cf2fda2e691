"""Softmax loss over linear scores of so many classes that the scores do not fit.

For 10⁵ to 10⁶ classes the scores s = x w [*batch, classes] are the largest array of a net, larger than its
weights. Here they are never whole: classes are visited in chunks, each chunk's scores are worked out,
folded into a few numbers for each example, and dropped. Forward, for each example (Milakov and Gimelshein
2018, algorithm 3),

    m = max_j s_j        rest = Σ exp(s_j − m) over all but the best        L = log(1 + rest) + m − s_y

and where a chunk has a larger score, what was summed before is scaled by exp(m_before − m). Backward works
the scores of each chunk out a second time: with p_j = exp(s_j − m) / (1 + rest),

    s̄_j = ȳ (p_j − [j = y])        x̄ = Σ_chunks s̄ wᵀ        w̄ = xᵀ s̄, chunk by chunk

As in `softmax_loss`, the gradient of a likely right class is −Σ_{j ≠ y} p_j, without the cancellation of
p_y − 1; the sum is rest / (1 + rest), which the forward pass has kept. In x̄ the right class is added at last:
it is as large as all others together, and in a sum with them each of 10⁵ additions would round at its size.
A fourth matrix product is paid for what is neither written nor read (Wijmans et al. 2025, Cut Your Losses).
"""

from collections.abc import Callable
from typing import TypeVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer

from funcnet._errors import ParameterError, ShapeError
from funcnet.nn._dtypes import is_floating
from funcnet.nn._gate import gate
from funcnet.nn._labels import check_labels
from funcnet.rules.softmax import below, total

T = TypeVar("T")

CHUNK = 4096
"""Classes whose scores are in memory at a time: matrix products as fast as whole, the scores a small part."""


@gate(
    formula="s̄_j = ȳ p_j for j ≠ y,  s̄_y = −ȳ Σ_{j ≠ y} p_j;  x̄ = s̄ wᵀ,  w̄ = xᵀ s̄",
    source="Bridle 1990; Milakov and Gimelshein 2018, algorithm 3; Wijmans et al. 2025, §4",
)
def linear_softmax_loss(
    x: Float[Array, "*batch inputs"],
    w: Float[Array, "inputs classes"],
    labels: Integer[Array, "*batch"],
    *,
    chunk: int = CHUNK,
) -> Float[Array, "*batch"]:
    """`softmax_loss(linear(x, w), labels)` without the scores in memory, for 10⁵ classes and more.

    Scores of half precision are summed, kept and compared in float32. Examples may be sharded; the axis of
    the classes may not, as chunks are cut from it.

    Args:
        x: what the last layer gets.
        w: a column for each class.
        labels: the right class of each example, or −1 for none.
        chunk: of how many classes there are scores at a time.

    Returns:
        The loss of each example, at least in float32; NaN where a label is no class.

    Raises:
        ShapeError: x's last axis is not w's first, or labels are not integers [*batch].
        ParameterError: a label is no class, where traced ones give NaN; or the chunk is below 1.

    >>> x, w = jnp.array([1.0, 2.0]), jnp.array([[0.0, 1.0, -1.0], [1.6, 2.05, -0.35]])
    >>> f"{linear_softmax_loss(x, w, 0):.2f}"  # the course's cat, car and frog: scores 3.2, 5.1, −1.7
    '2.04'
    """
    loss, _ = linear_softmax_loss_forward(x, w, labels, chunk=chunk)
    return loss


@linear_softmax_loss.forward
def linear_softmax_loss_forward(x, w, labels, *, chunk=CHUNK):
    _check(x, w, labels, chunk)

    def fold(folded, start, size):
        m, best, rest, right_score = folded
        s = _scores(x, _columns(w, start, size))
        highest = lax.stop_gradient(jnp.maximum(m, jnp.max(s, axis=-1, keepdims=True)))
        d, exp_d = below(s, highest)
        _, scale = below(m, highest)
        rises = highest > m
        best, rest = jnp.where(rises, 0, best), jnp.where(rises, (best + rest) * scale, rest)
        right = _is_right(labels, start, size)
        return (
            highest,
            best + total(exp_d, [-1], d == 0),
            rest + total(exp_d, [-1], d != 0),
            right_score + total(s, [-1], right),
        )

    zero = jnp.zeros((*x.shape[:-1], 1), _summed_in(x))
    nothing = jnp.full_like(zero, jnp.finfo(zero.dtype).min), zero, zero, zero
    m, best, rest, right_score = _over_chunks(fold, nothing, w.shape[-1], chunk)
    others = (best - 1) + rest
    loss = (jnp.log1p(others) + (m - right_score))[..., 0]
    return jnp.where(_is_class(labels, w), loss, jnp.nan), (x, w, labels, m, others, right_score)


@linear_softmax_loss.backward
def linear_softmax_loss_backward(stash, y_bar, *, chunk=CHUNK):
    x, w, labels, m, others, right_score = stash
    batch, upstream = tuple(range(x.ndim - 1)), y_bar[..., None]
    p_right = below(right_score, m)[1] / (1 + others)
    right_bar = upstream * jnp.where(p_right > 0.5, -others / (1 + others), p_right - 1)

    def add(bars, start, size):
        x_bar, w_bar = bars
        columns = _columns(w, start, size)
        right = _is_right(labels, start, size)
        p_bar = upstream * below(_scores(x, columns), m)[1] / (1 + others)
        x_bar += _dot(jnp.where(right, 0, p_bar).astype(x.dtype), columns, (x.ndim - 1,), (1,))
        w_chunk = _dot(x, jnp.where(right, right_bar, p_bar).astype(x.dtype), batch, batch)
        return x_bar, lax.dynamic_update_slice_in_dim(w_bar, w_chunk.astype(w.dtype), start, axis=1)

    zeros = jnp.zeros(x.shape, m.dtype), jnp.zeros_like(w)
    x_bar, w_bar = _over_chunks(add, zeros, w.shape[-1], chunk)
    w_right = jnp.moveaxis(jnp.take(w, labels, axis=1, mode="clip"), 0, -1).astype(m.dtype)
    x_bar += jnp.where(_is_class(labels, w)[..., None], right_bar * w_right, 0)
    return x_bar.astype(x.dtype), w_bar, None


def _over_chunks(step: Callable[[T, Array | int, int], T], carry: T, classes: int, chunk: int) -> T:
    """What becomes of the carry over all chunks, each given by its first class and its size."""
    chunk = min(chunk, classes)
    whole, left = divmod(classes, chunk)
    carry = lax.fori_loop(0, whole, lambda i, carry: step(carry, i * chunk, chunk), carry)
    return step(carry, whole * chunk, left) if left else carry


def _columns(w: Array, start: Array | int, size: int) -> Array:
    return lax.dynamic_slice_in_dim(w, start, size, axis=1)


def _scores(x: Array, columns: Array) -> Array:
    return _dot(x, columns, (x.ndim - 1,), (0,))


def _dot(a: Array, b: Array, a_axes: tuple[int, ...], b_axes: tuple[int, ...]) -> Array:
    """The sum of products over paired axes, at least in float32."""
    return lax.dot_general(a, b, ((a_axes, b_axes), ((), ())), preferred_element_type=_summed_in(a))


def _summed_in(x: Array) -> jnp.dtype:
    return jnp.dtype(jnp.float32 if jnp.finfo(x.dtype).bits < 32 else x.dtype)


def _is_right(labels: Array, start: Array | int, size: int) -> Array:
    """[j = y] for the classes of a chunk."""
    classes = start + jnp.arange(size, dtype=jnp.int32)
    return labels[..., None].astype(jnp.int32) == classes


def _is_class(labels: Array, w: Array) -> Array:
    return (labels >= 0) & (labels < w.shape[-1])


def _check(x: Array, w: Array, labels: Array, chunk: int) -> None:
    if w.ndim != 2 or x.ndim == 0 or x.shape[-1] != w.shape[0] or not w.shape[1]:
        raise ShapeError(
            f"linear_softmax_loss: x has shape {list(x.shape)} and w {list(w.shape)}; expected x "
            f"[*batch, in] and w [in, classes] with the same number of inputs, and a class or more"
        )
    if is_floating(labels) or labels.shape != x.shape[:-1]:
        raise ShapeError(
            f"linear_softmax_loss: x has shape {list(x.shape)}, labels {list(labels.shape)} with dtype "
            f"{labels.dtype}; expected integer labels [*batch], one for each example"
        )
    if not chunk >= 1:
        raise ParameterError(
            f"linear_softmax_loss: chunk is {chunk}; expected a number of classes, 1 or more"
        )
    check_labels("linear_softmax_loss", labels, w.shape[-1])
