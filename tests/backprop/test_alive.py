"""What a select has not taken has no gradient, whatever the slope is on the way there."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy.special import digamma, entr, logit, ndtri, xlog1py, xlogy

import funcnet
from funcnet import RULES, grad, hessian

where = jnp.where

UNTAKEN = {
    "sqrt": (lambda x: where(x > 0, jnp.sqrt(x), 0), 0.0),
    "sqrt of what a product makes 0": (lambda x: where(x > 0, jnp.sqrt(3 * x) * x, 0), 0.0),
    "log": (lambda x: where(x > 0, jnp.log(x), 0), 0.0),
    "x log x": (lambda x: where(x > 0, x * jnp.log(x), 0), 0.0),
    "log1p": (lambda x: where(x > -1, jnp.log1p(x), 0), -1.0),
    "quotient": (lambda x: where(x != 0, jnp.sin(x) / x, 1), 0.0),
    "reciprocal": (lambda x: where(x != 0, 1 / x, 0), 0.0),
    "rsqrt": (lambda x: where(x > 0, lax.rsqrt(x), 0), 0.0),
    "cbrt": (lambda x: where(x != 0, jnp.cbrt(x), 0), 0.0),
    "power": (lambda x: where(x > 0, x**0.3, 0), 0.0),
    "power of two arrays": (lambda x: where(x > 0, x**x, 1), 0.0),
    "arcsin": (lambda x: where(x < 1, jnp.arcsin(x), 0), 1.0),
    "arccos": (lambda x: where(jnp.abs(x) < 1, jnp.arccos(x), 0), 1.0),
    "arccosh": (lambda x: where(x > 1, jnp.arccosh(x), 0), 1.0),
    "arctanh": (lambda x: where(x < 1, jnp.arctanh(x), 0), 1.0),
    "arctan2": (lambda x: where(x != 0, jnp.arctan2(x, 2 * x), 0), 0.0),
    "exp that overflows": (lambda x: where(x < 10, jnp.exp(x), 0), 1000.0),
    "expm1 that overflows": (lambda x: where(x > 0, x, jnp.expm1(-x)), 1000.0),
    "digamma": (lambda x: where(x > 0, digamma(x), 0), -1.0),
    "erf_inv": (lambda x: where(x < 1, ndtri(x), 0), 1.0),
    "logit": (lambda x: where(x < 1, logit(x), 0), 1.0),
    "entropy": (lambda x: where(x > 0, entr(x), 0), 0.0),
    "norm": (lambda x: where(x > 0, jnp.linalg.norm(jnp.stack([x, 2 * x])), 0), 0.0),
    "reversed branches": (lambda x: where(x <= 0, 0, jnp.sqrt(x)), 0.0),
    "one in the other": (lambda x: where(x > 0, jnp.log(where(x > 0, jnp.sqrt(x), 0)), 0), 0.0),
    "of several": (lambda x: jnp.select([x > 1, x > 0], [x, jnp.sqrt(x)], 0), 0.0),
    "clip": (lambda x: jnp.clip(jnp.log(x), -5, 5), 0.0),
    "maximum": (lambda x: jnp.maximum(jnp.sqrt(x**2 + (2 * x) ** 2), 1e-10), 0.0),
    "minimum": (lambda x: jnp.minimum(1 / x, 1e10), 0.0),
    "relu": (lambda x: jax.nn.relu(jnp.log(x)), 0.0),
    "largest": (lambda x: jnp.max(jnp.stack([jnp.sqrt(x), x + 1])), 0.0),
    "a jitted function inside": (
        lambda x: where(x > 0, jax.jit(lambda x: jnp.sqrt(x) * jnp.log(x) + jnp.sqrt(2 * x) * x)(x), 0),
        0.0,
    ),
    "a jitted select": (
        lambda x: jax.jit(lambda y: where(y > 0, 2 * y + y * y - y**3 + 1, 0))(jnp.sqrt(x)),
        0.0,
    ),
    "an array inside": (lambda x: where(x > 0, jnp.sqrt(x * jnp.arange(1.0, 4)).sum(), 0), 0.0),
    "a reshaped array": (
        lambda x: where(x > 0, (x * jnp.ones((2, 3))) ** 0.5, 0).T.reshape(-1)[::-1].sum(),
        0.0,
    ),
}

SLOPES = {"expm1 that overflows": 1.0, "largest": 1.0}
"""Of what the select has taken, where that is no constant."""

AROUND = {
    "plain": (grad, 1),
    "jit of grad": (lambda f: jax.jit(grad(f)), 1),
    "grad of jit": (lambda f: grad(jax.jit(f)), 1),
    "vmap of grad": (lambda f: lambda x: jax.vmap(grad(f))(jnp.stack([x, x]))[1], 1),
    "grad of vmap": (lambda f: grad(lambda x: jax.vmap(f)(jnp.stack([x, x])).sum()), 2),
    "scan": (lambda f: grad(lambda x: lax.scan(lambda c, _: (c + f(x), None), x * 0, length=2)[0]), 2),
    "checkpoint": (lambda f: grad(jax.checkpoint(f)), 1),
    "cond": (lambda f: grad(lambda x: lax.cond(x > -9, f, lambda x: x, x)), 1),
    "second order": (lambda f: grad(grad(f)), 0),
    "second order under jit": (lambda f: jax.jit(grad(jax.jit(grad(f)))), 0),
}


@pytest.mark.in_turns(20)
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", UNTAKEN)
def test_nothing_flows_to_what_a_select_has_not_taken(name, around):
    f, at = UNTAKEN[name]
    differentiated, times = AROUND[around]
    assert float(differentiated(f)(jnp.float32(at))) == times * SLOPES.get(name, 0)


@pytest.mark.in_turns(20)
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", UNTAKEN)
def test_what_it_has_taken_keeps_its_gradient(name):
    f, at = UNTAKEN[name]
    xs = jnp.array([0.3, 0.7]) + (at > 1) + (name == "arccosh")
    slopes = [J.vjp(jax.vmap(f), xs)[1](jnp.ones(2))[0] for J in (funcnet, jax)]
    np.testing.assert_allclose(*slopes, rtol=1e-12)


HONEST = {
    "a computed zero": lambda x: jnp.sqrt(x) ** 2,
    "a computed zero that is taken": lambda x: where(x >= 0, jnp.sqrt(x) ** 2, 0),
    "a product with 0": lambda x: 0 * jnp.sqrt(x),
    "in both branches": lambda x: where(x > 0, jnp.sqrt(x), 0) + 0 * jnp.log(x),
    "an infinite slope that is taken": lambda x: where(x >= 0, jnp.log(x) * 0, 0),
}


@pytest.mark.parametrize("f", HONEST.values(), ids=HONEST)
def test_an_undefined_gradient_stays_nan(f):
    assert np.isnan(grad(f)(0.0))
    assert np.isnan(jax.jit(grad(f))(0.0))


def test_elements_that_are_taken_and_not():
    """Beside an element that takes no part, one with an infinite slope keeps it."""
    x = jnp.float32([-1, 0, 4])
    f = lambda x: where(x >= 0, jnp.sqrt(x), 0).sum()  # noqa: E731
    assert grad(f)(x).tolist() == [0, np.inf, 0.25]
    assert np.diag(hessian(f)(x)).tolist() == [0, -np.inf, -1 / 32]


def test_a_select_outside_of_its_cases_takes_the_nearest():
    for which, slope in ((-1, 0.25), (0, 0.25), (5, 1)):
        assert (
            float(grad(lambda x, k=which: lax.select_n(jnp.int32(k), jnp.sqrt(x), x + 1, 1 * x))(4.0))
            == slope
        )
    assert float(grad(lambda x: lax.select_n(jnp.int32(3), jnp.sqrt(x)))(4.0)) == 0.25


def test_a_scalar_beside_an_array():
    """The gradient of what is broadcast is the sum over the elements that take part."""
    x = jnp.float32([0, 1, 4])
    f = lambda s: where(x > 0, s / x + jnp.log(x), 0).sum()  # noqa: E731
    assert float(grad(f)(jnp.float32(3))) == 1.25
    g = lambda x, s: where(x > 0, s / x, 0).sum()  # noqa: E731
    assert float(grad(g, 1)(x, jnp.float32(3))) == 1.25


@pytest.mark.parametrize("around", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_row_beside_an_array_behind_a_select(around):
    """Bernoulli's log-probabilities of a table, with a p for each of its columns."""
    data, p = jnp.array([[0.0, 1.0], [1.0, 0.0], [9.0, 1.0]]), jnp.array([0.2, 0.5])

    def f(log_p):
        p = jnp.exp(log_p)
        return where(data > 1, 0, xlogy(data, jnp.sqrt(p * p)) + xlog1py(1 - data, -p)).sum()

    slopes = [1 - 0.2 / 0.8, 2 - 0.5 / 0.5]
    np.testing.assert_allclose(around(grad(f))(jnp.log(p)), slopes, rtol=1e-5)


