"""The true gradients of JAX's functions that have a name, for the measurement in `tests.rules.ulp`."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from jax.scipy import special

from tests.rules.ulp import Truth, near, of_every_magnitude


def _unary(function, derivative, second, inputs, **more):
    return Truth(function, derivative, inputs, fast=False, second=[second], **more)


def _spread(low, high, smallest=1e-30, count=400, around=()):
    """Numbers of every magnitude, and the neighbours of some."""
    sample = of_every_magnitude(low, high, smallest, count)

    def inputs(rng):
        x = rng.permutation(sample(rng))[: 2 * count]
        x = np.concatenate([x, 3 * rng.normal(size=count // 2), *(near(c, 20) for c in around)])
        return (x[(x >= low) & (x <= high)].astype(np.float32),)

    return inputs


def _probabilities(top):
    """Close to 0 and close to the top."""

    def inputs(rng):
        small = np.exp(-rng.uniform(0.7, 16, 200))
        return (np.concatenate([small * top, (1 - small) * top]).astype(np.float32),)

    return inputs


def _heights_and_slopes(rng):
    """h and a of Owen's T, for which φ(h) φ(ah) is a normal number."""
    h = rng.permutation(of_every_magnitude(-9, 9, 1e-9, 300)(rng))[:600]
    a = rng.permutation(of_every_magnitude(-9, 9, 1e-9, 300)(rng))[:600]
    normal = abs(h * a) < 9
    return h[normal].astype(np.float32), a[normal].astype(np.float32)


def _mills(m, x):
    return m.sqrt(2 / m.pi) * m.exp(-x * x / 2) / m.erfc(-x / m.sqrt(2))


def _mills_slope(m, x):
    return -_mills(m, x) * (x + _mills(m, x))


def _erfcx(m, x):
    return m.exp(x * x) * m.erfc(x)


def _erfcx_slope(m, x):
    with mpmath.workdps(60 + 2 * int(abs(m.log(abs(x) + 2)))):
        return 2 * x * _erfcx(m, x) - 2 / m.sqrt(m.pi)


def _erfcx_second(m, x):
    with mpmath.workdps(60 + 2 * int(abs(m.log(abs(x) + 2)))):
        return 2 * _erfcx(m, x) + 2 * x * _erfcx_slope(m, x)


def _dawson(m, x):
    return m.sqrt(m.pi) / 2 * m.exp(-x * x) * m.erfi(x)


def _dawson_slope(m, x):
    with mpmath.workdps(80):
        return 1 - 2 * x * _dawson(m, x)


def _dawson_second(m, x):
    with mpmath.workdps(80):
        return -2 * _dawson(m, x) - 2 * x * _dawson_slope(m, x)


def _sinc_slope(m, x):
    with mpmath.workdps(150):
        return m.mpf(0) if x == 0 else (m.cospi(x) - m.sincpi(x)) / x


def _sinc_second(m, x):
    with mpmath.workdps(150):
        return -(m.pi**2) / 3 if x == 0 else -(m.pi**2) * m.sincpi(x) - 2 * _sinc_slope(m, x) / x


def _sine_quotient_slope(m, x):
    with mpmath.workdps(150):
        return m.mpf(0) if x == 0 else (m.cos(x) - m.sinc(x)) / x


def _erfcinv_slope(m, x):
    return -m.sqrt(m.pi) / 2 * m.exp(m.erfinv(1 - x) ** 2)


def _normal_quantile_slope(m, p):
    return m.sqrt(2 * m.pi) * m.exp(m.erfinv(2 * p - 1) ** 2)


def _spence_slope(m, x):
    with mpmath.workdps(100):
        return m.mpf(-1) if x == 1 else m.log(x) / (1 - x)


def _spence_second(m, x):
    with mpmath.workdps(100):
        return m.mpf(0.5) if x == 1 else (1 / x + _spence_slope(m, x)) / (1 - x)


def _pairs_of_orders(rng):
    """Of every magnitude, half of them alike."""
    a, b = np.exp(rng.uniform(-14, 14, (2, 600)))
    return a.astype(np.float32), np.where(rng.uniform(size=600) < 0.5, a * b**0.1, b).astype(np.float32)


def _trigamma_step(m, a, b):
    return m.psi(1, a) - m.psi(1, a + b)


def _sigma(m, x):
    return 1 / (1 + m.exp(-x))


def _bell(m, x):
    return _sigma(m, x) * _sigma(m, -x)


def _mish_slope(m, x):
    e = m.exp(x)
    return e * (4 * (x + 1) + e * (4 * x + 6) + 4 * e**2 + e**3) / (e**2 + 2 * e + 2) ** 2


