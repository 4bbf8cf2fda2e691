"""Some arguments alone, the second order, complex numbers, equal singular values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import VJPCheckError, check_vjp
from funcnet._errors import ParameterError
from tests.check.functions import FAST, X
from tests.check.rows import Refused, array, custom

pytestmark = pytest.mark.in_turns(2)

# Some arguments alone.


@jax.custom_vjp
def scaled(x, w):
    return x * w


def scaled_forward(x, w):
    return x.value * w.value, (x.value, w.value, x.perturbed and w.perturbed)


def scaled_backward(stash, y_bar):
    x, w, both = stash
    return y_bar * w, y_bar * x * (1.0 if both else 2.0)


scaled.defvjp(scaled_forward, scaled_backward, symbolic_zeros=True)


def test_a_rule_that_is_wrong_where_one_argument_alone_is_differentiated():
    Refused(
        "alone",
        scaled,
        (X, X[::-1]),
        "WRONG",
        ("it is another where one argument alone is differentiated",),
        FAST,
    ).test()
    Refused("w", scaled, (X, X[::-1]), "WRONG", ("scaled, w: ",), {"argnums": 1, **FAST}).test()
    check_vjp(scaled, X, X[::-1], argnums=0, **FAST)


def test_argnums_choose_what_is_differentiated():
    wrong_in_b = custom(lambda a, b: a * b, lambda args, y_bar: (y_bar * args[1], y_bar))
    report = check_vjp(wrong_in_b, X, X[::-1], argnums=0, **FAST)
    assert {row.argument for row in report.rows} == {"a"}
    with pytest.raises(VJPCheckError, match="b: float64"):
        check_vjp(wrong_in_b, X, X[::-1], argnums=(0, 1), **FAST)
    with pytest.raises(ParameterError, match=r"argnums=2, expected places from 0 to 1"):
        check_vjp(wrong_in_b, X, X, argnums=2)


# The second order where autodiff of the primal is not its derivative.


def root(a):
    """√a by bisection, whose autodiff is 0 or 1."""
    low, high = lax.fori_loop(
        0,
        80,
        lambda _, s: (jnp.where((m := (s[0] + s[1]) / 2) ** 2 < a, m, s[0]), jnp.where(m**2 < a, s[1], m)),
        (jnp.zeros_like(a), 1 + a),
    )
    return (low + high) / 2


def implicit(args, y_bar):
    return (y_bar / (2 * bisected(args[0])),)


bisected = custom(root, implicit)
bisected.defvjp(lambda a: (bisected(a), a), lambda a, y_bar: (y_bar / (2 * bisected(a)),))


def test_second_order_of_an_implicit_rule(x64):
    check_vjp(bisected, jnp.float64(2.0), order=2, **FAST)


def test_second_order_of_an_implicit_rule_that_hides_its_dependence(x64):
    hidden = custom(root, lambda args, y_bar: (y_bar / (2 * lax.stop_gradient(root(args[0]))),))
    with pytest.raises(VJPCheckError, match="at order 2: "):
        check_vjp(hidden, jnp.float64(2.0), order=2, **FAST)


# Complex numbers.


def test_a_conjugate_that_is_missing_is_named():
    z = array(1 + 2j, 0.5 - 1j, dtype="complex64")
    Refused(
        "conj",
        custom(lambda z: z * z, lambda args, y_bar: ((2 * args[0] * y_bar).conj(),)),
        (z,),
        "WRONG",
        ("not conjugated", "differences agree"),
    ).test()


# Equal singular values.


def test_a_rule_for_a_decomposition_is_no_better_off_at_equal_singular_values(x64):
    @jax.custom_vjp
    def gram(a):
        u, s, vt = jnp.linalg.svd(a)
        return ((u * s**2) @ vt).sum()

    def backward(a, y_bar):
        return (y_bar * jax.grad(lambda a: ((d := jnp.linalg.svd(a))[0] * d[1] ** 2 @ d[2]).sum())(a),)

    gram.defvjp(lambda a: (gram(a), a), backward)
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    Refused(
        "equal", gram, (jnp.asarray(q * [3.0, 1, 1]),), "UNSTABLE", ("equal singular values",), FAST
    ).test()
