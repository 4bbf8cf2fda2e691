"""Normalization: over a batch, or over the features of an example.

With μ and v the mean and the variance of n numbers x, r = 1/√(v + ε) and x̂ = (x − μ) r,

    y = γ x̂ + β        β̄ = Σ ȳ        γ̄ = Σ ȳ x̂        x̄ = r (g − mean g − x̂ mean(g x̂)),  g = γ ȳ

where sums go over everything that shares a γ, and means over what shares a μ: the batch (Ioffe and Szegedy
2015) or the features of one example (Ba, Kiros and Hinton 2016). x̄ has lost two of n directions, the shift
and the scale, to which y is blind. Kept are x, μ and r; x̂ is made again.

Half precision is worked out in float32 and rounded once.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from funcnet._errors import ShapeError
from funcnet.nn._dtypes import at_least_float32
from funcnet.nn._gate import gate


@gate(
    formula="x̄ = r (g − mean g − x̂ mean(g x̂)) + μ̄/n + v̄ · 2(x − μ)/n with g = γ ȳ,  γ̄ = Σ ȳ x̂,  β̄ = Σ ȳ",
    source="Ioffe and Szegedy 2015, Batch Normalization, §3",
)
def batch_norm(
    x: Float[Array, "*batch_and_space channels"],
    scale: Float[Array, " channels"],
    shift: Float[Array, " channels"],
    *,
    epsilon: float = 1e-5,
) -> tuple[Float[Array, "*batch_and_space channels"], Float[Array, " channels"], Float[Array, " channels"]]:
    """Batch normalization as in training: by the mean and variance of what comes, over all axes but the last.

    Args:
        x: [*batch, *space, channels].
        scale: γ.
        shift: β.
        epsilon: what is added to the variance.

    Returns:
        y; the mean and the variance of each channel, at least in float32. An average of these over the steps
        of training is what `batch_norm_inference` takes:
        `running = decay * running + (1 - decay) * mean`.

    Raises:
        ShapeError: no examples, or scale and shift are not [channels].

    >>> y, mean, variance = batch_norm(jnp.array([[1.0], [3.0]]), jnp.ones(1), jnp.zeros(1), epsilon=0.0)
    >>> y[:, 0], mean, variance
    (Array([-1.,  1.], dtype=float32), Array([2.], dtype=float32), Array([1.], dtype=float32))
    """
    _check("batch_norm", x, scale, shift)
    mean, variance = _moments(x, tuple(range(x.ndim - 1)))
    mean, variance = mean.reshape(-1), variance.reshape(-1)
    return _normalized(x, mean, _inverse_deviation(variance, epsilon), scale, shift), mean, variance


@batch_norm.forward
def batch_norm_forward(x, scale, shift, *, epsilon=1e-5):
    y, mean, variance = batch_norm.primal(x, scale, shift, epsilon=epsilon)
    return (y, mean, variance), (x, scale, mean, _inverse_deviation(variance, epsilon))


@batch_norm.backward
def batch_norm_backward(stash, bars, **_):
    x, scale, mean, r = stash
    y_bar, mean_bar, variance_bar = bars
    axes = tuple(range(x.ndim - 1))
    x_bar, scale_bar, shift_bar = _through_normalization(x, y_bar, mean, r, scale, axes, axes)
    n = x.size // x.shape[-1]
    x_bar += mean_bar / n + variance_bar * (2 / n) * (at_least_float32(x) - mean)
    return x_bar.astype(x.dtype), scale_bar, shift_bar


@gate(
    formula="x̄ = ȳ γ r,  γ̄ = Σ ȳ x̂,  β̄ = Σ ȳ,  μ̄ = −γ r Σ ȳ,  v̄ = −½ γ r² Σ ȳ x̂",
    source="Ioffe and Szegedy 2015, Batch Normalization, §3.1",
)
def batch_norm_inference(
    x: Float[Array, "*batch_and_space channels"],
    scale: Float[Array, " channels"],
    shift: Float[Array, " channels"],
    mean: Float[Array, " channels"],
    variance: Float[Array, " channels"],
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "*batch_and_space channels"]:
    """Batch normalization after training: by a mean and a variance that are given.

    Args:
        x: [*batch, *space, channels].
        scale: γ.
        shift: β.
        mean: of each channel.
        variance: of each channel.
        epsilon: what is added to the variance.

    Raises:
        ShapeError: one of the others is not [channels].

    >>> one = jnp.ones(1)
    >>> batch_norm_inference(jnp.array([[1.0], [3.0]]), one, 0 * one, 2 * one, one, epsilon=0.0)[:, 0]
    Array([-1.,  1.], dtype=float32)
    """
    _check("batch_norm_inference", x, scale, shift, mean, variance)
    r = _inverse_deviation(at_least_float32(variance), epsilon)
    return _normalized(x, at_least_float32(mean), r, scale, shift)


@batch_norm_inference.forward
def batch_norm_inference_forward(x, scale, shift, mean, variance, *, epsilon=1e-5):
    y = batch_norm_inference.primal(x, scale, shift, mean, variance, epsilon=epsilon)
    return y, (x, scale, mean, variance)


@batch_norm_inference.backward
def batch_norm_inference_backward(stash, y_bar, *, epsilon=1e-5):
    x, scale, mean, variance = stash
    r, wide = _inverse_deviation(at_least_float32(variance), epsilon), at_least_float32(y_bar)
    axes, gain = tuple(range(x.ndim - 1)), at_least_float32(scale) * r
    total = jnp.sum(wide, axes)
    along = jnp.sum(wide * (at_least_float32(x) - at_least_float32(mean)) * r, axes)
    bars = wide * gain, along, total, -gain * total, -0.5 * gain * r * along
    return tuple(bar.astype(x.dtype) for bar in bars)


@gate(
    formula="x̄ = r (g − mean g − x̂ mean(g x̂)) with g = γ ȳ,  γ̄ = Σ ȳ x̂,  β̄ = Σ ȳ",
    source="Ba, Kiros and Hinton 2016, Layer Normalization, eq. 3 and 4",
)
def layer_norm(
    x: Float[Array, "*batch features"],
    scale: Float[Array, " features"],
    shift: Float[Array, " features"],
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "*batch features"]:
    """Layer normalization: by the mean and variance of the features of each example.

    Args:
        x: [*batch, features].
        scale: γ.
        shift: β.
        epsilon: what is added to the variance.

    Raises:
        ShapeError: no features, or scale and shift are not [features].

    >>> layer_norm(jnp.array([1.0, 3.0]), jnp.ones(2), jnp.zeros(2), epsilon=0.0)
    Array([-1.,  1.], dtype=float32)
    """
    _check("layer_norm", x, scale, shift)
    mean, variance = _moments(x, (x.ndim - 1,))
    return _normalized(x, mean, _inverse_deviation(variance, epsilon), scale, shift)


@layer_norm.forward
def layer_norm_forward(x, scale, shift, *, epsilon=1e-5):
    _check("layer_norm", x, scale, shift)
    mean, variance = _moments(x, (x.ndim - 1,))
    r = _inverse_deviation(variance, epsilon)
    return _normalized(x, mean, r, scale, shift), (x, scale, mean, r)


@layer_norm.backward
def layer_norm_backward(stash, y_bar, **_):
    x, scale, mean, r = stash
    over, shared = (x.ndim - 1,), tuple(range(x.ndim - 1))
    x_bar, scale_bar, shift_bar = _through_normalization(x, y_bar, mean, r, scale, over, shared)
    return x_bar.astype(x.dtype), scale_bar, shift_bar


def _check(name: str, x: Array, *of_channels: Array) -> None:
    if x.ndim == 0 or x.size == 0 or any(p.shape != x.shape[-1:] for p in of_channels):
        raise ShapeError(
            f"{name}: x has shape {list(x.shape)}, the others {[list(p.shape) for p in of_channels]}; "
            f"expected something in x, and of the others one number for each place of its last axis"
        )


def _moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and variance, with the axes kept."""
    x = at_least_float32(x)
    mean = jnp.mean(x, axes, keepdims=True)
    return mean, jnp.mean((x - mean) ** 2, axes, keepdims=True)


