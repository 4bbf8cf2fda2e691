"""The local gradient of one operation: what the upstream gradient is multiplied with.

Where ∂y/∂x is diagonal, or y has one element, the downstream gradient is an elementwise product
x̄ = ȳ · L (CS231n 2019, lecture 4, slides 56 to 60), and L = Jᵀ·1. Whether it is so shows one probe with
random numbers r: Jᵀ·r = r · (Jᵀ·1) for all of them only where no element of y reads another's x.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet.backprop import vjp
from funcnet.backprop.activity import differentiable
from funcnet.drawing.diagram.running import part
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
    params = tuple(sorted(eqn.params.items()))
    try:
        found = iter(_probe(Kind(eqn.primitive, params, y, id(rules), eqn, rules))(*xs))
    except TypeError:  # parameters that cannot be hashed
        found = iter(probe(eqn, rules)(*xs))
    return tuple(Candidate(next(found), next(found)) if fits(x, y) else None for x in xs)


@dataclass(frozen=True)
class Kind:
    """What an equation has in common with others whose local gradients are computed alike."""

    primitive: Any
    params: tuple[Any, ...]
    y: Any
    table: int
    eqn: Any = field(compare=False)
    rules: Table = field(compare=False)


@functools.lru_cache(maxsize=256)
def _probe(kind: Kind) -> Callable[..., Sequence[Any]]:
    return probe(kind.eqn, kind.rules)


def probe(eqn: Any, rules: Table) -> Callable[..., Sequence[Any]]:
    """A function of an equation's operands: for each that fits, Jᵀ·1, and whether Jᵀ·r is r times that."""
    y = eqn.outvars[0].aval
    r = np.random.default_rng(0).standard_normal(y.shape)

    def probed(*xs: Any) -> list[Any]:
        _, pullback = vjp(lambda *xs: _jax.bind(eqn, xs)[0], *xs, rules=rules)
        one, random = (_jax.lying_as(jnp.asarray(y_bar, y.dtype), y) for y_bar in (np.ones(y.shape), r))
        ones, probes = pullback(one), pullback(random)
        found = []
        for x, slope, sent in zip(xs, ones, probes, strict=True):
            if fits(x, y):
                found += [slope, _is_product(y, random, slope, sent)]
        return found

    return part(probed)


@dataclass(frozen=True)
class Candidate:
    """What a local gradient would be, and whether the probe has found that it is one."""

    local: Any
    holds: Any


def fits(x: Any, y: Any) -> bool:
    """Whether downstream can be local × upstream for an operand: y is one number, or of its shape."""
    return differentiable(x) and y.shape in ((), x.shape)


def _is_product(y: Any, r: jax.Array, one: Any, sent: Any) -> Any:
    if y.shape == ():
        return jnp.bool_(True)
    digits = 16 * float(jnp.finfo(y.dtype).eps)  # two products of the same numbers, rounded differently
    return jnp.allclose(sent, r * one, rtol=digits, atol=0, equal_nan=True)
