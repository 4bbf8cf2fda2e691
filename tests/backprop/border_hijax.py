"""hijax: primitives and types that are classes, and custom_vjp and custom_jvp as such."""

# ruff: noqa: N803
# J is a library that differentiates.

import contextlib
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import hijax

from tests.backprop.border import OLDER, Kind, jvp_of, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

HIJAX = Kind("hijax primitives and types")

HiPrimitive = hijax.HiPrim if hasattr(hijax, "HiPrim") else hijax.VJPHiPrimitive
"""It was renamed between the versions."""


class Cube(HiPrimitive):
    """x³ with a gradient of its own: factor · x²."""

    def __init__(self, aval, factor, told):
        self.in_avals, self.out_aval, self.params = (aval,), aval, {"factor": factor}
        self.told = told
        super().__init__()

    def expand(self, x):
        return x**3

    def vjp_fwd(self, nonzeros, x):
        self.told.append(nonzeros)
        return self(x), x

    def vjp_bwd_retval(self, x, y_bar):
        return (self.factor * x**2 * y_bar,)

    def jvp(self, primals, tangents):
        (x,), (t,) = primals, tangents
        return self(x), self.factor * x**2 * t

    def batch(self, _, xs, dims):
        return Cube(jax.typeof(xs[0]), self.factor, self.told)(xs[0]), dims[0]


def cube(x, factor=30.0, told=()):
    return Cube(jax.typeof(x), factor, told if isinstance(told, list) else [])(x)


class SineAndCosine(HiPrimitive):
    """Two results of two arguments in trees, with a gradient that is ten times too large in x."""

    def __init__(self, x, y):
        self.in_avals, self.out_aval, self.params = ({"x": x}, y), {"sin": x, "cos": y}, {}
        super().__init__()

    def expand(self, p, y):
        return {"sin": jnp.sin(p["x"]), "cos": jnp.cos(y)}

    def vjp_fwd(self, nonzeros, p, y):
        return self(p, y), (p["x"], y)

    def vjp_bwd_retval(self, kept, y_bars):
        x, y = kept
        sine, cosine = (hijax.instantiate_zeros(y_bars[name]) for name in ("sin", "cos"))
        return {"x": 10 * sine * jnp.cos(x)}, -cosine * jnp.sin(y)


def sine_and_cosine(x, y):
    return SineAndCosine(jax.typeof(x), jax.typeof(y))({"x": x}, y)


@dataclass(frozen=True)
class Both:
    """A value of a type of our own: two arrays of one shape."""

    left: Any
    right: Any


@dataclass(frozen=True)
class BothType(hijax.HiType):
    """Its type."""

    shape: tuple[int, ...]
    dtype: Any

    def lo_ty(self):
        return [hijax.ShapedArray(self.shape, self.dtype)] * 2

    def lower_val(self, value):
        return [value.left, value.right]

    def raise_val(self, left, right):
        return Both(left, right)

    def to_tangent_aval(self):
        return self

    def to_ct_aval(self):
        return self

    def vspace_zero(self):
        return Both(jnp.zeros(self.shape, self.dtype), jnp.zeros(self.shape, self.dtype))

    def vspace_add(self, a, b):
        return Both(a.left + b.left, a.right + b.right)

    def str_short(self, short_dtypes=False, **_):
        return "Both"

    def __hash__(self):
        return hash((self.shape, self.dtype))

    def __eq__(self, other):
        return isinstance(other, BothType) and (self.shape, self.dtype) == (other.shape, other.dtype)


hijax.register_hitype(Both, lambda value: BothType(value.left.shape, value.left.dtype))


class Pack(HiPrimitive):
    """Two arrays as one value."""

    def __init__(self, aval):
        self.in_avals, self.out_aval, self.params = (aval, aval), BothType(aval.shape, aval.dtype), {}
        super().__init__()

    def expand(self, left, right):
        return Both(left, right)

    def vjp_fwd(self, nonzeros, left, right):
        return self(left, right), None

    def vjp_bwd_retval(self, _, y_bar):
        return tuple(unpack(y_bar))


class Unpack(HiPrimitive):
    """The two arrays of a value."""

    def __init__(self, kind):
        aval = hijax.ShapedArray(kind.shape, kind.dtype)
        self.in_avals, self.out_aval, self.params = (kind,), (aval, aval), {}
        super().__init__()

    def expand(self, both):
        return both.left, both.right

    def vjp_fwd(self, nonzeros, both):
        return self(both), None

    def vjp_bwd_retval(self, _, y_bars):
        return (pack(*map(hijax.instantiate_zeros, y_bars)),)


