"""Rules that are not linear in the upstream gradient: each is refused, with and without an oracle."""

import jax
import jax.numpy as jnp
import pytest

from funcnet import VJPCheckError, check_linear
from tests.check.rows import Refused, array, custom

X = array(0.5, -1.25, 2.0, 3.5)


def sine(x):
    return jnp.sin(x)


def through(change):
    """sin, whose rule changes the upstream gradient first."""
    return custom(sine, lambda args, y_bar: (jnp.cos(args[0]) * change(y_bar),))


def refused(name, change, *words):
    return Refused(name, through(change), (X,), "NONLINEAR", ("sine, x: float64[4]: not linear: ", *words))


GIVES_ANOTHER = "an upstream gradient of 0 gives one that is not 0"

ROWS = [
    refused("ignored", lambda y_bar: 0 * y_bar + 1, GIVES_ANOTHER, "the upstream gradient is ignored"),
    refused("something added", lambda y_bar: y_bar + 1e-3, GIVES_ANOTHER, "something is added to it"),
    refused(
        "not finite at 0",
        lambda y_bar: y_bar * y_bar / y_bar,
        "an upstream gradient of 0 gives one that is not finite",
        "0/0, or ∞/∞: the upstream gradient is divided by its own size",
    ),
    refused("clipped", lambda y_bar: jnp.clip(y_bar, -0.5, 0.5), "worst      x[", "clipped, or ignored"),
    refused(
        "clipped far off",
        lambda y_bar: jnp.clip(y_bar, -1e6, 1e6),
        "2^40 ȳ does not give 2^40 times",
        "clipped",
    ),
    refused("scaled to norm 1", lambda y_bar: y_bar / (1e-30 + jnp.linalg.norm(y_bar)), "hint"),
    refused("an absolute value", abs, "x̄(α ȳ₁ + β ȳ₂) is not α x̄(ȳ₁) + β x̄(ȳ₂)"),
    refused("a square", lambda y_bar: y_bar**2, "raised to a power"),
    refused(
        "cut off below",
        lambda y_bar: jnp.where(abs(y_bar) < 1e-6, 0, y_bar),
        "-2^-40 ȳ does not give -2^-40 times",
        "hint",
    ),
    refused("rounded", lambda y_bar: jnp.round(y_bar * 1024) / 1024, "hint"),
    refused(
        "in bfloat16", lambda y_bar: y_bar.astype("bfloat16").astype(y_bar.dtype), "a short dtype on the way"
    ),
    refused("its sign only in one case", lambda y_bar: jnp.where(y_bar.sum() > 0, y_bar, -y_bar), "hint"),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_rule_that_is_not_linear_is_refused_by_the_whole_check(row):
    row.test()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_and_by_check_linear_alone(row):
    with pytest.raises(VJPCheckError) as caught:
        check_linear(row.function, *row.args)
    assert caught.value.verdict == "NONLINEAR"


LINEAR = [
    ("right", sine, (X,)),
    ("wrong and linear", through(lambda y_bar: 3 * y_bar[::-1]), (X,)),
    ("in bfloat16 alone", sine, (X.astype("bfloat16"),)),
    ("a product over ȳ's own axis", through(lambda y_bar: jnp.cumsum(y_bar)), (X,)),
    ("a short dtype in the function itself", lambda x: jnp.sin(x.astype("float16")).astype(x.dtype), (X,)),
    ("complex", lambda z: z * z, (array(1 + 2j, -0.5j, dtype="complex64"),)),
    ("integers beside", lambda x, i: x[i], (X, jnp.array([1, 1]))),
]


@pytest.mark.parametrize(("function", "args"), [row[1:] for row in LINEAR], ids=[row[0] for row in LINEAR])
def test_what_is_linear_is_accepted(function, args):
    check_linear(function, *args)


def test_the_key_decides_the_upstream_gradients():
    def found(key):
        with pytest.raises(VJPCheckError) as caught:
            check_linear(through(abs), X, key=key)
        return dict(caught.value.finding.details)["worst"]

    assert found(1) == found(1) != found(2)
    assert found(jax.random.key(5)) == found(jax.random.key(5))
