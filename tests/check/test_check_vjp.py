"""The whole check: where its oracles fail or see nothing, its options, and what it leaves as it was."""

import functools
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet import VJPCheckError, check_gradient, check_vjp
from funcnet._errors import ParameterError
from tests.check.functions import (
    FAST,
    LAYER,
    X,
    cube,
    cube_times,
    layer,
    layer_gradient,
    product,
    sine,
)
from tests.check.rows import Refused, array, custom

# Where autodiff of the primal is wrong, and the differences decide.


def root(x):
    """√x where that is real, else 0: autodiff is 0 · ∞ = NaN there (JAX FAQ, "gradients contain NaN")."""
    return jnp.where(x > 0, jnp.sqrt(x), 0.0)


def root_of_positives(x):
    """The same, with the second where that autodiff needs."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def root_gradient(args, y_bar, elsewhere=0.0):
    (x,) = args
    return (jnp.where(x > 0, y_bar / (2 * jnp.sqrt(jnp.where(x > 0, x, 1.0))), elsewhere * y_bar),)


NEGATIVE = array(-1.0, 0.5, 2.0)


def test_a_rule_that_is_right_where_autodiff_is_nan_is_accepted_with_a_note():
    report = check_vjp(custom(root, root_gradient), NEGATIVE)
    assert "x: autodiff of the primal is off at x[0]; the differences side with the rule" in report.notes


def test_a_where_inside_of_where_needs_no_note():
    assert check_vjp(custom(root_of_positives, root_gradient), NEGATIVE).notes == ()


NAN = [
    Refused(
        "a gradient of JAX's that is NaN",
        root,
        (NEGATIVE,),
        "CONTRACT",
        (
            "root, x: float64[3]: the gradient is not finite where the function is",
            "x[0]: rule nan, autodiff 0, differences 0 ± ",
            "1 of 3 elements are not finite",
        ),
    ),
    Refused(
        "the rule is wrong where autodiff is NaN",
        custom(root, functools.partial(root_gradient, elsewhere=1.0)),
        (NEGATIVE,),
        "WRONG",
        ("x[0]: rule ", "autodiff nan, differences 0 ± ", "1 of 3 elements are off"),
    ),
]


@pytest.mark.parametrize("row", NAN, ids=str)
def test_a_wrong_rule_is_refused_where_autodiff_is_nan(row):
    row.test()


# Nothing to see.


VACUOUS = [
    Refused(
        "the gradient vanishes",
        cube_times(2.0),
        (array(0.0, 0.0),),
        "VACUOUS",
        ("cube, x: float64[2]: nothing to see", "so a wrong rule would pass", "where the function changes"),
        {"elsewhere": ()},
    ),
    Refused(
        "a factor of 0",
        product,
        (array(1.0, 2.0), array(0.0, 0.0)),
        "VACUOUS",
        ("product, a: float64[2]: nothing to see", "in a property test by assume()"),
    ),
    Refused(
        "the gradient is infinite",
        jnp.sqrt,
        (array(0.0, 0.0),),
        "VACUOUS",
        ("the true gradient is not finite at these arguments",),
    ),
    Refused(
        "an empty batch",
        custom(layer, layer_gradient),
        (LAYER[0], jnp.zeros((0, 3))),
        "VACUOUS",
        ("layer, params['b']: float64[3]: nothing to see",),
    ),
    Refused(
        "not finite",
        jnp.log,
        (array(-1.0, 2.0),),
        "VACUOUS",
        ("log: the function is not finite", "check it at others"),
    ),
]


@pytest.mark.parametrize("row", VACUOUS, ids=str)
def test_a_check_that_would_see_nothing_is_refused(row):
    row.test()


@pytest.mark.parametrize("x", [array(0.0, 1.0), array(4.0, np.inf)])
def test_where_the_true_gradient_is_not_finite_nothing_else_is_raised(x):
    with pytest.raises(VJPCheckError):
        check_vjp(custom(jnp.sqrt, lambda args, y_bar: (2 * y_bar,)), x)


def test_where_all_arguments_are_0_it_is_asked_at_others():
    """As a property test ends with the smallest example; a rule of the tangent at 0 is right there alone."""
    assert check_vjp(cube_times(1.0), jnp.zeros(2)).rows
    with pytest.raises(VJPCheckError, match=r"at 0\.125 × ±1, as the arguments are all 0"):
        check_vjp(custom(jnp.tanh, lambda args, y_bar: (y_bar,)), jnp.zeros(2))


@pytest.mark.parametrize(
    "x", [5e-324, 2.2e-308, 1.1e-154, np.array([1e200, 1.0]), array(1e30, -2.0)], ids=str
)
def test_numbers_of_any_size_are_no_reason_to_refuse_a_rule(x):
    """As property tests draw them: x² underflows, or beside the largest no step is small enough."""
    saturated = custom(jnp.tanh, lambda args, y_bar: (y_bar * (1 - jnp.tanh(args[0]) ** 2),))
    assert check_vjp(saturated, x, **FAST).rows
    if np.size(x) == 1:
        squared = custom(lambda x: x * x + x, lambda args, y_bar: (y_bar * (2 * args[0] + 1),))
        assert check_vjp(squared, x, **FAST).rows


def test_a_slope_beside_rounding_is_none():
    """A large element whose gradient cancels: it agrees, and so is not called wrong."""
    masked = array(-1e9, -1e9, -1e9, 0.3, 1.0)
    (leaf,) = check_gradient(lambda x: jax.nn.logsumexp(x) - x[3], masked).leaves
    assert leaf.band == "good"


# Functions of one dtype.


def short_logarithm(factor):
    """As synjax has it: float32 whatever comes, its gradient too, with no word of refusal."""

    @jax.custom_gradient
    def logarithm(x):
        x = jnp.asarray(x, "float32")
        return jnp.log(x), lambda y_bar: factor * y_bar / x

    return logarithm


def test_what_stays_in_float32_whatever_comes_is_checked_there():
    (note,) = check_vjp(short_logarithm(1.0), array(0.5, 2.0)).notes
    assert note.endswith("where it does not run: TypeError: it computes in float32, whatever comes")
    with pytest.raises(VJPCheckError, match=r"(?s)WRONG.*factor: the rule is 1\.001"):
        check_vjp(short_logarithm(1.001), array(0.5, 2.0))


def float32_kernel(x):
    """As a kernel that exists in one dtype."""
    if x.dtype != jnp.float32:
        raise TypeError(f"expected float32, got {x.dtype}")
    return jnp.tanh(x)


def tanh_gradient(args, y_bar, factor=1.0):
    return (factor * y_bar * 4 / (jnp.exp(args[0]) + jnp.exp(-args[0])) ** 2,)


def test_a_function_that_does_not_run_in_float64_is_checked_in_its_own_dtype():
    report = check_vjp(custom(float32_kernel, tanh_gradient), X, reference=jnp.tanh)
    assert [row.dtype for row in report.rows] == ["float32"]
    assert any(
        note.startswith(
            "not checked in float64, where it does not run: TypeError: expected float32, got float64"
        )
        for note in report.notes
    )


SHORT = [
    Refused(
        "1 % off in float32 alone",
        custom(float32_kernel, functools.partial(tanh_gradient, factor=1.01)),
        (X,),
        "WRONG",
        ("float32_kernel, x: float32[4]", "a factor: the rule is 1.01 × the truth"),
        {"reference": jnp.tanh},
    ),
    Refused(
        "not its reference",
        custom(cube, lambda args, y_bar: (3 * args[0] ** 2 * y_bar,)),
        (X,),
        "CONTRACT",
        ("the function returns another result than its reference", "y["),
        {"reference": lambda x: x**3 * 1.001},
    ),
]


@pytest.mark.parametrize("row", SHORT, ids=str)
def test_a_reference_is_held_against_the_function(row):
    row.test()


def test_the_line_that_reproduces_a_failure_has_its_options():
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(cube_times(2.0), X, key=7, dtypes=("bfloat16",), slack=4)
    line = dict(caught.value.finding.details)["reproduce"]
    for option in ("key=7", "bfloat16", "slack=4"):
        assert option in line


def test_a_key_of_jax_random_stands_on_one_line():
    with pytest.raises(VJPCheckError) as caught:
        check_vjp(cube_times(2.0), X, key=jax.random.key(3))
    assert "\n" not in dict(caught.value.finding.details)["reproduce"]


def test_a_primal_that_does_not_run_in_float64_is_its_own_oracle_in_float32():
    report = check_vjp(custom(float32_kernel, tanh_gradient), X)
    assert [row.dtype for row in report.rows] == ["float32"]
    assert any(note.startswith("the oracles run in the dtype of the arguments") for note in report.notes)
    with pytest.raises(VJPCheckError, match=r"the rule is 1\.01 × the truth") as caught:
        check_vjp(custom(float32_kernel, functools.partial(tanh_gradient, factor=1.01)), X)
    assert caught.value.verdict == "WRONG"


def test_a_reference_that_does_not_run_in_float64_is_none():
    with pytest.raises(
        ParameterError, match=r"its reference does not run in float64.*Pass a plain JAX function"
    ):
        check_vjp(jnp.tanh, X, reference=float32_kernel)


# Second order.


def hiding(args, y_bar):
    """3x² as a number that backward does not know to depend on x."""
    return (lax.stop_gradient(3 * args[0] ** 2) * y_bar,)


def test_second_order():
    check_vjp(cube_times(1.0), X, order=2)


def test_a_gradient_that_hides_its_dependence_is_wrong_at_second_order_only():
    check_vjp(custom(cube, hiding), X)
    with pytest.raises(VJPCheckError, match="all zero") as caught:
        check_vjp(custom(cube, hiding), X, order=2)
    assert caught.value.verdict == "WRONG"
    call = dict(caught.value.finding.details)["reproduce"]
    assert call.endswith("'float32'), order=2, key=0)")  # the truth of order 2 is not one that was asked for


@jax.custom_jvp
def matrix_root(m):
    """The square root of a positive definite matrix, as nifty8 has it."""
    w, u = jnp.linalg.eigh(m)
    return (u * jnp.sqrt(w)) @ u.T


@matrix_root.defjvp
def _(primals, tangents):
    (m,), (m_dot,) = primals, tangents
    w, u = jnp.linalg.eigh(m)
    return matrix_root(m), u @ ((u.T @ m_dot @ u) / (jnp.sqrt(w)[:, None] + jnp.sqrt(w))) @ u.T


def test_a_gradient_of_a_gradient_may_round_twice_as_often():
    rows = (
        [-0.72969526, 0.56423944, 0.9864999],
        [0.7532547, 1.2089703, 0.7144889],
        [0.028461833, 0.836526, 0.59360325],
    )

    def rooted(a):
        return matrix_root(a @ a.T + 2 * jnp.eye(3, dtype=a.dtype))

    check_vjp(rooted, jnp.array(rows), order=2)


# Nothing outside changes.


@pytest.mark.parametrize("function", [sine, cube_times(2.0)], ids=["right", "wrong"])
@pytest.mark.parametrize("wide", [False, True], ids=["x64 off", "x64 on"])
def test_no_setting_is_changed(function, wide):
    with jax.enable_x64(wide):
        before = dict(jax.config.values)
        try:
            check_vjp(function, X)
        except VJPCheckError:
            assert function is not sine
        assert dict(jax.config.values) == before
        assert jnp.zeros(()).dtype == (jnp.float64 if wide else jnp.float32)


@pytest.mark.parametrize("setting", [jax.disable_jit, jax.debug_nans, jax.debug_infs])
def test_settings_that_look_for_mistakes_do_not_stop_a_check(setting):
    """At eight times the arguments some logarithms are of 0, and some of negative numbers."""

    def gap(x):
        return jnp.log(16 - x * x)

    with setting(True):
        check_vjp(gap, X)
        check_gradient(lambda params: gap(params).sum(), X)
        with pytest.raises(VJPCheckError, match="WRONG"):
            check_vjp(cube_times(2.0), X)


def test_the_warnings_of_others_pass_through():
    def noisy(x):
        warnings.warn("an old function", FutureWarning, stacklevel=1)
        return jnp.sin(x)

    with pytest.warns(FutureWarning, match="an old function"):
        check_vjp(noisy, X)


# Compiled programs.

COMPILATIONS = """
import jax, jax.numpy as jnp
from funcnet import VJPCheckError, check_vjp

