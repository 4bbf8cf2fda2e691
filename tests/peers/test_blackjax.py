"""blackjax: gradients through one step of a sampler, in its start, its step size and the density it samples.

With a fixed key a step is a function, smooth where the proposal stays accepted. Inside it the sampler asks
`jax.grad` for the slope of the log density, so that what is differentiated here is a gradient already.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.peers.rows import Row, as_default, check, parametrize

blackjax = pytest.importorskip("blackjax")

rng = np.random.default_rng(13)
DATA = rng.standard_normal((6, 2))
OUTCOMES = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
POINT = {"x": np.array([0.2, -0.4]), "step": np.array(0.1), "prior": np.array(0.8)}


def log_density(p):
    """A logistic regression with a Gaussian prior of the given precision."""

    def density(x):
        scores = as_default(DATA) @ x
        fit = jnp.sum(as_default(OUTCOMES) * scores - jnp.logaddexp(0.0, scores))
        return fit - 0.5 * p["prior"] * jnp.sum(x**2)

    return density


def after_two_steps(make):
    """A loss of where a sampler is after two steps."""

    def loss(p):
        sampler = make(log_density(p), p)
        state = sampler.init(p["x"], jax.random.key(0))
        for key in jax.random.split(jax.random.key(2)):
            state, _ = sampler.step(key, state)
        return jnp.sum(jnp.sin(state.position))

    return loss


def hamiltonian(density, p):
    return blackjax.hmc(density, p["step"], jnp.ones(2), num_integration_steps=3)


def langevin(density, p):
    return blackjax.mala(density, p["step"])


def barker(density, p):
    return blackjax.barker(density, p["step"])


def momentum(density, p):
    return blackjax.ghmc(density, p["step"], jnp.ones(2), 0.9, 0.3)


def random_walk(density, p):
    return blackjax.additive_step_random_walk(
        density, blackjax.mcmc.random_walk.normal(p["step"] * jnp.ones(2))
    )


def stochastic_langevin(p):
    sampler = blackjax.sgld(lambda x, batch: jax.grad(log_density(p))(x) + jnp.mean(batch))
    x = p["x"]
    for key in jax.random.split(jax.random.key(2), 3):
        x = sampler.step(key, x, as_default(DATA), p["step"])
    return jnp.sum(jnp.sin(x))


def stein(p):
    """Particles that a kernel keeps apart. (By the library's own, JAX's gradient is not finite.)"""
    optax = pytest.importorskip("optax")

    def kernel(x, y, length_scale):
        return jnp.exp(-jnp.sum((x - y) ** 2) / length_scale)

    sampler = blackjax.svgd(jax.grad(log_density(p)), optax.sgd(0.1), kernel, lambda state: state)
    state = sampler.init(p["x"] * jnp.asarray([[1.0], [2.0], [-1.0]]), {"length_scale": p["step"] * 10})
    for _ in range(2):
        state = sampler.step(state)
    return jnp.sum(jnp.sin(state.particles))


def variational(p):
    """A mean-field approximation after one step."""
    optax = pytest.importorskip("optax")
    fit = blackjax.meanfield_vi(log_density(p), optax.sgd(p["step"]), 3)
    state = fit.init(p["x"])
    state, _ = fit.step(jax.random.key(1), state)
    return jnp.sum(jnp.sin(state.mu)) + jnp.sum(jnp.exp(state.rho))


ROWS = [
    Row("Hamiltonian Monte Carlo", after_two_steps(hamiltonian), POINT),
    Row("Langevin", after_two_steps(langevin), POINT),
    Row("Barker", after_two_steps(barker), POINT),
    Row("persistent momentum", after_two_steps(momentum), POINT),
    Row("random walk", after_two_steps(random_walk), POINT),
    Row("stochastic gradient Langevin", stochastic_langevin, POINT),
    Row("Stein variational", stein, POINT),
    Row("mean field", variational, POINT),
]


@parametrize(ROWS)
def test_gradient(row, way):
    check(row, way)
