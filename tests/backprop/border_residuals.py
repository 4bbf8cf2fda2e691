"""What a forward rule keeps for its backward rule: Python's values come back as what they are.

JAX lets numbers and pytrees of them through, and refuses what is none: a string, a function, a slice. Arrays
that a jitted function keeps come back as tracers.
"""

# ruff: noqa: N803
# J is a library that differentiates.

import functools
import math
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.backprop.border import JAX, Kind, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

RESIDUALS = Kind("Python values in residuals")


def kept(value, use):
    """A double, whose forward rule keeps this value for the backward rule."""
    return vjp_of(lambda x: x * 2, lambda x: (x * 2, value), lambda r, y_bar: (use(r, y_bar),))


def doubled_if(test):
    """The gradient is doubled where what came back passes a test."""
    return lambda r, y_bar: y_bar * (2.0 if test(r) else 1.0)


Pair = namedtuple("Pair", "left right")


@functools.partial(jax.tree_util.register_dataclass, data_fields=["array"], meta_fields=["axis"])
@dataclass
class Scaled:
    """An array, and what is no leaf."""

    array: Any
    axis: int


@jax.tree_util.register_pytree_node_class
class Static:
    """A node without leaves."""

    def __init__(self, value):
        self.value = value

    def tree_flatten(self):
        return (), self.value

    @classmethod
    def tree_unflatten(cls, value, leaves):
        return cls(value)


KEPT = {
    "None": (None, doubled_if(lambda r: r is None)),
    "an int": (3, lambda r, g: jnp.broadcast_to(g, (r,)).sum()),
    "an int as a loop's length": (3, lambda r, g: sum(g for _ in range(r))),
    "an int as an index of a list": (1, lambda r, g: [g, 2 * g][r]),
    "a bool": (True, doubled_if(lambda r: r)),
    "a false bool": (False, doubled_if(lambda r: not r)),
    "a bool that is True itself": (True, doubled_if(lambda r: r is True)),
    "a float": (2.5, lambda r, g: g * r),
    "a float that is asked": (2.5, doubled_if(lambda r: r > 2)),
    "a float for Python's math": (2.5, lambda r, g: g * math.exp(r)),
    "a complex number": (2 + 1j, lambda r, g: g * r.real),
    "a shape": ((2, 3), lambda r, g: jnp.broadcast_to(g, r).sum()),
    "an empty tuple": ((), doubled_if(lambda r: r == ())),
    "an axis in a dict": ({"axis": 1}, lambda r, g: jnp.broadcast_to(g, (1, 2)).sum(axis=r["axis"])[0]),
    "a Partial": (jax.tree_util.Partial(jnp.multiply, 3.0), lambda r, g: r(g)),
    "a Partial of a Python function": (jax.tree_util.Partial(lambda a, b: a * b, 3), lambda r, g: r(g)),
    "a namedtuple": (Pair(2, 3.0), lambda r, g: g * r.left * r.right),
    "a node without leaves": (Static("twice"), doubled_if(lambda r: r.value == "twice")),
    "an array in a dataclass": (
        Scaled(np.float32(2), 0),
        lambda r, g: r.array * jnp.stack([g, g]).sum(r.axis),
    ),
    "a NumPy int": (np.int64(3), lambda r, g: g * sum(1 for _ in range(int(r)))),
    "a NumPy bool": (np.bool_(True), doubled_if(lambda r: r)),
    "a NumPy array for its length": (np.arange(3), lambda r, g: jnp.broadcast_to(g, (len(r),)).sum()),
    "a JAX array for its shape": (jnp.ones((2, 3)), lambda r, g: jnp.broadcast_to(g, r.shape).sum()),
    "a key": (np.uint32([0, 3]), lambda r, g: g * jax.random.uniform(jax.random.wrap_key_data(r))),
    "a typed key": (jax.random.key(3), lambda r, g: g * jax.random.uniform(r)),
    "a mixture": (
        [1, (None, {"flag": True}), np.float32(2)],
        lambda r, g: g * r[2] if r[1][1]["flag"] else g,
    ),
}
NO_NUMBERS = {
    "a string": "twice",
    "bytes": b"twice",
    "a function": math.cos,
    "a functools.partial": functools.partial(jnp.multiply, 3.0),
    "a dtype": np.dtype("float32"),
    "a scalar type": jnp.float32,
    "a slice": slice(0, 2),
    "an Ellipsis": ...,
    "a set": {1, 2},
    "a string in a namedtuple": Pair(2, "x"),
    "an array of objects": np.array(["a", None], object),
    "an object": object(),
}
ASKED = {
    "a NumPy array": (np.arange(3), doubled_if(lambda r: np.asarray(r).sum() == 3)),
    "a JAX int": (jnp.int32(2), doubled_if(lambda r: int(r) == 2)),
    "a JAX float": (jnp.float32(2), doubled_if(lambda r: float(r) == 2)),
}
PLACES = {
    "eager": lambda J, f: J.grad(f)(jnp.float32(1.5)),
    "jit outside": lambda J, f: jax.jit(J.grad(f))(jnp.float32(1.5)),
    "jit inside": lambda J, f: J.grad(jax.jit(f))(jnp.float32(1.5)),
}
for _place, _differentiate in PLACES.items():
    for _name, (_value, _use) in KEPT.items():
        RESIDUALS.add(
            f"{_name}, {_place}",
            lambda J, value=_value, use=_use, place=_differentiate: place(J, kept(value, use)),
        )
    for _name, (_value, _use) in ASKED.items():
        RESIDUALS.add(
            f"{_name} that is asked, {_place}",
            lambda J, value=_value, use=_use, place=_differentiate: place(J, kept(value, use)),
            raises=jax.errors.JAXTypeError if _place == "jit inside" else None,
            right=lambda value=_value, use=_use: PLACES["eager"](JAX, kept(value, use)),
        )
