"""What goes in and comes out: None and other trees, results that are constants."""

# ruff: noqa: N803
# J is a library that differentiates.

import collections
import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop.border import AROUND, Kind, jvp_of, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

NONE = Kind("None and other trees in jacobian and hessian")

Pair = collections.namedtuple("Pair", "left right")


@jax.tree_util.register_pytree_node_class
class Module:
    """A node with a leaf, a name and a list, as of equinox or flax."""

    def __init__(self, w, name, parts):
        self.w, self.name, self.parts = w, name, parts

    def tree_flatten(self):
        return (self.w, self.parts), self.name

    @classmethod
    def tree_unflatten(cls, name, leaves):
        return cls(leaves[0], name, leaves[1])


@functools.partial(jax.tree_util.register_dataclass, data_fields=["w", "b"], meta_fields=["size"])
@dataclass
class Layer:
    """A dataclass with an optional bias and a number that is no leaf."""

    w: Any
    b: Any
    size: int


TREES = {
    "a dict with None": ({"a": X, "b": None}, lambda p: (p["a"] ** 2).sum()),
    "a list with None": ([X, None, Y], lambda p: (p[0] * p[2]).sum()),
    "nested None": ({"a": [None, (X, None)], "b": {"c": None}}, lambda p: (p["a"][1][0] ** 3).sum()),
    "None beside a scalar": ((2.0, None), lambda p: p[0] ** 3),
    "a namedtuple with None": (Pair(X, None), lambda p: (p.left**2).prod()),
    "a dataclass with None": (Layer(X, None, 3), lambda p: (p.w**2).sum() * p.size),
    "a dataclass without None": (Layer(X, Y, 3), lambda p: (p.w**2 * p.b).sum() * p.size),
    "a module with None": (Module(X, "m", [None, Y]), lambda p: (p.w * p.parts[1]).sum() ** 2),
    "an ordered dict": (collections.OrderedDict(b=X, a=Y), lambda p: (p["a"] * p["b"]).sum() ** 2),
    "a defaultdict": (collections.defaultdict(list, a=[X]), lambda p: (p["a"][0] ** 2).prod()),
    "an empty dict inside": ({"a": X, "b": {}, "c": []}, lambda p: (p["a"] ** 3).sum()),
    "integer keys": ({2: X, 1: Y}, lambda p: (p[1] * p[2] ** 2).sum()),
    "an array without elements": ({"a": X, "b": np.zeros((0, 2), np.float32)}, lambda p: (p["a"] ** 2).sum()),
    "mixed dtypes": (
        {"a": X, "b": jnp.bfloat16(2)},
        lambda p: (p["a"] ** 2).sum() * p["b"].astype(jnp.float32),
    ),
    "Python and NumPy floats": ([2.0, np.float32(3), X], lambda p: (p[0] * p[1] * p[2]).sum() ** 2),
}
for _name, (_point, _f) in TREES.items():
    NONE.add(f"{_name}, grad", lambda J, f=_f, p=_point: J.value_and_grad(f)(p))
    NONE.add(
        f"{_name}, jacobian",
        lambda J, f=_f, p=_point: J.jacobian(lambda p: {"y": f(p), "z": [f(p) * Y, None]})(p),
    )
    if _name not in (
        "mixed dtypes",
        "Python and NumPy floats",
    ):  # their types are those of JAX's forward mode
        NONE.add(f"{_name}, hessian", lambda J, f=_f, p=_point: J.hessian(f)(p))


@NONE()
def the_example(J):
    return J.jacobian(lambda p: p["a"] * 2)({"a": jnp.ones(3), "b": None})


@NONE()
def none_as_an_argument(J):
    return [
        J.grad(lambda x, y: x**2, (0, 1))(2.0, None),
        J.jacobian(lambda x, y: x**2, (0, 1))(X, None),
        J.hessian(lambda x, y: (x**2).sum(), (0, 1))(X, None),
        J.vjp(lambda x, y: x**2, X, None)[1](Y),
    ]


@NONE()
def none_alone(J):
    return J.grad(lambda x: 2.0)(None), J.vjp(lambda x: 2.0, None)[1](1.0)


@NONE(raises=ValueError, right=lambda: None)
def none_alone_in_a_jacobian(J):
    return J.jacobian(lambda x: jnp.ones(2))(None)


@NONE(raises=ValueError, right=lambda: ())
def no_result_of_a_jacobian(J):
    return J.jacobian(lambda x: ())(X)


@NONE()
def none_in_a_result(J):
    return J.jacobian(lambda x: {"y": x**2, "n": None})(X), J.vjp(lambda x: (x, None), X)[1](
        (jnp.asarray(Y), None)
    )


