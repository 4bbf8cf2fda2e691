"""The rules of the power study: functions with gradients that are right, written by hand.

Each is written as an expert would: sums of short floats are taken in float32, no exponential overflows,
nothing cancels that need not.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

SIZES = (8, 64, 1024)
DTYPES = ("float32", "bfloat16", "float16")
SEED = 4


@dataclass(frozen=True)
class Rule:
    """A function with its gradient, as plain functions.

    Attributes:
        primal: the function.
        forward: `forward(*args) -> (y, stash)`.
        backward: `backward(stash, y_bar) -> x_bars`.
        sample: `sample(n, rng) -> args` of about n elements.
        mistake: the backward that people write by mistake.
        ties: a backward that is wrong at ties or kinks alone.
    """

    primal: Callable
    forward: Callable
    backward: Callable
    sample: Callable
    mistake: Callable
    ties: Callable | None = None

    @property
    def name(self):
        return self.primal.__name__

    def custom_vjp(self):
        """What is checked."""
        function = jax.custom_vjp(self.primal)
        function.defvjp(self.forward, self.backward)
        return function

    def args(self, n, dtype="float32"):
        """The arguments, their floats in this dtype."""
        args = self.sample(n, np.random.default_rng(SEED))
        return jax.tree.map(lambda x: jnp.asarray(x, dtype if x.dtype == np.float32 else x.dtype), args)


def wide(x):
    """At least float32, for sums."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def shape(n):
    """n elements as a matrix, with more columns than rows while there are few."""
    return {8: (2, 4), 64: (8, 8), 1024: (32, 32)}[n]


def normal(*shape):
    return lambda rng: rng.normal(size=shape).astype(np.float32)


def normal_matrices(count):
    def sample(n, rng):
        return tuple(normal(*shape(n))(rng) for _ in range(count))

    return sample


def normal_squares(count):
    def sample(n, rng):
        side = round(n**0.5)
        return tuple(normal(side, side)(rng) for _ in range(count))

    return sample


# silu: x̄ = ȳ σ(x) (1 + x σ(−x))


def silu(x):
    return x * jax.nn.sigmoid(x)


def silu_backward(x, y_bar):
    z = wide(x)
    return ((wide(y_bar) * jax.nn.sigmoid(z) * (1 + z * jax.nn.sigmoid(-z))).astype(x.dtype),)


def silu_without_the_second_term(x, y_bar):
    return (y_bar * jax.nn.sigmoid(x),)


# matmul: x̄ = ȳ wᵀ, w̄ = xᵀ ȳ


def matmul(x, w):
    return (wide(x) @ wide(w)).astype(x.dtype)


def matmul_backward(stash, y_bar):
    x, w = stash
    return matmul(y_bar, w.T), matmul(x.T, y_bar)


def matmul_without_transposing(stash, y_bar):
    x, w = stash
    return matmul(y_bar, w), matmul(x.T, y_bar)


# dense, on a tree of parameters: w̄ = xᵀ ȳ, b̄ = Σ ȳ over the examples


def dense(params, x):
    return (wide(x) @ wide(params["w"]) + wide(params["b"])).astype(x.dtype)


def dense_backward(stash, y_bar):
    params, x = stash
    b_bar = wide(y_bar).sum(0).astype(y_bar.dtype)
    return {"w": matmul(x.T, y_bar), "b": b_bar}, matmul(y_bar, params["w"].T)


def dense_without_the_sum(stash, y_bar):
    params_bar, x_bar = dense_backward(stash, y_bar)
    return params_bar | {"b": y_bar[0]}, x_bar


def dense_sample(n, rng):
    examples, features = shape(n)
    return {"w": normal(features, 5)(rng), "b": normal(5)(rng)}, normal(examples, features)(rng)


# softmax: x̄ = y (ȳ − Σ ȳ y)


