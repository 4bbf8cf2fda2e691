"""One compiled run of a picture's numbers: they are those of one operation after the other, to the bit."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import _compiled, nn
from funcnet.backprop import trace
from funcnet.drawing.diagram import filling, running
from funcnet.drawing.diagram.filling import filled_record
from funcnet.drawing.diagram.record import Options, record
from funcnet.drawing.diagram.steps import Flow

X = np.random.default_rng(0).standard_normal((6, 5), np.float32)
W = np.random.default_rng(1).standard_normal((5, 5), np.float32)


def loss(w, x):
    h = jnp.tanh(x @ w) @ w
    return -jax.nn.log_softmax(h)[jnp.arange(6), jnp.arange(6) % 5].mean()


def rewritable(w, x):
    """What a compiler that sees it whole writes otherwise: exp a · exp b = exp(a + b), x / 3 = x · ⅓."""
    return (jnp.exp(x) * jnp.exp(x @ w) / jnp.exp(x) / 3 + jnp.sqrt(x * x) + x * 1.1 * x - x / 7).sum()


def classified(w, x):
    return nn.softmax_loss(nn.sigmoid(x @ w), jnp.arange(6) % 5)


def steps(w, x):
    return lax.scan(lambda c, a: (jnp.tanh(w @ c + a), c), x[0], x)


def noisy(x, key, i):
    return x[i] * jax.random.normal(key, (5,))


def squared(x):
    return lax.while_loop(lambda c: c < 9, lambda c: c * c, x)


PROGRAMS = [
    ("a net's loss", loss, (W, X), {}),
    ("gates opened", classified, (W, X), {"depth": 3}),
    ("rewritable", rewritable, (W, X), {}),
    ("a loop's steps", steps, (W, X), {"unroll": True}),
    ("local gradients", lambda w, x: jnp.sin(x) * jnp.exp(x) @ w, (W, X), {"local": True}),
    ("integers and keys", noisy, (X, jax.random.key(0), 2), {}),
]  # fmt: skip


@pytest.mark.parametrize(("f", "args", "options"), [r[1:] for r in PROGRAMS], ids=[r[0] for r in PROGRAMS])
def test_the_numbers_are_those_of_one_operation_after_the_other(f, args, options, monkeypatch):
    graph = trace(f)(*args)
    flows = [Flow(jnp.asarray(x), "input") for x in jax.tree.leaves(args)]
    y_bars = [jnp.ones(v.shape, v.dtype) for v in graph.outputs]
    options = Options(funcnet.RULES, **options)
    monkeypatch.setattr(running, "REPEATS", np.inf)
    steps, _ = filled_record(graph, flows, y_bars, options)
    expected, _ = record(graph, flows, y_bars, options)
    assert [step.name for step in steps] == [step.name for step in expected]
    for step, one in zip(steps, expected, strict=True):
        assert_same([flow.value for flow in step.outputs], [flow.value for flow in one.outputs])
        assert_same([use.gradient for use in step.inputs], [use.gradient for use in one.inputs])


ROUNDING = 2e-6 if "fusion_emitters=false" in os.environ.get("XLA_FLAGS", "") else 0
"""The older emitter, by which the tests are compiled faster, fuses by itself, barrier or not."""


def assert_same(xs, ys):
    for x, y in zip(xs, ys, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            assert x.dtype == y.dtype
            x, y = (
                jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a for a in (x, y)
            )
            np.testing.assert_allclose(x, y, rtol=0, atol=ROUNDING * np.abs(y).max(initial=0))


def test_a_second_picture_of_the_same_function_compiles_nothing():
    def drawn():
        funcnet.draw(lambda x: jnp.sin(x) * jnp.cosh(x))(jnp.ones(3))
        return _compiled.once.cache_info()

    first, second = drawn(), drawn()
    assert (second.misses, second.hits) == (first.misses, first.hits + 1)


def test_what_repeats_is_run_operation_by_operation():
    def deep(x):
        for _ in range(50):
            x = jnp.sin(x) * 1.5
        return x

    before = _compiled.once.cache_info()
    d = funcnet.draw(deep)(0.5).diagram
    assert _compiled.once.cache_info() == before
    np.testing.assert_allclose(d["x"].gradient, jax.grad(deep)(0.5), rtol=1e-4)


@pytest.mark.parametrize(
    ("f", "options", "expected"),
    [
        (lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x), {"depth": 1}, True),
        (lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x), {}, False),
        (squared, {"unroll": True}, True),
        (lambda x: jax.jit(squared)(x), {"unroll": True}, True),
        (squared, {}, False),
        (lambda x: (jax.debug.print("{}", x), x * x)[1], {}, True),
    ],
)  # fmt: skip
def test_what_looks_at_numbers_is_run_as_it_is_recorded(f, options, expected):
    graph = trace(f)(2.0)
    assert filling.looks_at_numbers(graph, Options(funcnet.RULES, **options)) == expected
