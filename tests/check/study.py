"""The power study of the checker: the rules of study_rules.py, and ways to break them.

A way is a function from a rule to the wrong one. Where it would leave a rule as it is, `UNCHANGED` says why.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp

from tests.check.study_rules import RULES, Rule


def downstream(change):
    """Changes each x̄."""

    def broken(rule):
        return replace(rule, backward=lambda stash, y_bar: jax.tree.map(change, rule.backward(stash, y_bar)))

    return broken


def downstream_first(change):
    """Changes the first x̄ alone, given as a flat array."""

    def broken(rule):
        def backward(stash, y_bar):
            (first, *others), tree = jax.tree.flatten(rule.backward(stash, y_bar))
            return jax.tree.unflatten(tree, [change(first.ravel()).reshape(first.shape), *others])

        return replace(rule, backward=backward)

    return broken


def upstream(change):
    """Changes ȳ."""

    def broken(rule):
        return replace(rule, backward=lambda stash, y_bar: rule.backward(stash, jax.tree.map(change, y_bar)))

    return broken


def stashed(change):
    """Changes the arrays in the stash."""

    def broken(rule):
        def forward(*args):
            y, stash = rule.forward(*args)
            return y, jax.tree.map(change, stash)

        return replace(rule, forward=forward)

    return broken


def where_first(wrong):
    """Doubles the first x̄ where its x says so."""

    def broken(rule):
        def forward(*args):
            y, stash = rule.forward(*args)
            return y, (stash, jax.tree.leaves(args)[0])

        def backward(stash, y_bar):
            inner, x = stash
            return downstream_first(lambda x_bar: jnp.where(wrong(x.ravel()), 2 * x_bar, x_bar))(
                rule
            ).backward(inner, y_bar)

        return replace(rule, forward=forward, backward=backward)

    return broken


def forward_off(rule):
    def forward(*args):
        y, stash = rule.forward(*args)
        return jax.tree.map(lambda part: part * 1.001, y), stash

    return replace(rule, forward=forward)


def arguments_swapped(rule):
    def backward(stash, y_bar):
        x_bars = rule.backward(stash, y_bar)
        if len(x_bars) < 2 or getattr(x_bars[0], "shape", None) != getattr(x_bars[1], "shape", 0):
            return x_bars
        return x_bars[1], x_bars[0], *x_bars[2:]

    return replace(rule, backward=backward)


def argument_left_out(rule):
    def backward(stash, y_bar):
        x_bars = rule.backward(stash, y_bar)
        last = max(i for i, x_bar in enumerate(x_bars) if x_bar is not None)
        return tuple(None if i == last else x_bar for i, x_bar in enumerate(x_bars))

    return replace(rule, backward=backward)


def second_output_ignored(rule):
    def backward(stash, y_bar):
        first, *others = jax.tree.leaves(y_bar)
        parts = [first, *map(jnp.zeros_like, others)]
        return rule.backward(stash, jax.tree.unflatten(jax.tree.structure(y_bar), parts))

    return replace(rule, backward=backward)


def integers_differentiated(rule):
    def forward(*args):
        y, stash = rule.forward(*args)
        return y, (stash, args)

    def backward(stash, y_bar):
        inner, args = stash
        x_bars = rule.backward(inner, y_bar)
        return tuple(
            jnp.ones(x.shape) if x_bar is None else x_bar for x, x_bar in zip(args, x_bars, strict=True)
        )

    return replace(rule, forward=forward, backward=backward)


def smallest(x_bar):
    """Where the smallest one is that is not 0."""
    return jnp.where(x_bar == 0, jnp.inf, abs(x_bar)).argmin()


def transposed(x_bar):
    return x_bar.T.reshape(x_bar.shape)


def rolled(x):
    return jnp.roll(x.ravel(), 1).reshape(x.shape)


def through(dtype):
    return lambda x: x.astype(dtype).astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x


def first_row(x):
    return jnp.zeros_like(x).at[:1].set(x[:1]) if x.ndim else x


WAYS: dict[str, Callable[[Rule], Rule]] = {
    "zero": downstream(jnp.zeros_like),
    "negated": downstream(jnp.negative),
    "doubled": downstream(lambda x_bar: 2 * x_bar),
    "× 1.003": downstream(lambda x_bar: 1.003 * x_bar),
    "× 1.0001": downstream(lambda x_bar: 1.0001 * x_bar),
    "+ 0.01": downstream(lambda x_bar: x_bar + 0.01),
    "one element + 5 %": downstream_first(lambda x_bar: x_bar.at[smallest(x_bar)].mul(1.05)),
    "one element zeroed": downstream_first(lambda x_bar: x_bar.at[smallest(x_bar)].set(0)),
    "one NaN": downstream_first(lambda x_bar: x_bar.at[-1].set(jnp.nan)),
    "rolled": downstream(rolled),
    "reversed": downstream(lambda x_bar: jnp.flip(x_bar)),
    "transposed": downstream(transposed),
    "mean instead of sum": downstream(lambda x_bar: x_bar / x_bar.shape[0]),
    "ȳ of the first row alone": upstream(first_row),
    "ȳ ignored": upstream(jnp.ones_like),
    "ȳ clipped at 1": upstream(lambda y_bar: jnp.clip(y_bar, -1, 1)),
    "|ȳ|": upstream(jnp.abs),
    "ȳ²": upstream(jnp.square),
    "rounded to float16": downstream(through(jnp.float16)),
    "rounded to bfloat16": downstream(through(jnp.bfloat16)),
    "stash rounded to bfloat16": stashed(through(jnp.bfloat16)),
    "stash of a neighbour": stashed(rolled),
    "forward × 1.001": forward_off,
    "x̄ of dtype float16": downstream(lambda x_bar: x_bar.astype(jnp.float16)),
    "argument left out": argument_left_out,
    "arguments swapped": arguments_swapped,
    "second output ignored": second_output_ignored,
    "wrong where x > 1": where_first(lambda x: x > 1),
    "cancels in float32": downstream(lambda x_bar: jax.lax.optimization_barrier(x_bar + 1000) - 1000),
    "wrong in float32 alone": downstream(lambda x_bar: 1.01 * x_bar if x_bar.dtype == jnp.float32 else x_bar),
    "gradient of integers": integers_differentiated,
    "ties": lambda rule: replace(rule, backward=rule.ties or rule.backward),
    "a mistake of its own": lambda rule: replace(rule, backward=rule.mistake),
}

# Right at the arguments and the usual upstream gradients; wrong where both are multiplied by these.
BEYOND: dict[str, tuple[Callable[[Rule], Rule], float, float]] = {
    "wrong where |x| > 4": (where_first(lambda x: abs(x) > 4), 3, 1),
    "ȳ clipped at 100": (upstream(lambda y_bar: jnp.clip(y_bar, -100, 100)), 1, 200),
    "ȳ lost below 1e-3": (upstream(lambda y_bar: jnp.where(abs(y_bar) < 1e-3, 0, y_bar)), 1, 1e-4),
    "NaN where ȳ = 0": (upstream(lambda y_bar: y_bar * (y_bar / y_bar)), 1, 0),
}


def all_but(*names):
    return {rule.name for rule in RULES} - set(names)


# Which rules a way leaves as they are, and why; the tests hold this against the gradients themselves.
UNCHANGED: dict[str, tuple[str, set[str]]] = {
    "transposed": (
        "no gradient has two axes",
        {"silu", "sort", "relu"},
    ),
    "stash rounded to bfloat16": (
        "it holds integers, bools, or what only its sign is read of",
        {"cumsum", "sort", "take", "relu", "maximum"},
    ),
    "stash of a neighbour": ("there is none", {"cumsum"}),
    "arguments swapped": ("there are no two of one shape", all_but("matmul", "attention")),
    "second output ignored": ("there is one", all_but("moments")),
    "gradient of integers": ("there are none", all_but("take", "cross_entropy")),
    "ties": ("there are none", all_but("relu", "maximum")),
}


def wrong(rule):
    """The wrong rules that are made of a right one, by what is wrong."""
    unchanged = {name for name, (_, names) in UNCHANGED.items() if rule.name in names}
    ways = WAYS | {name: way for name, (way, *_) in BEYOND.items()}
    return {name: way(rule) for name, way in ways.items() if name not in unchanged}