@NONE(raises=TypeError)
def none_as_a_result(J):
    return J.grad(lambda x: None)(X)


@NONE()
def none_in_aux(J):
    return J.grad(lambda x: (x.sum(), None), has_aux=True)(X), J.jacobian(
        lambda x: (x, [None]), has_aux=True
    )(X)


@NONE()
def none_in_data(J):
    return J.jacobian(lambda x, y: x if y is None else x * y["y"])(X, None), J.hessian(
        lambda x, y: (x**2).sum() if y["y"] is None else 0.0
    )(X, {"y": None})


@NONE()
def several_arguments_of_a_jacobian(J):
    def f(p, x):
        return {"y": p["w"] * x, "s": x.sum()}

    return J.jacobian(f, (0, 1))({"w": Y, "b": None}, X), J.jacobian(f, [1])({"w": Y}, X)


@NONE()
def several_arguments_of_a_hessian(J):
    return J.hessian(lambda p, x: (p["w"] * x).sum() ** 2, (0, 1))({"w": Y, "b": None}, X)


@NONE()
def of_a_vector_function(J):
    return J.hessian(lambda p: {"y": p["a"] ** 2, "n": None})({"a": X, "b": None})


@NONE()
def jacobians_of_jacobians(J):
    return J.jacobian(J.jacobian(lambda p: p["a"] ** 2 * p["c"]))({"a": X, "b": None, "c": 2.0})


@NONE()
def under_jit_and_vmap(J):
    f = J.jacobian(lambda p: p["a"] * 2)
    return jax.jit(f)({"a": X, "b": None}), jax.vmap(f)({"a": np.stack([X, Y]), "b": None})


@NONE()
def holomorphic(J):
    return J.jacobian(lambda p: p["z"] ** 2, holomorphic=True)({"z": X + 1j * Y, "b": None})


@NONE()
def integers_with_allow_int(J):
    g = J.grad(lambda p: p["x"] * p["n"], allow_int=True)({"x": 2.0, "n": 3, "b": None})
    return g, J.grad(lambda x, n: x * n, (0, 1), allow_int=True)(jnp.float32(2), np.arange(3)[1])


@NONE()
def keys_with_allow_int(J):
    def f(p):
        return p["x"] * jax.random.uniform(p["key"])

    return J.grad(f, allow_int=True)({"x": 2.0, "key": jax.random.PRNGKey(0)})


@NONE()
def bfloat16_and_float16(J):
    f = lambda x: (x**2).astype(jnp.float32)  # noqa: E731
    return J.jacobian(f)(X.astype(jnp.bfloat16)), J.jacobian(f)(X.astype(np.float16))


@NONE()
def float64(J):
    with jax.enable_x64(True):
        p = {"a": np.float64(X), "b": None, "c": X}
        q = {"a": np.float64(X), "b": None}
        return J.jacobian(lambda p: p["a"] * p["c"])(p), J.hessian(lambda p: (p["a"] ** 3).sum())(q)


@NONE()
def a_hessian_of_two_dtypes(J):
    with jax.enable_x64(True):
        p = {"a": np.float64(X), "c": X}
        return J.jacobian(J.jacobian(lambda p: (p["a"] ** 3 * p["c"] ** 2).sum()))(p)


WEAK = Kind("weak types of gradients")

