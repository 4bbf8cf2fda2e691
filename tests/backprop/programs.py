"""Whole programs, as people write them: what the gradient is taken of, in the tests and in the benchmark.

A program is a scalar loss. Its first argument, a pytree of float arrays, is differentiated; the others are
data: floats, integers, random keys. The sizes are small, yet large enough that arrays outweigh scalars in the
memory of the compiled gradient.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import cho_solve, cholesky
from jax.scipy.special import logsumexp

import funcnet


@dataclass(frozen=True, eq=False)
class Program:
    """One line of the table.

    Attributes:
        name: of the program.
        function: a loss of its first argument and of data.
        arguments: from a numpy generator to the arguments, with float64 for floats.
        reference: what JAX differentiates in its place, where it refuses the program itself.
        dearer: where the compiled gradient costs more than 1.1 times JAX's: by measure, how much and why.
    """

    name: str
    function: Callable[..., Any]
    arguments: Callable[[np.random.Generator], tuple[Any, ...]]
    reference: Callable[..., Any] | None = None
    dearer: Mapping[str, tuple[float, str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def sample(self) -> tuple[Any, ...]:
        """The arguments, with floats of JAX's default precision."""
        return jax.tree.map(jnp.asarray, self.arguments(np.random.default_rng(231)))


@functools.cache
def compiled(program: Program, value_and_grad: Callable) -> Any:
    """The compiled value and gradient of a program, by `funcnet.value_and_grad` or `jax.value_and_grad`."""
    return jax.jit(value_and_grad(program.function)).lower(*program.sample()).compile()


MEASURES: dict[str, Callable[[Any], float]] = {
    "FLOPs": lambda compiled: compiled.cost_analysis()["flops"],
    "temporary bytes": lambda compiled: compiled.memory_analysis().temp_size_in_bytes,
    "bytes accessed": lambda compiled: compiled.cost_analysis()["bytes accessed"],
}
"""What a compiled function costs: exact numbers, not timings."""


def ratio(program: Program, measure: Callable[[Any], float], of: Callable = funcnet.value_and_grad) -> float:
    """What funcnet's gradient costs, JAX's being 1."""
    return measure(compiled(program, of)) / measure(compiled(program, jax.value_and_grad))


def dense(rng, *sizes):
    """Weights and biases of a net of fully connected layers."""
    return [
        (rng.normal(size=(m, n)) / np.sqrt(m), rng.normal(size=n) / 10) for m, n in itertools.pairwise(sizes)
    ]


def mlp(activation):
    """The loss of a classifier: fully connected layers and softmax cross-entropy."""

    def loss(layers, x, labels):
        *hidden, (w, b) = layers
        for v, c in hidden:
            x = activation(x @ v + c)
        return cross_entropy(x @ w + b, labels)

    return loss


def cross_entropy(scores, labels):
    log_p = jax.nn.log_softmax(scores)
    return -jnp.take_along_axis(log_p, labels[..., None], axis=-1).mean()


def classifier_arguments(*sizes, batch=64):
    return lambda rng: (
        dense(rng, *sizes),
        rng.normal(size=(batch, sizes[0])),
        rng.integers(sizes[-1], size=batch, dtype=np.int32),
    )


def convnet(params, images, labels):
    """Convolution, batch norm, relu, max pooling; convolution, average pooling; fully connected."""
    x = convolve(images, params["kernel1"])
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    x = jax.nn.relu((x - mean) * lax.rsqrt(var + 1e-5) * params["scale"] + params["shift"])
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = jax.nn.relu(convolve(x, params["kernel2"]))
    x = lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    return cross_entropy(x.reshape(len(x), -1) @ params["w"], labels)