WHOLE = {
    "a loop": lambda x: lax.scan(lambda c, _: (jnp.sqrt(c), None), x, length=3)[0].sum(),
    "a product": lambda x: jnp.prod(1 / x),
    "an inverse": lambda x: jnp.linalg.inv(jnp.outer(x, x)).sum(),
    "a determinant of logarithms": lambda x: jnp.linalg.det(jnp.log(jnp.outer(x, x))),
    "a maximum of logarithms": lambda x: jnp.max(jnp.log(x) * x),
}


@pytest.mark.parametrize("around", ["plain", "jit of grad", "grad of jit", "checkpoint"])
@pytest.mark.parametrize("f", WHOLE.values(), ids=WHOLE)
def test_nothing_flows_to_a_whole_that_is_not_taken(f, around):
    """All of it or nothing: here the operations need not act on each element by itself."""
    differentiated, _ = AROUND[around]
    assert differentiated(lambda x: where(x[0] > 0, f(x), 0))(jnp.zeros(2)).tolist() == [0, 0]
    assert differentiated(lambda x: where(x[0] > 0, f(x) * x, 0).sum())(jnp.zeros(2)).tolist() == [0, 0]


def power(x):
    """x^(3/2), written so that its slope at 0 is 0 + 0 · ∞."""
    return where(x > 0, x * jnp.sqrt(x), 0)