OF_A_PYTHON_FLOAT = {
    "a function": jnp.sin,
    "a strong factor": lambda x: x * jnp.float32(2),
    "an array": lambda x: (x * Y).sum(),
    "a conversion": lambda x: x.astype(jnp.float32) ** 2,
    "a narrower conversion": lambda x: (x * jnp.bfloat16(2)).astype(jnp.float32),
    "a carry that stays weak": lambda x: lax.fori_loop(0, 3, lambda _, c: c * 2, x),
    "a carry that becomes strong": lambda x: lax.scan(lambda c, y: (c * y, None), x, Y)[0],
    "a constant of a scan": lambda x: lax.scan(lambda c, y: (c * y * x, None), 1.0, Y)[0],
    "a branch": lambda x: lax.cond(x > 0, jnp.sin, jnp.cos, x),
    "branches of strong type": lambda x: lax.cond(x > 0, lambda x: x * np.float32(2), lambda x: x * Y[0], x),
    "where": lambda x: jnp.where(Y > 0, x, 0.0).sum(),
    "stack": lambda x: jnp.stack([x, x * 2]).sum(),
    "a stack that becomes strong": lambda x: jax.nn.logsumexp(jnp.stack([x, 1.0])),
    "a product of arrays": lambda x: jnp.dot(x, Y).sum(),
    "an assignment": lambda x: jnp.zeros(3).at[0].set(x).sum(),
    "a power": lambda x: x ** np.float32(2),
    "a jitted function": jax.jit(lambda x: jnp.sin(x) * np.float32(3)),
    "a checkpointed function": jax.checkpoint(lambda x: jnp.sin(x) * np.float32(3)),
    "relu": jax.nn.relu,
    "a constant": lambda x: np.float32(3),
    "the real part of a complex number": lambda x: (x * 1j).imag,
    "a tangent rule that makes it strong": lambda x: jvp_of(jnp.sin, lambda p, t: (p[0], Y[0] * t[0]))(x),
    "a backward rule that makes it strong": lambda x: vjp_of(
        jnp.sin, lambda x: (x, None), lambda _, g: (g * Y[0],)
    )(x),
    "such a rule of a function": lambda x: vjp_of(jnp.sin, lambda x: (x, None), lambda _, g: (g * Y[0],))(
        3 * x
    ),
}
for _name, _f in OF_A_PYTHON_FLOAT.items():
    WEAK.add(_name, lambda J, f=_f: J.value_and_grad(f)(0.7))
for _name in ("a function", "an array", "a branch"):
    WEAK.add(
        f"{_name} of a strong number",
        lambda J, f=OF_A_PYTHON_FLOAT[_name]: J.value_and_grad(f)(np.float32(0.7)),
    )


@WEAK()
def of_a_complex_number(J):
    return J.grad(lambda z: (z * z).real)(1 + 2j)


@WEAK()
def in_a_list(J):
    return J.grad(lambda p: p[0] * p[1])([2.0, np.float32(3)]), J.grad(J.grad(jnp.sin))(0.7)


RESULTS = Kind("results that are constants")

LEAVES = {
    "a Python float": lambda x: 2.0,
    "a Python int": lambda x: 3,
    "a bool": lambda x: True,
    "a NumPy float": lambda x: np.float32(2),
    "a wide NumPy float": lambda x: np.float64(2),
    "a NumPy int": lambda x: np.int32(2),
    "a NumPy array": lambda x: np.ones(2, np.float32),
    "a wide NumPy array": lambda x: np.ones(2),
    "a JAX scalar": lambda x: jnp.array(-1.0),
    "a JAX array": lambda x: jnp.ones(2),
    "a JAX int": lambda x: jnp.arange(2),
    "None": lambda x: None,
    "the argument": lambda x: x,
    "a stopped argument": lambda x: lax.stop_gradient(x),
    "a comparison": lambda x: x > 0,
    "an int of the argument": lambda x: x.astype(int),
    "a shape": lambda x: x.shape,
    "zeros_like": lambda x: jnp.zeros_like(x),
    "ones_like": lambda x: jnp.ones_like(x),
    "a product": lambda x: x * 2,
    "a constant of a jitted function": lambda x: jax.jit(lambda: jnp.float32(3))(),
    "a random number": lambda x: jax.random.uniform(jax.random.key(0)),
    "a list of these": lambda x: [2.0, (x, None), {"k": jnp.array(1)}],
}
for _name, _leaf in LEAVES.items():
    RESULTS.add(
        f"{_name} as aux",
        lambda J, leaf=_leaf: J.value_and_grad(lambda x: (x * 2, leaf(x)), has_aux=True)(jnp.float32(1.5)),
    )
    RESULTS.add(
        f"{_name} beside the result of vjp",
        lambda J, leaf=_leaf: J.vjp(lambda x: (x * 2, leaf(x)), jnp.float32(1.5))[0],
    )
for _name in (
    "a Python float",
    "a JAX scalar",
    "the argument",
    "a comparison",
    "a NumPy array",
    "a list of these",
):
    RESULTS.add(
        f"{_name} as aux under jit",
        lambda J, leaf=LEAVES[_name]: jax.jit(J.value_and_grad(lambda x: (x * 2, leaf(x)), has_aux=True))(
            1.5
        ),
    )
    RESULTS.add(
        f"{_name} as aux of vjp",
        lambda J, leaf=LEAVES[_name]: J.vjp(lambda x: (x * 2, leaf(x)), 1.5, has_aux=True)[::2],
    )
    RESULTS.add(
        f"{_name} as aux of a jacobian",
        lambda J, leaf=LEAVES[_name]: J.jacobian(lambda x: (x * 2, leaf(x)), has_aux=True)(1.5),
    )
    RESULTS.add(
        f"{_name} as aux, twice",
        lambda J, leaf=LEAVES[_name]: J.grad(
            lambda x: J.grad(lambda x: (x**2, leaf(x)), has_aux=True)(x), has_aux=True
        )(1.5),
    )