def _mish_bend(m, x):
    e = m.exp(x)
    n = 2 * (e**3 + 3 * e**2 + 4 * e + 2) + x * (2 + 2 * e - 3 * e**2 - 2 * e**3)
    return 4 * e * n / (e**2 + 2 * e + 2) ** 3


def _tanh_gelu_parts(m, x):
    """w, w′ and w″ of the approximation x σ(w)."""
    k = m.sqrt(8 / m.pi)
    a = m.mpf("0.044715")
    return k * (x + a * x**3), k * (1 + 3 * a * x**2), 6 * k * a * x


def _tanh_gelu_slope(m, x):
    w, slope, _ = _tanh_gelu_parts(m, x)
    return _sigma(m, w) + x * slope * _bell(m, w)


def _tanh_gelu_bend(m, x):
    w, slope, bend = _tanh_gelu_parts(m, x)
    return _bell(m, w) * (2 * slope + x * bend - x * slope**2 * m.tanh(w / 2))


_WORST_OF_TANH_GELU = -4.3705316, -2.646865, -2.2342, -1.9437718, -1.7067295, -0.5165, -0.51507366
"""Of some ten million inputs those with the largest errors, now or in forms before."""


def _normal_density(m, x):
    return m.exp(-x * x / 2) / m.sqrt(2 * m.pi)


def _with_parameter(low, high):
    """Pairs of numbers, the second between low and high, the first of its magnitude or much less."""

    def inputs(rng):
        parameter = np.exp(rng.uniform(np.log(low), np.log(high), 1500))
        scale = np.exp(rng.uniform(-20, 3.5, 1500)) * rng.choice([-1, 1], 1500)
        return (parameter * scale).astype(np.float32), parameter.astype(np.float32)

    return inputs


def _selu_scale(m):
    """λ and α, for which the mean 0 and the variance 1 are a fixed point: Klambauer et al. 2017, eq. 14."""
    a, e = _selu_alpha(m), m.sqrt(m.e)
    square = (1 + a**2 * (1 - 2 * e * m.erfc(1 / m.sqrt(2)) + m.e**2 * m.erfc(m.sqrt(2)))) / 2
    square -= (1 / m.sqrt(2 * m.pi) - a * (1 - e * m.erfc(1 / m.sqrt(2))) / 2) ** 2
    return 1 / m.sqrt(square)


def _selu_alpha(m):
    return m.sqrt(2 / m.pi) / (1 - m.erfc(1 / m.sqrt(2)) * m.sqrt(m.e))


def _squareplus_root(m, x, b):
    return m.sqrt(x * x + b)


