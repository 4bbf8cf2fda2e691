"""The function as its floats, by name and dtype; and the same function with every custom rule taken out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from funcnet._errors import ParameterError
from funcnet.check.primal import custom_rules, undecorated
from funcnet.check.subject import subject
from tests.check.rows import array, custom

pytestmark = pytest.mark.in_turns(2)

X = array(0.5, -1.25, 2.0)

three = custom(jnp.sin, lambda args, y_bar: (3.0 * jnp.ones_like(y_bar),))


@jax.custom_jvp
def four(x):
    return jnp.sin(x)


four.defjvps(lambda x_dot, y, x: 4.0 * x_dot)


class Module:
    """A callable without a name."""

    def __call__(self, x, scale):
        return x * scale


# function, arguments, names of the floats, their dtypes, how many other arrays
SORTED = [
    (lambda x, y: x, (X, X), ["x", "y"], ["float32"] * 2, 0),
    (
        lambda params, i: params,
        ({"w": X, "b": (X, 1.0)}, jnp.arange(3)),
        ["params['b'][0]", "params['b'][1]", "params['w']"],
        ["float32"] * 3,
        1,
    ),
    (lambda x, key: x, (X, jax.random.key(0)), ["x"], ["float32"], 1),
    (lambda x, mask: x, (X, X > 0), ["x"], ["float32"], 1),
    (lambda x, name, f: x, (X.astype("bfloat16"), "mean", None), ["x"], ["bfloat16"], 0),
    (lambda x, rate: x, (X.astype("float16"), 0.5), ["x", "rate"], ["float16", "float16"], 0),
    (lambda z, x: z, (array(1j, dtype="complex64"), 2), ["z"], ["complex64"], 0),
    (lambda x: x, (np.linspace(0, 1, 3),), ["x"], ["float32"], 0),
    (lambda x: x, (0.5,), ["x"], ["float32"], 0),
    (lambda x, *more: x, (X, X), ["x", "more[0]"], ["float32"] * 2, 0),
    (Module(), (X, 2.0), ["x", "scale"], ["float32"] * 2, 0),
    (functools.partial(lambda a, x: x, X), (X,), ["x"], ["float32"], 0),
]


@pytest.mark.parametrize(("function", "args", "names", "dtypes", "others"), SORTED)
def test_the_leaves_of_the_arguments_are_sorted(function, args, names, dtypes, others):
    asked = subject(function, args)
    assert list(asked.names) == names
    assert [str(dtype) for dtype in asked.dtypes] == dtypes
    assert len(asked.rest) == others
    assert all(x.dtype in ("float64", "complex128") for x in asked.xs)


def test_arguments_are_put_back_where_they_came_from():
    args = ({"w": X, "i": jnp.arange(3)}, "mean", 2.0)
    asked = subject(lambda tree, kind, scale: None, args)
    tree, kind, scale = asked.call(lambda *args: args, ["i"], ["w", "scale"])
    assert (tree, kind, scale) == ({"w": "w", "i": "i"}, "mean", "scale")
    rest, xs = asked.split(({"w": 2 * X, "i": jnp.ones(3, int)}, "mean", 5.0))
    np.testing.assert_array_equal(xs[0], 2 * X)
    assert xs[1] == 5.0
    np.testing.assert_array_equal(rest[0], [1, 1, 1])


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (jnp.sin, "sin"),
        (three, "sin"),
        (functools.partial(jnp.add, 1.0), "add"),
        (Module(), "Module"),
        (lambda x: x, "<lambda>"),
    ],
)
def test_a_function_is_called_by_its_name(function, name):
    assert subject(function, (X, X) if isinstance(function, Module) else (X,)).name == name


def test_complex_numbers_of_a_precision_have_two_such_parts():
    asked = subject(lambda z, x: z, (array(1j, dtype="complex64"), X))
    assert [x.dtype for x in asked.at("float64")] == ["complex128", "float64"]
    assert [x.dtype for x in asked.at("bfloat16")] == ["complex64", "bfloat16"]
    assert [x.dtype for x in asked.at(None)] == ["complex64", "float32"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "none of its 0 arguments is a float"),
        ((jnp.arange(3), "mean"), "is a float, expected one at least to differentiate"),
    ],
)
def test_arguments_without_a_float_are_an_error(args, words):
    with pytest.raises(ParameterError, match=words):
        subject(lambda *args: args, args)


# Custom rules at every depth: function, how many.

DEPTHS = [
    ("none", jnp.sin, 0),
    ("a custom_vjp", three, 1),
    ("a custom_jvp", four, 1),
    ("two", lambda x: three(x) + four(x) - jnp.sin(x), 2),
    ("one in another", custom(lambda x: three(x), lambda args, y_bar: (5 * y_bar,)), 1),
    ("under jit", jax.jit(three), 1),
    ("under jit twice", jax.jit(lambda x: jax.jit(four)(x)), 1),
    ("under vmap", jax.vmap(three), 1),
    ("under remat", jax.checkpoint(three), 1),
    ("in scan", lambda x: lax.scan(lambda c, _: (three(c), None), x, length=1)[0], 1),
    (
        "in while",
        lambda x: lax.while_loop(lambda c: c[1] < 1, lambda c: (four(c[0]), c[1] + 1), (x, 0))[0],
        1,
    ),
    ("in cond", lambda x: lax.cond(x.sum() > -9, three, four, x), 2),
    ("in map", lambda x: lax.map(three, x), 1),
    (
        "in scan under jit in cond",
        lambda x: lax.cond(
            True, jax.jit(lambda x: lax.scan(lambda c, _: (three(c), None), x, length=1)[0]), jnp.cos, x
        ),
        1,
    ),
]


@pytest.mark.parametrize(("function", "count"), [row[1:] for row in DEPTHS], ids=[row[0] for row in DEPTHS])
def test_custom_rules_are_counted_and_taken_out(function, count):
    flat = subject(function, (X,)).floats(function)
    assert len(custom_rules(jax.make_jaxpr(flat)((), X).jaxpr)) == count
    bare = undecorated(flat, (), (X,))
    np.testing.assert_allclose(bare((), X)[0], np.sin(X), rtol=1e-6)
    (tangent,) = jax.jvp(functools.partial(bare, ()), (X,), (jnp.ones_like(X),))[1]
    np.testing.assert_allclose(tangent, np.cos(X), rtol=1e-6)


def test_what_a_function_closes_over_stays():
    weights = jnp.asarray([1.0, 2.0, 3.0])
    bare = undecorated(subject(three, (X,)).floats(lambda x: three(weights * x)), (), (X,))
    np.testing.assert_allclose(bare((), X)[0], np.sin(weights * X), rtol=1e-6)


def traced(function, *args):
    asked = subject(function, args)
    with jax.enable_x64(True):
        return undecorated(asked.floats(function), asked.rest, asked.at(jnp.float64))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x, y: x * y, (True, True)),
        (lambda x, y: jnp.sin(x), (True, False)),
        (lambda x, y: x + jnp.floor(y), (True, False)),
        (lambda x, y: jnp.where(y > 0, x, -x), (True, False)),
        (lambda x, y: lax.cond(True, jnp.multiply, jnp.add, x, y), (True, True)),
    ],
)
def test_which_arguments_the_result_depends_on_other_than_by_steps(function, expected):
    assert traced(function, X, X).depends() == expected


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (jnp.sin, "float64"),
        (lambda x: x.astype("float32").sum(), "float32"),
        (lambda x: x.astype("bfloat16").astype("float32").sum(), "bfloat16"),
        (jax.jit(lambda x: jnp.tanh(x.astype("float16"))), "float16"),
        (
            lambda x: lax.scan(lambda c, _: (c.astype("float16").astype(c.dtype), None), x, length=2)[0],
            "float16",
        ),
        (lambda x: x + jnp.float32(1.0).astype(x.dtype), "float64"),
    ],
)
def test_the_shortest_dtype_on_the_way_from_arguments_to_result(function, dtype):
    assert traced(function, X).narrowest() == dtype


def test_a_function_that_draws_random_numbers_is_known_as_one():
    assert traced(lambda x, key: x * jax.random.normal(key, x.shape), X, jax.random.key(0)).draws()
    assert traced(lambda x, key: x * jax.random.normal(key, x.shape), X, jax.random.PRNGKey(0)).draws()
    assert not traced(jnp.sin, X).draws()
