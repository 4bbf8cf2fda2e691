"""What to do about a gate that made a number that is none."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

FORWARD = {
    "log": "log needs an input above 0: add a small number to it, or use a function that has the limit built "
    "in (jax.nn.log_softmax, jax.nn.log_sigmoid, jax.scipy.special.xlogy)",
    "log1p": "log1p needs an input above −1: keep it away from there with jnp.clip",
    "sqrt": "sqrt needs an input of 0 or more: rounding may bring one below, jnp.maximum(x, 0) undoes it",
    "rsqrt": "rsqrt needs an input above 0: add a small number to it",
    "div": "The divisor is 0, or the quotient too large: add a small number to the divisor, or replace it by "
    "1 where it is 0, before dividing",
    "rem": "The divisor is 0: replace it by 1 there before dividing",
    "exp": "exp overflows above 88.7 in float32 and 11 in float16: subtract the maximum first, as "
    "jax.nn.softmax and jax.nn.logsumexp do, or keep its input down",
    "pow": "A negative number has whole powers only, and 0 none below 0: take the power of jnp.abs or "
    "jnp.maximum(x, small)",
    "acos": "acos takes −1 to 1: rounding may bring a cosine beyond, jnp.clip(x, −1, 1) undoes it",
    "asin": "asin takes −1 to 1: rounding may bring a sine beyond, jnp.clip(x, −1, 1) undoes it",
    "cholesky": "cholesky needs a positive definite matrix: add a small multiple of the unit matrix",
    "custom_linear_solve": "The matrix is singular, or nearly: add a small multiple of the unit matrix",
    "acosh": "acosh takes 1 and more: jnp.maximum(x, 1)",
    "atanh": "atanh is infinite at −1 and 1: keep its input between with jnp.clip",
}
FORWARD |= {"expm1": FORWARD["exp"], "exp2": FORWARD["exp"]}

BACKWARD = {
    "sqrt": "The slope of a root is ∞ at 0: add a small number under the root, or put jnp.where around its "
    "input so that it is never 0 (inside, not around the root)",
    "log": "The slope of log is ∞ at 0: add a small number to its input",
    "div": "The slope grows with the square of what the divisor is small by: add a small number to it",
    "acos": "The slope of acos is ∞ at −1 and 1: clip its input a little within",
    "asin": "The slope of asin is ∞ at −1 and 1: clip its input a little within",
    "pow": "A power below 1 has the slope ∞ at 0: add a small number to the base",
    "custom_vjp_call": "The backward of this custom_vjp returns it: funcnet.check_vjp can check it",
}
BACKWARD |= {"rsqrt": BACKWARD["sqrt"], "cbrt": BACKWARD["sqrt"], "log1p": BACKWARD["log"]}

MASKED = (
    "This is 0 · ∞: a select (jnp.where) took another branch here, so 0 came to a slope of ∞. jax.grad gives "
    "NaN; funcnet.grad leaves out what was not taken and is finite. For jax.grad put a jnp.where around the "
    "input too, so that the branch that is not taken has a harmless one"
)
ZERO = (
    "This is 0 · ∞: the gradient that came is 0, the slope is infinite. funcnet.grad(…, "
    "rules=funcnet.STRONG_ZERO) sends back 0 there"
)
INFINITIES = (
    "Infinities went in, as in ∞ − ∞, 0 · ∞ and ∞ / ∞, or a NaN that is written in the code: if they are "
    "meant, as in a mask, leave their places out here"
)
LABEL = (
    "A label that is none of the classes has NaN for a loss: labels go from 0 to the number of scores − 1; "
    "leave out examples without one by funcnet.nn.weighted_mean"
)
PARAMETER = (
    "An update or a file has made it so: look at the step before, at the learning rate and at the "
    "checkpoint; in data, look for missing values"
)


def advice(
    direction: str, primitive: str, inputs: Sequence[Any], upstream: Sequence[Any], made: Any, masked: bool
) -> str:
    """What to do, in a sentence.

    Args:
        direction: "forward" or "backward".
        primitive: the gate's; empty for an argument.
        inputs: what it ran on.
        upstream: the gradients that came to it.
        made: its output, or the gradient that it sends back.
        masked: whether only a gradient that nothing was left of met an infinite slope.
    """
    if not primitive:
        return PARAMETER
    if masked:
        return MASKED
    if direction == "forward":
        meant = any(_is_float(x) and bool(jnp.any(~jnp.isfinite(x))) for x in inputs)
        if meant:
            return INFINITIES
        if (
            primitive == "custom_vjp_call"
            and bool(jnp.any(jnp.isnan(made)))
            and not all(map(_is_float, inputs))
        ):
            return LABEL
        if primitive == "integer_pow" and not jnp.all(inputs[0]):
            return FORWARD["div"]  # of 0 to a power below 0; others are too large
        return FORWARD.get(primitive, _too_large(made, "number"))
    if all(y_bar is None or _is_zero_at(~jnp.isfinite(made), y_bar) for y_bar in upstream):
        return ZERO
    return BACKWARD.get(primitive, _too_large(made, "gradient"))


def _is_zero_at(places: Any, y_bar: Any) -> bool:
    """Whether a gradient is 0 at these places, or everywhere if it is of another shape."""
    return not jnp.any(jnp.where(places, y_bar, 0) if y_bar.shape == places.shape else y_bar)


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _too_large(made: Any, what: str) -> str:
    dtype = jnp.result_type(made)
    ways = "clip gradients, lower the learning rate" if what == "gradient" else "lower the learning rate"
    wider = " or compute in float32" if dtype.itemsize < 4 else ""
    return (
        f"The {what} is too large for {dtype}, which ends at {float(jnp.finfo(dtype).max):.3g}: scale the "
        f"inputs, {ways}{wider}"
    )
