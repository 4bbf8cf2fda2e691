"""TensorFlow Probability on JAX: log densities, bijectors, samples, joint distributions, processes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, as_default, check, parametrize

tfp = pytest.importorskip("tensorflow_probability.substrates.jax")
tfd, tfb = tfp.distributions, tfp.bijectors

pytestmark = [  # its own: it asks JAX for what JAX is giving up, and its samplers for float64
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64:UserWarning"),
]

rng = np.random.default_rng(13)
VECTOR = np.array([0.3, -0.5, 0.2])
MATRIX = rng.standard_normal((3, 3))
POINTS = rng.standard_normal((4, 2))


def log_prob(make, value, **arguments):
    """A distribution's log density in its arguments and in the value, and where."""

    def loss(p):
        return jnp.sum(jnp.sin(make(**p["arguments"]).log_prob(p["value"])))

    return loss, {"arguments": arguments, "value": value}


def log_mass(make, counts, **arguments):
    """A discrete distribution's log mass in its arguments, and where."""
    return lambda p: jnp.sum(jnp.sin(make(**p).log_prob(as_default(counts)))), arguments


def cdf(make, value, **arguments):
    at = {"arguments": arguments, "value": value}
    return lambda p: make(**p["arguments"]).cdf(p["value"]) ** 2, at


def bijection(make, x, **arguments):
    """Forth and back, with the logarithms of both Jacobians."""

    def loss(p):
        b = make(**p["arguments"])
        y = b.forward(p["x"])
        there = jnp.sum(jnp.sin(y)) + jnp.sum(b.forward_log_det_jacobian(p["x"], jnp.ndim(p["x"])))
        return there + jnp.sum(jnp.cos(b.inverse(y * 1.0)))

    return loss, {"arguments": arguments, "x": x}


def elementwise(make, x, **arguments):
    """The same for a bijector of scalars."""

    def loss(p):
        b = make(**p["arguments"])
        y = b.forward(p["x"])
        return jnp.sum(jnp.sin(y)) + jnp.sum(jnp.sin(b.forward_log_det_jacobian(p["x"], 0)))

    return loss, {"arguments": arguments, "x": x}


def samples(p):
    """Pathwise: a gamma's and a beta's samples by implicit gradients, a mixture's component by a location."""
    k = jax.random.split(jax.random.key(5), 4)
    draws = (
        tfd.Gamma(p["a"], 1.3).sample(3, seed=k[0]),
        tfd.Beta(p["a"], 2.0).sample(3, seed=k[1]),
        tfd.StudentT(3.0, p["a"], 0.5).sample(3, seed=k[2]),
        tfd.TruncatedNormal(p["a"], 0.5, 0.0, 3.0).sample(3, seed=k[3]),
    )
    return sum(jnp.sum(jnp.arange(1.0, 4.0) * d**2) for d in draws)


def joint(p):
    """A hierarchical model, by its coroutine."""

    def model():
        root = tfd.JointDistributionCoroutine.Root
        mu = yield root(tfd.Normal(0.0, 2.0))
        tau = yield root(tfd.HalfNormal(1.0))
        yield tfd.Sample(tfd.Normal(mu, tau), 3)

    return tfd.JointDistributionCoroutine(model).log_prob((p["mu"], p["tau"], p["x"]))


def gaussian_process(p):
    kernel = tfp.math.psd_kernels.MaternFiveHalves(p["amplitude"], p["length"])
    process = tfd.GaussianProcess(kernel, as_default(POINTS), observation_noise_variance=p["noise"])
    return process.log_prob(as_default(np.sin(POINTS[:, 0])))


def divergence(p):
    first = tfd.MultivariateNormalTriL(p["loc"], jnp.tril(p["scale"]) + 2 * jnp.eye(3))
    second = tfd.MultivariateNormalDiag(jnp.zeros(3, p["loc"].dtype), jnp.asarray([1.0, 2.0, 3.0]))
    return tfd.kl_divergence(first, second) + tfd.kl_divergence(tfd.Beta(p["a"], 2.0), tfd.Beta(1.5, p["a"]))


def markov(p):
    chain = tfd.HiddenMarkovModel(
        initial_distribution=tfd.Categorical(logits=p["start"]),
        transition_distribution=tfd.Categorical(logits=p["step"]),
        observation_distribution=tfd.Normal(p["loc"], 1.0),
        num_steps=4,
    )
    return chain.log_prob(jnp.asarray([0.1, 0.5, -0.4, 0.8]))


