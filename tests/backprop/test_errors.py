"""What people are told: our own exception, their own line, what came, what was expected, what to do."""

import re
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import funcnet
from funcnet import RULES
from funcnet._errors import FuncnetError, GradientError, MissingRuleError, ParameterError, RuleError
from funcnet.rules import REFUSED

X = np.float32([0.3, -0.7])
WITHOUT_SINE = type(RULES)({name: rule for name, rule in RULES.items() if name != "sin"})


def sine(x):
    return jnp.sin(x) * 2  # the line


@jax.jit
def two_deep(x):
    return jax.jit(sine)(x) + 1


@jax.jit
def three_deep(x):
    return two_deep(x) * x


@jax.custom_jvp
def with_tangent(x):
    return x


@with_tangent.defjvp
def tangent(x, x_dot):
    return x[0], jnp.sin(x_dot[0])  # the line


@jax.custom_vjp
def with_backward(x):
    return x


with_backward.defvjp(lambda x: (x, x), lambda x, y_bar: (jnp.sin(x) * y_bar,))  # the line


def slope(x):
    return funcnet.grad(lambda x: jnp.sum(with_backward(x)))(x)


MISSING = {
    "plain": sine,
    "three jitted functions deep": three_deep,
    "scan": lambda x: lax.scan(lambda c, _: (sine(c), None), x, length=2)[0],
    "while": lambda x: lax.while_loop(lambda x: x[0] < 1, sine, x),
    "cond": lambda x: lax.cond(x[0] > 0, sine, jnp.cos, x),
    "remat": jax.checkpoint(sine),
    "vmap": jax.vmap(sine),
    "custom_jvp": with_tangent,
    "linear solve": lambda x: lax.custom_linear_solve(
        lambda v: sine(x) * v, x, lambda _, b: b, symmetric=True
    ),
    "jax.grad": lambda x: jax.grad(lambda x: jnp.sum(jnp.cos(x)))(x),  # the line
    "the second order of a custom_vjp": slope,
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_rule(name):
    with pytest.raises(MissingRuleError, match="no rule for the primitive 'sin', used at") as error:
        funcnet.grad(lambda x: jnp.sum(MISSING[name](x)), rules=WITHOUT_SINE)(X)  # the line
    assert named_lines(error.value) == ["the line"]
    assert "@funcnet.rule('sin', formula=…)" in str(error.value)
    assert "rules=funcnet.RULES | {'sin': …}" in str(error.value)
    assert "stop_gradient" in str(error.value)


SILU = {"jax.nn.silu", "logistic"}


def test_a_missing_rule_inside_of_a_function_of_jax():
    jax.nn.silu(X)  # what JAX has traced before, it does not trace again
    f = lambda x: jnp.sum(jax.nn.silu(x))  # the line  # noqa: E731
    without = type(RULES)({name: rule for name, rule in RULES.items() if name not in SILU})
    with pytest.raises(MissingRuleError, match="'logistic', used at") as error:
        funcnet.grad(jax.jit(f), rules=without)(X)
    assert named_lines(error.value) == ["the line"]


@pytest.mark.parametrize("name", ["plain", "three jitted functions deep", "scan", "cond"])
def test_no_rule_is_missed_where_no_gradient_goes(name):
    stopped = lambda x: jnp.sum(x * lax.stop_gradient(MISSING[name](x)))  # noqa: E731
    expected = MISSING[name](X)
    np.testing.assert_allclose(funcnet.grad(stopped, rules=WITHOUT_SINE)(X), expected, rtol=1e-6)
    assert np.all(funcnet.grad(lambda x, y: jnp.sum(MISSING[name](x) + y), 1, rules=WITHOUT_SINE)(X, X) == 1)


def test_a_primitive_that_has_no_gradient_says_why():
    f = lambda x: jnp.nextafter(x, jnp.float32(2))  # the line  # noqa: E731
    with pytest.raises(
        MissingRuleError, match=f"'nextafter' has no gradient, used at .*: {REFUSED['nextafter']}"
    ) as error:
        funcnet.grad(f)(jnp.float32(1))
    assert named_lines(error.value) == ["the line"]


def answer(x_bar):
    """A rule for sin with this answer."""
    return RULES | {"sin": lambda y_bar, y, x: x_bar(y_bar, x)}


@pytest.mark.parametrize(
    ("x_bar", "words"),
    [
        (
            lambda y_bar, x: (y_bar[None],),
            r"returned a gradient float32\[1, 2\] for input 0, expected float32\[2\]",
        ),
        (lambda y_bar, x: (y_bar[0],), r"returned a gradient float32\[\] for input 0, expected float32\[2\]"),
        (lambda y_bar, x: (y_bar.astype(jnp.bfloat16),), r"bfloat16\[2\] for input 0, expected float32\[2\]"),
        (lambda y_bar, x: (y_bar + 1j,), r"complex64\[2\] for input 0, expected float32\[2\]"),
        (lambda y_bar, x: (1.0,), r"float32\[\] for input 0"),
        (
            lambda y_bar, x: (y_bar, y_bar),
            "returned 2 gradients, expected a tuple with one entry for each of its 1 inputs",
        ),
        (lambda y_bar, x: (), "returned 0 gradients"),
        (lambda y_bar, x: y_bar, "expected a tuple"),
        (lambda y_bar, x: None, "NoneType, expected a tuple"),
    ],
)
@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("call", [lambda f: f, jax.jit])
def test_a_rule_with_a_wrong_answer(x_bar, words, call):
    f = call(lambda x: jnp.sum(sine(x)))
    with pytest.raises(RuleError, match=f"the rule for sin.*{words}.*; used at .*test_errors.py") as error:
        funcnet.grad(f, rules=answer(x_bar))(X)
    assert "the line" in traced_lines(error.value)


def test_a_rule_that_raises_shows_its_own_line_and_the_users():
    def broken(y_bar, y, x):
        raise ZeroDivisionError  # broken here

    with pytest.raises(ZeroDivisionError) as error:
        funcnet.grad(lambda x: jnp.sum(sine(x)), rules=RULES | {"sin": broken})(X)
    assert {"broken here", "the line"} <= set(traced_lines(error.value))


def test_a_rule_that_does_not_know_a_parameter():
    f = lambda x: jnp.round(x)  # the line  # noqa: E731
    with pytest.raises(TypeError, match="rounding_method") as error:
        funcnet.grad(f, rules=RULES | {"round": lambda y_bar, y, x: (y_bar,)})(0.7)
    assert "the line" in traced_lines(error.value)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("rules", [{"sin": lambda y_bar, y, x: (y_bar,)}, None, 3, "sin", [RULES["sin"]]])
def test_something_that_is_no_table(rules):
    name = type(rules).__name__
    for call in (
        lambda: funcnet.grad(jnp.sin, rules=rules)(1.0),
        lambda: funcnet.vjp(jnp.sin, 1.0, rules=rules),
        lambda: funcnet.jacobian(jnp.sin, rules=rules)(1.0),
        lambda: funcnet.hessian(jnp.sin, rules=rules)(1.0),
    ):
        with pytest.raises(ParameterError, match=f"rules: got {name}, expected a table.*funcnet.RULES"):
            call()


@pytest.mark.usefixtures("no_shape_checks")
def test_something_in_a_table_that_is_no_rule():
    with pytest.raises(ParameterError, match="rules: 'sin' is int, expected a rule; write a function"):
        RULES | {"sin": 3}
    with pytest.raises(ParameterError, match="expected the names of primitives"):
        funcnet.rule()(lambda y_bar, y, x: (y_bar,))


def vector(x):  # a function here
    return jnp.sin(x) * 2  # the line


def pair(x):  # a function here
    return jnp.sum(x), jnp.sum(x)


def whole(x):  # a function here
    return jnp.argmax(x)


def nothing(x):  # a function here
    return None


def words(x):  # a function here
    return jnp.sum(x)


@pytest.mark.parametrize(
    ("f", "x", "message", "lines"),
    [
        (
            vector,
            X,
            r"the result is float32\[2\], made at .*, expected a scalar; sum or average it",
            ["a function here", "the line"],
        ),
        (jax.jit(vector), X, r"the result is float32\[2\].*expected a scalar", ["a function here"]),
        (
            pair,
            X,
            r"PyTreeDef\(\(\*, \*\)\) of float32\[\], float32\[\], expected a scalar.*has_aux",
            ["a function here"],
        ),
        (
            whole,
            X,
            r"the result is int32\[\], expected real floats",
            ["a function here"],
        ),
        (nothing, X, "of nothing, expected a scalar", ["a function here"]),
        (
            words,
            np.arange(3),
            r"argument \[0\] is int32\[3\], expected floats.*allow_int=True",
            ["a function here"],
        ),
        (
            words,
            {"n": X, "m": True},
            r"argument \[0\]\['m'\] is bool\[\], expected floats",
            ["a function here"],
        ),
        (words, jax.random.key(0), r"argument \[0\] is key<fry>\[\], expected floats", ["a function here"]),
        (words, "four", r"argument \[0\] is str, expected an array or a number", ["a function here"]),
        (words, [X, object()], r"argument \[0\]\[1\] is object, expected an array", ["a function here"]),
    ],
)
def test_a_question_without_a_gradient(f, x, message, lines):
    with pytest.raises(GradientError, match=message) as error:
        funcnet.grad(f)(x)
    assert set(lines) <= set(named_lines(error.value))
    with pytest.raises(TypeError):
        jax.grad(f)(x)


def test_vjp_of_something_that_is_no_array():
    with pytest.raises(GradientError, match=r"vjp of words .*argument \[0\] is str, expected an array"):
        funcnet.vjp(words, "four")


@pytest.mark.parametrize(
    ("python", "kind"),
    [
        (bool, jax.errors.TracerBoolConversionError),
        (float, jax.errors.ConcretizationTypeError),
        (np.asarray, jax.errors.TracerArrayConversionError),
        (lambda x: "ab"[x.astype(int)], jax.errors.TracerIntegerConversionError),
    ],
    ids=["if", "float", "numpy", "index"],
)
def test_python_that_asks_for_a_value(python, kind):
    """JAX's own exception under jit, with the line in its traceback, and in a graph with a note."""

    def f(x):
        return x if python(x) else -x  # the line

    with pytest.raises(kind) as error:
        jax.jit(funcnet.grad(f))(1.0)
    assert "the line" in traced_lines(error.value)
    with pytest.raises(kind) as error:
        funcnet.trace(f)(1.0)
    assert any("jax.lax.cond or jnp.where" in note for note in error.value.__notes__)
    assert "the line" in traced_lines(error.value)


def test_an_error_of_the_users_passes_through():
    def f(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        funcnet.grad(f)(1.0)


def test_every_error_is_of_our_own_tree():
    for error in (GradientError, MissingRuleError, ParameterError, RuleError):
        assert issubclass(error, FuncnetError)


def named_lines(error):
    """The comments at the end of the lines of this file that an error's message names."""
    places = re.findall(rf"{re.escape(__file__)}:(\d+)", str(error))
    return [comment_of(int(place)) for place in places]


def traced_lines(error):
    """The comments of the lines of this file in the tracebacks of an error and of its causes."""
    found = []
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        found += [comment_of(frame.lineno) for frame in frames if frame.filename == __file__]
        error = error.__cause__ or error.__context__
    return found


def comment_of(number):
    parts = Path(__file__).read_text().splitlines()[number - 1].split("  # ")
    return parts[1] if len(parts) > 1 else ""
