"""What to do about a gate that made a number that is none."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from funcnet import _jax

SINGULAR = "The matrix is singular, or nearly: add a small multiple of the unit matrix"
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
    "custom_linear_solve": SINGULAR,
    "triangular_solve": SINGULAR,
    "tridiagonal_solve": SINGULAR,
    "lu": SINGULAR,
    "acosh": "acosh takes 1 and more: jnp.maximum(x, 1)",
    "atanh": "atanh is infinite at −1 and 1: keep its input between with jnp.clip",
    "lgamma": "lgamma is infinite at 0, −1, −2, …: keep its input above 0",
    "digamma": "digamma is infinite at 0, −1, −2, …: keep its input above 0",
    "erf_inv": "erf_inv takes −1 to 1, and is infinite there: keep its input between with jnp.clip",
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
    "atan2": "atan2 has no slope at (0, 0): put jnp.where around its inputs so that they are never both 0",
    "atanh": "The slope of atanh is ∞ at −1 and 1: clip its input a little within",
    "acosh": "The slope of acosh is ∞ at 1: clip its input a little above",
    "svd": "Vectors have no slope where two singular values are equal, or one is 0: make a loss of the "
    "values alone, or take the values apart by a little noise on the matrix",
    "eigh": "Vectors have no slope where two eigenvalues are equal: make a loss of the values alone, or take "
    "them apart by a little noise on the matrix",
    "qr": "The columns depend on each other, where qr has no slope: add a little noise to the matrix",
    "cholesky": FORWARD["cholesky"],
    "custom_linear_solve": SINGULAR,
    "triangular_solve": SINGULAR,
    "lu": SINGULAR,
}
BACKWARD |= {"eig": BACKWARD["eigh"], "householder_product": BACKWARD["qr"]}
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
    "Infinities went in, as in ∞ − ∞, 0 · ∞ and ∞ / ∞: if they are meant, as in a mask, leave their places "
    "out here; if not, look at where they are from"
)
NOTHING_LEFT = (
    "∞ − ∞: in a softmax or a sum of exponentials this is a row of which a mask leaves nothing. Leave one "
    "place of it, or mask by a finite number, as jnp.finfo(x.dtype).min, or by where= of jax.nn.softmax"
)
LABEL = (
    "A label that is none of the classes has NaN for a loss: labels go from 0 to the number of scores − 1; "
    "leave out examples without one by funcnet.nn.weighted_mean"
)
PARAMETER = (
    "It was so before this ran: an initial value, an update or a file. Look at the step before, at the "
    "learning rate and at the checkpoint"
)
DATA = (
    "It came in as data: look for missing values where it is read, and for a division by 0 or a logarithm "
    "where it is scaled"
)
UNDEFINED = "There is no such value for these inputs, as of 0 / 0: keep its input from there, as by jnp.where"
FLAT = "There is no slope at these inputs, as of 0 / 0: keep its input from there, by a jnp.where around it"
SETTING = (
    "If it is meant, as a density outside of its support, or the maximum of what a mask has left, look at "
    "what the condition is of"
)
WHOLE = {"slogdet": "The determinant is 0: add a small multiple of the unit matrix"}
"""By the name of a function of JAX's whose gates say less than its own name."""
NO_VALUES = "There are no more values than ddof, as of a batch of one, or under a mask that leaves none"
DEFINED = {
    "var": NO_VALUES,
    "std": NO_VALUES,
    "nanmean": "There is no value that is no NaN",
}
"""By the name of a function of JAX's: when it gives a constant that is infinite or NaN."""


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
    if masked:
        return MASKED
    if direction == "forward":
        meant = any(_is_float(x) and bool(jnp.any(~jnp.isfinite(x))) for x in inputs)
        if meant:
            of_a_mask = primitive == "sub" and not any(jnp.any(jnp.isposinf(x)) for x in inputs)
            return NOTHING_LEFT if of_a_mask else INFINITIES
        if (
            primitive == "custom_vjp_call"
            and bool(jnp.any(jnp.isnan(made)))
            and not all(map(_is_float, inputs))
        ):
            return LABEL
        if primitive == "integer_pow" and not jnp.all(inputs[0]):
            return FORWARD["div"]  # of 0 to a power below 0; others are too large
        return FORWARD.get(primitive) or _size_or(UNDEFINED, "number", made, inputs)
    slope = BACKWARD.get(primitive) or _size_or(FLAT, "gradient", made, (*inputs, *upstream))
    if all(y_bar is None or _is_zero_at(~jnp.isfinite(made), y_bar) for y_bar in upstream):
        return f"{ZERO}. {slope}" if primitive in BACKWARD else ZERO
    return slope


