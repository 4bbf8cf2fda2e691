"""The way back through one equation: a rule, traced for the shapes that it meets.

Tracing a rule gives the few equations that turn ȳ into x̄. Of those only the ones are kept that lead
to a gradient somebody asked for, and what they read of the forward pass is the stash: exactly what
the rule needs, no more. A rule of the table is traced once for each signature.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from funcnet import _jax
from funcnet._errors import RuleError
from funcnet.backprop.activity import Mask
from funcnet.backprop.alive import Lives, chosen, of_all, routed
from funcnet.backprop.program import Program, program
from funcnet.rules import ELEMENTWISE, ROUTING, RULES, SELECTING, Rule, Table, for_call
from funcnet.rules._routing import PARTS
from funcnet.rules._sparing import spared


@dataclass(frozen=True, eq=False)
class Pullback:
    """The way back through one equation, for the gradients that were asked for.

    Attributes:
        gives: which inputs get a gradient.
        backward: `backward(stash, y_bars) -> x_bars`, with None where there is no gradient.
        reads: which of [*ys, *xs] are the stash; those that are not are None in it.
        forward: where the equation must run differently to make its stash, `forward(xs) -> (ys, stash)`.
            Then `reads` says which inputs that reads, if not all; those that it does not read may be None.
        always: whether it runs where nothing comes too: a rule of a user's may send something back then.
        dense: whether it gets an array for each cotangent that it was made for, where that is late a zero.
        masked: for cotangents alive in places only, `masked(stash, y_bars, lives) -> (x_bars, lives)`;
            None for what takes them as they come.
    """

    gives: Mask
    backward: Callable[[Any, Sequence[Any]], Sequence[Any]]
    reads: Mask = ()
    forward: Callable[[Sequence[Any]], tuple[list[Any], Any]] | None = None
    always: bool = False
    dense: bool = True
    masked: Callable[[Any, Sequence[Any], Lives], tuple[Sequence[Any], Lives]] | None = None

    def reads_inputs(self, eqn: _jax.Equation) -> Sequence[bool]:
        """Which inputs the equation reads when it runs."""
        some = self.forward is not None and self.reads
        return self.reads[len(eqn.outvars) :] if some else [True] * len(eqn.invars)


def at_once(pullback: Pullback, values: Sequence[Any]) -> Pullback:
    """The same for [*ys, *xs] of which some are made on the way back: it runs forward there, on these."""
    assert pullback.forward is not None
    forward, n = pullback.forward, len(values) - len(pullback.gives)

    def backward(stash: Any, y_bars: Sequence[Any]) -> Sequence[Any]:
        return pullback.backward(forward(stash[n:])[1], y_bars)

    return Pullback(pullback.gives, backward, reads=(False,) * n + (True,) * len(pullback.gives))


@dataclass(frozen=True)
class Use:
    """A rule, and what of an equation that it is used for decides what it is traced to.

    Attributes:
        name: the name of the rule: its primitive's, or that of the function which is called.
        rule: the rule.
        call: the program of the function; None for a primitive, and where the rule fits as it stands.
        params: the parameters of the primitive.
        ins: the types of the inputs.
        outs: the types of the outputs.
        many: whether the rule gets tuples of outputs.
        given: which outputs have a cotangent.
        asked: which inputs want a gradient.
        context: JAX's settings.
    """

    name: str
    rule: Rule
    call: _jax.Jaxpr | None
    params: tuple[tuple[str, Any], ...]
    ins: tuple[Any, ...]
    outs: tuple[Any, ...]
    many: bool
    given: Mask
    asked: Mask
    context: tuple[Any, ...]

    @property
    def bars(self) -> list[Any]:
        """The types of the cotangents; None for a symbolic zero."""
        return [aval if has else None for aval, has in zip(self.outs, self.given, strict=True)]

    @property
    def is_ours(self) -> bool:
        """Whether the rule is that of the house."""
        return RULES.get(self.name) is self.rule

    def sparing(self) -> "Use":
        """The use of the rule that spares elements, with an operand before the others which says where."""
        rule = (
            spared(self.rule)
            if self.call is None
            else for_call(self.name, self.rule, self.call, sparing=True)
        )
        ins, asked = (_jax.bools(self.outs[0]), *self.ins), (False, *self.asked)
        return dataclasses.replace(self, rule=rule, call=None, ins=ins, asked=asked)


def by_rule(name: str, eqn: _jax.Equation, given: Mask, asked: Mask, rules: Table) -> Pullback:
    """The pullback of an equation by its rule.

    Args:
        name: the name of the rule: its primitive's, or that of the function that it calls.
        eqn: the equation.
        given: which outputs have a cotangent.
        asked: which inputs want a gradient.
        rules: the table.

    Raises:
        RuleError: the rule's answer has the wrong number, shape or dtype.
    """
    of_primitive = name == _jax.rule_name(eqn.primitive, eqn.params)
    call = None if of_primitive else _jax.called(eqn)[0]
    use = Use(
        name,
        rules[name],
        call if call and for_call(name, rules[name], call) is not rules[name] else None,
        tuple(sorted(_jax.parameters(eqn).items())) if of_primitive else (),
        tuple(v.aval for v in eqn.invars),
        tuple(v.aval for v in eqn.outvars),
        eqn.primitive.multiple_results if of_primitive else len(eqn.outvars) > 1,
        given,
        asked,
        _jax.trace_context(),
    )
    kept = _kept_by(use) if use.is_ours else []
    if not kept:
        with _jax.planning(eqn):
            kept.append(_pullback(use))
    return kept[0]


@functools.lru_cache(maxsize=4096)
def _kept(use: Use) -> list[Pullback]:
    """Where the pullback of all equations that use a rule alike is kept."""
    return []


def _kept_by(use: Use) -> list[Pullback]:
    """Likewise; nowhere for parameters that cannot be hashed."""
    try:
        return _kept(use)
    except TypeError:
        return []


def _pullback(use: Use) -> Pullback:
    pullback = (trace_pair if use.rule.forward and use.call is None else trace_rule)(use)
    if use.is_ours and use.name in ROUTING:
        return dataclasses.replace(pullback, masked=functools.partial(_route, use, pullback))
    if use.is_ours and use.name in ELEMENTWISE:
        sparing = functools.cache(lambda: trace_rule(use.sparing()))
        return dataclasses.replace(pullback, masked=functools.partial(_spare, use, pullback, sparing))
    return pullback


def _route(
    use: Use, pullback: Pullback, stash: Any, y_bars: Sequence[Any], lives: Lives
) -> tuple[Sequence[Any], Lives]:
    """What a rule sends back that only routes, and where it is alive."""
    x_bars, live = pullback.backward(stash, y_bars), of_all(y_bars, lives)
    if use.name == "select_n" and not use.ins[0].shape and len(use.ins) > 2:
        return x_bars, chosen(stash[1], live, x_bars)
    if live and live.whole and use.name not in SELECTING:
        return x_bars, list(map(live.of_whole, x_bars))
    if live or use.name in SELECTING:
        strict = live.strict if live else use.name == "select_n"
        sums = use.name not in PARTS
        return x_bars, routed(pullback.backward, stash, y_bars, lives, x_bars, strict, sums)
    return x_bars, [None] * len(x_bars)


def _spare(
    use: Use, pullback: Pullback, sparing: Callable, stash: Sequence[Any], y_bars: Sequence[Any], lives: Lives
) -> tuple[Sequence[Any], Lives]:
    """What an elementwise rule sends back, 0 where ȳ is not alive, and where it is alive."""
    live = of_all(y_bars, lives)
    if live is None or (use.name == "mul" and not live.strict):
        return pullback.backward(stash, y_bars), [live and live.along(x) for x in use.ins]
    if use.rule.forward:
        return list(map(live.part, pullback.backward(stash, y_bars))), [live]
    n = len(use.outs)
    mask = _jax.lying_as(live.array, use.outs[0])
    x_bars = sparing().backward([*stash[:n], mask, *stash[n:]], y_bars)
    return x_bars[1:], list(map(live.along, use.ins))


def trace_rule(use: Use) -> Pullback:
    """A rule `(y_bar, y, *xs) -> x_bars`: the stash is what it reads of ys and xs."""
    rule = use.rule if use.call is None else for_call(use.name, use.rule, use.call)

    def run(y_bars: Any, ys: Any, xs: Any) -> list[Any]:
        y_bar, y = (tuple(y_bars), tuple(ys)) if use.many else (y_bars[0], ys[0])
        return _checked(use, rule.backward(y_bar, y, *xs, **dict(use.params)))

    backward, shapes = program(run, use.bars, use.outs, use.ins)
    return Pullback(_present(shapes), _run(backward, shapes), reads=backward.reads[sum(use.given) :])


def trace_pair(use: Use) -> Pullback:
    """A rule `forward(*xs) -> (y, stash)` and `backward(stash, y_bar) -> x_bars`."""
    assert use.rule.forward is not None
    ahead, (_, stash) = program(functools.partial(use.rule.forward, **dict(use.params)), *use.ins)
    stash, tree = jax.tree.flatten(stash)

    def run(y_bars: Any, stash: Any) -> list[Any]:
        y_bar = tuple(y_bars) if use.many else y_bars[0]
        return _checked(use, use.rule.backward(jax.tree.unflatten(tree, stash), y_bar, **dict(use.params)))

    backward, shapes = program(run, use.bars, stash)
    n = len(use.outs)
    ahead = ahead.only([True] * n + list(backward.reads[sum(use.given) :]))

    def forward(xs: Sequence[Any]) -> tuple[list[Any], Any]:
        values = ahead(xs)
        return values[:n], values[n:]

    return Pullback(_present(shapes), _run(backward, shapes), forward=forward)


def _present(x_bars: Sequence[Any]) -> Mask:
    return tuple(x_bar is not None for x_bar in x_bars)


def _run(backward: Program, shapes: Sequence[Any]) -> Callable[[Any, Sequence[Any]], list[Any]]:
    def run(stash: Any, y_bars: Sequence[Any]) -> list[Any]:
        x_bars = iter(backward.as_call([*(y_bar for y_bar in y_bars if y_bar is not None), *stash]))
        return [None if shape is None else next(x_bars) for shape in shapes]

    return run


def _checked(use: Use, x_bars: Sequence[Any]) -> list[Any]:
    """The gradients that were asked for, once each is what the contract says."""
    name = "/".join(use.rule.primitives)
    if not isinstance(x_bars, (tuple, list)) or len(x_bars) != len(use.ins):
        came = f"{len(x_bars)} gradients" if isinstance(x_bars, (tuple, list)) else type(x_bars).__name__
        raise RuleError(
            f"the rule for {name} returned {came}, expected a tuple with one entry for each of its "
            f"{len(use.ins)} inputs; return None for an input without a gradient"
        )
    x_bars = [x_bar if wanted else None for wanted, x_bar in zip(use.asked, x_bars, strict=True)]
    for i, (x, x_bar) in enumerate(zip(use.ins, x_bars, strict=True)):
        if x_bar is not None and (jnp.shape(x_bar), jnp.result_type(x_bar)) != (x.shape, x.dtype):
            raise RuleError(
                f"the rule for {name} returned a gradient {jnp.result_type(x_bar)}{list(jnp.shape(x_bar))} "
                f"for input {i}, expected {x.dtype}{list(x.shape)}, that input's own type; convert or sum it"
            )
    pairs = zip(x_bars, use.ins, strict=True)
    return [None if x_bar is None else _jax.lying_as(x_bar, x) for x_bar, x in pairs]