compiled = []

def listen(event, *args, **kwargs):
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(event)

jax.monitoring.register_event_duration_secs_listener(listen)

def count():
    n = len(compiled)
    compiled.clear()
    return n

FACTOR = 1.0

def primal(x, w):
    return jnp.sin(x) @ w

@jax.custom_vjp
def f(x, w):
    return primal(x, w)

f.defvjp(lambda x, w: (primal(x, w), (x, w)),
         lambda stash, y_bar: (FACTOR * y_bar @ stash[1].T * jnp.cos(stash[0]), jnp.sin(stash[0]).T @ y_bar))

a, b = (jax.random.normal(jax.random.key(i), (3, 3)) for i in (0, 1))
count()
check_vjp(f, a, b)
print("first", count())
check_vjp(f, a, b)
print("again", count())
check_vjp(f, a, b, key=7)
print("key", count())
c, d = a + 0.5, 2 * b
count()
check_vjp(f, c, d)
print("values", count())
FACTOR = 1.01
try:
    check_vjp(f, a, b)
except VJPCheckError as error:
    print("edited", error.verdict)
FACTOR = 1.0
check_vjp(f, a, b)
print("back", "right")
"""


def test_a_second_check_compiles_nothing_and_sees_a_rule_that_was_edited():
    done = subprocess.run([sys.executable, "-c", COMPILATIONS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = dict(line.split() for line in done.stdout.splitlines())
    assert 5 <= int(seen.pop("first")) <= 25
    assert seen == {"again": "0", "key": "0", "values": "0", "edited": "WRONG", "back": "right"}


def of_the_first(a, b):
    return jnp.sin(a)


def of_the_second(a, b):
    return jnp.sin(b)


def test_functions_that_differ_in_the_argument_they_use_alone_are_not_mistaken():
    """Their programs read the same once unused inputs are dropped."""
    check_vjp(sine, X)
    check_vjp(custom(of_the_first, lambda args, y_bar: (jnp.cos(args[0]) * y_bar, None)), X, X[::-1])
    check_vjp(custom(of_the_second, lambda args, y_bar: (None, jnp.cos(args[1]) * y_bar)), X, X[::-1])
    with pytest.raises(VJPCheckError, match="of_the_second, b"):
        check_vjp(custom(of_the_second, lambda args, y_bar: (None, jnp.cos(args[0]) * y_bar)), X, X[::-1])


# What cannot be checked.


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def newton(a, tolerance):
    """√a by Newton's method."""
    return lax.while_loop(lambda y: abs(y * y - a) > tolerance, lambda y: (y + a / y) / 2, 1.5 + a)


