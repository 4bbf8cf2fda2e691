"""The true gradients of the special functions, for the measurement in `tests.rules.ulp`.

mpmath knows most of them. Where it does not, in the orders of the incomplete gamma and beta functions, the
truth is a difference quotient of the function in 100 digits.
"""

import mpmath
import numpy as np
from jax import lax

from tests.rules.ulp import LARGEST, SMALLEST, Truth, near, of_every_magnitude


def _spread(low, high, smallest=SMALLEST, count=500):
    sample = of_every_magnitude(low, high, smallest, count)
    return lambda rng: (rng.permutation(sample(rng))[: 2 * count],)


def _of_one_order(low, high):
    """Orders from 1/100 to 3000, and arguments half around them, half anywhere."""

    def sample(rng):
        a = np.exp(rng.uniform(np.log(0.01), np.log(3000), 200))
        around = abs(a + 2 * np.sqrt(a) * rng.normal(size=a.size))
        anywhere = a * np.exp(rng.uniform(low, high, a.size))
        x = np.where(rng.uniform(size=a.size) < 0.5, around, anywhere)
        return a.astype(np.float32), x.astype(np.float32)

    return sample


def _beta_arguments(rng, count=200):
    """Orders from 1/100 to 3000; one density is no normal number while a gradient in its orders is."""
    a, b = np.exp(rng.uniform(np.log(0.01), np.log(3000), (2, count)))
    mean = a / (a + b)
    around = mean + 2 * np.sqrt(mean * (1 - mean) / (a + b)) * rng.normal(size=a.size)
    x = np.where((around > 0) & (around < 1), around, rng.uniform(size=a.size))
    a[0], b[0], x[0] = 98.3794, 0.0326589, 0.43544
    return a.astype(np.float32), b.astype(np.float32), np.clip(x, 1e-6, 1 - 1e-6).astype(np.float32)


def _below_1(rng, count=1000):
    """Half of every distance from 1, half of every distance from 0."""
    far, near = 1 - np.exp(-rng.uniform(0, 17, count)), np.exp(-rng.uniform(0, 80, count))
    x = np.concatenate([far, near, [0.0]]) * rng.choice([-1, 1], 2 * count + 1)
    return (np.clip(x, 2**-24 - 1, 1 - 2**-24).astype(np.float32),)


def _around_the_root(rng):
    return (np.concatenate([_spread(SMALLEST, LARGEST)(rng)[0], near(1.4616321449683623, 20)]),)


def _no_pole(rng):
    x = np.concatenate([_spread(1e-18, LARGEST, 1e-18)(rng)[0], rng.uniform(-30, 30, 500).astype(np.float32)])
    return (x[(x > 0) | (x != np.round(x))],)


def _negative(rng):
    return (rng.uniform(-30, 0, 500).astype(np.float32),)


def _slope(function, at):
    """Its errors are near 10⁻⁶⁰, relative from its truncation and absolute from its rounding."""
    with mpmath.workdps(100):
        h = mpmath.mpf(10) ** -30
        return (function(at + h) - function(at - h)) / (2 * h)


def _lower_gamma_slope(m, a, x):
    return _slope(lambda a: mpmath.gammainc(a, 0, x, regularized=True), a)


def _curvature(function, at):
    with mpmath.workdps(100):
        h = mpmath.mpf(10) ** -25
        return (function(at + h) - 2 * function(at) + function(at - h)) / h**2


def _lower_gamma_curvature(m, a, x):
    return _curvature(lambda a: mpmath.gammainc(a, 0, x, regularized=True), a)


def _mixed(function, a, b):
    with mpmath.workdps(100):
        h = mpmath.mpf(10) ** -25
        corners = [s * t * function(a + s * h, b + t * h) for s in (1, -1) for t in (1, -1)]
        return sum(corners) / (4 * h**2)


def _gamma_density_in_order(m, a, x):
    return _gamma_density(m, a, x) * (m.log(x) - m.psi(0, a))


def _gamma_density_slope(m, a, x):
    return _gamma_density(m, a, x) * ((a - 1) / x - 1)


def _minus(formula):
    return lambda m, *xs: -formula(m, *xs)


def _incomplete_beta(a, b, x):
    return mpmath.betainc(a, b, 0, x, regularized=True)


def _gamma_density(m, a, x):
    return m.exp((a - 1) * m.log(x) - x - m.loggamma(a))


def _beta_density(m, a, b, x):
    return m.exp(
        (a - 1) * m.log(x) + (b - 1) * m.log(1 - x) + m.loggamma(a + b) - m.loggamma(a) - m.loggamma(b)
    )


def _i0e_slope(m, x):
    with mpmath.workdps(130):
        return m.sign(x) * m.exp(-abs(x)) * (m.besseli(1, abs(x)) - m.besseli(0, x))


def _i1e_slope(m, x):
    if x == 0:
        return m.mpf(0.5)
    with mpmath.workdps(130):
        return m.exp(-abs(x)) * (m.besseli(0, x) - m.besseli(1, abs(x)) * (1 + 1 / abs(x)))


def _i0e_second(m, x):
    """On either side of its kink at 0."""
    if x == 0:
        return m.nan
    with mpmath.workdps(130):
        t = abs(x)
        return m.exp(-t) * (2 * m.besseli(0, t) - (2 + 1 / t) * m.besseli(1, t))


