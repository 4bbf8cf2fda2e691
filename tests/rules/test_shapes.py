"""The rules of shapes: rearrangements, copies, parts, parts put together, choices."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from tests.rules.rows import Row, check, check_low_precision, complex_normal, each, normal, squared

OUTSIDE = {"just before the start": -2, "far before the start": -7, "beyond the end": 9}

REARRANGEMENTS = [
    Row("reshape", squared(lambda x: lax.reshape(x, (4, 3))), normal((2, 6))),
    Row("reshape", lambda x: lax.reshape(x, (3, 8), (2, 0, 1)), normal((2, 3, 4)), name="dimensions"),
    Row("reshape", lambda x: lax.reshape(x, ()), normal((1, 1)), name="to a scalar"),
    Row("reshape", lambda x: lax.reshape(x, (0, 7)), normal((3, 0)), name="no elements"),
    Row("squeeze", lambda x: lax.squeeze(x, (0, 2)), complex_normal((1, 3, 1)), name="complex"),
    Row("transpose", squared(lambda x: lax.transpose(x, (2, 0, 1))), normal((2, 3, 4))),
    Row("rev", lambda x: lax.rev(x, (0, 2)), normal((2, 3, 2))),
    Row("rev", lambda x: lax.rev(x, (0,)), normal((0, 3)), name="no elements"),
]

COPIES = [
    Row("broadcast_in_dim", squared(lambda x: lax.broadcast_in_dim(x, (2, 3, 4), (1, 2))), normal((3, 4))),
    Row(
        "broadcast_in_dim",
        lambda x: lax.broadcast_in_dim(x, (2, 3), (0, 1)),
        normal((1, 3)),
        name="stretched",
    ),
    Row("broadcast_in_dim", lambda x: lax.broadcast_in_dim(x, (1, 3), (1,)), normal((3,)), name="new axis"),
    Row("broadcast_in_dim", lambda x: lax.broadcast_in_dim(x, (2, 3), ()), complex_normal(()), name="scalar"),
    Row(
        "broadcast_in_dim",
        lambda x: lax.broadcast_in_dim(x, (0, 3), (0, 1)),
        normal((1, 3)),
        name="to nothing",
    ),
    Row("tile", squared(lambda x: lax.tile(x, (2, 1, 3))), normal((2, 3, 1))),
    Row("tile", lambda x: lax.tile(x, (0, 2)), normal((2, 2)), name="no copies"),
]

PARTS = [
    Row("slice", lambda x: lax.slice(x, (1, 0), (3, 4)), normal((4, 4))),
    Row("slice", squared(lambda x: lax.slice(x, (1, 0), (8, 3), (3, 2))), normal((9, 4)), name="strides"),
    Row("slice", lambda x: lax.slice(x, (2, 1), (2, 3), (3, 1)), normal((4, 4)), name="empty"),
    Row("split", squared(lambda x: lax.split(x, (1, 3, 2), 1)), normal((2, 6))),
    Row("split", lambda x: lax.split(x, (1, 3, 2), 0)[1], complex_normal((6,)), name="one part used"),
    Row("unstack", squared(lambda x: lax.unstack(x, 1)), normal((2, 3))),
    Row("unstack", lambda x: lax.unstack(x, 0)[::2], normal((3, 2)), name="not all used"),
    Row(
        "dynamic_slice",
        squared(lambda x, i, j: lax.dynamic_slice(x, (i, j), (2, 3))),
        lambda rng: (rng.normal(size=(5, 4)), np.int32(rng.integers(4)), np.int32(1)),
    ),
    *(
        Row(
            "dynamic_slice",
            lambda x, i: lax.dynamic_slice(x, (i,), (3,), allow_negative_indices=False),
            lambda rng, start=start: (rng.normal(size=(5,)), np.int32(start)),
            name=f"{where}, moved in",
        )
        for where, start in OUTSIDE.items()
    ),
    Row("dynamic_slice", lambda x: lax.dynamic_slice(x, (), ()), normal(()), name="scalar"),
]

TOGETHER = [
    Row("concatenate", squared(lambda *xs: lax.concatenate(xs, 1)), normal((2, 1), (2, 3), (2, 0))),
    Row("concatenate", lambda x: lax.concatenate([x, x, jnp.ones(2)], 0), normal((2,)), name="repeated"),
    Row("stack", squared(lambda *xs: lax.stack(xs, 1)), normal((2, 3), (2, 3))),
    Row("stack", lambda x, y: lax.stack([x, y, x], 0), complex_normal((), ()), name="scalars"),
    Row(
        "pad",
        squared(lambda x, v: lax.pad(x, v, ((1, 2, 0), (0, 1, 2)))),
        normal((2, 3), ()),
        name="interior",
    ),
    Row("pad", lambda x, v: lax.pad(x, v, ((-1, 2, 1), (1, -2, 0))), normal((3, 4), ()), name="negative"),
    Row("pad", lambda x, v: lax.pad(x, v, ((-4, 5, 0),)), complex_normal((3,), ()), name="all cut off"),
    Row("pad", lambda x, v: lax.pad(x, v, ((1, 1, 2), (0, 0, 0))), normal((0, 2), ()), name="no elements"),
    Row("pad", lambda x, v: lax.pad(x, v, ()), normal((), ()), name="scalar"),
    Row(
        "dynamic_update_slice",
        squared(lambda x, u, i: lax.dynamic_update_slice(x, u, (i, i))),
        lambda rng: (rng.normal(size=(5, 4)), rng.normal(size=(2, 3)), np.int32(rng.integers(2))),
    ),
    *(
        Row(
            "dynamic_update_slice",
            lambda x, u, i: lax.dynamic_update_slice(x, u, (i,), allow_negative_indices=False),
            lambda rng, start=start: (rng.normal(size=(5,)), rng.normal(size=(2,)), np.int32(start)),
            name=f"{where}, moved in",
        )
        for where, start in OUTSIDE.items()
    ),
]

CHOICES = [
    Row(
        "select_n",
        squared(lax.select_n),
        lambda rng: (rng.normal(size=(3, 4)) > 0, rng.normal(size=(3, 4)), rng.normal(size=(3, 4))),
    ),
    Row(
        "select_n",
        lax.select_n,
        lambda rng: (rng.integers(0, 4, 9), *(rng.normal(size=9) + 1j for _ in range(4))),
        name="four complex cases",
    ),
    Row(
        "select_n",
        lax.select_n,
        lambda rng: (np.int32(rng.integers(3)), *rng.normal(size=(3, 2, 2))),
        name="one selector for all",
    ),
    Row(
        "select_n",
        lax.select_n,
        lambda rng: (np.array([-3, 0, 1, 2, 9]), *rng.normal(size=(3, 5))),
        name="selector outside",
        jax=False,
        reason="jax.vjp gives nothing where the selector is outside, though the nearest case is read",
    ),
    Row(
        "select_n",
        squared(lax.select_n),
        lambda rng: (np.zeros(2, bool), rng.normal(size=2)),
        name="one case",
        jax=False,
        reason="jax.vjp of one case raises IndexError",
    ),
]

ROWS = [*REARRANGEMENTS, *COPIES, *PARTS, *TOGETHER, *CHOICES]


@each(ROWS)
def test_rule(row):
    check(row)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("row", [COPIES[0], TOGETHER[4], PARTS[1], CHOICES[0]], ids=str)
def test_rule_in_short_dtypes(row, dtype):
    check_low_precision(row, dtype)


def test_padding_value_beside_an_infinite_cotangent():
    """Σȳ − Σx̄ would be ∞ − ∞."""

    _, pullback = funcnet.vjp(lambda x, value: lax.pad(x, value, ((0, 1, 0),)), jnp.zeros(1), jnp.zeros(()))
    assert pullback(jnp.array([jnp.inf, 1.0]))[1] == 1.0


def test_a_padding_value_is_not_rounded_away():
    """float32, ȳ = 2²⁴ inside and 1 outside: Σȳ − Σx̄ is 0."""
    _, pullback = funcnet.vjp(lambda x, value: lax.pad(x, value, ((0, 1, 0),)), jnp.zeros(1), jnp.zeros(()))
    assert pullback(jnp.array([2.0**24, 1.0]))[1] == 1.0