CONSTANT_LOSSES = {
    "a Python float": lambda x: 2.0,
    "a NumPy float": lambda x: np.float32(2),
    "a JAX scalar": lambda x: jnp.float32(2),
    "a weakly typed scalar": lambda x: jnp.asarray(2.0),
    "a stopped value": lambda x: lax.stop_gradient(x * 2),
    "the sign": lambda x: jnp.sign(x),
    "the argument": lambda x: x,
}
for _name, _f in CONSTANT_LOSSES.items():
    for _place in ("eager", "jit outside", "jit inside", "vmap outside", "twice", "vjp"):
        RESULTS.add(
            f"{_name} as the loss, {_place}",
            lambda J, f=_f, place=_place: AROUND[place](J, f, jnp.float32(1.5)),
        )
    RESULTS.add(f"{_name} as the loss of a Python float", lambda J, f=_f: J.value_and_grad(f)(1.5))
    RESULTS.add(f"{_name}, hessian", lambda J, f=_f: J.hessian(f)(1.5))


@RESULTS()
def a_constant_in_aux(J):
    return J.value_and_grad(lambda x: (x * 2, jnp.array(-1.0)), has_aux=True)(1.5)


@RESULTS()
def strings_and_objects_in_aux(J):
    return J.grad(lambda x: (x * 2, ["name", {"kind": b"bytes"}, len]), has_aux=True)(1.5)


@RESULTS(raises=TypeError)
def strings_in_aux_under_jit(J):
    return jax.jit(J.grad(lambda x: (x * 2, "name"), has_aux=True))(1.5)


@RESULTS(raises=TypeError)
def a_string_as_a_result_of_vjp(J):
    return J.vjp(lambda x: (x * 2, "name"), 1.5)


@RESULTS()
def identity_of_aux(J):
    kept = object()
    array = jnp.ones(2)
    _, aux = J.grad(lambda x: (x * 2, (kept, array)), has_aux=True)(1.5)
    return aux[0] is kept, aux[1] is array


@RESULTS()
def a_mutable_aux(J):
    aux = J.grad(lambda x: (x * 2, {"calls": [1, 2], "x": x}), has_aux=True)(1.5)[1]
    aux["calls"].append(3)
    return aux


@RESULTS()
def a_pair_as_a_list(J):
    return J.value_and_grad(lambda x: [x * 2, x], has_aux=True)(1.5)


@RESULTS()
def the_same_array_twice(J):
    return J.value_and_grad(lambda x: (x * 2, (x, x, x * 1, x)), has_aux=True)(jnp.float32(1.5))


@RESULTS()
def constants_among_the_results_of_a_jacobian(J):
    return J.jacobian(lambda x: (2.0, np.float32(2), np.ones(2), jnp.ones(2), x, x * 2))(1.5)


@RESULTS()
def constants_among_the_results_of_vjp(J):
    y, pull = J.vjp(lambda x: [x * 2, 2.0, jnp.ones(2)], jnp.float32(1.5))
    return y, pull([jnp.float32(1), 1.0, jnp.ones(2)])


@RESULTS()
def an_int_among_the_results_of_vjp(J):
    y, pull = J.vjp(lambda x: (x * 2, x.astype(int), 3), jnp.float32(1.5))
    float0 = np.zeros((), jax.dtypes.float0)
    return y, pull((jnp.float32(1), float0, float0))


@RESULTS()
def a_result_of_a_scan(J):
    def f(x):
        c, ys = lax.scan(lambda c, _: (c * x, (2.0, c)), x, length=3)
        return c, ys

    return J.value_and_grad(f, has_aux=True)(jnp.float32(1.5))


@RESULTS()
def closed_over_arrays(J):
    y = jnp.asarray(Y)
    return J.value_and_grad(lambda x: (x.sum(), (y, y * 2, y + x)), has_aux=True)(X)


@RESULTS()
def what_leaves_is_no_tracer(J):
    _, aux = J.grad(lambda x: (x.sum(), (x, x * 2, x > 0, jnp.ones(2))), has_aux=True)(X)
    return [isinstance(a, jax.core.Tracer) for a in aux], [float(a.sum()) for a in aux]


@RESULTS()
def donated_and_deleted(J):
    x = jnp.asarray(X)
    gradient = J.grad(lambda x: (x**2).sum())(x)
    x.delete()
    return gradient