def added(f, x):
    return lax.scan(lambda c, v: (c + f(v), None), 0.0, x)[0]


INSIDE = {
    "a scan": lambda x: added(power, x),
    "a scan that gives each": lambda x: lax.scan(lambda c, v: (c, power(v)), 0.0, x)[1].sum(),
    "a scan over a constant": lambda x: added(lambda s: s * power(x).sum(), jnp.array([0.25, 0.75])),
    "a scan in a scan": lambda x: added(lambda s: s * added(power, x), jnp.array([0.25, 0.75])),
    "a scan with checkpoints": lambda x: added(jax.checkpoint(power), x),
    "a scan under vmap": lambda x: jax.vmap(lambda x: added(power, x))(jnp.stack([x, x]))[1],
    "lax.map": lambda x: lax.map(power, x).sum(),
    "a loop": lambda x: lax.fori_loop(0, 2, lambda i, c: c + power(x) / 2, 0 * x).sum(),
    "a while loop": lambda x: lax.while_loop(lambda s: s[0] < 1, lambda s: (1, power(s[1])), (0, x))[1].sum(),
    "a branch": lambda x: lax.cond(x[0] > 0, lambda x: power(x).sum(), lambda x: 0 * x.sum(), x),
    "one of many": lambda x: lax.switch(
        1 + jnp.int32(x[0] < 0), [jnp.sum, lambda x: power(x).sum(), jnp.max], x
    ),
    "a branch in a scan": lambda x: added(lambda v: lax.cond(v < 9, power, jnp.sin, v), x),
    "a scan in a branch": lambda x: lax.cond(x[0] > 0, lambda x: added(power, x), jnp.sum, x),
}