def _inverse_deviation(variance: Array, epsilon: float) -> Array:
    return lax.rsqrt(variance + epsilon)


def _normalized(x: Array, mean: Array, r: Array, scale: Array, shift: Array) -> Array:
    x_hat = (at_least_float32(x) - mean) * r
    return (x_hat * at_least_float32(scale) + at_least_float32(shift)).astype(x.dtype)


def _through_normalization(
    x: Array,
    y_bar: Array,
    mean: Array,
    r: Array,
    scale: Array,
    over: tuple[int, ...],
    shared: tuple[int, ...],
) -> tuple[Array, Array, Array]:
    """x̄ in float32 at least, γ̄ and β̄; means go over one set of axes, γ is shared along the other."""
    y_bar, x_hat = at_least_float32(y_bar), (at_least_float32(x) - mean) * r
    g = y_bar * at_least_float32(scale)
    mean_of = lambda a: jnp.mean(a, over, keepdims=True)  # noqa: E731
    x_bar = r * (g - mean_of(g) - x_hat * mean_of(g * x_hat))
    scale_bar, shift_bar = jnp.sum(y_bar * x_hat, shared), jnp.sum(y_bar, shared)
    return x_bar, scale_bar.astype(scale.dtype), shift_bar.astype(scale.dtype)
