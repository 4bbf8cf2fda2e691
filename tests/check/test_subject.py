"""The function as a function of its floats, by name and dtype."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet._errors import ParameterError
from funcnet.check.subject import subject
from tests.check.rows import array, custom

pytestmark = pytest.mark.in_turns(2)

X = array(0.5, -1.25, 2.0)

three = custom(jnp.sin, lambda args, y_bar: (3.0 * jnp.ones_like(y_bar),))


class Module:
    """A callable without a name."""

    def __call__(self, x, scale):
        return x * scale


# function, arguments, names of the floats, their dtypes, how many other arrays
def doubled(x):
    return 2 * x, lambda y_bar: (2 * y_bar,)


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
    (jax.custom_gradient(doubled), (X,), ["x"], ["float32"], 0),
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
        (jax.custom_gradient(doubled), "doubled"),
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