newton.defvjp(lambda a, tolerance: (newton(a, tolerance), a), lambda _, a, y_bar: (y_bar / (2 * a**0.5),))


def test_a_solver_that_stops_early_is_told_from_a_wrong_rule():
    assert check_vjp(lambda a: newton(a, 1e-12), 2.0, dtypes=())
    with pytest.raises(VJPCheckError, match=r"stops at a tolerance .* a tighter tolerance"):
        check_vjp(lambda a: newton(a, 1e-2), 2.0, dtypes=())


def test_what_a_loop_leaves_of_its_start_is_told_from_an_argument_left_out():
    """The root forgets where Newton's method started, up to 1.4e-10 of it."""

    def root(a, start):
        return lax.while_loop(lambda y: abs(y * y - a) > 1e-10, lambda y: (y + a / y) / 2, start)

    limit = custom(root, lambda args, y_bar: (y_bar / (2 * jnp.sqrt(args[0])), None))
    with pytest.raises(VJPCheckError, match=r"(?s)root, start.*stops at a tolerance"):
        check_vjp(limit, 2.0, 1.5, dtypes=(), transforms=(), elsewhere=())


def rule_of_a_short_root(factor):
    """√x by a loop that stops at a tolerance, in float32 whatever comes, with the gradient of its limit."""

    def short_root(x):
        x = x.astype("float32")
        return lax.while_loop(lambda y: (abs(y * y - x) > 1e-3 * x).any(), lambda y: (y + x / y) / 2, x)

    return custom(
        short_root, lambda args, y_bar: ((factor * y_bar / (2 * jnp.sqrt(args[0]))).astype(args[0].dtype),)
    )


