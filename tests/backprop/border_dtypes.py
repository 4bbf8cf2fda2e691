"""What a user's own rule returns: arrays of another dtype, and constants.

JAX lets a gradient of another dtype out as it is; here it is converted, so rows that see it convert theirs.
"""

# ruff: noqa: N803
# J is a library that differentiates.

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.backprop.border import Kind, jvp_of, vjp_of

X = np.float32([0.3, -0.7, 1.1])
Y = np.float32([1.5, 0.2, -0.4])

DTYPES = Kind("a rule may return another dtype")

CONVERSIONS = [
    (jnp.bfloat16, jnp.float32),
    (jnp.float16, jnp.float32),
    (jnp.float32, jnp.bfloat16),
    (jnp.float32, jnp.float16),
    (jnp.float16, jnp.bfloat16),
    (jnp.float32, np.float64),
    (jnp.complex64, jnp.float32),
    (jnp.complex64, np.complex128),
]


def wrong_dtype(dtype):
    """A sum whose backward rule returns another dtype."""

    def forward(x):
        return x.sum(), x

    def backward(x, y_bar):
        return (
            np.asarray([1, 2, 3], dtype)
            if dtype in (np.float64, np.complex128)
            else jnp.asarray([1, 2, 3], dtype),
        )

    return vjp_of(lambda x: x.sum(), forward, backward)


for _of, _to in CONVERSIONS:
    _name = f"{np.dtype(_to)} for {np.dtype(_of)}"
    DTYPES.add(
        _name,
        lambda J, of=_of, to=_to: jnp.asarray(
            J.grad(wrong_dtype(to), holomorphic=of == jnp.complex64)(jnp.ones(3, of)), of
        ),
    )
    DTYPES.add(
        f"{_name}, jit outside",
        lambda J, of=_of, to=_to: jax.jit(J.grad(wrong_dtype(to), holomorphic=of == jnp.complex64))(
            jnp.ones(3, of)
        ).astype(of),
    )
    DTYPES.add(
        f"{_name}, jit inside",
        lambda J, of=_of, to=_to: J.grad(jax.jit(wrong_dtype(to)), holomorphic=of == jnp.complex64)(
            jnp.ones(3, of)
        ).astype(of),
    )
    DTYPES.add(
        f"{_name}, converted before",
        lambda J, of=_of, to=_to: jnp.float32(
            J.grad(lambda x: wrong_dtype(to)(x.astype(of)).real.astype(jnp.float32))(X)
        ),
    )


@DTYPES()
def one_of_two_arguments(J):
    f = vjp_of(
        lambda x, y: x * y, lambda x, y: (x * y, (x, y)), lambda r, g: (jnp.float32(r[1] * g), r[0] * g)
    )
    x, y = J.grad(f, (0, 1))(jnp.bfloat16(2), jnp.bfloat16(3))
    return x.astype(jnp.bfloat16), y


@DTYPES()
def in_a_tree(J):
    f = vjp_of(
        lambda p: p["a"] * p["b"],
        lambda p: (p["a"] * p["b"], p),
        lambda p, g: ({"a": jnp.float32(p["b"]), "b": jnp.bfloat16(p["a"])},),
    )
    return jax.tree.map(jnp.bfloat16, J.grad(f)({"a": jnp.bfloat16(2), "b": jnp.bfloat16(3)}))


@DTYPES()
def mixed_precision_inside(J):
    def forward(x, w):
        return (x.astype(jnp.float32) * w).sum(), (x, w)

    def backward(kept, g):
        x, w = kept
        return g * w, g * x.astype(jnp.float32)

    f = vjp_of(lambda x, w: (x.astype(jnp.float32) * w).sum(), forward, backward)
    x_bar, w_bar = J.grad(f, (0, 1))(jnp.asarray(X, jnp.bfloat16), jnp.asarray(Y))
    return x_bar.astype(jnp.bfloat16), w_bar


@DTYPES()
def float64_of_numpy_under_x64(J):
    with jax.enable_x64(True):
        f = vjp_of(lambda x: x.sum(), lambda x: (x.sum(), None), lambda _, g: (np.arange(3.0),))
        return jnp.asarray(J.grad(lambda x: f(jnp.asarray(x)))(X), np.float32)


