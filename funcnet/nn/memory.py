"""Looking up: by number, by likeness, and by shift, as nets with a memory do.

    embedding       y = rows[i]              row̄s[j] = Σ ȳ over the places where i = j
    likeness        cⱼ = û·M̂ⱼ                ū = Σⱼ c̄ⱼ (M̂ⱼ − cⱼ û) / |u|,  M̄ⱼ = c̄ⱼ (û − cⱼ M̂ⱼ) / |Mⱼ|
    moved weights   yᵢ = Σₖ w_{i−k} sₖ        w̄ᵢ = Σₖ ȳ_{i+k} sₖ,  s̄ₖ = Σᵢ ȳᵢ w_{i−k},  −r ≤ k ≤ r

with û = u / |u| and M̂ⱼ = Mⱼ / |Mⱼ|, and places around a circle.

The last two find and move the places of a Neural Turing Machine's heads (Graves, Wayne and Danihelka 2014,
eq. 5, 6 and 8); CS231n 2019, lecture 4, slides 40 and 41.
"""

import functools
import operator

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from funcnet._errors import ShapeError
from funcnet.nn._dtypes import at_least_float32, is_floating
from funcnet.nn._gate import gate


@gate(
    formula="row̄s[j] = Σ ȳ over the places where i = j",
    source="Bengio et al. 2003, A Neural Probabilistic Language Model, §2",
)
def embedding(
    rows: Float[Array, "number features"], i: Int[Array, "*batch"]
) -> Float[Array, "*batch features"]:
    """The rows with these numbers: what a linear layer makes of one-hot vectors.

    Returns:
        [*batch, features]; NaN for a number that no row has, and no gradient to any then.

    Raises:
        ShapeError: rows are no matrix, or the numbers no integers.

    >>> embedding(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([1, 0, 1]))[:, 0]
    Array([3., 1., 3.], dtype=float32)
    """
    if rows.ndim != 2 or is_floating(i):
        raise ShapeError(
            f"embedding: rows have shape {list(rows.shape)} and the numbers dtype {i.dtype}; expected rows "
            f"[number, features] and integers"
        )
    return rows.at[_from_0(i, rows)].get(mode="fill", fill_value=jnp.nan)


@embedding.forward
def embedding_forward(rows, i):
    return embedding.primal(rows, i), (i, rows[:, :0])


@embedding.backward
def embedding_backward(stash, y_bar):
    i, rows = stash
    zeros = jnp.zeros((rows.shape[0], y_bar.shape[-1]), y_bar.dtype)
    return zeros.at[_from_0(i, rows)].add(y_bar, mode="drop"), None


def _from_0(i: Array, rows: Array) -> Array:
    """The numbers, with those below 0, which would count from the end, beyond it."""
    return jnp.where(i < 0, jnp.asarray(rows.shape[0], i.dtype), i)


@gate(
    formula="ū = Σⱼ c̄ⱼ (M̂ⱼ − cⱼ û) / |u|,  M̄ⱼ = c̄ⱼ (û − cⱼ M̂ⱼ) / |Mⱼ|  for the upstream gradient c̄ = ȳ",
    source="Graves, Wayne and Danihelka 2014, Neural Turing Machines, eq. 6",
)
def cosine_similarity(
    u: Float[Array, "*batch features"], rows: Float[Array, "*batch rows features"]
) -> Float[Array, "*batch rows"]:
    """The cosine of the angle between a vector and each of some rows.

    Where one of the two is 0 there is no angle: the cosine is 0 there, and so are its gradients.

    Raises:
        ShapeError: rows are not [*batch, rows, features] for u [*batch, features].

    >>> cosine_similarity(jnp.array([2.0, 0.0]), jnp.array([[3.0, 4.0], [0.0, 1.0]]))
    Array([0.6, 0. ], dtype=float32)
    """
    if rows.ndim != u.ndim + 1 or rows.shape[:-2] != u.shape[:-1] or rows.shape[-1:] != u.shape[-1:]:
        raise ShapeError(
            f"cosine_similarity: u has shape {list(u.shape)} and rows {list(rows.shape)}; expected "
            f"[*batch, features] and [*batch, rows, features]"
        )
    directions = [_direction(at_least_float32(x))[0] for x in (u, rows)]
    return _products(*directions).astype(u.dtype)


