"""Logarithms of σ and Φ, and of what σ, tanh and eˣ leave of 1.

    log σ(x)                 σ(−x)
    log Φ(x)                 φ(x)/Φ(x)
    log(1 − σ(x))           −σ(x)
    log(σ(x) (1 − σ(x)))    −tanh(x/2)
    k log σ(x)               k σ(−x), and −log(1 + e⁻ˣ) in k; k log(1 − σ(x)) alike
    log(1 − tanh x)         −2 σ(2x)
    log(1 + tanh x)          2 σ(−2x)
    log(1 − tanh² x)        −2 tanh x
    log(1 − σ(x) + ε)       −σ(x) u,         u = σ(−x) / (σ(−x) + ε)
    log(1 − tanh² x + ε)    −2 tanh(x) u,    u = sech² x / (sech² x + ε)
    log(1 − clip(σ(x)))     −σ(x) where nothing is clipped
    log(1 − eˣ)             −1 / (e⁻ˣ − 1)
    log(σ(a) − σ(b))         σ(−a) + g and −σ(b) − g,    g = 1 / (eᵃ⁻ᵇ − 1)

As they are composed, σ′ is divided by 1 − σ, of which rounding leaves no digit at x = 16 in float32. JAX's
σ′ = y (1 − y) has the same error, which cancels there, and is wrong by it everywhere else; nothing cancels in
the second derivative. JAX makes no call of them: `backprop.composed` finds them, however 1 − u is spelled.
The last is (1 − eᵇ⁻ᵃ) σ(a) σ(−b) in other words, the likelihood of ordinal regression (McCullagh 1980).
"""

from typing import Any

import jax
from jax import lax

from funcnet.rules._forms import LOGARITHMS
from funcnet.rules._table import rule, slope
from funcnet.rules.exponentials import sech2, twice_sech2
from funcnet.rules.special import log_ndtr_slope

_SOURCE = "NIST DLMF §4.7(i), §4.34"
_PLAIN = [name for name in LOGARITHMS if name.startswith("jax.numpy.")]
_SQUARES = ("tanh**2", "square(tanh)", "tanh*tanh")


def _spellings(*arguments: str) -> list[str]:
    """The names of the logarithms of these."""
    return [name for name in _PLAIN if name.partition("(")[2][:-1] in arguments]


@rule(*_spellings("sigmoid"), formula="x̄ = ȳ · σ(−x)", source=_SOURCE)
def log_sigmoid(y_bar, y, x):
    return (y_bar * lax.logistic(-x),)


@rule("jax.numpy.log(ndtr)", formula="x̄ = ȳ · φ(x)/Φ(x)", source="NIST DLMF §7.8")
def log_ndtr(y_bar, y, x, central, right):
    """The tails of another choice than JAX's are those of −x."""
    is_other = (central == 0) & lax.select(right == 0, x > 0, x < 0)
    sign = lax.select(is_other, lax.full_like(x, -1), lax.full_like(x, 1))
    return y_bar * (sign * log_ndtr_slope(sign * x)), None, None


@rule(*_spellings("1-sigmoid", "-sigmoid"), formula="x̄ = −ȳ · σ(x)", source=_SOURCE)
def log_one_minus_sigmoid(y_bar, y, x):
    return (-y_bar * lax.logistic(x),)


@rule("jax.scipy.special.xlogy(sigmoid)", formula="k̄ = −ȳ · log(1 + e⁻ˣ),  x̄ = ȳ · k σ(−x)", source=_SOURCE)
def weighted_log_sigmoid(y_bar, y, k, x):
    return -y_bar * jax.nn.softplus(-x), y_bar * (k * lax.logistic(-x))


@rule(
    "jax.scipy.special.xlogy(1-sigmoid)",
    "jax.scipy.special.xlog1py(-sigmoid)",
    formula="k̄ = −ȳ · log(1 + eˣ),  x̄ = −ȳ · k σ(x)",
    source=_SOURCE,
)
def weighted_log_one_minus_sigmoid(y_bar, y, k, x):
    return -y_bar * jax.nn.softplus(x), -y_bar * (k * lax.logistic(x))


@rule(*_spellings("sigmoid*(1-sigmoid)", "(1-sigmoid)*sigmoid"), formula="x̄ = −ȳ · tanh(x/2)", source=_SOURCE)
def log_sigmoid_slope(y_bar, y, x):
    return (-y_bar * lax.tanh(0.5 * x),)