for _name, _value in NO_NUMBERS.items():
    RESIDUALS.add(
        _name,
        lambda J, value=_value: J.grad(kept(value, lambda r, g: g))(1.5),
        raises=TypeError,
        right=lambda: jax.grad(kept(None, lambda r, g: g))(1.5),
    )


def keeps_shape_and_flag():
    def forward(x):
        return jnp.sin(x), (x, jnp.shape(x), True, None, 2)

    def backward(kept, y_bar):
        x, shape, flag, nothing, n = kept
        assert nothing is None
        return (jnp.broadcast_to(y_bar * jnp.cos(x), (n, *shape)).sum(0) if flag else y_bar,)

    return vjp_of(jnp.sin, forward, backward)


RESIDUALS.around("a shape, a flag, None and an int", keeps_shape_and_flag)


@RESIDUALS()
def the_shape_of_an_argument(J):
    f = vjp_of(lambda x: x.sum(), lambda x: (x.sum(), x.shape), lambda r, g: (jnp.broadcast_to(g, r),))
    return J.grad(f)(jnp.ones(3))


@RESIDUALS()
def as_what_they_come_back(J):
    def backward(kept, y_bar):
        for r in kept:
            types.append(
                [t.__name__ for t in (bool, int, float, tuple, list, type(None)) if isinstance(r, t)]
            )
        return (y_bar,)

    types = []
    f = vjp_of(jnp.sin, lambda x: (jnp.sin(x), (2, 2.0, True, None, (1, 2.0), [3])), backward)
    gradient = J.grad(f)(1.5)
    return gradient, types


@RESIDUALS(raises=OverflowError, right=lambda: jnp.asarray(2.0))
def an_int_that_is_no_int32(J):
    return J.grad(kept(2**40, doubled_if(lambda r: r == 2**40)))(1.0)


@RESIDUALS()
def with_nondiff_argnums(J):
    def forward(axis, shape, x):
        return x.sum(axis), (axis, shape)

    def backward(axis, shape, kept, y_bar):
        assert kept == (axis, shape)
        return (jnp.broadcast_to(jnp.expand_dims(y_bar, axis), shape),)

    f = vjp_of(lambda axis, shape, x: x.sum(axis), forward, backward, nondiff_argnums=(0, 1))
    return J.grad(lambda x: (f(1, x.shape, x) ** 2).sum())(np.outer(X, Y))


@RESIDUALS()
def a_closure_with_arrays(J):
    def forward(x):
        return jnp.sin(x), jax.tree_util.Partial(lambda c, g: c * g, jnp.cos(x))

    return J.grad(lambda x: vjp_of(jnp.sin, forward, lambda pull, g: (pull(g),))(x).sum())(X)


@RESIDUALS()
def a_pullback_of_the_library(J):
    f = vjp_of(jnp.sin, lambda x: J.vjp(jnp.sin, x), lambda pull, g: pull(g))
    return J.grad(lambda x: f(x).sum())(X), jax.jit(J.grad(f))(0.7), J.grad(jax.jit(f))(0.7)


