"""numpyro: log densities of models, in what is latent and in what is not; potential energies; bounds.

The gradient of a log density is what every sampler asks for; a model is Python code that handlers run.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, as_default, check, parametrize

numpyro = pytest.importorskip("numpyro")
dist = pytest.importorskip("numpyro.distributions")
handlers = pytest.importorskip("numpyro.handlers")
infer = pytest.importorskip("numpyro.infer")
log_density = pytest.importorskip("numpyro.infer.util").log_density

rng = np.random.default_rng(13)
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0]) / 10
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0]) / 10
COVARIATES = rng.standard_normal((6, 2))
COUNTS = np.array([1, 0, 3, 2, 0, 4])
GROUPS = np.array([0, 1, 1, 0, 2, 2])


def eight_schools():
    """A hierarchical model with a positive scale."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("schools", 5):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("seen", dist.Normal(theta, as_default(ERRORS)), obs=as_default(EFFECTS))


def poisson_regression():
    """Counts with an intercept for each group, and a covariance with its prior."""
    scale = numpyro.sample("scale", dist.Gamma(2.0, 1.0))
    corr = numpyro.sample("corr", dist.LKJCholesky(2, 1.5))
    w = numpyro.sample("w", dist.MultivariateNormal(jnp.zeros(2), scale_tril=scale * corr))
    with numpyro.plate("groups", 3):
        a = numpyro.sample("a", dist.StudentT(4.0, 0.0, 1.0))
    rate = jnp.exp(0.3 * as_default(COVARIATES) @ w + a[jnp.asarray(GROUPS)])
    numpyro.sample("counts", dist.Poisson(rate), obs=jnp.asarray(COUNTS))


def mixture():
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(2)))
    locs = numpyro.sample("locs", dist.Normal(0, 2).expand([2]).to_event(1))
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 0.5))
    parts = dist.MixtureSameFamily(dist.Categorical(probs=weights), dist.Normal(locs, scale))
    with numpyro.plate("data", 5):
        numpyro.sample("seen", parts, obs=as_default(EFFECTS))


def random_walk():
    """A chain by numpyro's own scan."""
    drift = numpyro.sample("drift", dist.Normal(0, 1))
    noise = numpyro.sample("noise", dist.HalfNormal(1.0))

    def step(x, seen):
        x = numpyro.sample("x", dist.Normal(0.9 * x + drift, noise))
        numpyro.sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan = pytest.importorskip("numpyro.contrib.control_flow").scan
    scan(step, jnp.zeros(()), as_default(EFFECTS))


def density(model):
    """The log density at values inside their supports."""
    return lambda p: log_density(model, (), {}, p)[0]


def potential(model):
    """−log density plus the Jacobians of the maps onto the supports, as HMC asks for it."""

    def loss(p):
        with handlers.seed(rng_seed=0):
            return infer.util.potential_energy(model, (), {}, p)

    return loss


def elbo(p):
    """The evidence lower bound of a guide, in the guide's parameters, through its samples."""

    def guide():
        mu = numpyro.sample("mu", dist.Normal(p["loc"][0], jnp.exp(p["log_scale"][0])))
        numpyro.sample("tau", dist.LogNormal(p["loc"][1], jnp.exp(p["log_scale"][1])))
        with numpyro.plate("schools", 5):
            numpyro.sample("theta", dist.Normal(mu, 1.0))

    return infer.Trace_ELBO(num_particles=2).loss(jax.random.key(2), {}, eight_schools, guide)


def non_centred(p):
    model = handlers.reparam(eight_schools, {"theta": infer.reparam.LocScaleReparam(0)})
    return log_density(model, (), {}, p)[0]


def log_prob(make, value, **arguments):
    """A distribution's log density in its arguments and in the value, and where."""

    def loss(p):
        return jnp.sum(jnp.sin(make(**p["arguments"]).log_prob(p["value"])))

    return loss, {"arguments": arguments, "value": value}


def log_mass(make, counts, **arguments):
    """A discrete distribution's log mass in its arguments, and where."""
    return lambda p: jnp.sum(jnp.sin(make(**p).log_prob(jnp.asarray(counts)))), arguments


def truncated(p):
    base = dist.Normal(p["loc"], p["scale"])
    return dist.TruncatedDistribution(base, low=p["low"]).log_prob(jnp.asarray(0.4)) ** 2


def transformed(p):
    flow = [dist.transforms.AffineTransform(p["loc"], p["scale"]), dist.transforms.SigmoidTransform()]
    return dist.TransformedDistribution(dist.Normal(0, 1), flow).log_prob(jnp.asarray(0.3)) ** 2


