"""A row of a function that has a loop and a rule of its own, and its wrong twin."""

import jax
import jax.numpy as jnp

from tests.benchmarks.strangers.rows import Row


def loop(table, name, *args, wrong=None, open=""):
    """A row for the table, of a function that returns the function and its `backward(y_bar, y, *args)`.

    `wrong(x_bars)` makes a wrong twin of it. `open` says why it is neither right nor wrong.
    """

    def rows(build):
        def make(change=lambda x_bars: x_bars):
            value, backward = build()
            ruled = jax.custom_vjp(value)

            def forward(*args):
                y = value(*args)
                return y, (y, args)

            ruled.defvjp(forward, lambda stash, y_bar: change(backward(y_bar, stash[0], *stash[1])))
            return ruled, *args

        table.append(Row("loops", name, make, open=open))
        if wrong:
            table.append(Row("loops", f"{name}, wrong", lambda: make(wrong), wrong=wrong.__name__))
        return build

    return rows


def negated(x_bars):
    return jax.tree.map(lambda x_bar: -x_bar, x_bars)


def transposed(x_bars):
    return jax.tree.map(lambda x_bar: x_bar.T, x_bars)


def one_percent_too_large(x_bars):
    return jax.tree.map(lambda x_bar: 1.01 * x_bar, x_bars)


def small(x):
    """A tolerance that its dtype can meet."""
    return 8 * jnp.finfo(x.dtype).eps