def test_a_rule_for_the_limit_of_a_loop_is_right_as_far_as_differences_can_tell():
    report = check_vjp(rule_of_a_short_root(1.0), array(2.0, 3.5), elsewhere=(), transforms=())
    assert "x: autodiff and rule differ, and the differences cannot tell who is right" in report.notes
    assert 1e-5 < report.rows[0].smallest < 1e-2
    with pytest.raises(VJPCheckError, match="stops at a tolerance") as caught:
        check_vjp(rule_of_a_short_root(1.01), array(2.0, 3.5), elsewhere=(), transforms=())
    assert caught.value.verdict == "WRONG"


def test_where_differences_find_no_slope_autodiff_alone_decides_about_a_loop():
    def noisy(x):
        noise = lax.stop_gradient(0.1 * jnp.sin(1e9 * x))
        return lax.while_loop(lambda y: abs(y) > 8, lambda y: y / 2, x + noise)

    rule = custom(noisy, lambda args, y_bar: (3 * y_bar,))
    with pytest.raises(VJPCheckError, match="autodiff alone: the differences are not precise enough"):
        check_vjp(rule, 0.7, elsewhere=(), transforms=(), dtypes=())


def test_a_rule_that_solves_to_an_absolute_tolerance_is_told_to_take_a_relative_one():
    def backward(args, y_bar):
        def far(state):
            return abs(state[0] - state[1]) > 1e-6

        def step(state):
            return (y_bar + state[0]) / 3, state[0]

        (x,) = args
        return (4 * x * lax.while_loop(far, step, (y_bar / 3, 0 * y_bar))[0],)

    words = ("a solver with an absolute tolerance stops at once", "make the tolerance relative to it")
    Refused("absolute", custom(lambda x: x * x, backward), (1.5,), "NONLINEAR", words).test()


