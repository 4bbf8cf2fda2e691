"""The local gradient of one operation: what the upstream gradient is multiplied with.

Where ∂y/∂x is diagonal, or y has one element, the downstream gradient is an elementwise product
x̄ = ȳ · L (CS231n 2019, lecture 4, slides 56 to 60), and L = Jᵀ·1. Whether it is so shows one probe with
random numbers r: Jᵀ·r = r · (Jᵀ·1) for all of them only where no element of y reads another's x.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet.backprop import vjp
from funcnet.backprop.activity import differentiable
from funcnet.rules import PIECEWISE_CONSTANT, Table


def local_gradients(eqn: Any, xs: Sequence[Any], rules: Table) -> tuple["Candidate | None", ...]:
    """∂y/∂x for each operand x of an equation, of x's shape; None where x̄ cannot be an elementwise product.

    Args:
        eqn: an equation of a jaxpr.
        xs: its operands.
        rules: the table of rules.
    """
    xs, y = [jnp.asarray(x) for x in xs], eqn.outvars[0].aval
    flat = eqn.primitive.name in PIECEWISE_CONSTANT or not any(map(differentiable, xs))
    if len(eqn.outvars) != 1 or flat or not differentiable(y):
        return (None,) * len(xs)
    _, pullback = vjp(lambda *xs: _jax.bind(eqn, xs)[0], *xs, rules=rules)
    r = jnp.asarray(np.random.default_rng(0).standard_normal(y.shape), y.dtype)
    ones, probe = (pullback(y_bar) for y_bar in (jnp.ones(y.shape, y.dtype), r))
    triples = zip(xs, ones, probe, strict=True)
    return tuple(_elementwise(x, y, r, one, random) for x, one, random in triples)


@dataclass(frozen=True)
class Candidate:
    """What a local gradient would be, and whether the probe has found that it is one."""

    local: Any
    holds: Any


def _elementwise(x: jax.Array, y: Any, r: jax.Array, one: Any, random: Any) -> "Candidate | None":
    """Jᵀ·1, if Jᵀ·r is r times that."""
    if not differentiable(x):
        return None
    if y.shape == ():
        return Candidate(one, True)
    if x.shape != y.shape:
        return None
    digits = 16 * float(jnp.finfo(y.dtype).eps)  # two products of the same numbers, rounded differently
    return Candidate(one, jnp.allclose(random, r * one, rtol=digits, atol=0, equal_nan=True))