def pack(left, right):
    return Pack(jax.typeof(left))(left, right)


def unpack(both):
    return Unpack(jax.typeof(both))(both)


HIJAX.around("a primitive", lambda: cube)


@HIJAX()
def two_results_in_trees(J):
    f = lambda x, y: sum(sine_and_cosine(x, x * y).values()).sum()  # noqa: E731
    x, y = jnp.asarray(X), jnp.asarray(Y)
    return J.grad(f, (0, 1))(x, y), jax.jit(J.grad(f))(x, y), J.grad(jax.jit(f), 1)(x, y)


@HIJAX()
def one_of_two_results(J):
    x, y = jnp.asarray(X), jnp.asarray(Y)
    return [J.grad(lambda x, y, k=k: sine_and_cosine(x, y)[k].sum(), (0, 1))(x, y) for k in ("sin", "cos")]


@HIJAX()
def a_parameter(J):
    return [J.grad(lambda x, factor=factor: cube(x, factor))(jnp.float32(2)) for factor in (3.0, 5.0)]


@HIJAX()
def what_the_forward_rule_is_told(J):
    told = []
    gradient = J.grad(lambda x: cube(x, told=told) * cube(lax.stop_gradient(x), told=told))(jnp.float32(2))
    return gradient, [nonzeros for nonzeros in told if any(nonzeros)]


@HIJAX()
def on_data(J):
    return J.grad(lambda x, y: (x * cube(y)).sum())(X, jnp.asarray(Y))


@HIJAX()
def the_hessian(J):
    return J.hessian(lambda x: cube(x).sum())(jnp.asarray(X))


@HIJAX()
def a_python_float(J):
    return J.grad(lambda x: cube(x))(2.0)


@HIJAX()
def beside_ldexp(J):
    return J.grad(lambda x: cube(jnp.ldexp(x, 2)) + jnp.ldexp(cube(x), 1))(jnp.float32(1.5))


@HIJAX()
def a_type_of_its_own(J):
    def f(x, y):
        left, right = unpack(pack(x * 2, jnp.sin(y)))
        return (left * right).sum()

    x, y = jnp.asarray(X), jnp.asarray(Y)
    return J.grad(f, (0, 1))(x, y), jax.jit(J.grad(f))(x, y), J.grad(jax.jit(f), 1)(x, y)


@HIJAX()
def a_type_of_its_own_that_is_used_twice(J):
    def f(x):
        both = pack(x * 2, jnp.sin(x))
        return (unpack(both)[0] * unpack(both)[1]).sum() + unpack(both)[0].sum()

    return J.grad(f)(jnp.asarray(X))


@HIJAX()
def an_argument_of_a_type_of_its_own(J):
    gradient = J.grad(lambda both: (unpack(both)[0] * unpack(both)[1]).sum())(
        Both(jnp.asarray(X), jnp.asarray(Y))
    )
    return type(gradient).__name__, gradient.left, gradient.right


class Undifferentiable(HiPrimitive):
    """A primitive without any rule."""

    def __init__(self, aval):
        self.in_avals, self.out_aval, self.params = (aval,), aval, {}
        super().__init__()

    def expand(self, x):
        return x * 2


@HIJAX(raises=NotImplementedError)
def without_a_rule(J):
    return J.grad(lambda x: Undifferentiable(jax.typeof(x))(x))(jnp.float32(2))


@HIJAX(raises=None if OLDER else NotImplementedError, right=lambda: jnp.float32(6))
def without_a_rule_on_data(J):
    return J.grad(lambda x, y: x * Undifferentiable(jax.typeof(y))(y))(jnp.float32(2), jnp.float32(3))


@contextlib.contextmanager
def flag(name):
    """A switch of JAX that is on for a while."""
    before = getattr(jax.config, name)
    jax.config.update(name, True)
    try:
        yield
    finally:
        jax.config.update(name, before)


def sine_times(**options):
    return vjp_of(
        lambda x, y: jnp.sin(x) * y,
        lambda x, y: (jnp.sin(x) * y, (x, y)),
        lambda kept, g: (10 * g * jnp.cos(kept[0]) * kept[1], g * jnp.sin(kept[0])),
        **options,
    )