TRUTHS = {
    "jax.nn.soft_sign": Truth(
        jax.nn.soft_sign,
        lambda m, x: 1 / (1 + abs(x)) ** 2,
        _spread(-1e12, 1e12, around=[1, -1]),
        fast=False,
        second=[lambda m, x: -2 * m.sign(x) / (1 + abs(x)) ** 3],
    ),
    "jax.nn.hard_silu": _unary(
        jax.nn.hard_silu,
        lambda m, x: (x > 0) + 0 * x if abs(x) >= 3 else (2 * x + 3) / 6,
        lambda m, x: (abs(x) < 3) / m.mpf(3),
        _spread(-1e12, 1e12, around=[-1.5, -3, 3]),
    ),
    "jax.nn.selu": _unary(
        jax.nn.selu,
        lambda m, x: _selu_scale(m) * (m.mpf(1) if x > 0 else _selu_alpha(m) * m.exp(x)),
        lambda m, x: _selu_scale(m) * (m.mpf(0) if x > 0 else _selu_alpha(m) * m.exp(x)),
        _spread(-91, 1e12, around=[-64, -87.5]),
    ),
    "jax.nn.squareplus x": Truth(
        jax.nn.squareplus,
        lambda m, x, b: (1 + x / _squareplus_root(m, x, b)) / 2,
        _with_parameter(1e-3, 1e3),
        fast=False,
        second=[
            lambda m, x, b: b / (2 * _squareplus_root(m, x, b) ** 3),
            lambda m, x, b: -x / (4 * _squareplus_root(m, x, b) ** 3),
        ],
    ),
    "jax.nn.squareplus b": Truth(
        jax.nn.squareplus,
        lambda m, x, b: 1 / (4 * _squareplus_root(m, x, b)),
        _with_parameter(1e-3, 1e3),
        argument=1,
        fast=False,
        second=[
            lambda m, x, b: -x / (4 * _squareplus_root(m, x, b) ** 3),
            lambda m, x, b: -1 / (8 * _squareplus_root(m, x, b) ** 3),
        ],
    ),
    "jax.nn.silu": Truth(
        jax.nn.silu,
        lambda m, x: _sigma(m, x) * (1 + x * _sigma(m, -x)),
        _spread(-92, 92, around=[-1.2784645, 2.3993573, -2.3993573, 0]),
        fast=False,
        second=[lambda m, x: _bell(m, x) * (2 - x * m.tanh(x / 2))],
    ),
    "jax.nn.gelu": Truth(
        jax.jit(jax.nn.gelu),
        _tanh_gelu_slope,
        _spread(-14, 14, around=[-0.7524614, 1.418504, -1.418504, 0, *_WORST_OF_TANH_GELU]),
        fast=False,
        second=[_tanh_gelu_bend],
    ),
    "jax.nn.gelu(approximate=False)": Truth(
        jax.jit(functools.partial(jax.nn.gelu, approximate=False)),
        lambda m, x: m.erfc(-x / m.sqrt(2)) / 2 + x * _normal_density(m, x),
        _spread(-14, 14, around=[-0.75179154, 1.4142135, -1.4142135, 0]),
        fast=False,
        second=[lambda m, x: (2 - x * x) * _normal_density(m, x)],
    ),
    "jax.nn.mish": Truth(
        jax.nn.mish,
        _mish_slope,
        _spread(-92, 92, around=[-1.1924312, -2.2563765, 1.4905711, 0]),
        fast=False,
        second=[_mish_bend],
    ),
    "jax.nn.celu x": Truth(
        jax.nn.celu,
        lambda m, x, a: m.exp(min(x, 0 * x) / a),
        _with_parameter(1e-3, 1e3),
        fast=False,
        second=[
            lambda m, x, a: (x < 0) * m.exp(min(x, 0 * x) / a) / a,
            lambda m, x, a: -min(x, 0 * x) / a**2 * m.exp(min(x, 0 * x) / a),
        ],
    ),
    "jax.nn.celu alpha": Truth(
        jax.nn.celu,
        lambda m, x, a: m.expm1(min(x, 0 * x) / a) - min(x, 0 * x) / a * m.exp(min(x, 0 * x) / a),
        _with_parameter(1e-3, 1e3),
        argument=1,
        fast=False,
        second=[
            lambda m, x, a: -min(x, 0 * x) / a**2 * m.exp(min(x, 0 * x) / a),
            lambda m, x, a: min(x, 0 * x) ** 2 / a**3 * m.exp(min(x, 0 * x) / a),
        ],
    ),
    "jax.nn.log1mexp": _unary(
        jax.nn.log1mexp,
        lambda m, x: 1 / m.expm1(x),
        lambda m, x: -m.exp(x) / m.expm1(x) ** 2,
        _spread(1e-30, 87),
    ),
    "jax.numpy.i0": _unary(
        jnp.i0,
        lambda m, x: m.besseli(1, x),
        lambda m, x: (m.besseli(0, x) + m.besseli(2, x)) / 2,
        _spread(-91, 91),
    ),
    "jax.numpy.sinc": _unary(jnp.sinc, _sinc_slope, _sinc_second, _spread(-1e3, 1e3, around=[0, 1])),
    "jax.scipy.special.dawsn": _unary(
        special.dawsn, _dawson_slope, _dawson_second, _spread(-1e3, 1e3, around=[0])
    ),
    "jax.scipy.special.erfcx": _unary(
        special.erfcx,
        _erfcx_slope,
        _erfcx_second,
        _spread(-9.3, 1e5, around=[0, 1, 2.25]),
        jax=1,  # 0.12 refuses arrays
    ),
    "jax.scipy.special.expi": _unary(
        special.expi,
        lambda m, x: m.exp(x) / x,
        lambda m, x: m.exp(x) * (x - 1) / x**2,
        _spread(-87, 92, around=[1]),
    ),
    "jax.scipy.special.expn": _unary(
        special.exp1,
        lambda m, x: -m.exp(-x) / x,
        lambda m, x: m.exp(-x) * (1 + x) / x**2,
        _spread(1e-18, 87),
        jax=1,  # 0.10 has no second order
    ),
    "jax.scipy.special.fresnel": _unary(
        lambda x: special.fresnel(x)[0],
        lambda m, x: m.sinpi(x * x / 2),
        lambda m, x: m.pi * x * m.cospi(x * x / 2),
        _spread(-1e5, 1e5, 1e-18),
    ),
    "jax.scipy.special.fresnel C": _unary(
        lambda x: special.fresnel(x)[1],
        lambda m, x: m.cospi(x * x / 2),
        lambda m, x: -m.pi * x * m.sinpi(x * x / 2),
        _spread(-1e5, 1e5),
    ),
    "jax.scipy.special.i1": _unary(
        special.i1,
        lambda m, x: (m.besseli(0, x) + m.besseli(2, x)) / 2,
        lambda m, x: (3 * m.besseli(1, x) + m.besseli(3, x)) / 4,
        _spread(-91, 91),
    ),
    "jax.scipy.special.log_ndtr": _unary(
        special.log_ndtr, _mills, _mills_slope, _spread(-1e5, 13, around=[0, -10, 5, -1e4])
    ),
    "jax.scipy.special.ndtr x": _unary(
        special.ndtr,
        _normal_density,
        lambda m, x: -x * _normal_density(m, x),
        _spread(-13.4, 13.4, around=[0, 0.70710677, -0.70710677]),
    ),
    "jax.scipy.special.betaln a": Truth(
        special.betaln,
        lambda m, a, b: m.psi(0, a) - m.psi(0, a + b),
        _pairs_of_orders,
        fast=False,
        second=[_trigamma_step, lambda m, a, b: -m.psi(1, a + b)],
    ),
    "jax.scipy.special.betaln b": Truth(
        special.betaln,
        lambda m, a, b: m.psi(0, b) - m.psi(0, a + b),
        _pairs_of_orders,
        argument=1,
        fast=False,
        second=[lambda m, a, b: -m.psi(1, a + b), lambda m, a, b: _trigamma_step(m, b, a)],
    ),
    "jax.scipy.special.spence": _unary(
        special.spence, _spence_slope, _spence_second, _spread(1e-30, 1e30, around=[0.25, 0.5, 1, 2, 4])
    ),
    "jax.scipy.special.logit": _unary(
        special.logit,
        lambda m, x: 1 / (x * (1 - x)),
        lambda m, x: (2 * x - 1) / (x * (1 - x)) ** 2,
        _spread(1e-37, 1 - 2**-24),
    ),
    "jax.scipy.special.owens_t h": Truth(
        special.owens_t,
        lambda m, h, a: -m.exp(-h * h / 2) * m.erf(a * h / m.sqrt(2)) / m.sqrt(8 * m.pi),
        _heights_and_slopes,
        fast=False,
        second=[
            lambda m, h, a: (
                m.exp(-h * h / 2)
                * (
                    h * m.erf(a * h / m.sqrt(2)) / m.sqrt(8 * m.pi)
                    - a * m.exp(-((a * h) ** 2) / 2) / (2 * m.pi)
                )
            ),
            lambda m, h, a: -h * m.exp(-h * h * (1 + a * a) / 2) / (2 * m.pi),
        ],
    ),
    "jax.scipy.special.owens_t a": Truth(
        special.owens_t,
        lambda m, h, a: m.exp(-h * h * (1 + a * a) / 2) / (2 * m.pi * (1 + a * a)),
        _heights_and_slopes,
        argument=1,
        fast=False,
        second=[
            lambda m, h, a: -h * m.exp(-h * h * (1 + a * a) / 2) / (2 * m.pi),
            lambda m, h, a: (
                -a * (h * h + 2 / (1 + a * a)) * m.exp(-h * h * (1 + a * a) / 2) / (2 * m.pi * (1 + a * a))
            ),
        ],
    ),
    "jax.scipy.special.sici": _unary(
        lambda x: special.sici(x)[0],
        lambda m, x: m.sinc(x),
        _sine_quotient_slope,
        _spread(-1e3, 1e3, around=[0]),
    ),
    "jax.scipy.special.sici Ci": _unary(
        lambda x: special.sici(x)[1],
        lambda m, x: m.cos(x) / x,
        lambda m, x: -(m.sin(x) + m.cos(x) / x) / x,
        _spread(1e-30, 1e3),
    ),
    "jax.scipy.special.xlogx": _unary(
        lambda x: -special.entr(x),
        lambda m, x: 1 + m.log(x),
        lambda m, x: 1 / x,
        _spread(1e-37, 1e30, around=[np.exp(-1)]),
    ),
}
if jax.__version_info__ >= (0, 12):
    TRUTHS |= {
        "jax.scipy.special.erfcinv": _unary(
            special.erfcinv,  # pyright: ignore[reportAttributeAccessIssue]
            _erfcinv_slope,
            lambda m, x: 2 * m.erfinv(1 - x) * _erfcinv_slope(m, x) ** 2,
            _probabilities(2),
        ),
        "jax.scipy.special.ndtri": _unary(
            special.ndtri,
            _normal_quantile_slope,
            lambda m, p: m.sqrt(2) * m.erfinv(2 * p - 1) * _normal_quantile_slope(m, p) ** 2,
            _probabilities(1),
        ),
    }
