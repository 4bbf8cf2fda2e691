"""Functions of JAX that have a name: which rule is whose, and those of logaddexp, xlogy, logit and their kin.

JAX differentiates them by rules that it brings along, or as they are composed; here each has ours, under its
public name. All act on each element by itself: a rule gets its arguments in the shape and the dtype of the
result.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from funcnet.rules import _forms
from funcnet.rules._table import rule, slope
from funcnet.rules.exponentials import hyperbolic_sine, logistic_slope
from funcnet.rules.special import in_float32

DEFINED = {
    "nn.functions.relu": ["jax.nn.relu"],
    "nn.functions.relu6": ["jax.nn.relu6"],
    "nn.functions.hard_silu": ["jax.nn.hard_silu"],
    "nn.functions.selu": ["jax.nn.selu"],
    "nn.functions.softplus": ["jax.nn.softplus"],
    "nn.functions.soft_sign": ["jax.nn.soft_sign"],
    "nn.functions.squareplus": ["jax.nn.squareplus"],
    "nn.functions.silu": ["jax.nn.silu"],
    "nn.functions.gelu": ["jax.nn.gelu", "jax.nn.gelu(approximate=False)"],
    "nn.functions.mish": ["jax.nn.mish"],
    "nn.functions.celu": ["jax.nn.celu"],
    "nn.functions.log1mexp": ["jax.nn.log1mexp"],
    "nn.functions.softmax": ["jax.nn.softmax"],
    "nn.functions._softmax": ["jax.nn.softmax"],
    "nn.functions.log_softmax": ["jax.nn.log_softmax"],
    "ops.special.logsumexp": ["jax.nn.logsumexp"],
    "numpy.lax_numpy._i0": ["jax.numpy.i0"],
    "numpy.lax_numpy.i0_impl": ["jax.numpy.i0"],
    "numpy.lax_numpy._i1": ["jax.scipy.special.i1"],
    "numpy.linalg._det": ["jax.numpy.linalg.det"],
    "numpy.linalg._det_2x2": ["jax.numpy.linalg.det"],
    "numpy.linalg._det_3x3": ["jax.numpy.linalg.det"],
    "numpy.ufuncs.frexp": ["jax.numpy.frexp"],
    "numpy.ufuncs._frexp": ["jax.numpy.frexp"],
    "numpy.ufuncs.ldexp": ["jax.numpy.ldexp"],
    "numpy.ufuncs._hypot": ["jax.numpy.hypot"],
    "numpy.ufuncs.hypot": ["jax.numpy.hypot"],
    "numpy.ufuncs.sinc": ["jax.numpy.sinc"],
    "scipy.special._dawsn": ["jax.scipy.special.dawsn"],
    "scipy.special._erfcinv": ["jax.scipy.special.erfcinv"],
    "scipy.special._erfcx": ["jax.scipy.special.erfcx"],
    "scipy.special._ndtri": ["jax.scipy.special.ndtri"],
    "scipy.special._wofz": ["jax.scipy.special.wofz"],
    "scipy.special._xlogx": ["jax.scipy.special.xlogx"],
    "scipy.special._expn": ["jax.scipy.special.expn"],
    "scipy.special._owens_t_impl": ["jax.scipy.special.owens_t"],
    "scipy.special.expi": ["jax.scipy.special.expi"],
    "scipy.special.expn": ["jax.scipy.special.expn"],
    "scipy.special.log_ndtr": ["jax.scipy.special.log_ndtr"],
    "scipy.special.logit": ["jax.scipy.special.logit"],
    "scipy.special.sici": ["jax.scipy.special.sici"],
    "third_party.scipy.special.fresnel": ["jax.scipy.special.fresnel"],
    "lax.other.logaddexp": ["jax.numpy.logaddexp"],
    "lax.other.logaddexp2": ["jax.numpy.logaddexp2"],
    "scipy.special.betaln": ["jax.scipy.special.betaln"],
    "scipy.special.spence": ["jax.scipy.special.spence"],
    "scipy.special.poch": ["jax.scipy.special.poch"],
    "scipy.special.xlogy": ["jax.scipy.special.xlogy"],
    "scipy.special.xlog1py": ["jax.scipy.special.xlog1py"],
    "funcnet.rules._forms.softmax": ["jax.nn.softmax"],
    "funcnet.rules._forms.logsumexp": ["jax.nn.logsumexp"],
    "funcnet.rules._forms.i0": ["jax.numpy.i0"],
    "funcnet.rules._forms.i1": ["jax.scipy.special.i1"],
    "funcnet.rules._forms.ndtr": ["jax.scipy.special.ndtr"],
    "funcnet.rules._forms.log_ndtr": ["jax.numpy.log(ndtr)"],
    "funcnet.rules._forms.boxcox": ["jax.scipy.special.boxcox"],
    "funcnet.rules._forms.logarithm": [*_forms.LOGARITHMS],
}
"""By the place in JAX, or here, where a function is defined: the names of the rules that may be its."""

THROUGH = {
    **_forms.LOGARITHMS,
    "jax.scipy.special.xlogx": jax.scipy.special.entr,
    "jax.scipy.special.ndtr": _forms.ndtr,
    "jax.numpy.log(ndtr)": _forms.log_ndtr,
    "jax.scipy.special.betaln": lambda a, b: jax.jit(jax.scipy.special.betaln)(a, b),
    "jax.scipy.special.spence": lambda x: jax.jit(jax.scipy.special.spence)(x),
    "jax.scipy.special.boxcox": _forms.boxcox,
    "jax.nn.gelu": lambda x: jax.jit(jax.nn.gelu)(x),
    "jax.nn.gelu(approximate=False)": lambda x: jax.jit(jax.nn.gelu, static_argnames="approximate")(
        x, approximate=False
    ),
    "jax.nn.softmax": lambda x, axis=-1: jax.jit(jax.nn.softmax, static_argnames="axis")(x, axis=axis),
    "jax.nn.logsumexp": lambda x, axis=None: jax.jit(jax.nn.logsumexp, static_argnames="axis")(x, axis=axis),
}
"""By the name of a function that is not public, or that is no call: what calls it with the same arguments."""

PARAMETERS = {"jax.nn.squareplus": 1, "jax.nn.celu": 1}
"""How many of the arguments with a default its rule takes, where a call has them."""

REDUCING = frozenset({"jax.nn.softmax", "jax.nn.log_softmax", "jax.nn.logsumexp"})
"""Functions that reduce their argument over some axes: their rules get those as a parameter."""

WHOLE = frozenset({"jax.numpy.linalg.det"})
"""Functions of matrices: their rules get the arguments as they are."""

REAL = REDUCING | {
    *_forms.LOGARITHMS,
    "jax.numpy.logaddexp2",
    "jax.nn.hard_silu",
    "jax.nn.selu",
    "jax.nn.soft_sign",
    "jax.nn.squareplus",
    "jax.nn.silu",
    "jax.nn.gelu",
    "jax.nn.gelu(approximate=False)",
    "jax.nn.mish",
    "jax.nn.celu",
    "jax.scipy.special.betaln",
    "jax.scipy.special.boxcox",
}
"""Functions whose rule is one of real numbers."""


@rule(
    "jax.numpy.logaddexp",
    formula="x̄₁ = ȳ · σ(x₁ − x₂),  x̄₂ = ȳ · σ(x₂ − x₁)",
    source="Dugas et al. 2001, Incorporating Second-Order Functional Knowledge",
)
def logaddexp(y_bar, y, x1, x2):
    """Half to each where both are the same infinity."""
    same = (x1 == x2) & jnp.isinf(x1)
    x1, x2 = (jnp.where(same, 0, x) for x in (x1, x2))
    return y_bar * _logistic(*_apart(x1, x2)), y_bar * _logistic(*_apart(x2, x1))


@rule(
    "jax.numpy.logaddexp2",
    formula="x̄₁ = ȳ / (1 + 2^(x₂ − x₁)),  x̄₂ = ȳ / (1 + 2^(x₁ − x₂))",
    source="as logaddexp, to the base 2",
)
def logaddexp2(y_bar, y, x1, x2):
    same = (x1 == x2) & jnp.isinf(x1)
    x1, x2 = (jnp.where(same, 0, x) for x in (x1, x2))
    return y_bar * _logistic2(*_apart(x1, x2)), y_bar * _logistic2(*_apart(x2, x1))


def _apart(x1, x2):
    """x₁ − x₂, and what that loses in rounding (Knuth 1997, §4.2.2, theorem B), many ulp of σ(x₁ − x₂)."""
    apart = x1 - x2
    back = apart - x1
    lost = (x1 - (apart - back)) - (x2 + back)
    return apart, jnp.where(jnp.isfinite(apart), lost, 0)


@slope(lambda s, x, rest: logistic_slope(x) * (1 - rest * lax.tanh(0.5 * x)), None)
def _logistic(x, rest):
    """σ(x + rest) for a small rest."""
    s = lax.logistic(x)
    return s * (1 + rest * (1 - s))


@slope(lambda s, x, rest: math.log(2) * s * _logistic2(-x, -rest), None)  # pyright: ignore[reportGeneralTypeIssues]
def _logistic2(x: Any, rest: Any) -> Any:
    """1 / (1 + 2^−(x + rest)) for a small rest; lax.exp2 rounds its exponent, but for the whole part of x."""
    size = lax.min(lax.abs(x), lax.full_like(x, 2000))
    whole = lax.round(size)
    q = lax.exp2((whole - size) - lax.sign(x) * rest)
    q = jnp.ldexp(q, -lax.convert_element_type(whole, jnp.int32))
    return jnp.where(x > 0, 1, q) / (1 + q)


@rule("jax.numpy.hypot", formula="x̄₁ = ȳ x₁ / y,  x̄₂ = ȳ x₂ / y, and 0 at 0", source="NIST DLMF §1.5(ii)")
def hypot(y_bar, y, x1, x2):
    return y_bar * _cosine(x1, x2, y), y_bar * _cosine(x2, x1, y)


@slope(
    lambda s, x1, x2, y: (x2 / y) * (x2 / y) / y,
    lambda s, x1, x2, y: -s * (x2 / y) / y,
    None,
)
def _cosine(x1, x2, y):
    """x₁ / √(x₁² + x₂²); at 0 the element of least norm, 0."""
    return jnp.where(lax.abs(x1) == y, lax.sign(x1), x1 / y)


@rule(
    "jax.scipy.special.poch",
    formula="z̄ = ȳ (z)ₘ (ψ(z + m) − ψ(z)), and ȳ (−1)ⁿ n! Γ(m − n) at z = −n,  m̄ = ȳ (z)ₘ ψ(z + m)",
    source="NIST DLMF §5.2(iii) and §5.3",
)
def poch(y_bar, y, z, m):
    """1/Γ is 0 at z = −n and has the derivative (−1)ⁿ n! there, where ψ(z) is infinite."""
    pole = (z <= 0) & (z == lax.floor(z))
    inside = y * (lax.digamma(jnp.where(pole, 1, z) + m) - lax.digamma(jnp.where(pole, 1, z)))
    z_bar = y_bar * jnp.where(pole, _poch_slope_at_pole(jnp.where(pole, z, 0), m), inside)
    return z_bar, y_bar * (y * lax.digamma(z + m))


@slope(
    lambda s, z, m: 2 * s * (lax.digamma(z + m) - lax.digamma(1 - z)), lambda s, z, m: s * lax.digamma(z + m)
)
def _poch_slope_at_pole(z, m):
    sign = 1 - 2 * lax.rem(lax.abs(z), lax.full_like(z, 2))
    return sign * lax.exp(lax.lgamma(1 - z)) * jax.scipy.special.gamma(z + m)


@rule(
    "jax.scipy.special.xlogy",
    formula="x̄ = ȳ · log y,  ȳ_y = ȳ · x / y, and 0 where x = y = 0",
    source="Kullback and Leibler 1951, On Information and Sufficiency, section 2",
)
def xlogy(y_bar, z, x, y):
    return y_bar * lax.log(y), y_bar * _ratio(x, y)


@rule(
    "jax.scipy.special.xlog1py",
    formula="x̄ = ȳ · log(1 + y),  ȳ_y = ȳ · x / (1 + y), and 0 where x = 1 + y = 0",
    source="Kullback and Leibler 1951, On Information and Sufficiency, section 2",
)
def xlog1py(y_bar, z, x, y):
    return y_bar * lax.log1p(y), y_bar * _ratio(x, 1 + y)


def _ratio_by_y(ratio: Any, x: Any, y: Any) -> Any:
    return -_ratio(ratio, y)


@slope(lambda ratio, x, y: 1 / y, _ratio_by_y)
def _ratio(x, y):
    """x / y, and 0 where x is: at 0 / 0 its derivative in x is infinite, that in y again 0."""
    edge = x == 0
    return jnp.where(edge, 0, x / jnp.where(edge, 1, y))


@rule(
    "jax.nn.log1mexp",
    formula="x̄ = ȳ / (eˣ − 1)",
    source="Mächler 2012, Accurately Computing log(1 − exp(−|a|))",
)
def log1mexp(y_bar, y, x):
    return (y_bar * log1mexp_slope(x),)


@slope(lambda s, x: -_quarter_csch2(x))
def log1mexp_slope(x):
    """Its derivative is not −s (1 + s), with the error of lax.expm1 twice, nor −eˣ s², which may be ∞ · 0."""
    return 1 / lax.expm1(x)


@slope(lambda s, x: -s / lax.tanh(0.5 * x))
def _quarter_csch2(x):
    """csch²(x/2) / 4."""
    csch = 0.5 / hyperbolic_sine(0.5 * x)
    return csch * csch


@rule("jax.scipy.special.logit", formula="x̄ = ȳ / (x (1 − x))", source="NIST DLMF §4.7(i)")
def logit(y_bar, y, x):
    return (y_bar * logit_slope(x),)


@slope(lambda s, x: s * (s * (2 * x - 1)))
def logit_slope(x):
    """In its derivative 2x − 1 is exact near ½; as a difference of two products it would not be."""
    return 1 / (x * (1 - x))


@rule("jax.scipy.special.xlogx", formula="x̄ = ȳ · (1 + log x)", source="Shannon 1948, §6")
def xlogx(y_bar, y, x):
    return (y_bar * xlogx_slope(x),)


@in_float32
@slope(lambda s, x: 1 / x)
def xlogx_slope(x):
    """1 + log x = log(1 + e (x − 1/e)) near its root 1/e, which is the float nearest to it and a rest."""
    root = x.dtype.type(math.exp(-1))
    rest = math.exp(-1) - float(root) if root.itemsize < 8 else -1.2428753672788363e-17
    near = lax.abs(x - root) < 0.1
    return lax.select(near, lax.log1p(math.e * (x - root) - math.e * rest), 1 + lax.log(x))


@rule("jax.numpy.frexp", formula="x̄ = m̄ · m/x,  a power of 2", source="NIST DLMF §1.4(iii)")
def frexp(y_bar, y, x):
    """x = m · 2ᵉ, and e does not move. Where it is 0, at ∞ and at 0 too, m = x."""
    mantissa, m_bar = (y[0], y_bar[0]) if isinstance(y, tuple) else (y, y_bar)
    same = mantissa == x
    one = lax.full_like(x, 1)
    scale = lax.select(same, one, mantissa / lax.select(same, one, x))
    return (None if m_bar is None else m_bar * lax.stop_gradient(scale),)


@rule("jax.numpy.ldexp", formula="x̄ = ȳ · 2ⁿ", source="NIST DLMF §4.7(ii)")
def ldexp(y_bar, y, x, n):
    """At 0 too, where JAX's program hands on x itself."""
    return jnp.ldexp(y_bar, lax.convert_element_type(n, jnp.int32)), None