@cosine_similarity.forward
def cosine_similarity_forward(u, rows):
    return cosine_similarity.primal(u, rows), (u, rows)


@cosine_similarity.backward
def cosine_similarity_backward(stash, y_bar):
    (u_hat, per_u), (rows_hat, per_row) = (_direction(at_least_float32(x)) for x in stash)
    y_bar = at_least_float32(y_bar)[..., None]
    across = rows_hat - _products(u_hat, rows_hat)[..., None] * u_hat[..., None, :]
    u_bar = per_u * jnp.sum(y_bar * across, -2)
    back = u_hat[..., None, :] - _products(u_hat, rows_hat)[..., None] * rows_hat
    rows_bar = per_row * y_bar * back
    return tuple(bar.astype(x.dtype) for bar, x in zip((u_bar, rows_bar), stash, strict=True))


def _direction(x: Array) -> tuple[Array, Array]:
    """Vectors scaled to length 1, and 1/length; 0 and 0 for a vector 0. No square overflows or vanishes."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), -1, keepdims=True))
    is_zero = largest == 0
    scale = jnp.where(is_zero, 1, largest)
    squares = jnp.sum((x / scale) ** 2, -1, keepdims=True)
    per_length = jnp.where(is_zero, 0, lax.rsqrt(jnp.where(is_zero, 1, squares)))
    return x / scale * per_length, per_length / scale


def _products(u: Array, rows: Array) -> Array:
    return jnp.sum(u[..., None, :] * rows, -1)


@gate(
    formula="w̄ᵢ = Σₖ ȳ_{i+k} sₖ,  s̄ₖ = Σᵢ ȳᵢ w_{i−k}",
    source="Graves, Wayne and Danihelka 2014, Neural Turing Machines, eq. 8",
)
def circular_convolution(
    w: Float[Array, "*batch places"], s: Float[Array, "*batch shifts"]
) -> Float[Array, "*batch places"]:
    """Weights around a circle, moved by each of the shifts −r to r in the shares s.

    Args:
        w: a weight for each place.
        s: a share for each shift, −r first: an odd number of them.

    Raises:
        ShapeError: other axes than the last differ, or the number of shifts is even or above that of places.

    >>> circular_convolution(jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.array([0.25, 0.0, 0.75]))
    Array([0.  , 0.75, 0.  , 0.25], dtype=float32)
    """
    if w.ndim == 0 or w.shape[:-1] != s.shape[:-1] or s.shape[-1] % 2 == 0 or s.shape[-1] > w.shape[-1]:
        raise ShapeError(
            f"circular_convolution: w has shape {list(w.shape)} and s {list(s.shape)}; expected "
            f"[*batch, places] and [*batch, shifts] with an odd number of shifts, at most one a place"
        )
    wide, s = at_least_float32(w), at_least_float32(s)
    moved = (jnp.roll(wide, k, -1) * _share(s, k) for k in _shifts(s))
    return functools.reduce(operator.add, moved).astype(w.dtype)


@circular_convolution.forward
def circular_convolution_forward(w, s):
    return circular_convolution.primal(w, s), (w, s)


@circular_convolution.backward
def circular_convolution_backward(stash, y_bar):
    w, s = map(at_least_float32, stash)
    y_bar = at_least_float32(y_bar)
    w_bar = functools.reduce(operator.add, (_moved_back(y_bar * _share(s, k), k) for k in _shifts(s)))
    s_bar = jnp.stack([jnp.sum(y_bar * jnp.roll(w, k, -1), -1) for k in _shifts(s)], -1)
    return tuple(bar.astype(x.dtype) for bar, x in zip((w_bar, s_bar), stash, strict=True))


def _moved_back(x: Array, k: int) -> Array:
    """`jnp.roll(x, -k, -1)` as a sum of its two parts, each with zeros: XLA fuses that, and not a roll."""
    places = x.shape[-1]
    first, edges = k % places, [(0, 0)] * (x.ndim - 1)
    if not first:
        return x
    front = jnp.pad(x[..., first:], [*edges, (0, first)])
    return front + jnp.pad(x[..., :first], [*edges, (places - first, 0)])


def _shifts(s: Array) -> range:
    reach = s.shape[-1] // 2
    return range(-reach, reach + 1)


def _share(s: Array, k: int) -> Array:
    i = k + s.shape[-1] // 2
    return lax.slice_in_dim(s, i, i + 1, axis=-1)
