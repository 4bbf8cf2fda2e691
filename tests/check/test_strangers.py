"""Kinds of functions that other people write: zeros, symbolic zeros, solvers, loops without end, devices."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import VJPCheckError, check_gradient, check_jvp, check_vjp
from funcnet._errors import ParameterError
from tests.check.functions import X, cube, sine
from tests.check.rows import Refused, array, custom

ROWS = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)), "float32")
FAST = {"transforms": ()}


# A gradient that is 0 because terms cancel.


def scores(q, k, bias):
    """Attention's weights do not change when the same vector is added to every key."""
    return jax.nn.softmax(q @ (k + bias).T)


def scores_gradient(args, y_bar):
    q, k, bias = args
    y = scores(q, k, bias)
    s_bar = y * (y_bar - (y * y_bar).sum(-1, keepdims=True))
    return s_bar @ (k + bias), s_bar.T @ q, (s_bar.T @ q).sum(0)


def ratio(w):
    return w / w


def normalized(x, bias):
    """Batch normalization forgets a bias before it."""
    z = x + bias
    return (z - z.mean(0)) / jnp.sqrt(z.var(0) + 1e-5)


def normalized_gradient(args, y_bar):
    x, bias = args
    y, s = normalized(x, bias), jnp.sqrt((x + bias).var(0) + 1e-5)
    z_bar = (y_bar - y_bar.mean(0) - y * (y_bar * y).mean(0)) / s
    return z_bar, z_bar.sum(0)


def contracted(w, start):
    return lax.fori_loop(0, 60, lambda _, z: jnp.tanh(0.3 * z + w), start)


def contracted_gradient(args, y_bar):
    z = contracted(*args)
    slope = 1 - jnp.tanh(0.3 * z + args[0]) ** 2
    return y_bar * slope / (1 - 0.3 * slope), jnp.zeros_like(args[1])


ZEROS = [
    ("the bias of keys", custom(scores, scores_gradient), (ROWS, ROWS[::-1] + 0.5, X)),
    ("the bias of keys, by JAX", scores, (ROWS, ROWS[::-1] + 0.5, X)),
    ("w / w", custom(ratio, lambda args, y_bar: (y_bar / args[0] - y_bar * args[0] / args[0] ** 2,)), (X,)),
    ("a bias before normalization", custom(normalized, normalized_gradient), (ROWS, X)),
    ("a bias before normalization, by JAX", normalized, (ROWS, X)),
    ("the start of an iteration", custom(contracted, contracted_gradient), (0.3 * X, 0 * X + 0.1)),
]


@pytest.mark.parametrize(("function", "args"), [row[1:] for row in ZEROS], ids=[row[0] for row in ZEROS])
def test_a_gradient_that_is_zero_because_terms_cancel_is_right(function, args):
    check_vjp(function, *args, **FAST)


def test_what_is_small_beside_what_cancels_is_wrong_all_the_same():
    def backward(args, y_bar):
        q_bar, k_bar, bias_bar = scores_gradient(args, y_bar)
        return q_bar, k_bar, bias_bar + 1e-7

    with pytest.raises(VJPCheckError, match=r"NONLINEAR|WRONG"):
        check_vjp(custom(scores, backward), ROWS, ROWS[::-1] + 0.5, X, **FAST)


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


def in_float64(function):
    """In float32 the steps never get as small as the tolerance."""
    return lambda a: function(a.astype(jnp.float64)).astype(a.dtype)


def endless_below_zero(x):
    return lax.while_loop(
        lambda s: s[1] != 0, lambda s: (s[0] + 0 * x, jnp.sign(s[1] - 0.5) * 0 + (x < 0)), (x, x)
    )[0]


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


# Where a function lives.


def log_gap(x):
    return jnp.log(x) - jnp.log1p(-x)


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
        (("positive", None), "a tuple of such for the 1 arguments"),
        (
            lambda key: (jnp.ones(2),),
            r"domain drew 1 arguments with shapes \[\(2,\)\], expected a tuple of 1",
        ),
    ],
)
def test_a_domain_that_does_not_fit_is_an_error(domain, words):
    with pytest.raises(ParameterError, match=words):
        check_vjp(jnp.sin, X, domain=domain, **FAST)


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


# Forward mode.


def forward(slope):
    function = jax.custom_jvp(jnp.sin)
    function.defjvps(lambda x_dot, y, x: slope(x_dot, x))
    return function


def test_a_rule_of_forward_mode_is_checked_as_it_is():
    report = check_jvp(forward(lambda x_dot, x: x_dot * jnp.cos(x)), X)
    assert [(row.argument, row.dtype) for row in report.rows] == [("y", "float64"), ("y", "float32")]
    assert report.stash is None
    assert "right" in str(report)


FORWARD = [
    (
        "a factor",
        lambda x_dot, x: 1.003 * x_dot * jnp.cos(x),
        "WRONG",
        "a factor: the rule is 1.003 × the truth",
    ),
    ("an absolute value", lambda x_dot, x: abs(x_dot) * jnp.cos(x), "NONLINEAR", "ẏ(α ẋ₁ + β ẋ₂)"),
    (
        "a shift",
        lambda x_dot, x: x_dot * jnp.cos(x) + 1e-3,
        "NONLINEAR",
        "a tangent of 0 gives one that is not 0",
    ),
    ("rolled", lambda x_dot, x: jnp.roll(x_dot * jnp.cos(x), 1), "WRONG", "rolled by 1"),
]