@rule(
    *_spellings("1-clip(sigmoid)"),
    formula="x̄ = −ȳ · σ(x) [low < σ(x) < high],  low̄ = −ȳ / (1 − low) [σ(x) < low],"
    "  high̄ = −ȳ / (1 − high) [high < σ(x)]",
    source=_SOURCE,
)
def log_one_minus_clipped_sigmoid(y_bar, y, x, low, high):
    """What is clipped above is told by σ(−x), which has the digits."""

    def where(condition, slope):
        return lax.select(condition, -y_bar * slope, lax.full_like(y_bar, 0))

    below, above = lax.logistic(x) < low, lax.logistic(-x) < 1 - high
    inside = ~below & ~above
    return where(inside, lax.logistic(x)), where(below, 1 / (1 - low)), where(above, 1 / (1 - high))


@rule(*_spellings("1-tanh", "-tanh"), formula="x̄ = −ȳ · 2 σ(2x)", source=_SOURCE)
def log_one_minus_tanh(y_bar, y, x):
    return (-y_bar * _twice_sigmoid(2 * x),)


@rule(*_spellings("1+tanh", "tanh+1", "tanh"), formula="x̄ = ȳ · 2 σ(−2x)", source=_SOURCE)
def log_one_plus_tanh(y_bar, y, x):
    return (y_bar * _twice_sigmoid(-2 * x),)


@slope(lambda s, x: 0.5 * s * _twice_sigmoid(-x))  # pyright: ignore[reportGeneralTypeIssues]
def _twice_sigmoid(x: Any) -> Any:
    """2 σ(x) as far as it is a normal number, where σ(x) is none already."""
    return 2 / (1 + lax.exp(-x))


@rule(
    *_spellings(*(f"{sign}{square}" for sign in ("1-", "-") for square in _SQUARES)),
    formula="x̄ = −ȳ · 2 tanh(x)",
    source=_SOURCE,
)
def log_sech2(y_bar, y, x):
    return (-y_bar * _twice_tanh(x),)


@slope(lambda s, x: twice_sech2(x))
def _twice_tanh(x: Any) -> Any:
    return 2 * lax.tanh(x)


@rule(
    *_spellings("1-sigmoid+eps"),
    formula="x̄ = −ȳ · σ(x) σ(−x) / (σ(−x) + ε),  ε̄ = ȳ / (σ(−x) + ε)",
    source=_SOURCE,
)
def log_one_minus_sigmoid_plus(y_bar, y, x, eps):
    return -y_bar * (lax.logistic(x) * _share_of_sigmoid(x, eps)), y_bar / (lax.logistic(-x) + eps)


@slope(
    lambda u, x, eps: -u * (lax.logistic(x) * (eps / (lax.logistic(-x) + eps))),
    lambda u, x, eps: -u / (lax.logistic(-x) + eps),
)
def _share_of_sigmoid(x: Any, eps: Any) -> Any:
    rest = lax.logistic(-x)
    return rest / (rest + eps)


@rule(
    *_spellings(*(f"1-{square}+eps" for square in _SQUARES)),
    formula="x̄ = −ȳ · 2 tanh(x) sech²(x) / (sech²(x) + ε),  ε̄ = ȳ / (sech²(x) + ε)",
    source=_SOURCE,
)
def log_sech2_plus(y_bar, y, x, eps):
    return -2 * y_bar * (lax.tanh(x) * _share_of_sech2(x, eps)), y_bar / (sech2(x) + eps)


@slope(
    lambda u, x, eps: -2 * u * (lax.tanh(x) * (eps / (sech2(x) + eps))),
    lambda u, x, eps: -u / (sech2(x) + eps),
)
def _share_of_sech2(x: Any, eps: Any) -> Any:
    return sech2(x) / (sech2(x) + eps)


@rule(*_spellings("1-exp", "-exp"), formula="x̄ = −ȳ / (e⁻ˣ − 1)", source="Mächler 2012, log(1 − exp(−|a|))")
def log_one_minus_exp(y_bar, y, x):
    return (-y_bar * _one_over_expm1(-x),)


@rule(
    *_spellings("sigmoid-sigmoid"),
    formula="x̄₁ = ȳ · (σ(−x₁) + g),  x̄₂ = −ȳ · (σ(x₂) + g),  g = 1 / (e^(x₁ − x₂) − 1)",
    source="McCullagh 1980, Regression Models for Ordinal Data",
)
def log_difference_of_sigmoids(y_bar, y, x1, x2):
    g = _one_over_expm1(x1 - x2)
    return y_bar * (lax.logistic(-x1) + g), -y_bar * (lax.logistic(x2) + g)


@slope(lambda g, d: -g * (1 + g))
def _one_over_expm1(d: Any) -> Any:
    return 1 / lax.expm1(d)