def convolve(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def convnet_arguments(rng):
    params = {
        "kernel1": rng.normal(size=(3, 3, 3, 8)) / 5,
        "scale": rng.uniform(0.5, 1.5, 8),
        "shift": rng.normal(size=8),
        "kernel2": rng.normal(size=(3, 3, 8, 16)) / 8,
        "w": rng.normal(size=(4 * 4 * 16, 10)) / 16,
    }
    return params, rng.normal(size=(8, 16, 16, 3)), rng.integers(10, size=8, dtype=np.int32)


def lstm(params, xs, targets):
    """Hochreiter and Schmidhuber 1997, with a forget gate, under scan."""
    w, u, b, out = params

    def step(state, x):
        h, c = state
        i, f, g, o = jnp.split(x @ w + h @ u + b, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = jnp.zeros((xs.shape[1], len(u)), xs.dtype)
    _, hs = lax.scan(step, (start, start), xs)
    return jnp.mean((hs @ out - targets) ** 2)


def lstm_arguments(rng, steps=16, batch=8, inputs=12, units=32, outputs=4):
    w, u = rng.normal(size=(inputs, 4 * units)) / 4, rng.normal(size=(units, 4 * units)) / 6
    params = w, u, rng.normal(size=4 * units), rng.normal(size=(units, outputs)) / 6
    return params, rng.normal(size=(steps, batch, inputs)), rng.normal(size=(steps, batch, outputs))


def gru(params, xs, lengths, targets):
    """Cho et al. 2014, over sequences of different lengths, from the last step to the first."""
    w, u, out = params

    def step(h, timed):
        t, x = timed
        r, z = jnp.split(jax.nn.sigmoid(x @ w["gates"] + h @ u["gates"]), 2, axis=-1)
        new = jnp.tanh(x @ w["state"] + (r * h) @ u["state"])
        return jnp.where((t < lengths)[:, None], z * h + (1 - z) * new, h), None

    start = jnp.zeros((xs.shape[1], len(out)), xs.dtype)
    h, _ = lax.scan(step, start, (jnp.arange(len(xs)), xs), reverse=True)
    return jnp.mean((h @ out - targets) ** 2)


def gru_arguments(rng, steps=16, batch=8, inputs=12, units=32):
    w, u = (
        {"gates": rng.normal(size=(n, 2 * units)) / 5, "state": rng.normal(size=(n, units)) / 5}
        for n in (inputs, units)
    )
    xs, lengths = rng.normal(size=(steps, batch, inputs)), rng.integers(1, steps, size=batch, dtype=np.int32)
    return (w, u, rng.normal(size=(units, 1)) / 6), xs, lengths, rng.normal(size=(batch, 1))


def layer_norm(x, scale, shift):
    x = x - x.mean(-1, keepdims=True)
    return x * lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale + shift


def attention(x, qkv, out):
    """Causal, with several heads: Vaswani et al. 2017, section 3.2."""
    q, k, v = jnp.einsum("btd,dnhe->nbhte", x, qkv)
    scores = jnp.einsum("bhqe,bhke->bhqk", q, k) / np.sqrt(q.shape[-1])
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    p = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf))
    return jnp.einsum("bhqk,bhke,hed->bqd", p, v, out)


def block(layer, x):
    """A transformer's layer, with the norms before attention and before the two dense layers."""
    x = x + attention(layer_norm(x, *layer["norm1"]), layer["qkv"], layer["out"])
    return x + jax.nn.gelu(layer_norm(x, *layer["norm2"]) @ layer["up"]) @ layer["down"]


def transformer(params, tokens):
    """Next-token loss; the embedding is also the last layer's weights."""
    x = params["embedding"][tokens[:, :-1]]
    for layer in params["layers"]:
        x = block(layer, x)
    return cross_entropy(x @ params["embedding"].T, tokens[:, 1:])


def remat_transformer(params, tokens):
    """The same, its layers stacked and scanned over, with each run again on the way back."""

    def step(x, layer):
        return jax.checkpoint(block)(layer, x), None

    x, _ = lax.scan(step, params["embedding"][tokens[:, :-1]], params["layers"])
    return cross_entropy(x @ params["embedding"].T, tokens[:, 1:])