THIRD_VJP = {
    "eager": lambda J: J.value_and_grad(sine_times(), (0, 1))(2.0, 3.0),
    "one argument": lambda J: J.grad(sine_times(), 1)(2.0, 3.0),
    "jit outside": lambda J: jax.jit(J.value_and_grad(sine_times(), (0, 1)))(2.0, 3.0),
    "jit inside": lambda J: J.value_and_grad(jax.jit(sine_times()), (0, 1))(2.0, 3.0),
    "vmap outside": lambda J: jax.vmap(J.grad(sine_times()))(X, Y),
    "vmap inside": lambda J: J.grad(lambda x, f=None: jax.vmap(sine_times())(x, Y).sum())(X),
    "scan inside": lambda J: (
        lambda f: J.grad(lambda x: lax.scan(lambda c, _: (f(c, x), c), x, length=2)[0])(1.1)
    )(sine_times()),
    "cond inside": lambda J: (lambda f: J.grad(lambda x: lax.cond(x > 0, f, jnp.multiply, x, x))(1.1))(
        sine_times()
    ),
    "checkpoint inside": lambda J: J.grad(jax.checkpoint(sine_times()))(1.1, 2.0),
    "twice": lambda J: (lambda f: J.grad(lambda x: x * J.grad(f)(x, x))(1.1))(sine_times()),
    "optimize_remat": lambda J: J.grad(sine_times(optimize_remat=True))(1.1, 2.0),
    "None": lambda J: J.grad(vjp_of(lambda x: x, lambda x: (x, None), lambda _, g: (None,)))(2.0),
    "a Python float": lambda J: J.grad(
        lambda x: vjp_of(lambda x: x * 1, lambda x: (x, None), lambda _, g: (2.0,))(3 * x)
    )(jnp.float32(2)),
    "a shape in the residuals": lambda J: J.grad(
        vjp_of(lambda x: x.sum(), lambda x: (x.sum(), x.shape), lambda r, g: (jnp.broadcast_to(g, r),))
    )(X),
    "nondiff_argnums": lambda J: J.grad(
        lambda x: vjp_of(
            lambda n, x: x**n, lambda n, x: (x**n, x), lambda n, r, g: (n * g,), nondiff_argnums=(0,)
        )(3, x)
    )(2.0),
    "a closure over data": lambda J: J.grad(
        lambda x, y: (lambda c: vjp_of(lambda x: x * c, lambda x: (x * c, None), lambda _, g: (c * g,))(x))(
            jnp.sin(y)
        )
    )(2.0, 3.0),
    "symbolic zeros": lambda J: J.grad(
        vjp_of(
            lambda x, y: x * y,
            lambda x, y: (x.value * y.value, (x.perturbed, y.perturbed)),
            lambda r, g: (g * (2 if r[0] else 1) * (3 if r[1] else 1), g),
            symbolic_zeros=True,
        )
    )(2.0, 5.0),
    "a tree": lambda J: J.grad(
        lambda p: vjp_of(
            lambda p: {"y": p["a"] * p["b"]},
            lambda p: ({"y": p["a"] * p["b"]}, p),
            lambda p, g: ({"a": 10 * g["y"] * p["b"], "b": g["y"] * p["a"]},),
        )(p)["y"]
    )({"a": 2.0, "b": 3.0}),
}


def with_third_vjp(run):
    def row(J):
        with flag("jax_custom_vjp3"):
            return run(J)

    return row


for _name, _run in THIRD_VJP.items():
    HIJAX.add(f"custom_vjp3, {_name}", with_third_vjp(_run))


def tangent_sine_times():
    return jvp_of(
        lambda x, y: jnp.sin(x) * y,
        lambda p, t: (jnp.sin(p[0]) * p[1], 10 * t[0] * jnp.cos(p[0]) * p[1] + t[1]),
    )


@HIJAX(where=hasattr(jax.config, "jax_custom_jvp3"))
def custom_jvp3(J):
    with flag("jax_custom_jvp3"):
        f = tangent_sine_times()
        return [
            J.grad(f, (0, 1))(2.0, 3.0),
            J.grad(f)(2.0, 3.0),
            jax.jit(J.grad(f, (0, 1)))(2.0, 3.0),
            J.grad(jax.jit(f), (0, 1))(2.0, 3.0),
            J.grad(lambda x: jax.vmap(f)(x, x).sum())(X),
            J.grad(lambda x: x * J.grad(f)(x, 3.0))(2.0),
        ]