def constrained(p):
    """The maps from the line onto supports, with the logarithms of their Jacobians."""
    total = 0.0
    for support, x in (
        (dist.constraints.simplex, p["x"]),
        (dist.constraints.interval(0.0, 2.0), p["x"]),
        (dist.constraints.ordered_vector, p["x"]),
        (dist.constraints.corr_cholesky, p["x"]),
        (dist.constraints.lower_cholesky, p["x"]),
        (dist.constraints.positive_definite, p["x"]),
        (dist.constraints.circular, p["x"]),
    ):
        onto = dist.biject_to(support)
        y = onto(x)
        total += jnp.sum(jnp.sin(y)) + jnp.sum(onto.log_abs_det_jacobian(x, y))
    return total


def sample(p):
    """Pathwise, through samplers with implicit gradients."""
    k = jax.random.split(jax.random.key(5), 3)
    draws = (
        dist.Gamma(p["a"], 1.3).sample(k[0], (3,)),
        dist.Dirichlet(p["a"] * jnp.arange(1.0, 4.0)).sample(k[1]),
        dist.StudentT(3.0, p["a"], 0.5).sample(k[2], (3,)),
    )
    return sum(jnp.sum(jnp.arange(1.0, 4.0) * d**2) for d in draws)


SCHOOLS = {"mu": np.array(0.5), "tau": np.array(1.2), "theta": np.array([1.1, 0.3, 0.1, 0.6, -0.2])}
REGRESSION = {
    "scale": np.array(0.8),
    "corr": np.array([[1.0, 0.0], [0.3, np.sqrt(0.91)]]),
    "w": np.array([0.2, -0.4]),
    "a": np.array([0.1, 0.5, -0.2]),
}
MIXTURE = {"weights": np.array([0.3, 0.7]), "locs": np.array([-0.5, 1.0]), "scale": np.array(0.6)}
WALK = {"drift": np.array(0.2), "noise": np.array(0.7), "x": rng.standard_normal(5)}
GUIDE = {"loc": np.array([0.3, -0.1]), "log_scale": np.array([-0.5, -1.0])}
UNCONSTRAINED = {**REGRESSION, "scale": np.array(0.3), "corr": np.array([0.4])}
BETA_BINOMIAL = functools.partial(dist.BetaBinomial, total_count=7)
VALUE = np.array([0.3, -0.2, 0.5])
LOW_RANK = {"loc": VALUE[::-1], "cov_factor": 0.5 * np.ones((3, 1)), "cov_diag": np.array([0.5, 0.7, 0.9])}
CENTRED = {"mu": np.array(0.5), "tau": np.array(1.2), "theta_decentered": SCHOOLS["theta"]}

ROWS = [
    Row("hierarchical model", density(eight_schools), SCHOOLS, second=True),
    Row("hierarchical model, not centred", non_centred, CENTRED),
    Row("regression with a correlation", density(poisson_regression), REGRESSION),
    Row("mixture", density(mixture), MIXTURE),
    Row("random walk by scan", density(random_walk), WALK),
    Row("potential energy", potential(eight_schools), SCHOOLS),
    Row("potential energy with a correlation", potential(poisson_regression), UNCONSTRAINED),
    Row("potential energy of a mixture", potential(mixture), {**MIXTURE, "weights": np.array([0.4])}),
    Row("evidence lower bound", elbo, GUIDE, turns=4),
    Row("Beta", *log_prob(dist.Beta, 0.3, concentration1=2.5, concentration0=1.5)),
    Row("VonMises", *log_prob(dist.VonMises, 0.8, loc=0.3, concentration=1.7)),
    Row("Kumaraswamy", *log_prob(dist.Kumaraswamy, 0.3, concentration1=2.5, concentration0=1.5)),
    Row("SoftLaplace", *log_prob(dist.SoftLaplace, 0.8, loc=0.2, scale=0.7)),
    Row("AsymmetricLaplace", *log_prob(dist.AsymmetricLaplace, 0.8, loc=0.2, scale=0.7, asymmetry=1.3)),
    Row("LowRankMultivariateNormal", *log_prob(dist.LowRankMultivariateNormal, VALUE, **LOW_RANK)),
    Row(
        "GammaPoisson",
        *log_mass(dist.GammaPoisson, 3, concentration=2.5, rate=1.5),
        single=2e-6,
        reason="what log B contributes is right to 4 ulp, and four times as large as the sum",
    ),
    Row("ZeroInflatedPoisson", *log_mass(dist.ZeroInflatedPoisson, COUNTS, gate=0.3, rate=1.5)),
    Row("BetaBinomial", *log_mass(BETA_BINOMIAL, 3, concentration1=2.5, concentration0=1.5)),
    Row(
        "OrderedLogistic", *log_mass(dist.OrderedLogistic, 1, predictor=0.4, cutpoints=np.array([-1.0, 0.5]))
    ),
    Row("truncated normal", truncated, {"loc": np.array(0.2), "scale": np.array(0.7), "low": np.array(-1.0)}),
    Row("transformed", transformed, {"loc": np.array(0.2), "scale": np.array(0.7)}),
    Row("supports", constrained, {"x": np.array([0.3, -0.5, 0.2])}, turns=4),
    Row("samples", sample, {"a": np.array(1.7)}, turns=4),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