def written_advice(name: str, what: str) -> str:
    """What to do about an infinity or NaN that is written in the code, in a function of this name."""
    if name in DEFINED:
        return DEFINED[name]
    return f"It is {'a NaN' if what == 'NaN' else 'an ∞'} that is written in the code. {SETTING}"


def hint_of(direction: str, eqn: _jax.Equation, inputs: Sequence[Any]) -> str:
    """What to do about a gate by its parameters: an index that is outside, the jvp that a user wrote."""
    if direction == "backward":
        place = _jax.jvp_place(eqn) if eqn.primitive.name == "custom_jvp_call" else ""
        return place and f"The jvp of this custom_jvp makes it, {place}: look at its divisions and roots"
    if is_whole(eqn):
        return WHOLE[_jax.function_name(eqn)]
    if (found := _outside(eqn, inputs)) is None:
        return ""
    place, index, axis, last = found
    return (
        f"Index {index}, number {place} of the indices, is outside of axis {axis}, where there are 0 to "
        f"{last}, and what is read there is NaN: as of a label that is no class, or a token that the table "
        f"does not have"
    )


def index_of(eqn: _jax.Equation, inputs: Sequence[Any], made: Any) -> int | None:
    """The index that is outside of an axis, or the label that is no class, which made a gate's NaN."""
    if eqn.primitive.name == "gather":
        found = _outside(eqn, inputs)
        return found and found[1]
    labels = [x for x in inputs if jnp.issubdtype(jnp.result_type(x), jnp.integer) and x.shape == made.shape]
    missing = np.isnan(np.asarray(made)) if labels and _jax.is_gate(eqn) else np.zeros(0, bool)
    return int(np.asarray(labels[0])[missing][0]) if missing.any() else None


def _outside(eqn: _jax.Equation, inputs: Sequence[Any]) -> tuple[list[int], int, int, int] | None:
    """Where among the indices of a gather one is that is outside, it, the axis, and the last one there."""
    if eqn.primitive.name != "gather" or eqn.params["mode"] != lax.GatherScatterMode.FILL_OR_DROP:
        return None
    x, indices = map(np.asarray, inputs)
    axes = list(eqn.params["dimension_numbers"].start_index_map)
    last = np.array([x.shape[axis] - eqn.params["slice_sizes"][axis] for axis in axes])
    outside = np.argwhere((indices < 0) | (indices > last))
    if not outside.size:
        return None
    *place, k = map(int, outside[0])
    return place, int(indices[*place, k]), axes[k], int(last[k])


def _is_zero_at(places: Any, y_bar: Any) -> bool:
    """Whether a gradient is 0 at these places, or everywhere if it is of another shape."""
    return not jnp.any(jnp.where(places, y_bar, 0) if y_bar.shape == places.shape else y_bar)


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def is_whole(eqn: _jax.Equation) -> bool:
    """Whether an equation calls a function of JAX's that is one gate here."""
    return _jax.function_name(eqn) in WHOLE and _jax.is_of_jax(eqn)


def _size_or(undefined: str, what: str, made: Any, given: Sequence[Any]) -> str:
    """That a number is too large for its type; of a NaN only if the product of what was given can be."""
    dtype = jnp.result_type(made)
    floats = [np.abs(np.asarray(x, np.complex128)) for x in given if x is not None and _is_float(x)]
    size = sum(np.log(np.max(x, initial=1, where=np.isfinite(x)) * max(1, x.size)) for x in floats)
    if jnp.any(jnp.isnan(made)) and size < np.log(float(jnp.finfo(dtype).max)):
        return undefined
    of_gradient = what == "gradient"
    ways = "clip gradients, lower the learning rate" if of_gradient else "lower the learning rate"
    if dtype.itemsize < 4:
        ways += (
            ", lower the loss's scale, or compute in float32" if of_gradient else ", or compute in float32"
        )
    return (
        f"The {what} is too large for {dtype}, which ends at {float(jnp.finfo(dtype).max):.3g}: scale the "
        f"inputs, {ways}"
    )