@DTYPES()
def float32_for_float64(J):
    with jax.enable_x64(True):
        f = vjp_of(
            lambda x: x.sum(), lambda x: (x.sum(), None), lambda _, g: (jnp.arange(3, dtype=np.float32),)
        )
        return J.grad(f)(jnp.arange(3.0)).astype(np.float64)


@DTYPES()
def a_strong_gradient_for_a_weak_argument(J):
    f = vjp_of(jnp.sin, lambda x: (jnp.sin(x), None), lambda _, g: (jnp.float32(2),))
    return jnp.float32(J.grad(f)(1.0))


@DTYPES(raises=AssertionError, right=lambda: jnp.bfloat16(7.5))
def in_a_scan(J):
    f = vjp_of(lambda x: x * 2, lambda x: (x * 2, None), lambda _, g: (g.astype(jnp.float32) * 3,))
    return J.grad(lambda x: lax.scan(lambda c, _: (f(x) * c, None), x, length=1)[0])(jnp.bfloat16(1.5))


@DTYPES()
def what_the_backward_rule_is_given(J):
    given = []

    def backward(x, g):
        given.append((str(g.dtype), g.shape, bool(g.weak_type)))
        return (g.astype(jnp.float32),)

    f = vjp_of(lambda x: x * 2, lambda x: (x * 2, x), backward)
    gradient = J.grad(lambda x: f(x).astype(jnp.float32))(jnp.bfloat16(1.5))
    return gradient.astype(jnp.bfloat16), given


@DTYPES(raises=TypeError)
def a_tangent_of_another_dtype(J):
    return J.grad(jvp_of(jnp.sin, lambda p, t: (jnp.sin(p[0]), t[0].astype(jnp.float32))))(jnp.bfloat16(1))


@DTYPES(raises=TypeError)
def a_tangent_of_another_shape(J):
    return J.grad(lambda x: jvp_of(jnp.sin, lambda p, t: (jnp.sin(p[0]), t[0].sum()))(x).sum())(X)


@DTYPES(raises=TypeError)
def a_value_of_another_dtype(J):
    return J.grad(jvp_of(jnp.sin, lambda p, t: (jnp.float32(1), t[0])))(jnp.bfloat16(1))


CONSTANTS = Kind("a rule whose output is constant")


def constant_jvp(value, tangent=lambda t: t * 3):
    """A constant with a tangent rule of its own."""
    return jvp_of(lambda x: value, lambda p, t: (value, tangent(t[0])))


CONSTANT_OUTPUTS = {
    "a Python float": 2.0,
    "a NumPy float": np.float32(2),
    "a JAX scalar": jnp.float32(2),
    "a weakly typed JAX scalar": jnp.asarray(2.0),
}
for _name, _value in CONSTANT_OUTPUTS.items():
    CONSTANTS.add(
        f"{_name} under vmap",
        lambda J, value=_value: J.grad(lambda x: (jax.vmap(constant_jvp(value))(x) * x).sum())(X),
    )


def constant_times_x(tangent):
    f = constant_jvp(jnp.float32(2), tangent)
    return lambda x: f(x) * x


CONSTANTS.around("a tangent of a constant", lambda: constant_times_x(lambda t: t * 3))
CONSTANTS.around("a zero tangent", lambda: constant_times_x(jnp.zeros_like))


@CONSTANTS()
def ones(J):
    f = jax.custom_jvp(lambda x: jnp.ones(()))
    f.defjvp(lambda p, t: (jnp.ones(()), t[0]))
    return J.grad(lambda x: jax.vmap(f)(x).sum())(X)


@CONSTANTS()
def the_tangent_is_constant_too(J):
    f = constant_jvp(jnp.float32(2), lambda t: jnp.float32(0))
    return J.grad(lambda x: jax.vmap(f)(x).sum())(X)


@CONSTANTS()
def some_outputs_are_constant(J):
    f = jvp_of(lambda x: (x, 2.0), lambda p, t: ((p[0], 2.0), (t[0], 5 * t[0])))
    return J.grad(lambda x: sum(y.sum() for y in jax.vmap(f)(x)))(X), J.grad(lambda x: sum(f(x)))(0.7)


