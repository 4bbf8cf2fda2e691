"""Functions of JAX that have a name, and a derivative of JAX's own; the rules of the elementary ones.

JAX differentiates them by rules that it brings along; here each has ours. They are known by where they are
defined: a function of somebody else's with the same name is none of them. All have one argument and act on
each element by itself: so does what vmap makes of them, whichever axis it maps, under the same name. Of two
arguments vmap may map different axes, and the name would not tell.
"""

import math
from typing import Any

import jax
from jax import lax

from funcnet.rules._table import rule
from funcnet.rules.special import in_float32

DEFINED = {
    "nn.functions.relu": "jax.nn.relu",
    "nn.functions.relu6": "jax.nn.relu6",
    "nn.functions.softplus": "jax.nn.softplus",
    "nn.functions.log1mexp": "jax.nn.log1mexp",
    "numpy.lax_numpy._i0": "jax.numpy.i0",
    "numpy.lax_numpy.i0_impl": "jax.numpy.i0",
    "numpy.lax_numpy._i1": "jax.scipy.special.i1",
    "numpy.ufuncs.frexp": "jax.numpy.frexp",
    "numpy.ufuncs._frexp": "jax.numpy.frexp",
    "numpy.ufuncs.sinc": "jax.numpy.sinc",
    "scipy.special._dawsn": "jax.scipy.special.dawsn",
    "scipy.special._erfcinv": "jax.scipy.special.erfcinv",
    "scipy.special._erfcx": "jax.scipy.special.erfcx",
    "scipy.special._ndtri": "jax.scipy.special.ndtri",
    "scipy.special._wofz": "jax.scipy.special.wofz",
    "scipy.special._xlogx": "jax.scipy.special.xlogx",
    "scipy.special.expi": "jax.scipy.special.expi",
    "scipy.special.log_ndtr": "jax.scipy.special.log_ndtr",
    "scipy.special.logit": "jax.scipy.special.logit",
    "scipy.special.sici": "jax.scipy.special.sici",
    "third_party.scipy.special.fresnel": "jax.scipy.special.fresnel",
}
"""By the place in JAX where a function is defined: the name of its rule."""

PAIRS = {"jax.scipy.special.fresnel", "jax.scipy.special.sici"}
"""Those with two results. Where JAX has removed one of them, as unused, nothing says which is left."""


@rule("jax.nn.relu", formula="x̄ = ȳ · [x > 0]", source="CS231n 2019, lecture 4, slides 21 and 113")
def relu(y_bar, y, x):
    return (lax.select(x > 0, y_bar, lax.full_like(y_bar, 0)),)


@rule(
    "jax.nn.relu6",
    formula="x̄ = ȳ · [0 < x < 6]",
    source="Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10",
)
def relu6(y_bar, y, x):
    return (lax.select((x > 0) & (x < 6), y_bar, lax.full_like(y_bar, 0)),)


@rule("jax.nn.softplus", formula="x̄ = ȳ · σ(x)", source="Dugas et al. 2001; Glorot, Bordes and Bengio 2011")
def softplus(y_bar, y, x):
    return (y_bar * lax.logistic(x),)


@rule(
    "jax.nn.log1mexp",
    formula="x̄ = ȳ / (eˣ − 1)",
    source="Mächler 2012, Accurately Computing log(1 − exp(−|a|))",
)
def log1mexp(y_bar, y, x):
    return (y_bar * log1mexp_slope(x),)


@jax.custom_jvp
def log1mexp_slope(x: Any) -> Any:
    return 1 / lax.expm1(x)


@log1mexp_slope.defjvp
def _log1mexp_slope_tangent(xs: Any, x_dots: Any) -> Any:
    """−s (1 + s), where eˣ s² would be ∞ · 0."""
    s = log1mexp_slope(*xs)
    return s, x_dots[0] * (-s * (1 + s))


@rule("jax.scipy.special.logit", formula="x̄ = ȳ / (x (1 − x))", source="NIST DLMF §4.7(i)")
def logit(y_bar, y, x):
    return (y_bar * logit_slope(x),)


@jax.custom_jvp
def logit_slope(x: Any) -> Any:
    return 1 / (x * (1 - x))


@logit_slope.defjvp
def _logit_slope_tangent(xs: Any, x_dots: Any) -> Any:
    """2x − 1 is exact near ½, the difference of the two products of which it is a factor is not."""
    s = logit_slope(*xs)
    return s, x_dots[0] * (s * (s * (2 * xs[0] - 1)))


@rule("jax.scipy.special.xlogx", formula="x̄ = ȳ · (1 + log x)", source="Shannon 1948, §6")
def xlogx(y_bar, y, x):
    return (y_bar * xlogx_slope(x),)


@in_float32
def xlogx_slope(x: Any) -> Any:
    return _xlogx_slope(x)


@jax.custom_jvp
def _xlogx_slope(x: Any) -> Any:
    """1 + log x = log(1 + e (x − 1/e)) near its root 1/e, which is the float nearest to it and a rest."""
    root = x.dtype.type(math.exp(-1))
    rest = math.exp(-1) - float(root) if root.itemsize < 8 else -1.2428753672788363e-17
    near = lax.abs(x - root) < 0.1
    return lax.select(near, lax.log1p(math.e * (x - root) - math.e * rest), 1 + lax.log(x))


@_xlogx_slope.defjvp
def _xlogx_slope_tangent(xs: Any, x_dots: Any) -> Any:
    return _xlogx_slope(*xs), x_dots[0] / xs[0]


@rule("jax.numpy.frexp", formula="x̄ = m̄ · m/x,  a power of 2", source="NIST DLMF §1.4(iii)")
def frexp(y_bar, y, x):
    """x = m · 2ᵉ, and e does not move. Where it is 0, at ∞ and at 0 too, m = x."""
    mantissa, m_bar = (y[0], y_bar[0]) if isinstance(y, tuple) else (y, y_bar)
    same = mantissa == x
    one = lax.full_like(x, 1)
    scale = lax.select(same, one, mantissa / lax.select(same, one, x))
    return (None if m_bar is None else m_bar * lax.stop_gradient(scale),)