def transformer_layer(rng, features=32, heads=4):
    def normal(*shape, fan_in):
        return rng.normal(size=shape) / np.sqrt(fan_in)

    return {
        "norm1": (1 + normal(features, fan_in=100), normal(features, fan_in=100)),
        "qkv": normal(features, 3, heads, features // heads, fan_in=features),
        "out": normal(heads, features // heads, features, fan_in=features),
        "norm2": (1 + normal(features, fan_in=100), normal(features, fan_in=100)),
        "up": normal(features, 4 * features, fan_in=features),
        "down": normal(4 * features, features, fan_in=4 * features),
    }


def transformer_arguments(rng, vocabulary=50, features=32):
    params = {
        "embedding": rng.normal(size=(vocabulary, features)) / 6,
        "layers": [transformer_layer(rng, features)],
    }
    return params, rng.integers(vocabulary, size=(4, 17), dtype=np.int32)


def remat_transformer_arguments(rng, layers=3):
    params, tokens = transformer_arguments(rng)
    blocks = [transformer_layer(rng) for _ in range(layers)]
    return {**params, "layers": jax.tree.map(lambda *ws: np.stack(ws), *blocks)}, tokens


def gaussian_process(log_params, x, y):
    """Minus the log marginal likelihood: Rasmussen and Williams 2006, equation 2.30."""
    scales, amplitude, noise = map(jnp.exp, log_params)
    scaled = x / scales
    distances = ((scaled[:, None] - scaled) ** 2).sum(-1)
    covariance = amplitude * jnp.exp(-distances / 2) + noise * jnp.eye(len(x), dtype=x.dtype)
    factor = cholesky(covariance, lower=True)
    return y @ cho_solve((factor, True), y) / 2 + jnp.log(jnp.diag(factor)).sum()


def gaussian_process_arguments(rng, n=48, features=3):
    log_params = rng.normal(size=features) / 4, rng.normal(), -1.0
    return log_params, rng.normal(size=(n, features)), rng.normal(size=n)


def embedding_bags(params, words, bags, labels):
    """Sums of the embeddings of each bag's words, and logistic loss: gather, scatter-add."""
    embedding, w = params
    sums = jax.ops.segment_sum(embedding[words], bags, num_segments=len(labels))
    return jnp.mean(jax.nn.softplus(-labels * (sums @ w)))


def embedding_bags_arguments(rng, vocabulary=500, features=16, bags=32, words=256):
    return (
        (rng.normal(size=(vocabulary, features)), rng.normal(size=features)),
        rng.integers(vocabulary, size=words, dtype=np.int32),
        np.sort(rng.integers(bags, size=words, dtype=np.int32)),
        rng.choice([-1.0, 1.0], size=bags),
    )


def order_statistics(w, x, y):
    """Quantile loss of sorted residuals, the largest five, and a median."""
    residuals = jnp.sort(y - x @ w)
    levels = (jnp.arange(len(y)) + 0.5) / len(y)
    pinball = jnp.maximum(levels * residuals, (levels - 1) * residuals)
    largest, _ = lax.top_k(jnp.abs(residuals), 5)
    ranked = residuals[jnp.argsort(-jnp.abs(residuals))]
    return pinball.mean() + largest.mean() + jnp.quantile(ranked, 0.3) * jnp.median(residuals)


def order_statistics_arguments(rng, n=200, features=8):
    return rng.normal(size=features), rng.normal(size=(n, features)), rng.normal(size=n)


def spectral_filter(params, signals, targets):
    """A learned filter on the half spectrum, and the energies of a two-dimensional transform."""
    real, imag, energies = params
    filtered = jnp.fft.irfft(jnp.fft.rfft(signals) * lax.complex(real, imag), n=signals.shape[-1])
    spectrum = jnp.abs(jnp.fft.fft2(filtered)) ** 2
    return jnp.mean((filtered - targets) ** 2) + jnp.mean(energies * jnp.log1p(spectrum))


def spectral_filter_arguments(rng, n=128, batch=16):
    half = n // 2 + 1
    params = rng.normal(size=half), rng.normal(size=half), rng.normal(size=(batch, n))
    return params, rng.normal(size=(batch, n)), rng.normal(size=(batch, n))


def vae(params, x, key):
    """Kingma and Welling 2014: minus the evidence lower bound of a Bernoulli decoder, reparameterized."""
    encoder, decoder = params
    mean, log_var = jnp.split(through(encoder, x), 2, axis=-1)
    noise = jax.random.normal(key, mean.shape, jnp.float32)  # the same in float64
    scores = through(decoder, mean + jnp.exp(log_var / 2) * noise)
    reconstruction = (jnp.logaddexp(scores, 0) - x * scores).sum(-1)
    divergence = (jnp.exp(log_var) + mean**2 - 1 - log_var).sum(-1) / 2
    return jnp.mean(reconstruction + divergence)


def through(layers, x):
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


def vae_arguments(rng, pixels=64, hidden=48, latent=8, batch=32):
    params = dense(rng, pixels, hidden, 2 * latent), dense(rng, latent, hidden, pixels)
    return params, rng.uniform(size=(batch, pixels)), jax.random.key(231)


def gaussian_mixture(params, x):
    """Minus the log likelihood of a mixture with diagonal covariances."""
    logits, means, log_scales = params
    z = (x[:, None] - means) * jnp.exp(-log_scales)
    log_p = -(z**2 / 2 + log_scales + np.log(2 * np.pi) / 2).sum(-1)
    return -logsumexp(jax.nn.log_softmax(logits) + log_p, axis=-1).mean()


def gaussian_mixture_arguments(rng, n=256, components=8, features=4):
    params = (
        rng.normal(size=shape) for shape in (components, (components, features), (components, features))
    )
    return tuple(params), rng.normal(size=(n, features))


def neural_ode(layers, starts, targets, steps=20, time=1.0):
    """ẋ = net(x) by the classical Runge-Kutta method, in a fori_loop."""
    h = time / steps

    def field(x):
        (w, b), (v, c) = layers
        return jnp.tanh(x @ w + b) @ v + c

    def step(_, x):
        k1 = field(x)
        k2 = field(x + h / 2 * k1)
        k3 = field(x + h / 2 * k2)
        k4 = field(x + h * k3)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return jnp.mean((lax.fori_loop(0, steps, step, starts) - targets) ** 2)


def neural_ode_arguments(rng, batch=32, features=4, hidden=32):
    return dense(rng, features, hidden, features), *rng.normal(size=(2, batch, features))


def kepler(loop):
    """The radius at a mean anomaly, by Newton's method on E − e·sin E = M until it stands still."""

    def distance(eccentricities, anomalies):
        def newton(anomaly):
            slope = 1 - eccentricities * jnp.cos(anomaly)
            return anomaly - (anomaly - eccentricities * jnp.sin(anomaly) - anomalies) / slope

        def moves(anomaly):
            return jnp.max(jnp.abs(newton(anomaly) - anomaly)) > 1e-4

        anomaly = loop(moves, newton, anomalies)
        return jnp.mean((1 - eccentricities * jnp.cos(anomaly)) * jnp.sin(anomaly))

    return distance


def bounded_while(condition, body, init):
    """A while loop of at most 20 steps that JAX differentiates."""
    step = lambda x, _: (jnp.where(condition(x), body(x), x), None)  # noqa: E731
    return lax.scan(step, init, length=20)[0]


def kepler_arguments(rng, n=64):
    return rng.uniform(0.1, 0.8, n), rng.uniform(0.5, 3, n)


@jax.custom_vjp
def equilibrium(w, x):
    """The z with z = tanh(z·w + x): Bai, Kolter and Koltun 2019."""
    return lax.fori_loop(0, 30, lambda _, z: jnp.tanh(z @ w + x), jnp.zeros_like(x))


def equilibrium_forward(w, x):
    z = equilibrium(w, x)
    return z, (w, z)


def equilibrium_backward(stash, z_bar):
    w, z = stash
    slope = 1 - z**2
    x_bar = lax.fori_loop(0, 30, lambda _, u: slope * (z_bar + u @ w.T), z_bar)
    return z.T @ x_bar, x_bar


equilibrium.defvjp(equilibrium_forward, equilibrium_backward)


def implicit_layer(params, x, y):
    w, v = params
    return jnp.mean((equilibrium(w / 4, x) @ v - y) ** 2)


def implicit_layer_arguments(rng, batch=32, features=16):
    w = rng.normal(size=(features, features)) / np.sqrt(features)
    return (
        (w, rng.normal(size=(features, 1))),
        rng.normal(size=(batch, features)),
        rng.normal(size=(batch, 1)),
    )


def experts(params, xs, choice):
    """A mixture of experts, one for each example, by switch under vmap and by cond under scan."""
    layers, gate = params
    kinds = [jnp.tanh, jax.nn.relu, jnp.sin]

    def expert(x, which):
        branches = [lambda x, i=i, f=f: f(x @ layers[i][0] + layers[i][1]) for i, f in enumerate(kinds)]
        return lax.switch(which, branches, x)

    def step(total, x):
        score = x @ gate
        return total + lax.cond(score > 0, lambda: score**2, lambda: jnp.exp(score)), None

    mixed = jax.vmap(expert)(xs, choice)
    total, _ = lax.scan(step, jnp.zeros((), xs.dtype), mixed)
    return total / len(xs)


def experts_arguments(rng, batch=24, features=16):
    params = [dense(rng, features, features)[0] for _ in range(3)], rng.normal(size=features) / 4
    return params, rng.normal(size=(batch, features)), rng.integers(3, size=batch, dtype=np.int32)


def state_space(params, xs, targets):
    """A diagonal complex recurrence by associative_scan: Orvieto et al. 2023."""
    decay, phase, inputs, outputs = params
    rates = jnp.exp(-jnp.exp(decay) + 1j * phase)
    drives = xs @ inputs

    def combine(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    _, states = lax.associative_scan(combine, (jnp.broadcast_to(rates, drives.shape), drives + 0j))
    return jnp.mean(((states @ outputs).real - targets) ** 2)


def state_space_arguments(rng, steps=32, inputs=8, states=16):
    outputs = rng.normal(size=(states, 2)) + 1j * rng.normal(size=(states, 2))
    params = rng.normal(size=states), rng.normal(size=states), rng.normal(size=(inputs, states)), outputs
    return params, rng.normal(size=(steps, inputs)), rng.normal(size=(steps, 2))


def kalman_filter(params, observations):
    """Minus the log likelihood of a linear Gaussian state space model: a scan over solves."""
    a, c, log_q, log_r = params
    q, r = jnp.diag(jnp.exp(log_q)), jnp.diag(jnp.exp(log_r))

    def step(belief, y):
        mean, cov = belief
        mean, cov = a @ mean, a @ cov @ a.T + q
        innovation, s = y - c @ mean, c @ cov @ c.T + r
        gain = jnp.linalg.solve(s, c @ cov).T
        loss = innovation @ jnp.linalg.solve(s, innovation) + jnp.linalg.slogdet(s)[1]
        return (mean + gain @ innovation, cov - gain @ c @ cov), loss

    n = len(a)
    _, losses = lax.scan(step, (jnp.zeros(n, a.dtype), jnp.eye(n, dtype=a.dtype)), observations)
    return losses.mean() / 2


def kalman_filter_arguments(rng, steps=16, states=4, outputs=3):
    a = np.linalg.qr(rng.normal(size=(states, states)))[0] * 0.9
    params = a, rng.normal(size=(outputs, states)), rng.normal(size=states) / 4, rng.normal(size=outputs) / 4
    return params, rng.normal(size=(steps, outputs))


def image_warp(params, image, target):
    """Resize, sample at moved coordinates, blur: what a registration of images minimizes."""
    shift, kernel = params
    large = jax.image.resize(image, target.shape, "bilinear")
    grid = jnp.stack(jnp.meshgrid(*map(jnp.arange, target.shape), indexing="ij")) + shift[:, None, None]
    moved = jax.scipy.ndimage.map_coordinates(large, grid, order=1, mode="nearest")
    return jnp.mean((jax.scipy.signal.convolve(moved, kernel, mode="same") - target) ** 2)


def image_warp_arguments(rng):
    return (rng.normal(size=2), rng.normal(size=(3, 3))), rng.normal(size=(12, 12)), rng.normal(size=(24, 24))


KEEPS_X = "the accurate derivative of tanh reads x; JAX's reads y, which the next layer keeps anyway"
FROM_X = "gelu's slope to 4 ulp is 83 FLOPs with its exponential; JAX's is 18 and a tanh, which counts as 0"
RUNS_AGAIN = "tanh runs once more on the way back, so that y need not be kept beside x: fewer temporary bytes"

PROGRAMS = [
    Program(
        "MLP, tanh",
        mlp(jnp.tanh),
        classifier_arguments(64, 128, 128, 10),
        dearer={"temporary bytes": (1.55, KEEPS_X)},
    ),
    Program("MLP, relu", mlp(jax.nn.relu), classifier_arguments(64, 128, 128, 10)),
    Program(
        "MLP, gelu",
        mlp(jax.nn.gelu),
        classifier_arguments(64, 128, 128, 10),
        dearer={"FLOPs": (1.13, FROM_X)},
    ),
    Program(
        "MLP of 30 layers",
        mlp(jnp.tanh),
        classifier_arguments(*[32] * 30, 10),
        dearer={"bytes accessed": (1.18, RUNS_AGAIN)},
    ),
    Program("convolutional net", convnet, convnet_arguments),
    Program("LSTM", lstm, lstm_arguments),
    Program(
        "transformer",
        transformer,
        transformer_arguments,
    ),
    Program("transformer, remat", remat_transformer, remat_transformer_arguments),
    Program("Gaussian process", gaussian_process, gaussian_process_arguments),
    Program("embedding bags", embedding_bags, embedding_bags_arguments),
    Program("order statistics", order_statistics, order_statistics_arguments),
    Program("spectral filter", spectral_filter, spectral_filter_arguments),
    Program("VAE", vae, vae_arguments),
    Program("Gaussian mixture", gaussian_mixture, gaussian_mixture_arguments),
    Program("neural ODE", neural_ode, neural_ode_arguments, dearer={"FLOPs": (1.13, RUNS_AGAIN)}),
    Program("implicit layer", implicit_layer, implicit_layer_arguments),
]
"""Those whose cost is compared, too."""

MORE_PROGRAMS = [
    Program("GRU", gru, gru_arguments),
    Program("Kepler, Newton", kepler(lax.while_loop), kepler_arguments, reference=kepler(bounded_while)),
    Program("mixture of experts", experts, experts_arguments),
    Program("state space", state_space, state_space_arguments),
    Program("Kalman filter", kalman_filter, kalman_filter_arguments),
    Program("image warp", image_warp, image_warp_arguments),
]