@CONSTANTS()
def a_constant_array(J):
    f = jvp_of(lambda x: jnp.ones(2), lambda p, t: (jnp.ones(2), jnp.stack([t[0], 2 * t[0]])))
    return J.jacobian(lambda x: jax.vmap(f)(x))(X)


@CONSTANTS()
def a_constant_of_one_of_two_arguments(J):
    f = jvp_of(lambda x, y: 2.0 * y, lambda p, t: (2.0 * p[1], t[0]))
    return J.grad(lambda x, y: jax.vmap(f)(x, y).sum(), (0, 1))(X, Y)


@CONSTANTS()
def an_argument_that_is_not_mapped(J):
    f = jvp_of(lambda x, y: jnp.float32(2), lambda p, t: (jnp.float32(2), t[0] + t[1]))
    return J.grad(lambda x, y: jax.vmap(f, (0, None))(x, y).sum(), (0, 1))(X, jnp.float32(3))


@CONSTANTS()
def nothing_is_mapped_but_the_size(J):
    f = constant_jvp(jnp.float32(2))
    return J.grad(lambda y: jax.vmap(lambda x: f(y), axis_size=3, in_axes=None)(0.0).sum())(jnp.float32(3))


@CONSTANTS()
def a_constant_out_of_a_vjp_under_vmap(J):
    f = vjp_of(lambda x: jnp.float32(2), lambda x: (jnp.float32(2), None), lambda _, g: (3 * g,))
    return J.grad(lambda x: jax.vmap(f)(x).sum())(X)


@CONSTANTS()
def a_constant_gradient_out_of_a_vjp_under_vmap(J):
    f = vjp_of(jnp.sin, lambda x: (jnp.sin(x), None), lambda _, g: (jnp.float32(3),))
    return J.grad(lambda x: jax.vmap(f)(2 * x).sum())(X)


@CONSTANTS()
def two_vmaps(J):
    f = constant_jvp(jnp.float32(2))
    return J.grad(lambda x: (jax.vmap(jax.vmap(f))(x) * x).sum())(np.outer(X, Y))


@CONSTANTS(ulps=64)  # 2 - 2.1 cancels
def out_axes(J):
    f = jvp_of(lambda x: jnp.ones(2), lambda p, t: (jnp.ones(2), jnp.stack([t[0], 2 * t[0]])))
    return J.grad(lambda x: (jax.vmap(f, out_axes=1)(x) * x).sum())(X)


@CONSTANTS()
def a_named_axis(J):
    f = constant_jvp(jnp.float32(2))
    return J.grad(lambda x: jax.vmap(lambda x: lax.psum(f(x), "i") * x, axis_name="i")(x).sum())(X)


@CONSTANTS()
def the_output_is_an_input(J):
    f = jvp_of(lambda x: x, lambda p, t: (p[0], 3 * t[0]))
    return J.grad(lambda x: jax.vmap(f)(x).sum())(X), J.grad(f)(0.7)


@CONSTANTS()
def no_output(J):
    f = jvp_of(lambda x: (), lambda p, t: ((), ()))
    return J.grad(lambda x: (x * (1 + len(f(x)))).sum())(X)


@CONSTANTS()
def an_int_output(J):
    f = jvp_of(
        lambda x: (x > 0).astype(int) * 2,
        lambda p, t: ((p[0] > 0).astype(int) * 2, np.zeros((), jax.dtypes.float0)),
    )
    return J.grad(lambda x: (jax.vmap(f)(x) * x).sum())(X)


@CONSTANTS()
def a_constant_int_output(J):
    f = vjp_of(lambda x: (x * 2, 3), lambda x: ((x * 2, 3), None), lambda _, g: (g[0],))
    return J.grad(lambda x: f(x)[0] * f(x)[1])(0.7), J.grad(lambda x: jax.vmap(f)(x)[0].sum())(X)


@CONSTANTS()
def a_partial_of_a_constant(J):
    f = functools.partial(jvp_of(lambda c, x: c, lambda p, t: (p[0], t[0] + 2 * t[1])), 2.0)
    return J.grad(f)(0.7), J.grad(lambda x: jax.vmap(f)(x).sum())(X)
