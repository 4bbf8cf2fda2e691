"""Complex numbers and their parts, and conversions between dtypes.

The pairing of a cotangent with a change is Re(ȳ dy), without conjugation, as in JAX. So ȳ of Re x goes
back as ȳ, ȳ of Im x as −iȳ, ȳ of x* as ȳ*. A conversion between floats passes the gradient back
in the dtype of its input; what came from an integer or goes to one has no gradient. An extended dtype is
numbers under another name, with a way of its own to add gradients.
"""

import jax
import jax.numpy as jnp
from jax import lax

from funcnet import _jax
from funcnet.rules._table import like, rule

_WITHOUT_CONJUGATION = "JAX documentation, The Autodiff Cookbook, Complex numbers and differentiation"


@rule("real", formula="x̄ = ȳ", source=_WITHOUT_CONJUGATION)
def real(y_bar, y, x):
    return (lax.complex(y_bar, _zeros(y_bar)),)


@rule("imag", formula="x̄ = −iȳ", source=_WITHOUT_CONJUGATION)
def imag(y_bar, y, x):
    return (lax.complex(_zeros(y_bar), -y_bar),)


@rule("complex", formula="x̄₁ = Re ȳ,  x̄₂ = −Im ȳ", source=_WITHOUT_CONJUGATION)
def complex_number(y_bar, y, x1, x2):
    return like(x1, lax.real(y_bar)), -like(x2, lax.imag(y_bar))


@rule("conj", formula="x̄ = ȳ*", source=_WITHOUT_CONJUGATION)
def conj(y_bar, y, x, *, input_dtype):
    """The conjugate of a real number is complex in JAX."""
    return (lax.conj(y_bar) if jnp.issubdtype(x.dtype, jnp.complexfloating) else lax.real(y_bar),)


@rule(
    "convert_element_type", formula="x̄ = ȳ", source="Micikevicius et al. 2018, Mixed Precision Training, §3"
)
def convert_element_type(y_bar, y, x, *, new_dtype, weak_type):
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return (None,)
    if jnp.issubdtype(y_bar.dtype, jnp.complexfloating) and not jnp.issubdtype(x.dtype, jnp.complexfloating):
        y_bar = lax.real(y_bar)
    x_bar = lax.convert_element_type(y_bar, x.dtype)
    return (_jax.weak(x_bar) if jax.typeof(x).weak_type else x_bar,)


@rule("to_edtype", "from_edtype", formula="x̄ = ȳ", source="JAX documentation, jax.dtypes, extended dtypes")
def extended(y_bar, y, x, **dtypes):
    return (lax.convert_element_type(y_bar, x.dtype),)


@rule(
    "reduce_precision",
    formula="x̄ = round(ȳ)",
    source="Micikevicius et al. 2018, Mixed Precision Training, §3",
)
def reduce_precision(y_bar, y, x, *, exponent_bits, mantissa_bits):
    """As a conversion to a shorter dtype and back would: the gradient passes through the shorter one too."""
    return (lax.reduce_precision(y_bar, exponent_bits, mantissa_bits),)


def _zeros(y_bar):
    return lax.full_like(y_bar, 0, y_bar.dtype)
