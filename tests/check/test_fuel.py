"""Loops and callbacks that end at the arguments alone, and where else a function is asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import VJPCheckError, check_contract, check_gradient, check_vjp
from funcnet._errors import ParameterError
from funcnet.check.options import DOMAINS
from tests.check.functions import FAST, X
from tests.check.rows import Refused, array, custom

pytestmark = pytest.mark.in_turns(2)

# Loops that end at the arguments alone.


def fixed_point(a):
    """x = cos(a x) / 2, which contracts for |a| < 2."""

    def step(state):
        x, _ = state
        return jnp.cos(a * x) / 2, x

    return lax.while_loop(lambda s: abs(s[0] - s[1]) > 1e-14, step, (jnp.zeros_like(a), jnp.ones_like(a)))[0]


def fixed_point_gradient(factor):
    def backward(args, y_bar):
        (a,) = args
        x = fixed_point(a)
        s = jnp.sin(a * x) / 2
        return (-factor * y_bar * s * x / (1 + a * s),)

    return backward


def test_a_loop_that_ends_at_the_arguments_alone_is_checked_there(x64):
    report = check_vjp(custom(fixed_point, fixed_point_gradient(1.0)), jnp.float64(1.2), **FAST)
    assert any("does not end there" in note or "differ" in note for note in report.notes), report.notes
    Refused(
        "wrong",
        custom(fixed_point, fixed_point_gradient(1.01)),
        (jnp.float64(1.2),),
        "WRONG",
        ("1.01 × the truth",),
    ).test()


def test_a_loop_that_does_not_end_at_the_arguments_is_said_to():
    Refused(
        "endless",
        custom(lambda x: lax.while_loop(lambda y: y > 0, lambda y: y * 1.0, x), lambda args, y_bar: (y_bar,)),
        (jnp.float32(1.0),),
        "VACUOUS",
        ("does not end at these arguments in 0.5 seconds", "timeout="),
        {"timeout": 0.5},
    ).test()


def test_a_callback_that_does_not_come_back_is_left():
    def host(x):
        x = np.asarray(x)
        while (np.abs(x) > 10).any():
            pass
        return np.sin(x)

    def called(x):
        return jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")

    report = check_vjp(custom(called, lambda args, y_bar: (y_bar * jnp.cos(args[0]),)), X, **FAST)
    assert any("differences alone are the oracle" in note for note in report.notes)


def test_a_callback_of_float32_alone_is_checked_there():
    def host(x):
        x = np.asarray(x)
        assert x.dtype == np.float32
        return np.sin(x)

    def called(x):
        return jax.pure_callback(
            host, jax.ShapeDtypeStruct(x.shape, jnp.float32), x, vmap_method="sequential"
        )

    def rule(factor):
        return custom(called, lambda args, y_bar: (factor * y_bar * jnp.cos(args[0]),))

    report = check_vjp(rule(1.0), X, **FAST)
    assert {row.dtype for row in report.rows} == {"float32"}
    with pytest.raises(VJPCheckError, match="WRONG"):
        check_vjp(rule(1.1), X, **FAST)


def test_what_must_be_compiled_late_is_left_out_with_a_note(monkeypatch):
    monkeypatch.setattr("funcnet.check.answers.LATE", 1e-9)
    report = check_vjp(jnp.sin, X)
    assert {row.dtype for row in report.rows} == {"float64"}
    left = [note for note in report.notes if "seconds to compile" in note]
    assert [note.partition(":")[0] for note in left] == [
        f"not checked {what}" for what in ("in float32", "without jit", "under vmap")
    ]


# Where a function lives.


def log_gap(x):
    return jnp.log(x) - jnp.log1p(-x)


DOMAINS_HOLD = {
    "positive": lambda x: (x > 0).all(),
    "unit interval": lambda x: ((x > 0) & (x < 1)).all(),
    "simplex": lambda x: (x > 0).all() and np.allclose(x.sum(-1), 1),
    "correlation": lambda x: (
        np.allclose(np.diagonal(x, axis1=-2, axis2=-1), 1)
        and np.allclose(x, np.swapaxes(x, -1, -2))
        and (np.linalg.eigvalsh(x) > 0).all()
    ),
}


def test_points_of_a_domain_lie_in_it():
    assert set(DOMAINS) == set(DOMAINS_HOLD)
    for name, holds in DOMAINS_HOLD.items():
        for seed in range(20):
            assert holds(DOMAINS[name](np.empty((2, 4, 4)), np.random.default_rng(seed))), name


def test_elsewhere_and_domain_say_where_to_ask():
    within = custom(
        log_gap, lambda args, y_bar: (jnp.where(args[0] < 0.9, y_bar / (args[0] * (1 - args[0])), y_bar),)
    )
    x = array(0.1, 0.3, 0.12)
    check_vjp(within, x, elsewhere=(0.5,), **FAST)
    with pytest.raises(VJPCheckError, match=r"at point . drawn from its domain"):
        check_vjp(within, jnp.linspace(0.1, 0.5, 20), domain="unit interval", **FAST)
    drawn = []

    def draw(key):
        drawn.append(key)
        return (jax.random.uniform(key, (3,), minval=0.1, maxval=0.8),)

    check_vjp(within, x, domain=draw, **FAST)
    assert len(drawn) == 3


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("negative", "domain='negative', expected one of 'positive', 'unit interval', 'simplex'"),
        (
            ("positive", None),
            "for 1 arguments, expected one of 'positive'.*, a tuple of such",
        ),
        (
            lambda key: (jnp.ones(2),),
            r"domain drew 1 arguments with shapes \[\(2,\)\], expected a tuple of 1",
        ),
    ],
)
def test_a_domain_that_does_not_fit_is_an_error(domain, words):
    with pytest.raises(ParameterError, match=words):
        check_vjp(jnp.sin, X, domain=domain, **FAST)


def called(host, x, *others):
    return jax.pure_callback(
        host, jax.ShapeDtypeStruct(x.shape, x.dtype), x, *others, vmap_method="sequential"
    )


@pytest.mark.parametrize("check", [check_vjp, check_gradient])
def test_what_a_callback_raises_at_the_arguments_is_told(check):
    def missing(x):
        raise ValueError("the table is missing")

    def f(x):
        return (x * called(missing, lax.stop_gradient(x))).sum()

    with pytest.raises(VJPCheckError, match=r"(?s)not finite.*raised ValueError: the table is missing"):
        check(f, jnp.ones(3))


def test_what_a_callback_of_the_rule_raises_is_told():
    def square(dtype):
        def twice(x, y_bar):
            if x.dtype != dtype:
                raise ValueError(f"{dtype} only")
            return 2 * np.asarray(x) * np.asarray(y_bar)

        return custom(lambda x: x * x, lambda args, y_bar: (called(twice, *args, y_bar),))

    with pytest.raises(VJPCheckError, match=r"(?s)^UNSTABLE.*raised ValueError: float64 only"):
        check_vjp(square("float64"), X, **FAST)
    with pytest.raises(VJPCheckError, match=r"(?s)not run without jit.*error .* ValueError: float32 only"):
        check_contract(square("float32"), X)


def test_a_callback_that_raises_in_a_short_dtype_or_elsewhere_is_noted():
    def doubles(x):
        if x.dtype == np.float32 or np.max(x) > 5:
            raise ValueError("small doubles only")

    def f(x):
        jax.debug.callback(doubles, x)
        return jnp.sin(x)

    assert check_vjp(f, X, **FAST).rows

    def g(x):
        return x * x + called(lambda x: (doubles(x), 0 * np.asarray(x))[1], lax.stop_gradient(x))

    report = check_vjp(g, X, **FAST)
    assert "not checked in float32: a callback raised ValueError: small doubles only" in report.notes
