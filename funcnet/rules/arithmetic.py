"""Sums, products and quotients, and what selects by size: max, min, clamp, |x|, sign, rem.

These are the gates that backpropagation is taught with: an adder hands the upstream gradient on, a
multiplier hands it on times the other input, a max to the larger input (CS231n 2019, lecture 4, slides
82 to 84). A scalar may stand beside an array; its gradient is the sum over the array.

At a kink the rules take the middle where two sides are alike: a tie of max or min gives half to each input,
and |x|′(0) = 0, the element of least norm of [−1, 1] (JAX has 1: `funcnet.JAX_KINKS`). So kinks that cancel
in a smooth function cancel in its gradient: with max(x, 0)′ = ½ at 0, the logistic loss in its stable form
max(x, 0) − x z + log(1 + exp(−|x|)) has the gradient ½ − z there, and max(x, 0) + max(−x, 0) − |x| has 0.
From the second derivative on, |x| is taken from the right: of a smooth function of |x| all are right then,
those of log cosh x = |x| + log(1 + exp(−2|x|)) − log 2 say, where sign² = 0 would make them 0.
clamp gives nothing at its bounds, as in JAX. Complex |x| and sign are not holomorphic, so their gradients are
transposes of the real derivatives of (Re x, Im x), and 0 at x = 0.
"""

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import like, rule, slope


@rule("add", "add_any", formula="x̄₁ = ȳ,  x̄₂ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def add(y_bar, y, x1, x2):
    return like(x1, y_bar), like(x2, y_bar)


@rule("sub", formula="x̄₁ = ȳ,  x̄₂ = −ȳ", source="CS231n 2019, lecture 4, slide 82")
def sub(y_bar, y, x1, x2):
    return like(x1, y_bar), -like(x2, y_bar)


@rule("neg", formula="x̄ = −ȳ", source="CS231n 2019, lecture 4, slide 82")
def neg(y_bar, y, x):
    return (-y_bar,)


@rule("mul", formula="x̄₁ = ȳ · x₂,  x̄₂ = ȳ · x₁", source="CS231n 2019, lecture 4, slide 82")
def mul(y_bar, y, x1, x2, *, out_dtype):
    def gradient(x, other):
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            return None
        return like(x, lax.mul(y_bar, other, out_dtype=out_dtype and x.dtype))

    return gradient(x1, x2), gradient(x2, x1)


@rule("div", formula="x̄₁ = ȳ / x₂,  x̄₂ = −ȳ y / x₂", source="NIST DLMF §1.4(iii)")
def div(y_bar, y, x1, x2):
    """The quotient y says it without x₂², which leaves the range of floats long before the gradient does."""
    return like(x1, y_bar / x2), -like(x2, y_bar * y) / x2


@rule("rem", formula="x̄₁ = ȳ,  x̄₂ = −ȳ · trunc(x₁/x₂)", source="NIST DLMF §1.4(iii)")
def rem(y_bar, y, x1, x2):
    """x₁ − y is a whole multiple of x₂. The rounded quotient x₁/x₂ itself may reach the next whole number."""
    return like(x1, y_bar), like(x2, -y_bar * lax.round((x1 - y) / x2))


@rule(
    "max",
    formula="x̄₁ = ȳ · [x₁ > x₂],  x̄₂ = ȳ · [x₂ > x₁];  a tie: ½ ȳ each",
    source="CS231n 2019, lecture 4, slide 82",
)
def maximum(y_bar, y, x1, x2):
    return like(x1, _to_winner(y_bar, x1 > x2, x1 == x2)), like(x2, _to_winner(y_bar, x2 > x1, x1 == x2))


@rule(
    "min",
    formula="x̄₁ = ȳ · [x₁ < x₂],  x̄₂ = ȳ · [x₂ < x₁];  a tie: ½ ȳ each",
    source="CS231n 2019, lecture 4, slide 82",
)
def minimum(y_bar, y, x1, x2):
    return like(x1, _to_winner(y_bar, x1 < x2, x1 == x2)), like(x2, _to_winner(y_bar, x2 < x1, x1 == x2))


def _to_winner(y_bar, wins, ties):
    """All to a winner, half to each of two equals; nothing to a loser, nor where one of them is NaN."""
    zero = lax.full_like(y_bar, 0)
    return lax.select(wins, y_bar, lax.select(ties, 0.5 * y_bar, zero))


@rule(
    "clamp",
    formula="x̄ = ȳ · [low < x < high],  low̄ = ȳ · [x < low < high],  high̄ = ȳ · [high < x]",
    source="CS231n 2019, lecture 4, slide 82",
)
def clamp(y_bar, y, low, x, high):
    def where(condition):
        return lax.select(condition, y_bar, lax.full_like(y_bar, 0))

    return (
        like(low, where((x < low) & (low < high))),
        where((low < x) & (x < high)),
        like(high, where(high < x)),
    )


def absolute_forward(x):
    y = lax.abs(x) if jnp.iscomplexobj(x) else size(x)
    return y, (x, y)


@rule(
    "abs",
    formula="x̄ = ȳ · sign(x);  complex: ȳ x* / |x|",
    source="Rockafellar 1970, §23; Kreutz-Delgado 2009, The Complex Gradient Operator",
    forward=absolute_forward,
)
def absolute(stash, y_bar):
    x, y = stash
    if not jnp.iscomplexobj(x):
        return (signed(y_bar, x),)
    a, b = lax.real(x), lax.imag(x)
    return (lax.complex(y_bar * _cosine(a, b, y), -y_bar * _cosine(b, a, y)),)


def _sine_squared(b, r):
    """(b/r)² / r, and 1 at 0."""
    sine = b / _nonzero(r)
    return lax.select(r == 0, lax.full_like(r, 1), sine * sine / _nonzero(r))


@slope(
    lambda s, a, b, r: _sine_squared(b, r),
    lambda s, a, b, r: -s * (b / _nonzero(r)) / _nonzero(r),
    None,
)
def _cosine(a, b, r):
    """a/r of a + ib with modulus r, whose square may leave the range; at 0 it is 0, and its slope 1."""
    return a / _nonzero(r)


@rule(
    "sign",
    formula="0;  complex: x̄ = i y* Im(ȳ y) / |x|",
    source="Kreutz-Delgado 2009, The Complex Gradient Operator",
)
def sign(y_bar, y, x):
    """A complex y = x/|x| moves along the unit circle only: dy = i y Im(y* dx) / |x|."""
    if not jnp.issubdtype(x.dtype, jnp.complexfloating):
        return (None,)
    turn = lax.imag(y_bar * y) / _nonzero(lax.abs(x))
    return (lax.complex(turn * lax.imag(y), turn * lax.real(y)),)


@slope(lambda s, x: _to_the_right(x))
def size(x):
    """|x| with its slope from the right at 0."""
    return lax.abs(x)


@slope(lambda s, y, x: _to_the_right(x), None)
def signed(y, x):
    """y · sign(x), which is 0 at x = 0, with its slope in y from the right there."""
    return y * lax.sign(x)


def _to_the_right(x):
    one = lax.full_like(x, 1)
    return lax.select(x < 0, -one, one)


def _nonzero(r):
    return lax.select(r == 0, lax.full_like(r, 1), r)
