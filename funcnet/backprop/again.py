"""What a plan makes again on the way back rather than keep: cheap functions of what is kept.

The rules of tanh and its like read their input x, the product behind them reads y = f(x). To keep both is
twice the memory, so y is made of x once more when its cotangent has come.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax import lax

from funcnet import _jax
from funcnet.backprop.activity import Mask
from funcnet.backprop.program import Program, program
from funcnet.backprop.pullback import Pullback

CHEAP = frozenset({"tanh", "logistic", "sin", "cos", "erf"})
"""Primitives whose rule reads x, and which may be run once more for whoever reads y."""


PRODUCTS = frozenset({"dot_general", "conv_general_dilated"})
"""Primitives beside whose way back such a run costs little."""


class Made(NamedTuple):
    """How a value is made on the way back.

    Attributes:
        inputs: of which variables of the program.
        of: `of(xs, y_bar)`, the value, of theirs and a cotangent that has come.
    """

    inputs: tuple[_jax.Var, ...]
    of: Callable[[Sequence[Any], Any], Any]


def computed_again(
    jaxpr: _jax.Jaxpr, pullbacks: Mapping[int, Pullback], wanted: Mask, turns: bool = False
) -> dict[_jax.Var, _jax.Equation]:
    """Values y = f(x) that need not be kept: x is, and f is cheap.

    Only products may read y. What acts on each element takes no longer than f itself: a step of an LSTM is a
    fifth slower then. And whoever else keeps y makes it of no use. The product's ȳ must not be larger than y:
    XLA holds what it is made of until y is, that is all scores of a softmax. And where the program `turns` at
    its end, the last of several would be made at once, and is still there.
    """
    held = {v for v, one in zip(jaxpr.outvars, wanted, strict=True) if one and not _jax.is_literal(v)}
    for i in pullbacks:
        eqn = jaxpr.eqns[i]
        reads = [True] * len(eqn.invars) if pullbacks[i].forward else pullbacks[i].reads[len(eqn.outvars) :]
        kept = {v for v, one in zip(eqn.invars, reads, strict=True) if one and not _jax.is_literal(v)}
        if eqn.primitive.name in PRODUCTS:
            kept = {v for v in kept if v.aval.size < eqn.outvars[0].aval.size}
        held |= kept
    of_x = [i for i, pullback in sorted(pullbacks.items()) if pullback.reads == (False, True)]
    cheap = [jaxpr.eqns[i] for i in of_x if jaxpr.eqns[i].primitive.name in CHEAP]
    if turns and len(cheap) > 1:
        cheap.pop()
    return {eqn.outvars[0]: eqn for eqn in cheap if eqn.outvars[0] not in held}


def made_by(eqn: _jax.Equation) -> Made:
    """How the value of an equation of one input is made again."""
    params = tuple(sorted(eqn.params.items()))

    def of(xs: Sequence[Any], y_bar: Any) -> Any:
        types = map(jax.typeof, (*xs, y_bar))
        return _maker(eqn.primitive, params, *types, _jax.trace_context()).as_call([*xs, y_bar])[0]

    return Made((eqn.invars[0],), of)


@functools.lru_cache(maxsize=512)
def _maker(primitive: Any, params: tuple[tuple[str, Any], ...], x: Any, y_bar: Any, context: Any) -> Program:
    """How y = f(x) is made again once a cotangent has come, from the two."""

    def again(x: Any, y_bar: Any) -> Any:
        return primitive.bind(tied(x, y_bar), **dict(params))

    return program(again, x, y_bar)[0]


def tied(x: Any, y_bar: Any) -> Any:
    """x, which XLA cannot know before ȳ: else it would find that what is made of x is there, and keep it.

    t = t or t ≠ t holds for every number, NaN too: for the first of ȳ, or for the largest where an explicit
    sharding lets none be taken out.
    """
    if not y_bar.size:
        return x
    x_lies, y_bar_lies = (any(jax.typeof(one).sharding.spec) for one in (x, y_bar))
    if y_bar_lies:
        t = lax.reduce_max(y_bar, range(y_bar.ndim))
    else:
        t = lax.reshape(lax.slice(y_bar, [0] * y_bar.ndim, [1] * y_bar.ndim), ())
    holds = (t == t) | (t != t)
    return lax.select(holds if x_lies else lax.broadcast(holds, x.shape), x, lax.full_like(x, 0))