@RESIDUALS()
def a_pullback_of_jax(J):
    f = vjp_of(jnp.sin, lambda x: jax.vjp(jnp.sin, x), lambda pull, g: pull(g))
    return J.grad(lambda x: f(x).sum())(X), jax.jit(J.grad(f))(0.7), J.grad(jax.jit(f))(0.7)


@RESIDUALS()
def a_mask_that_is_data(J):
    f = vjp_of(lambda x, m: (x * m).sum(), lambda x, m: ((x * m).sum(), m), lambda m, g: (g * m, None))
    return J.grad(f)(X, X > 0)


@RESIDUALS()
def an_int_argument_as_it_came(J):
    f = vjp_of(lambda x, n: x**n, lambda x, n: (x**n, (x, n)), lambda r, g: (g * r[1] * r[0], None))
    return J.grad(f)(1.5, 2)


@RESIDUALS()
def data_that_python_branches_on(J):
    def backward(y, y_bar):
        return y_bar * 2 if y > 1 else y_bar, None

    f = vjp_of(lambda x, y: x * y, lambda x, y: (x * y, y), backward)
    x = jnp.float32(2)
    return J.grad(f)(x, jnp.float32(1.5)), J.grad(f)(x, jnp.float32(0.5)), J.grad(f)(2.0, 0.5)


@RESIDUALS()
def differentiated_values_that_python_branches_on(J):
    f = vjp_of(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, g: (g if x > 1 else g * jnp.cos(x),))
    return J.grad(f)(2.0), J.grad(f)(0.5)


@RESIDUALS()
def a_branch_of_the_forward_rule(J):
    def forward(x):
        return (x * 2, "negative" == "positive") if x < 0 else (x * 2, x)

    def backward(kept, g):
        return (g * 5,) if kept is False else (g * kept,)

    f = vjp_of(lambda x: x * 2, forward, backward)
    return J.grad(f)(-1.0), J.grad(f)(2.0)


@RESIDUALS()
def the_indices_of_the_largest(J):
    def forward(x):
        winner = int(jnp.argmax(x))
        return x[winner], (winner, x.shape)

    def backward(kept, g):
        winner, shape = kept
        return (jnp.zeros(shape).at[winner].set(g),)

    return J.grad(lambda x: vjp_of(lambda x: x.max(), forward, backward)(x) ** 2)(X)


@RESIDUALS(raises=jax.errors.TracerBoolConversionError)
def a_branch_on_a_traced_value(J):
    f = vjp_of(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, g: (g if x > 1 else g * jnp.cos(x),))
    return jax.jit(J.grad(f))(2.0)


@RESIDUALS()
def of_a_rule_inside_a_rule(J):
    inner = keeps_shape_and_flag()
    f = vjp_of(inner, lambda x: (inner(x), (x, True)), lambda r, g: (g * J.grad(inner)(r[0]) if r[1] else g,))
    return J.grad(f)(jnp.float32(0.7)), J.grad(J.grad(f))(jnp.float32(0.7))


@RESIDUALS()
def an_empty_array(J):
    f = vjp_of(lambda x: x.sum(), lambda x: (x.sum(), x[:0]), lambda r, g: (jnp.ones(3).at[len(r)].set(g),))
    return J.grad(f)(X)


@RESIDUALS()
def numpy_on_integer_residuals(J):
    def forward(x):
        return jnp.sort(x), jnp.argsort(x)

    def backward(order, g):
        return (g[np.argsort(np.asarray(order))],)

    return J.grad(lambda x: (vjp_of(lambda x: jnp.sort(x), forward, backward)(x) * Y).sum())(X)


@RESIDUALS()
def no_residual_of_no_argument(J):
    f = vjp_of(lambda: jnp.float32(2), lambda: (jnp.float32(2), None), lambda _, g: ())
    return J.grad(lambda x: f() * x)(0.7)


@RESIDUALS()
def dicts_with_unsorted_keys(J):
    f = vjp_of(
        jnp.sin, lambda x: (jnp.sin(x), {"z": 3, "a": jnp.cos(x)}), lambda r, g: (g * r["a"] * r["z"],)
    )
    return J.grad(f)(0.7), J.grad(jax.jit(f))(0.7)


@RESIDUALS()
def optimize_remat(J):
    f = vjp_of(
        jnp.sin, lambda x: (jnp.sin(x), (x, 3)), lambda r, g: (g * jnp.cos(r[0]) * r[1],), optimize_remat=True
    )
    return J.grad(f)(0.7), jax.jit(J.grad(f))(0.7)
