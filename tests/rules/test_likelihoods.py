"""Logarithms of densities and probabilities where their gradients are finite and easily NaN: at the edge.

The truths are closed forms, and mpmath's digamma.
"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.scipy import special, stats

from funcnet import grad


def psi(x, order=0):
    return float(mpmath.psi(order, x))


def dirichlet(x, alpha):
    return stats.dirichlet.logpdf(jnp.stack([x, 1 - x]), jnp.stack([jnp.float32(1), alpha]))


def multinomial(p):
    return stats.multinomial.logpmf(jnp.array([0, 3]), 3, jnp.stack([p, 1 - p]))


LIKELIHOODS = {
    "poisson of 0, in μ": (lambda mu: stats.poisson.logpmf(0, mu), 0.0, -1.0),
    "poisson of 0, in a large μ": (lambda mu: stats.poisson.logpmf(0, mu), 90.0, -1.0),
    "poisson, in μ": (lambda mu: stats.poisson.logpmf(3, mu), 2.0, 0.5),
    "bernoulli of 0, in p": (lambda p: stats.bernoulli.logpmf(0, p), 0.0, -1.0),
    "bernoulli of 1, in p": (lambda p: stats.bernoulli.logpmf(1, p), 1.0, 1.0),
    "binomial, in p": (lambda p: stats.binom.logpmf(2, 5, p), 0.3, 2 / 0.3 - 3 / 0.7),
    "geometric of 1, in p": (lambda p: stats.geom.logpmf(1, p), 1.0, 1.0),
    "geometric, in p": (lambda p: stats.geom.logpmf(3, p), 0.4, 1 / 0.4 - 2 / 0.6),
    "negative binomial of 0, in p": (lambda p: stats.nbinom.logpmf(0, 3.0, p), 1.0, 3.0),
    "negative binomial, in p": (lambda p: stats.nbinom.logpmf(2, 3.0, p), 0.4, 3 / 0.4 - 2 / 0.6),
    "negative binomial, in n": (
        lambda n: stats.nbinom.logpmf(2, n, 0.4),
        3.0,
        psi(5) - psi(3) + np.log(0.4),
    ),
    "multinomial of 0, in p": (multinomial, 0.0, -3.0),
    "beta-binomial of 0, in a": (
        lambda a: stats.betabinom.logpmf(0, 5, a, 2.0),
        3.0,
        psi(5) - psi(10),
    ),
    "gamma of shape 1, at 0": (lambda x: stats.gamma.logpdf(x, 1.0), 0.0, -1.0),
    "gamma of shape 1, at 0, in its scale": (lambda s: stats.gamma.logpdf(0.0, 1.0, 0.0, s), 2.0, -0.5),
    "gamma, in its shape": (lambda a: stats.gamma.logpdf(0.5, a), 2.0, np.log(0.5) - psi(2)),
    "beta of a = 1, at 0": (lambda x: stats.beta.logpdf(x, 1.0, 3.0), 0.0, -2.0),
    "beta of b = 1, at 1": (lambda x: stats.beta.logpdf(x, 3.0, 1.0), 1.0, 2.0),
    "beta of a = 1, at 0, in b": (lambda b: stats.beta.logpdf(0.0, 1.0, b), 3.0, 1 / 3),
    "beta of b = 1, at 1, in a": (lambda a: stats.beta.logpdf(1.0, a, 1.0), 3.0, 1 / 3),
    "dirichlet, in α": (lambda a: dirichlet(0.5, a), 3.0, np.log(0.5) + psi(4) - psi(3)),
    "dirichlet of α = 1, near 0": (lambda x: dirichlet(x, jnp.float32(3)), 1e-30, -2.0),
    "exponential, at 0": (stats.expon.logpdf, 0.0, -1.0),
    "pareto, at its start": (lambda x: stats.pareto.logpdf(x, 2.0), 1.0, -3.0),
    "generalized normal, in β at 0": (lambda p: stats.gennorm.logpdf(0.0, p), 1.0, 1 + psi(1)),
    "logistic, at 0": (stats.logistic.logpdf, 0.0, 0.0),
    "laplace, at 0": (stats.laplace.logpdf, 0.0, 0.0),
    "normal far below a truncation, in its scale": (
        lambda s: stats.truncnorm.logpdf(-15.0, (-20 - 1.35) / s, (-1 - 1.35) / s, 1.35, s),
        0.05,
        2.0943600e6,
    ),
    "entropy at 0": (special.entr, 0.0, np.inf),
    "divergence from 0": (lambda y: special.kl_div(0.0, y), 0.5, 1.0),
    "divergence of 0 from 0": (lambda y: special.rel_entr(0.0, y), 0.0, 0.0),
    "divergence, in x": (lambda x: special.kl_div(x, 0.5), 0.3, np.log(0.6)),
    "log beta": (lambda a: special.betaln(a, 2.3), 2.5, psi(2.5) - psi(4.8)),
    "log beta left of 0": (lambda a: special.betaln(a, 2.3), -2.5, -2.93183479),
    "multivariate log gamma": (
        lambda a: special.multigammaln(a, 3),
        5.0,
        psi(5) + psi(4.5) + psi(4),
    ),
    "spence": (special.spence, 1.5, np.log(1.5) / -0.5),
    "spence at 2": (special.spence, 2.0, -np.log(2)),
}


@pytest.mark.parametrize("around", [lambda f: f, jax.jit], ids=["plain", "jit"])
@pytest.mark.parametrize(("f", "x", "truth"), LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_gradient(f, x, truth, around):
    assert float(grad(around(f))(jnp.float32(x))) == pytest.approx(truth, rel=3e-6)


@pytest.mark.parametrize("name", ["poisson of 0, in μ", "gamma of shape 1, at 0", "log beta left of 0"])
def test_gradient_under_vmap(name):
    f, x, truth = LIKELIHOODS[name]
    np.testing.assert_allclose(jax.vmap(grad(f))(jnp.full(2, x, jnp.float32)), [truth] * 2, rtol=3e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("x", [1 + 1e-9, 1 - 1e-9, 0.3, 1.5, 2.0, 5.0])
def test_spence_in_float64(x):
    np.testing.assert_allclose(float(grad(special.spence)(x)), np.log(x) / (1 - x), rtol=1e-14)