def test_a_gradient_through_float8_is_not_said_to_vanish():
    def quantized(x):
        return x.astype("float8_e4m3fn").astype(x.dtype)

    words = ("nothing to see: it computes in float8_e4m3fn, whose rounding hides a gradient", "a wider dtype")
    through = custom(quantized, lambda args, y_bar: (y_bar,))
    Refused("straight through", through, (X,), "VACUOUS", words).test()


BAD = [
    ("no function", 3.0, (X,), {}, "got 3.0, expected a function; write check_vjp"),
    (
        "no floats",
        lambda i: i * 1.5,
        (jnp.arange(3),),
        {},
        "none of its 1 arguments is a float, expected one",
    ),
    ("no arguments", lambda: jnp.ones(3), (), {}, "none of its 0 arguments is a float"),
    ("an integer result", jnp.argmax, (X,), {}, "argmax: its result has no floats, expected one at least"),
    (
        "a dtype alone",
        jnp.sin,
        (X,),
        {"dtypes": "float32"},
        "dtypes='float32', expected float dtypes; write dtypes=",
    ),
    (
        "a Python branch",
        lambda x, rate: x * 2 if rate > 0 else x,
        (X, 0.5),
        {},
        "<lambda>: it needs the value of an argument.*Bind numbers that are settings",
    ),
    (
        "NumPy in the function",
        lambda x: jnp.asarray(np.sin(np.asarray(x))),
        (X,),
        {},
        "<lambda>: it needs the value of an argument.*write jnp for np, or jax.pure_callback around it",
    ),
    ("an integer dtype", jnp.sin, (X,), {"dtypes": ("int32",)}, "dtypes=.*'int32'.*expected float dtypes"),
    ("no dtype", jnp.sin, (X,), {"dtypes": ("float33",)}, "float33.*expected float dtypes"),
    ("order 0", jnp.sin, (X,), {"order": 0}, "order=0, expected 1 for the gradient, 2 for its gradient"),
    ("order 1.5", jnp.sin, (X,), {"order": 1.5}, "order=1.5, expected 1"),
    (
        "an unknown transform",
        jnp.sin,
        (X,),
        {"transforms": ("pmap",)},
        "transforms=.*pmap.*expected some of .*'jit', 'vmap'",
    ),
    ("a transform alone", jnp.sin, (X,), {"transforms": "jit"}, "transforms='jit', expected some of"),
    (
        "a kink beyond 1",
        jnp.sin,
        (X,),
        {"kinks": 2},
        "kinks=2, expected a number from 0, left, to 1, right, or None",
    ),
    ("a kink in words", jnp.sin, (X,), {"kinks": "left"}, "kinks='left', expected a number"),
    ("no slack", jnp.sin, (X,), {"slack": 0}, "slack=0, expected a positive number"),
    (
        "a negative key",
        jnp.sin,
        (X,),
        {"key": -1},
        "key=-1, expected a number, 0 or more, or a key of jax.random",
    ),
    ("a key in words", jnp.sin, (X,), {"key": "seed"}, "key='seed', expected a number"),
]


@pytest.mark.parametrize(
    ("function", "args", "options", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_what_cannot_be_checked_is_an_error_that_says_what_to_do(function, args, options, words):
    with pytest.raises(ParameterError, match=words):
        check_vjp(function, *args, **options)