@pytest.mark.parametrize("around", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("name", INSIDE)
def test_the_second_order_inside(name, around):
    """What the first way back has kept of a step or a branch is spared too."""
    x = jnp.array([4.0, 0.0, -1.0])
    np.testing.assert_allclose(around(grad(INSIDE[name]))(x), [3, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(around(hessian(INSIDE[name]))(x), np.diag([0.375, 0, 0]), rtol=1e-6)


def test_both_parts_of_a_complex_number_are_alive():
    """The Hessian of |x + iy| is ((y², −xy), (−xy, x²)) / |x + iy|³."""
    f = lambda x: jnp.maximum(abs(x[:1] + 1j * x[1:]), 1).sum()  # noqa: E731
    np.testing.assert_allclose(hessian(f)(jnp.array([-3.0, 0.0])), [[0, 0], [0, 1 / 3]], atol=1e-6)
    np.testing.assert_allclose(
        hessian(f)(jnp.array([3.0, 4.0])), [[0.128, -0.096], [-0.096, 0.072]], rtol=1e-5
    )


def test_a_loop_without_a_select_has_no_mask():
    f = lambda x: added(lambda v: jnp.log1p(v) * jnp.tanh(v), x)  # noqa: E731
    assert "bool" not in str(jax.make_jaxpr(grad(lambda x: grad(f)(x).sum()))(jnp.ones(3)))


def test_a_picture_shows_what_grad_gives():
    def f(x):
        return where(x > 0, jax.jit(lambda x: jnp.sqrt(x) * jnp.log(x))(x), 0)

    said = str(funcnet.explain(f, depth=3)(0.0))
    assert re.search(r"∞ × 0 +0\n", said)
    graph = funcnet.trace(f)(0.0)
    assert float(graph.backward(graph.forward(0.0), 1.0)[0]) == 0


def test_without_a_select_there_is_no_mask():
    def net(x, w):
        return jnp.log1p(jnp.exp(x @ w) @ w).sum()

    args = jnp.ones((4, 3)), jnp.ones((3, 3))
    assert "bool" not in str(jax.make_jaxpr(funcnet.grad(net, (0, 1)))(*args))


def test_a_relu_net_asks_for_no_mask():
    def net(x, w):
        return jnp.maximum(jnp.maximum(x @ w, 0) @ w + 1, 0).sum()

    compiled = [
        jax.jit(g(net, (0, 1))).lower(jnp.ones((64, 32)), jnp.ones((32, 32))).compile()
        for g in (grad, jax.grad)
    ]
    ours, theirs = (one.cost_analysis()["flops"] for one in compiled)
    assert ours <= 1.01 * theirs


def test_strong_zero():
    """With this table a computed zero stops a gradient too."""
    f = HONEST["a computed zero"]
    assert float(grad(f, rules=funcnet.STRONG_ZERO)(0.0)) == 0
    assert float(grad(f, rules=funcnet.STRONG_ZERO)(4.0)) == 1
    assert float(grad(grad(f, rules=funcnet.STRONG_ZERO), rules=funcnet.STRONG_ZERO)(4.0)) == 0
    x, w = jnp.float32([[1, 2], [3, 4]]), jnp.float32([[0.5], [2]])
    g = lambda w: jnp.tanh(x @ w).sum()  # noqa: E731
    np.testing.assert_array_equal(grad(g, rules=funcnet.STRONG_ZERO)(w), grad(g)(w))
    assert funcnet.STRONG_ZERO["mul"].formula == RULES["mul"].formula + ",  and 0 where ȳ = 0"


def test_a_choice_that_is_known():
    x = jnp.float32([1, 2])
    np.testing.assert_array_equal(grad(lambda x: lax.select_n(True, x, 2 * x).sum())(x), [2, 2])


def test_hundreds_of_selects_in_a_row():
    """As many masks wait for each other, until one is asked for."""

    def f(x):
        y = where(x > 0, x, 0)
        for i in range(400):
            y = where(y > -i, y, 2 * y)
        return jnp.sqrt(y).sum()

    gradient = jax.make_jaxpr(grad(f))(jnp.ones(2))
    assert len(gradient.eqns) > 400