def interpolated(p):
    x = jnp.asarray([0.1, 0.55, 0.9])
    return jnp.sum(tfp.math.batch_interp_regular_1d_grid(x, 0.0, 1.0, p["y"]) ** 2)


def special(p):
    x = p["x"]
    return (
        tfp.math.lbeta(x, 2 * x)
        + tfp.math.log_gamma_difference(x, 3 * x)
        + tfp.math.log_cosh(x)
        + tfp.math.bessel_kve(0.5, x)
        + tfp.math.bessel_ive(1.0, x)
        + tfp.math.log_sub_exp(2 * x, x)
        + tfp.math.erfcx(x)
        + tfp.math.owens_t(x, 0.5 * x)
        + tfp.math.lambertw(x)
    )


WISHART = functools.partial(tfd.WishartTriL, df=5.0)
TRIANGLE = np.tril(0.3 * MATRIX, -1) + np.diag([1.0, 0.8, 1.2])

ROWS = [
    Row("Normal", *log_prob(tfd.Normal, 0.4, loc=0.2, scale=0.7), second=True),
    Row("StudentT", *log_prob(tfd.StudentT, 0.4, df=3.5, loc=0.2, scale=0.7)),
    Row("Gamma", *log_prob(tfd.Gamma, 0.4, concentration=2.5, rate=1.5)),
    Row("Beta", *log_prob(tfd.Beta, 0.4, concentration1=2.5, concentration0=1.5)),
    Row("VonMises", *log_prob(tfd.VonMises, 0.4, loc=0.2, concentration=1.7)),
    Row("NegativeBinomial", *log_mass(tfd.NegativeBinomial, 3, total_count=2.5, probs=0.4)),
    Row(
        "Dirichlet",
        *log_prob(tfd.Dirichlet, np.array([0.2, 0.5, 0.3]), concentration=np.array([1.5, 2.0, 0.8])),
    ),
    Row(
        "MultivariateNormalTriL",
        *log_prob(tfd.MultivariateNormalTriL, VECTOR, loc=-VECTOR, scale_tril=TRIANGLE),
    ),
    Row("WishartTriL", *log_prob(WISHART, TRIANGLE @ TRIANGLE.T, scale_tril=TRIANGLE)),
    Row("Gumbel", *log_prob(tfd.Gumbel, 0.4, loc=0.2, scale=0.7)),
    Row("TruncatedNormal", *log_prob(tfd.TruncatedNormal, 0.4, loc=0.2, scale=0.7, low=-1.0, high=1.5)),
    Row(
        "PowerSpherical",
        *log_prob(
            tfd.PowerSpherical, np.array([0.6, 0.8]), mean_direction=np.array([0.8, 0.6]), concentration=1.7
        ),
    ),
    Row("Normal, cdf", *cdf(tfd.Normal, 0.4, loc=0.2, scale=0.7)),
    Row("Gamma, cdf", *cdf(tfd.Gamma, 0.4, concentration=2.5, rate=1.5)),
    Row("Beta, cdf", *cdf(tfd.Beta, 0.4, concentration1=2.5, concentration0=1.5), turns=6),
    Row("StudentT, cdf", *cdf(tfd.StudentT, 0.4, df=3.5, loc=0.2, scale=0.7), turns=6),
    Row("Softplus", *elementwise(tfb.Softplus, VECTOR, hinge_softness=0.7)),
    Row("SinhArcsinh", *elementwise(tfb.SinhArcsinh, VECTOR, skewness=0.3, tailweight=1.2)),
    Row("SoftmaxCentered", *bijection(tfb.SoftmaxCentered, VECTOR)),
    Row("FillScaleTriL", *bijection(tfb.FillScaleTriL, VECTOR, diag_shift=0.1)),
    Row("CorrelationCholesky", *bijection(tfb.CorrelationCholesky, VECTOR)),
    Row("samples", samples, {"a": np.array(1.7)}, turns=4),
    Row("joint distribution", joint, {"mu": np.array(0.4), "tau": np.array(0.8), "x": VECTOR}),
    Row("Gaussian process", gaussian_process, {"amplitude": 1.2, "length": 0.9, "noise": 0.1}),
    Row("divergences", divergence, {"loc": VECTOR, "scale": MATRIX, "a": np.array(1.7)}),
    Row("hidden Markov model", markov, {"start": VECTOR, "step": MATRIX, "loc": 2 * VECTOR}),
    Row("interpolation", interpolated, {"y": rng.standard_normal(5)}),
    Row("special functions", special, {"x": np.array(0.8)}, turns=4),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
