"""Loops that sum, halve, draw or step until they are done; elsewhere than here they never are.

Their rules are analytic. A check has to find out where they may be asked, and to end.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.benchmarks.strangers.ruled import loop, small

ROWS = []


@loop(ROWS, "elliptic integral by the arithmetic-geometric mean, m < 1", np.float32(0.3))
def elliptic():
    """K(m) = π / (2 agm(1, √(1 − m))) (DLMF 19.8.5), and its slope by the same means in ten rounds."""

    def mean(pair):
        a, b = pair
        return (a + b) / 2, jnp.sqrt(a * b)

    def value(m):
        def apart(pair):
            return ~(jnp.abs(pair[0] - pair[1]) <= small(m))

        return jnp.pi / (2 * lax.while_loop(apart, mean, (jnp.ones_like(m), jnp.sqrt(1 - m)))[0])

    def unrolled(m):
        return jnp.pi / (
            2 * lax.fori_loop(0, 10, lambda _, pair: mean(pair), (m * 0 + 1, jnp.sqrt(1 - m)))[0]
        )

    return value, lambda y_bar, y, m: jax.vjp(unrolled, m)[1](y_bar)


@loop(ROWS, "zeta(s) term by term, s > 1", np.float32(6.0))
def zeta():
    def terms(s, weight):
        def large(state):
            k, _ = state
            return k**-s > 1e-3 * small(s)

        def add(state):
            k, total = state
            return k + 1, total + weight(k) * k**-s

        return lax.while_loop(large, add, (jnp.ones_like(s), jnp.zeros_like(s)))[1]

    return (
        lambda s: terms(s, jnp.ones_like),
        lambda y_bar, y, s: (-y_bar * terms(s, jnp.log),),
    )


@loop(ROWS, "geometric series until it is small, |x| < 1", np.float32(0.4))
def geometric():
    def value(x):
        def large(state):
            return jnp.abs(state[0]) > 1e-3 * small(x)

        def add(state):
            term, total = state
            return term * x, total + term

        return lax.while_loop(large, add, (jnp.ones_like(x), jnp.zeros_like(x)))[1]

    return value, lambda y_bar, y, x: (y_bar * y**2,)


@loop(ROWS, "mantissa by halving and doubling, x > 0", np.float32(5.3))
def mantissa():
    def value(x):
        x = lax.while_loop(lambda y: y < 1, lambda y: 2 * y, x)
        return lax.while_loop(lambda y: y >= 2, lambda y: y / 2, x)

    return value, lambda y_bar, y, x: (y_bar * y / x,)


@loop(ROWS, "logistic map of 40 rounds", np.float32(2.5), np.float32(0.3))
def logistic_map():
    def value(r, x):
        return lax.fori_loop(0, 40, lambda _, x: r * x * (1 - x), x)

    return value, lambda y_bar, y, r, x: jax.vjp(value, r, x)[1](y_bar)


@loop(ROWS, "rejection of normal draws up to 1, with a fixed key", np.float32(2.0))
def rejection():
    """The first σ z above 1; at σ / 8 none comes."""

    def value(sigma):
        def draw(key):
            return sigma * jax.random.normal(key, (), sigma.dtype)

        def again(key):
            return jax.random.split(key)[0]

        return draw(lax.while_loop(lambda key: draw(key) <= 1, again, jax.random.key(3)))

    return value, lambda y_bar, y, sigma: (y_bar * y / sigma,)


@loop(ROWS, "walk to a barrier, drift > 0", np.float32(0.53), np.float32(0.2))
def walk():
    """Where a noisy walk is when it has passed 10; it never does with a drift below 0."""

    def draw(k, dtype):  # in float32: in float64 a key gives other numbers
        key = jax.random.fold_in(jax.random.key(0), k)
        return jax.random.uniform(key, (), jnp.float32, -1, 1).astype(dtype)

    def value(drift, noise):
        def below(state):
            return state[1] < 10

        def step(state):
            k, x = state
            return k + 1, x + drift + noise * draw(k, x.dtype)

        return lax.while_loop(below, step, (0, jnp.zeros_like(drift)))

    def backward(y_bar, y, drift, noise):
        (_, x_bar), (steps, x) = y_bar, y
        drawn = lax.fori_loop(0, steps, lambda k, total: total + draw(k, x.dtype), jnp.zeros_like(x))
        return x_bar * steps.astype(x.dtype), x_bar * drawn

    return value, backward


@loop(ROWS, "adaptive Runge-Kutta to the end of y' = a y²", np.float32(0.5), np.float32(0.6))
def stepper():
    """Y(1) = y₀ / (1 − a y₀); there is none from a y₀ = 1 on, and the steps shrink for ever."""

    def value(a, y):
        tolerance = jnp.finfo(y.dtype).eps ** 0.75

        def slope(y):
            return a * y * y

        def step(y, h):
            k1 = slope(y)
            k2 = slope(y + h / 2 * k1)
            k3 = slope(y + h / 2 * k2)
            return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(y + h * k3))

        def unfinished(state):
            return state[0] < 1

        def advance(state):
            t, y, h = state
            h = jnp.minimum(h, 1 - t)
            once, twice = step(y, h), step(step(y, h / 2), h / 2)
            error = jnp.abs(twice - once)
            good = error <= tolerance * (1 + jnp.abs(y))
            after = jnp.where(good, twice + (twice - once) / 15, y)
            return jnp.where(good, t + h, t), after, jnp.where(good, 1.5 * h, h / 2)

        return lax.while_loop(unfinished, advance, (jnp.zeros_like(y), y, jnp.full_like(y, 0.1)))[1]

    return value, lambda y_bar, _, a, y: (y_bar * y**2 / (1 - a * y) ** 2, y_bar / (1 - a * y) ** 2)


@loop(ROWS, "scipy's brentq in a callback, x < 30", np.float32(3.0))
def callback():
    """Y³ + y = x, sought in (0, 3): scipy raises where the root is elsewhere."""

    def root(x):
        from scipy.optimize import brentq

        return np.asarray(
            brentq(lambda y: y**3 + y - float(x), 0, 3, xtol=1e-15, rtol=np.float64(1e-15)), x.dtype
        )

    def value(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(root, shape, x, vmap_method="sequential")

    return value, lambda y_bar, y, x: (y_bar / (3 * y**2 + 1),)