def softmax(x):
    z = wide(x)
    e = jnp.exp(z - z.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype(x.dtype)


def softmax_forward(x):
    y = softmax(x)
    return y, y


def softmax_backward(y, y_bar):
    p, p_bar = wide(y), wide(y_bar)
    return ((p * (p_bar - (p * p_bar).sum(-1, keepdims=True))).astype(y.dtype),)


def softmax_as_if_elementwise(y, y_bar):
    return (y_bar * y * (1 - y),)


# layer_norm: with n = γ ȳ and u = (x − μ) / s:  x̄ = (n − mean n − u mean(n u)) / s, γ̄ = Σ ȳ u, β̄ = Σ ȳ


def layer_norm_forward(x, gain, bias):
    z = wide(x)
    centred = z - z.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    unit = centred * scale
    return (unit * wide(gain) + wide(bias)).astype(x.dtype), (unit, scale, gain)


def layer_norm(x, gain, bias):
    return layer_norm_forward(x, gain, bias)[0]


def layer_norm_backward(stash, y_bar):
    unit, scale, gain = stash
    g = wide(y_bar)
    n = g * wide(gain)
    x_bar = scale * (n - n.mean(-1, keepdims=True) - unit * (n * unit).mean(-1, keepdims=True))
    return tuple(a.astype(y_bar.dtype) for a in (x_bar, (g * unit).sum(0), g.sum(0)))


def layer_norm_with_constant_statistics(stash, y_bar):
    unit, scale, gain = stash
    g = wide(y_bar)
    return tuple(a.astype(y_bar.dtype) for a in (scale * g * wide(gain), (g * unit).sum(0), g.sum(0)))


def layer_norm_sample(n, rng):
    features = shape(n)[1]
    return normal(*shape(n))(rng), normal(features)(rng), normal(features)(rng)


# logsumexp: x̄ = ȳ exp(x − y)


def logsumexp_forward(x):
    z = wide(x)
    top = z.max(-1, keepdims=True)
    y = jnp.log(jnp.exp(z - top).sum(-1, keepdims=True)) + top
    return y[..., 0].astype(x.dtype), (x, y)


def logsumexp(x):
    return logsumexp_forward(x)[0]


def logsumexp_backward(stash, y_bar):
    x, y = stash
    return ((wide(y_bar)[..., None] * jnp.exp(wide(x) - y)).astype(x.dtype),)


def logsumexp_over_the_other_axis(stash, y_bar):
    x, _ = stash
    return (y_bar[..., None] * jax.nn.softmax(x, axis=0),)


# cumsum: x̄ᵢ = Σ ȳⱼ over j ≥ i


def cumsum(x):
    return jnp.cumsum(wide(x), -1).astype(x.dtype)


def cumsum_backward(_, y_bar):
    return (jnp.flip(cumsum(jnp.flip(y_bar, -1)), -1),)


# sort: ȳ goes back to where y came from


def sort(x):
    return jnp.sort(x)


def sort_forward(x):
    order = jnp.argsort(x)
    return x[order], order


# take, by integers: the rows of ȳ are added up where they came from


def take(table, rows):
    return table[rows]


def take_forward(table, rows):
    return table[rows], (rows, table[:, :0])  # the empty columns say how many rows there are


def take_backward(stash, y_bar):
    rows, empty = stash
    table_bar = jnp.zeros((len(empty), y_bar.shape[1]), wide(y_bar).dtype)
    return table_bar.at[rows].add(wide(y_bar)).astype(y_bar.dtype), None


def take_the_last_of_each_row(stash, y_bar):
    rows, empty = stash
    return jnp.zeros((len(empty), y_bar.shape[1]), y_bar.dtype).at[rows].set(y_bar), None


def take_sample(n, rng):
    rows = shape(n)[0]
    return normal(*shape(n))(rng), rng.permutation(np.arange(2 * rows, dtype=np.int32) // 3 % rows)


# moments, with two outputs: x̄ = (m̄ + 2 (x − m) v̄) / n


def moments_forward(x):
    z = wide(x)
    mean = z.mean(-1, keepdims=True)
    centred = z - mean
    return (mean[..., 0].astype(x.dtype), (centred**2).mean(-1).astype(x.dtype)), centred


def moments(x):
    return moments_forward(x)[0]


def moments_backward(centred, y_bars):
    mean_bar, variance_bar = (wide(y_bar)[..., None] for y_bar in y_bars)
    x_bar = (mean_bar + 2 * centred * variance_bar) / centred.shape[-1]
    return (x_bar.astype(y_bars[0].dtype),)


def moments_of_a_sample(centred, y_bars):
    mean_bar, variance_bar = (y_bar[..., None] for y_bar in y_bars)
    n = centred.shape[-1]
    return ((mean_bar / n + 2 * centred * variance_bar / (n - 1)).astype(y_bars[0].dtype),)


# relu, at its kink: x̄ = ȳ [x > 0]


def relu(x):
    return jnp.maximum(x, 0)


def relu_sample(n, rng):
    x = normal(n)(rng)
    x[::4] = 0
    return (x,)


# maximum, with ties: the winners share ȳ


def maximum(x):
    return x.max(-1)


def maximum_forward(x):
    y = maximum(x)
    return y, x == y[..., None]


def maximum_backward(winners, y_bar):
    return (jnp.where(winners, (y_bar / winners.sum(-1))[..., None], 0).astype(y_bar.dtype),)


def maximum_over_all_rows(winners, y_bar):
    return (jnp.where(winners, (y_bar / winners.sum())[..., None], 0).astype(y_bar.dtype),)


def maximum_to_every_winner(winners, y_bar):
    return (jnp.where(winners, y_bar[..., None], 0),)


def maximum_sample(n, rng):
    x = normal(*shape(n))(rng)
    x[:, 1] = x[:, 2] = x.max(-1)
    return (x,)


# cross_entropy: x̄ = ȳ p for the other classes, and minus their sum for the own one (p − 1 would cancel)


def cross_entropy(logits, labels):
    z = wide(logits)
    own = jnp.take_along_axis(z, labels[:, None], -1)
    return jax.nn.logsumexp(z - own, axis=-1).astype(logits.dtype)


def cross_entropy_backward(stash, y_bar):
    logits, labels = stash
    own = jnp.arange(logits.shape[-1]) == labels[:, None]
    others = jnp.where(own, 0, jax.nn.softmax(wide(logits)))
    p = jnp.where(own, -others.sum(-1, keepdims=True), others)
    return (wide(y_bar)[:, None] * p).astype(logits.dtype), None


def cross_entropy_without_the_label(stash, y_bar):
    return (y_bar[:, None] * softmax(stash[0])).astype(y_bar.dtype), None


def cross_entropy_sample(n, rng):
    examples, classes = shape(n)
    return normal(examples, classes)(rng), rng.integers(classes, size=examples, dtype=np.int32)


# attention: with p = softmax(q kᵀ / √d) and s̄ = p (ȳ vᵀ − Σ p ȳ vᵀ):  q̄ = s̄ k / √d, k̄ = s̄ᵀ q / √d, v̄ = pᵀ ȳ


def attention_forward(q, k, v):
    scores = wide(q) @ wide(k).T / q.shape[-1] ** 0.5
    p = softmax(scores)
    return (p @ wide(v)).astype(v.dtype), (p, q, k, v)


def attention(q, k, v):
    return attention_forward(q, k, v)[0]


def attention_backward(stash, y_bar):
    p, q, k, v = map(wide, stash)
    g = wide(y_bar)
    (scores_bar,) = softmax_backward(p, g @ v.T)
    scale = q.shape[-1] ** -0.5
    x_bars = scores_bar @ k * scale, scores_bar.T @ q * scale, p.T @ g
    return tuple(x_bar.astype(y_bar.dtype) for x_bar in x_bars)


def attention_without_the_root(stash, y_bar):
    q_bar, k_bar, v_bar = attention_backward(stash, y_bar)
    root = q_bar.shape[-1] ** 0.5
    return q_bar * root, k_bar * root, v_bar


RULES = (
    Rule(
        silu,
        lambda x: (silu(x), x),
        silu_backward,
        lambda n, rng: (normal(n)(rng),),
        mistake=silu_without_the_second_term,
    ),
    Rule(
        matmul,
        lambda x, w: (matmul(x, w), (x, w)),
        matmul_backward,
        normal_squares(2),
        mistake=matmul_without_transposing,
    ),
    Rule(
        dense,
        lambda params, x: (dense(params, x), (params, x)),
        dense_backward,
        dense_sample,
        mistake=dense_without_the_sum,
    ),
    Rule(softmax, softmax_forward, softmax_backward, normal_matrices(1), mistake=softmax_as_if_elementwise),
    Rule(
        layer_norm,
        layer_norm_forward,
        layer_norm_backward,
        layer_norm_sample,
        mistake=layer_norm_with_constant_statistics,
    ),
    Rule(
        logsumexp,
        logsumexp_forward,
        logsumexp_backward,
        normal_matrices(1),
        mistake=logsumexp_over_the_other_axis,
    ),
    Rule(
        cumsum,
        lambda x: (cumsum(x), None),
        cumsum_backward,
        normal_matrices(1),
        mistake=lambda _, y_bar: (cumsum(y_bar),),
    ),
    Rule(
        sort,
        sort_forward,
        lambda order, y_bar: (jnp.zeros_like(y_bar).at[order].set(y_bar),),
        lambda n, rng: (normal(n)(rng),),
        mistake=lambda order, y_bar: (y_bar[order],),
    ),
    Rule(take, take_forward, take_backward, take_sample, mistake=take_the_last_of_each_row),
    Rule(moments, moments_forward, moments_backward, normal_matrices(1), mistake=moments_of_a_sample),
    Rule(
        relu,
        lambda x: (relu(x), x),
        lambda x, y_bar: (jnp.where(x > 0, y_bar, 0),),
        relu_sample,
        mistake=lambda x, y_bar: (jnp.where(x > 0, y_bar, 0.01 * y_bar),),
        ties=lambda x, y_bar: (jnp.where(x > 0, y_bar, jnp.where(x == 0, 2 * y_bar, 0)),),
    ),
    Rule(
        maximum,
        maximum_forward,
        maximum_backward,
        maximum_sample,
        mistake=maximum_over_all_rows,
        ties=maximum_to_every_winner,
    ),
    Rule(
        cross_entropy,
        lambda logits, labels: (cross_entropy(logits, labels), (logits, labels)),
        cross_entropy_backward,
        cross_entropy_sample,
        mistake=cross_entropy_without_the_label,
    ),
    Rule(
        attention,
        attention_forward,
        attention_backward,
        normal_matrices(3),
        mistake=attention_without_the_root,
    ),
)