def _i1e_second(m, x):
    if x == 0:
        return m.nan
    with mpmath.workdps(130):
        t = abs(x)
        scaled = (2 + 2 / t + 2 / t**2) * m.besseli(1, t) - (2 + 1 / t) * m.besseli(0, t)
        return m.sign(x) * m.exp(-t) * scaled


def _beta_density_in_order(m, a, b, x):
    return _beta_density(m, a, b, x) * (m.log(x) - m.psi(0, a) + m.psi(0, a + b))


def _beta_density_in_other_order(m, a, b, x):
    return _beta_density(m, a, b, x) * (m.log(1 - x) - m.psi(0, b) + m.psi(0, a + b))


TRUTHS = {
    "erf": Truth(
        lax.erf,
        lambda m, x: 2 / m.sqrt(m.pi) * m.exp(-x * x),
        lambda rng: (of_every_magnitude(-9.6, 9.6)(rng),),
        second=[lambda m, x: -4 * x / m.sqrt(m.pi) * m.exp(-x * x)],
    ),
    "erfc": Truth(
        lax.erfc,
        lambda m, x: -2 / m.sqrt(m.pi) * m.exp(-x * x),
        lambda rng: (of_every_magnitude(-9.6, 9.6)(rng),),
        second=[lambda m, x: 4 * x / m.sqrt(m.pi) * m.exp(-x * x)],
    ),
    "erf_inv": Truth(
        lax.erf_inv,
        lambda m, x: m.sqrt(m.pi) / 2 * m.exp(m.erfinv(x) ** 2),
        _below_1,
        fast=False,
        second=[lambda m, x: m.pi / 2 * m.erfinv(x) * m.exp(2 * m.erfinv(x) ** 2)],
    ),
    "lgamma": Truth(
        lax.lgamma,
        lambda m, x: m.digamma(x),
        _around_the_root,
        fast=False,
        second=[lambda m, x: m.psi(1, x)],
    ),
    "digamma": Truth(
        lax.digamma, lambda m, x: m.psi(1, x), _no_pole, fast=False, second=[lambda m, x: m.psi(2, x)]
    ),
    "lgamma left of 0": Truth(
        lax.lgamma, lambda m, x: m.digamma(x), _negative, fast=False, second=[lambda m, x: m.psi(1, x)]
    ),
    "polygamma x": Truth(
        lambda x: lax.polygamma(lax.full_like(x, 2), x),
        lambda m, x: m.psi(3, x),
        _spread(1e-9, 1e5, 1e-9),
        fast=False,
        second=[lambda m, x: m.psi(4, x)],
    ),
    "bessel_i0e": Truth(lax.bessel_i0e, _i0e_slope, _spread(-1e20, 1e20), fast=False, second=[_i0e_second]),
    "bessel_i1e": Truth(lax.bessel_i1e, _i1e_slope, _spread(-1e20, 1e20), fast=False, second=[_i1e_second]),
    "igamma a": Truth(
        lax.igamma,
        _lower_gamma_slope,
        _of_one_order(-3, 1),
        fast=False,
        jax=1,
        second=[_lower_gamma_curvature, _gamma_density_in_order],
    ),
    "igamma x": Truth(
        lax.igamma,
        _gamma_density,
        _of_one_order(-20, 2),
        argument=1,
        fast=False,
        jax=1,
        second=[_gamma_density_in_order, _gamma_density_slope],
    ),
    "igammac a": Truth(
        lax.igammac,
        _minus(_lower_gamma_slope),
        _of_one_order(-3, 1),
        fast=False,
        jax=1,
        second=[_minus(_lower_gamma_curvature), _minus(_gamma_density_in_order)],
    ),
    "igammac x": Truth(
        lax.igammac,
        _minus(_gamma_density),
        _of_one_order(-20, 2),
        argument=1,
        fast=False,
        jax=1,
        second=[_minus(_gamma_density_in_order), _minus(_gamma_density_slope)],
    ),
    "regularized_incomplete_beta a": Truth(
        lax.betainc,
        lambda m, a, b, x: _slope(lambda a: _incomplete_beta(a, b, x), a),
        lambda rng: _beta_arguments(rng, 100),
        fast=False,
        jax=0,
        second=[
            lambda m, a, b, x: _curvature(lambda a: _incomplete_beta(a, b, x), a),
            lambda m, a, b, x: _mixed(lambda a, b: _incomplete_beta(a, b, x), a, b),
            _beta_density_in_order,
        ],
    ),
    "regularized_incomplete_beta b": Truth(
        lax.betainc,
        lambda m, a, b, x: _slope(lambda b: _incomplete_beta(a, b, x), b),
        lambda rng: _beta_arguments(rng, 100),
        argument=1,
        fast=False,
        jax=0,
        second=[
            lambda m, a, b, x: _mixed(lambda a, b: _incomplete_beta(a, b, x), a, b),
            lambda m, a, b, x: _curvature(lambda b: _incomplete_beta(a, b, x), b),
            _beta_density_in_other_order,
        ],
    ),
    "regularized_incomplete_beta x": Truth(
        lambda a, b, x: lax.betainc(lax.stop_gradient(a), lax.stop_gradient(b), x),
        _beta_density,
        _beta_arguments,
        argument=2,
        fast=False,
        second=[
            lambda m, a, b, x: 0 * a,
            lambda m, a, b, x: 0 * b,
            lambda m, a, b, x: _beta_density(m, a, b, x) * ((a - 1) / x - (b - 1) / (1 - x)),
        ],
    ),
}