@pytest.mark.parametrize(
    ("slope", "verdict", "words"), [row[1:] for row in FORWARD], ids=[row[0] for row in FORWARD]
)
def test_a_wrong_rule_of_forward_mode_is_refused(slope, verdict, words):
    with pytest.raises(VJPCheckError) as caught:
        check_jvp(forward(slope), X)
    assert caught.value.verdict == verdict
    assert words in str(caught.value)
    assert "funcnet.check_jvp(sin, " in str(caught.value)


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


# On several devices.

ON_DEVICES = """
import jax, jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec
from funcnet import VJPCheckError, check_vjp

mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))

def rule(factor):
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, y_bar: (factor * y_bar * jnp.cos(x),))
    return f

for checked in (True, False):
    for factor in (1.0, 1.01):
        f = rule(factor)
        spread = jax.shard_map(
            lambda x: f(x) * jax.lax.psum(x.sum(), "d"), mesh=mesh, in_specs=PartitionSpec("d"),
            out_specs=PartitionSpec("d"), check_vma=checked,
        )
        try:
            check_vjp(spread, jnp.arange(8.0) / 4 - 0.7)
            print(checked, factor, "right")
        except VJPCheckError as error:
            print(checked, factor, error.verdict)
"""


def test_a_rule_inside_of_shard_map():
    flags = f"--xla_force_host_platform_device_count=4 {os.environ.get('XLA_FLAGS', '')}"
    done = subprocess.run(
        [sys.executable, "-c", ON_DEVICES],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": flags},
    )
    expected = [f"{checked} {one}" for checked in (True, False) for one in ("1.0 right", "1.01 WRONG")]
    assert done.stdout.splitlines() == expected, done.stderr


def test_custom_vmap_inside_of_a_rule():
    @jax.custom_batching.custom_vmap
    def f(x):
        return jnp.sin(x)

    f.def_vmap(lambda axis_size, batched, x: (jnp.sin(x), True))
    check_vjp(custom(lambda x: f(x), lambda args, y_bar: (y_bar * jnp.cos(args[0]),)), X)
    check_vjp(sine, X, **FAST)


# Whole networks.


def test_a_model_of_float32_alone():
    """As flax's LSTM, whose carry is float32 whatever x64 says."""

    def loss(params, xs):
        def step(carry, x):
            return jnp.tanh(carry @ params["w"] + x), None

        return (lax.scan(step, jnp.zeros(3, jnp.float32), xs)[0] ** 2).sum()

    params = {"w": jnp.asarray(0.3 * np.random.default_rng(0).normal(size=(3, 3)), jnp.float32)}
    xs = jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)
    assert [leaf.name for leaf in check_gradient(loss, params, xs).leaves] == ["params['w']"]

    def cut(params, xs):
        return loss({"w": lax.stop_gradient(params["w"]) * 0.5 + params["w"] * 0.5}, xs)

    with pytest.raises(VJPCheckError, match=r"stop_gradient at .*test_strangers.py"):
        check_gradient(cut, params, xs)


def test_the_gate_that_is_wrong_is_named_in_a_loop_too():
    def loss(params, xs):
        def step(carry, x):
            carry = jnp.tanh(carry @ params["w"] + x)
            return lax.stop_gradient(carry) * carry, None

        return (lax.scan(step, xs[0], xs)[0] * params["v"]).sum()

    params = {"w": 0.3 * jnp.eye(4) + 0.1, "v": X}
    with pytest.raises(VJPCheckError) as caught:
        check_gradient(loss, params, ROWS)
    layer = dict(caught.value.finding.details)["layer"]
    assert layer.startswith("stop_gradient at ")
    assert (
        "(test_the_gate_that_is_wrong_is_named_in_a_loop_too.<locals>.loss.<locals>.step)" in layer
        or "step" in layer
    )


def test_hessian_vector_products():
    def loss(w, x):
        return (jnp.tanh(x @ w) ** 2).sum()

    report = check_gradient(loss, X, ROWS, order=2)
    assert [leaf.name for leaf in report.leaves] == ["w", "w"]

    def hidden(w, x):
        return (custom(cube, lambda args, y_bar: (lax.stop_gradient(3 * args[0] ** 2) * y_bar,))(x @ w)).sum()

    check_gradient(hidden, X, ROWS)
    with pytest.raises(VJPCheckError, match="at order 2, of ⟨∇L, w⟩"):
        check_gradient(hidden, X, ROWS, order=2)


def test_argnums_of_a_loss():
    report = check_gradient(lambda w, x: (x @ w).sum() ** 2, X, ROWS, argnums=(0, 1))
    assert [leaf.name for leaf in report.leaves] == ["w", "x"]


def test_the_line_that_reproduces_a_failure_can_be_pasted():
    wrong = custom(lambda p, i: p["w"][i] ** 3, lambda args, y_bar: ({"w": args[0]["w"]}, None))
    args = {"w": jnp.asarray(np.random.default_rng(0).normal(size=30), "float32")}, jnp.array([0, 2])
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(wrong, *args)
    details = dict(caught.value.finding.details)
    assert details["rule"].endswith(
        f":{test_the_line_that_reproduces_a_failure_can_be_pasted.__code__.co_firstlineno + 1}"
    )
    import funcnet

    names = {"funcnet": funcnet, "jnp": jnp, "np": np, "_lambda_": wrong}
    with pytest.raises(VJPCheckError):
        eval(details["reproduce"].replace("<lambda>", "_lambda_"), names)
